"""What the notebooks share: parameters to a checked member, run folders, and small runs where none exist yet.

Importing this module is cheap on purpose: a wrong parameter fails before torch and the rest are loaded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsdkit.common.paths import resolve
from lsdkit.recipes import NO_APPEARANCE, RECIPES, SETTABLE, Member, check_choice, find_recipe
from lsdkit.training.runs import RESULT, Run, is_finished

if TYPE_CHECKING:
    import pandas as pd

    from lsdkit.data.store import Store

DEVICES = ("auto", "cpu", "cuda")
RUNS = "runs"  # where runs go by default, below the project root
IMBALANCE = {  # what notebook 04 compares: a name for each way to weigh rare classes, and its settings
    "as it is": "",
    "class weights 1 - n/N": "class_weights=one_minus_share",
    "class weights N/(K n)": "class_weights=balanced",
    "balanced sampling": "sampling=balanced",
    "label smoothing 0.1": "label_smoothing=0.1",
}
IMBALANCE_SHORT = "epochs=1 steps_per_epoch=100 learning_rate=0.002"  # keeps those five trainings short
SMALL_ENSEMBLE = (  # what notebook 05 trains to run alone: (mix, appearance, bag)
    ("mixaugment", "vggface2", 0),
    ("mixaugment", "vggface2", 1),
    ("mixaugment", "vggface2", 2),
    ("mixup", "mobilevitv2", 1),
)


def parse_settings(text: str) -> dict[str, object]:
    """Settings of a recipe from "name=value name=value"; `ValueError`, naming what there is, for a wrong one.

    >>> parse_settings("label_smoothing=0.1 sampling=balanced")
    {'label_smoothing': 0.1, 'sampling': 'balanced'}
    """
    settings = {}
    for part in text.split():
        name, _, value = part.partition("=")
        if name not in SETTABLE or not value:
            raise ValueError(
                f"Expected settings as 'name=value name=value' with names of {', '.join(SETTABLE)}, but got {part!r}"
            )
        kind = SETTABLE[name]
        try:
            settings[name] = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            raise ValueError(f"Expected `{name}` to be of type {kind.__name__}, but got {value!r}") from None
    return settings


def member_from_parameters(
    RECIPE: str,
    MIX: str = "mixaugment",
    APPEARANCE: str = "vggface2",
    BASIC_AUG: bool = True,
    BAG: int = 0,
    SEED: int = 0,
    EPOCHS: int = 0,
    DEVICE: str = "auto",
    EMOTION_WEIGHTS: str = "",
    APPEARANCE_WEIGHTS: str = "",
    SETTINGS: str = "",
) -> Member:
    """The member that a notebook's parameters describe; raises `ValueError` with the valid values for a wrong one.

    A source of weights "" is the recipe's (see docs/weights.md); SETTINGS is "name=value name=value" over the recipe's.

    >>> member_from_parameters("smoke", MIX="mixup", BAG=2).name
    'smoke-mixup-vggface2-basic-bag2-seed0'
    >>> member_from_parameters("smoke", MIX="cutmix")
    Traceback (most recent call last):
    ValueError: Expected `MIX` to be one of 'mixup', 'mixaugment', but got 'cutmix'
    """
    settings = parse_settings(SETTINGS)
    if "epochs" in settings:  # of every member
        settings.setdefault("weak_epochs", 0)
    recipe = replace(find_recipe(RECIPE), **settings)
    check_choice("DEVICE", DEVICE, DEVICES)
    names = (*dict(recipe.appearances), NO_APPEARANCE)
    if APPEARANCE not in names:
        from lsdkit.method import backbones  # slow to import: only where the paper's names do not answer

        try:
            backbones.check_name(APPEARANCE)
        except ValueError as error:
            words = ", ".join(map(repr, names))
            raise ValueError(f"Expected `APPEARANCE` to be one of {words}, or a backbone. {error}") from None
    return Member.of(
        recipe,
        mix=MIX,
        appearance=APPEARANCE,
        basic_aug=BASIC_AUG,
        bag=BAG,
        seed=SEED,
        epochs=EPOCHS,
        emotion_weights=EMOTION_WEIGHTS,
        appearance_weights=APPEARANCE_WEIGHTS,
    )


def find_compared(member: Member, COMPARE: str) -> Member | None:
    """The same member of the recipe COMPARE, to be trained beside it; None for "".

    Its epochs, weights and settings are that recipe's own. Raises `ValueError` with the valid names for a wrong one,
    and where nothing would differ.

    >>> find_compared(member_from_parameters("smoke", BAG=2, EPOCHS=1), "small").name
    'small-mixaugment-vggface2-basic-bag2-seed0'
    """
    check_choice("COMPARE", COMPARE, ("", *RECIPES))
    if not COMPARE:
        return None
    same = ("mix", "appearance", "basic_aug", "bag", "seed")
    compared = Member.of(COMPARE, **{name: getattr(member, name) for name in same})
    if replace(compared, recipe=replace(compared.recipe, name=member.recipe.name)) == member:
        raise ValueError(
            f"Expected `COMPARE` to be another recipe than RECIPE {member.recipe.name}, but {COMPARE} has the same "
            "settings: name another, or give this member EPOCHS, weights or SETTINGS of its own"
        )
    return compared


def read_curve(run: Run) -> "pd.DataFrame":
    """A run's history with a column `faces`: how many it had been trained on at the end of each epoch, repeats too."""
    recipe, history = run.member.recipe, run.read_history()
    each = min(run.faces, recipe.steps_per_epoch * recipe.batch_size or run.faces)
    return history.assign(faces=each * history["epoch"])


