"""What the notebooks share: parameters to a checked member, run folders, and small runs where none exist yet.

Importing this module is cheap on purpose: a wrong parameter fails before torch and the rest are loaded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lsdkit.paths import resolve
from lsdkit.recipes import NO_APPEARANCE, Member, check_choice, recipe_named, with_settings

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
KINDS = {
    "rendered": "rendered faces: drawn by this kit, no photographs and no real people",
    "photographs": "photographs",
    "synthetic": "synthetic faces",
}
SMALL_ENSEMBLE = (  # what notebook 05 trains to run alone: (mix, appearance, bag)
    ("mixaugment", "vggface2", 0),
    ("mixaugment", "vggface2", 1),
    ("mixaugment", "vggface2", 2),
    ("mixup", "mobilevitv2", 1),
)


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
    recipe = with_settings(recipe_named(RECIPE), SETTINGS)
    check_choice("DEVICE", DEVICE, DEVICES)
    if APPEARANCE not in (*dict(recipe.appearances), NO_APPEARANCE):
        _check_backbone(APPEARANCE, (*dict(recipe.appearances), NO_APPEARANCE))
        recipe = replace(recipe, appearances=(*recipe.appearances, (APPEARANCE, APPEARANCE)))
    if APPEARANCE_WEIGHTS and APPEARANCE == NO_APPEARANCE:
        raise ValueError(f"Expected no APPEARANCE_WEIGHTS with APPEARANCE 'none', but got {APPEARANCE_WEIGHTS!r}")
    for role, source in (("emotion", EMOTION_WEIGHTS), (APPEARANCE, APPEARANCE_WEIGHTS)):
        recipe = recipe.with_source(role, source) if source else recipe
    return Member(recipe=recipe, mix=MIX, appearance=APPEARANCE, basic_aug=BASIC_AUG, bag=BAG, seed=SEED, epochs=EPOCHS)


def _check_backbone(appearance: str, paper_names: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `appearance` is a backbone's own name."""
    from lsdkit import backbones  # slow to import: only where the paper's names do not answer

    if appearance not in backbones.names():
        names = ", ".join(map(repr, paper_names))
        own = ", ".join(map(repr, backbones.OWN))
        raise ValueError(
            f"Expected `APPEARANCE` to be one of {names}, or a backbone ({own}, a timm model), but got {appearance!r}"
        )


def run_dir_for(run_dir: str | Path, member: Member) -> Path:
    """The folder of a member's run: `run_dir` below the project root, or runs/<member.name> for ""."""
    return resolve(run_dir) if str(run_dir) else resolve(RUNS) / member.name


def kind_sentence(kind: str) -> str:
    """What a store's faces are, in words for a heading.

    >>> kind_sentence("rendered")
    'rendered faces: drawn by this kit, no photographs and no real people'
    """
    return KINDS[kind]


def check_parameters(notebook: str | Path, parameters: dict) -> None:
    """Raise `ValueError` for a parameter that the notebook does not declare (papermill itself only logs a warning)."""
    import papermill

    valid = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(parameters) - set(valid))
    if unknown:
        raise ValueError(
            f"Expected parameters of {Path(notebook).name} ({', '.join(valid)}), but got {', '.join(unknown)}"
        )


def newest_run() -> Path | None:
    """The finished run below `runs/` (at most two folders deep) that was written last; None where there is none."""
    found = [*resolve(RUNS).glob("*/result.json"), *resolve(RUNS).glob("*/*/result.json")]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def newest_ensemble(least: int = 2) -> Path | None:
    """The folder below `runs/` with at least this many finished runs in it that was written to last, or None."""
    folders = {path.parent.parent for path in resolve(RUNS).glob("*/*/result.json")}
    folders = [folder for folder in folders if len(list(folder.glob("*/result.json"))) >= least]
    return max(folders, key=lambda folder: max(p.stat().st_mtime for p in folder.glob("*/result.json")), default=None)


def find_run(
    run_dir: str | Path = "", recipe: str = "smoke", *, data_dir: str | Path = "", device: str = "auto"
) -> Path:
    """The folder of a finished run; where there is none, a Mix-augment member of `recipe` is trained first.

    `run_dir` "": the run that was written last, wherever below `runs/`; a folder without a result is trained into.
    Raises `ValueError` for an unknown recipe or device, also where nothing is to be trained.
    """
    member = member_from_parameters(recipe, DEVICE=device)
    if str(run_dir):
        folder = resolve(run_dir)
    else:
        folder = newest_run() or run_dir_for("", member)
    if not (folder / "result.json").is_file():
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
    place = resolve(folder) if str(folder) else newest_ensemble() or resolve(RUNS) / f"{recipe}-ensemble"
    if len(list(place.glob("*/result.json"))) < 2:
        train_members([(place / member.name, member) for member in members], data_dir=data_dir, device=device)
    return place


def imbalance_runs(store, folder: str | Path = "", *, recipe: str = "smoke", device: str = "auto") -> dict[str, Path]:
    """Runs on a store that differ in how they treat rare classes alone: {name in `IMBALANCE`: its folder}.

    `folder` "" is runs/imbalance/ and a name made of the store's checksum. Those that are missing are trained first,
    short ones (`IMBALANCE_SHORT`).
    """
    place = (
        resolve(folder) if str(folder) else resolve(RUNS) / "imbalance" / store.manifest["checksums"]["images.npy"][:8]
    )
    runs = {}
    for name, settings in IMBALANCE.items():
        member = member_from_parameters(recipe, DEVICE=device, SETTINGS=f"{IMBALANCE_SHORT} {settings}")
        runs[name] = (place / member.name, member)
    train_members([*runs.values()], data_dir=store.path, device=device)
    return {name: run_dir for name, (run_dir, _) in runs.items()}


def store_of(result: dict, data_dir: str | Path = ""):
    """The `Store` that a run was trained on: where its result says, or its copy in `data_dir`.

    Raises `FileNotFoundError` where there is none, `ValueError` where its pixels are others than the run's.
    """
    from lsdkit.store import Store

    store = Store.open(resolve(data_dir or result["store"]["path"]))
    if store.manifest["checksums"]["images.npy"] != result["store"]["checksums"]["images.npy"]:
        raise ValueError(
            f"Expected the faces that {result['name']} was trained on in {store.path}, but it holds others; "
            "name the right store with DATA_DIR, or train again"
        )
    return store


def train_members(runs: Sequence[tuple[Path, Member]], *, data_dir: str | Path = "", device: str = "auto") -> None:
    """Train members, each into its folder, one after the other; finished ones are left as they are."""
    from lsdkit import prepare, training

    store = prepare.open_or_render(data_dir, runs[0][1].recipe)
    for folder, member in runs:
        training.train_member(member, store, folder, device=device)