def choose_run_dir(run_dir: str | Path, member: Member) -> Path:
    """The folder of a member's run: `run_dir` below the project root, or runs/<member.name> for ""."""
    return resolve(run_dir) if str(run_dir) else resolve(RUNS) / member.name


def find_newest_run() -> Path | None:
    """The finished run below `runs/` (at most two folders deep) that was written last; None where there is none."""
    results = [*resolve(RUNS).glob(f"*/{RESULT}"), *resolve(RUNS).glob(f"*/*/{RESULT}")]
    return max(results, key=lambda path: path.stat().st_mtime).parent if results else None


def find_newest_ensemble(least: int = 2) -> Path | None:
    """The folder below `runs/` with at least this many finished runs in it that was written to last, or None."""
    written: dict[Path, list[float]] = {}  # folder -> when each of its runs ended
    for path in resolve(RUNS).glob(f"*/*/{RESULT}"):
        written.setdefault(path.parent.parent, []).append(path.stat().st_mtime)
    several = {folder: max(times) for folder, times in written.items() if len(times) >= least}
    return max(several, key=several.get, default=None)


def find_run(
    run_dir: str | Path = "", recipe: str = "smoke", *, data_dir: str | Path = "", device: str = "auto"
) -> Path:
    """The folder of a finished run; where there is none, a Mix-augment member of `recipe` is trained first.

    `run_dir` "": the run that was written last, wherever below `runs/`; a folder without a result is trained into.
    Raises `ValueError` for an unknown recipe or device, also where nothing is to be trained.
    """
    member = member_from_parameters(recipe, DEVICE=device)
    folder = resolve(run_dir) if str(run_dir) else find_newest_run() or choose_run_dir("", member)
    if not is_finished(folder):
        train_members([(folder, member)], data_dir=data_dir, device=device)
    return folder


def ensure_runs(
    folder: str | Path = "", recipe: str = "smoke", *, seed: int = 0, data_dir: str | Path = "", device: str = "auto"
) -> Path:
    """A folder with at least two finished runs; where there are fewer, four small members are trained first.

    `folder` "": the ensemble that was written last below `runs/`, or runs/<recipe>-ensemble. Raises `ValueError` for an
    unknown recipe, seed or device, also where nothing is to be trained.
    """
    members = [
        member_from_parameters(recipe, MIX=mix, APPEARANCE=appearance, BAG=bag, SEED=seed, DEVICE=device)
        for mix, appearance, bag in SMALL_ENSEMBLE
    ]
    place = resolve(folder) if str(folder) else find_newest_ensemble() or resolve(RUNS) / f"{recipe}-ensemble"
    if len(list(place.glob(f"*/{RESULT}"))) < 2:
        train_members([(place / member.name, member) for member in members], data_dir=data_dir, device=device)
    return place


def train_imbalance_runs(
    store: "Store", folder: str | Path = "", *, recipe: str = "smoke", device: str = "auto"
) -> dict[str, Path]:
    """Runs on a store that differ in how they treat rare classes alone: {name in `IMBALANCE`: its folder}.

    `folder` "" is runs/imbalance/ and a name made of the store's checksum. Those that are missing are trained first,
    short ones (`IMBALANCE_SHORT`).
    """
    place = resolve(folder or f"{RUNS}/imbalance/{store.manifest['checksums']['images.npy'][:8]}")
    runs = {}
    for name, settings in IMBALANCE.items():
        member = member_from_parameters(recipe, DEVICE=device, SETTINGS=f"{IMBALANCE_SHORT} {settings}")
        runs[name] = (place / member.name, member)
    train_members([*runs.values()], data_dir=store.path, device=device)
    return {name: run_dir for name, (run_dir, _) in runs.items()}


def train_members(runs: Sequence[tuple[Path, Member]], *, data_dir: str | Path = "", device: str = "auto") -> None:
    """Train members, each into its folder, one after the other; finished ones are left as they are.

    Raises `FileNotFoundError`, before any face is rendered or read, for weights that are not there.
    """
    from lsdkit.openset.preparing import open_or_render
    from lsdkit.training.member import train_member  # torch loads here
    from lsdkit.training.starting import fingerprint_sources

    for _, member in runs:
        fingerprint_sources(member.recipe, member.appearance)
    store = open_or_render(data_dir, runs[0][1].recipe)
    for folder, member in runs:
        train_member(member, store, folder, device=device)
