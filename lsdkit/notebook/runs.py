"""Run folders of the notebooks: where a notebook writes, which runs it reads, and small ones where there are none.

A RUN_DIR that is given is meant: without runs it is an error. For "" a choice is made among the runs below `runs/`, by
what they are and not by any clock, so that it is the same on each machine; and it is said in words.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os.path import abspath
from pathlib import Path
from typing import TYPE_CHECKING

from lsdkit.common.paths import project_path, resolve
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.recipes import Member, find_recipe
from lsdkit.training.runs import RESULT, Run, is_finished, list_runs, read_run

if TYPE_CHECKING:
    import pandas as pd

    from lsdkit.data.store import Store

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


def read_curve(run: Run) -> "pd.DataFrame":
    """A run's history with a column `faces`: how many it had been trained on at the end of each epoch, repeats too."""
    recipe, history = run.member.recipe, run.read_history()
    each = min(run.faces, recipe.steps_per_epoch * recipe.batch_size or run.faces)
    return history.assign(faces=each * history["epoch"])


def choose_folder(RUN_DIR: str | Path, what: str, DATA_DIR: str | Path, RECIPE: str) -> Path:
    """The folder that a notebook writes into: RUN_DIR below the project root; for "" runs/<what>-<name of the store>.

    The store is DATA_DIR, or for "" the open set of the recipe; it need not be there yet.
    """
    from lsdkit.openset.preparing import find_store

    return resolve(RUN_DIR or f"{RUNS}/{what}-{Path(abspath(find_store(DATA_DIR, find_recipe(RECIPE)))).name}")


def find_run(RUN_DIR: str | Path, DATA_DIR: str | Path, RECIPE: str, DEVICE: str = "auto") -> tuple[Run, str]:
    """The finished run that notebook 04 takes apart, and why this one, in words.

    RUN_DIR is a run's folder, or a folder of runs, of which the one with the best validation macro F1 is taken. For "":
    the best run of the ensemble that `find_ensemble` takes, else the best of the single runs in `runs/`; where neither
    is, a Mix-augment member of RECIPE is trained. With DATA_DIR all of these are of that store.

    Raises `FileNotFoundError` where RUN_DIR holds no run, and `ValueError` for an unknown recipe or device, also where
    nothing is to be trained.
    """
    member = member_from_parameters(RECIPE, DEVICE=DEVICE)
    if RUN_DIR:
        folder = resolve(RUN_DIR)
        if is_finished(folder):
            return read_run(folder), f"{folder.name}, as RUN_DIR says"
        return _take_best(_list_at_least(folder, 1), f"{folder.name}, as RUN_DIR says")
    found = _find_below(DATA_DIR, RECIPE)
    if found.ensembles:
        return _take_best(*found.take_ensemble())
    if found.single:
        return _take_best(found.single, f'RUN_DIR is "": the single runs in {RUNS}/{found.left_out}')
    folder = choose_folder("", member.name, DATA_DIR, RECIPE)
    train_members([(folder, member)], data_dir=DATA_DIR, device=DEVICE)
    return read_run(folder), f'RUN_DIR is "" and there was no run: {folder.name} was trained{found.left_out}'


def find_ensemble(
    RUN_DIR: str | Path, DATA_DIR: str | Path, RECIPE: str, SEED: int = 0, DEVICE: str = "auto"
) -> tuple[list[Run], str]:
    """The finished runs of one folder, at least two, that notebook 05 compares, and why these, in words.

    For RUN_DIR "" it is the folder in `runs/` with the most runs, all of one recipe and one store (with DATA_DIR, of
    that store); of two as large ones the one of the better mean validation macro F1. Where there is none, the members
    of `SMALL_ENSEMBLE` are trained with RECIPE, and where that was broken off it goes on.

    Raises `FileNotFoundError` where RUN_DIR holds fewer than two, and `ValueError` for an unknown recipe, seed or
    device, also where nothing is to be trained.
    """
    names = ("MIX", "APPEARANCE", "BAG")
    each = [dict(zip(names, values, strict=True)) for values in SMALL_ENSEMBLE]
    members = [member_from_parameters(RECIPE, **values, SEED=SEED, DEVICE=DEVICE) for values in each]
    if RUN_DIR:
        folder = resolve(RUN_DIR)
        return _list_at_least(folder, 2), f"{folder.name}, as RUN_DIR says"
    small = choose_folder("", f"{RECIPE}-ensemble", DATA_DIR, RECIPE)
    found = _find_below(DATA_DIR, RECIPE)
    if found.ensembles:
        runs, why = found.take_ensemble()
        if runs[0].folder.parent != small or len(runs) >= len(members):
            return runs, why
    train_members([(small / member.name, member) for member in members], data_dir=DATA_DIR, device=DEVICE)
    return list_runs(small), f'RUN_DIR is "" and there was no ensemble: {small.name} was trained{found.left_out}'


def train_imbalance_runs(
    store: "Store", IMBALANCE_DIR: str | Path = "", *, RECIPE: str = "smoke", DEVICE: str = "auto"
) -> dict[str, Path]:
    """Runs on a store that differ in how they treat rare classes alone: {name in `IMBALANCE`: its folder}.

    IMBALANCE_DIR "" is runs/imbalance/<name of the store>. Those that are missing are trained first, short ones
    (`IMBALANCE_SHORT`).
    """
    place, runs = resolve(IMBALANCE_DIR or f"{RUNS}/imbalance/{store.path.name}"), {}
    for name, settings in IMBALANCE.items():
        member = member_from_parameters(RECIPE, DEVICE=DEVICE, SETTINGS=f"{IMBALANCE_SHORT} {settings}")
        runs[name] = (place / member.name, member)
    train_members([*runs.values()], data_dir=store.path, device=DEVICE)
    return {name: folder for name, (folder, _) in runs.items()}


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


@dataclass(frozen=True)
class _Found:
    """The runs below `runs/` that a choice is made among."""

    ensembles: list[list[Run]]  # each the runs of one folder, the one to take first
    single: list[Run]
    left_out: str  # in words, those that this version cannot read

    def take_ensemble(self) -> tuple[list[Run], str]:
        """The runs of the ensemble that comes first, and why it does."""
        (name, count), *others = ((runs[0].folder.parent.name, len(runs)) for runs in self.ensembles)
        why = f"{name}, with {count} runs the only ensemble in {RUNS}/"
        if others:
            rest = ", ".join(f"{other} {runs}" for other, runs in others)
            why = f"{name}, of {1 + len(others)} ensembles in {RUNS}/ the one with most runs ({count}; {rest})"
        return self.ensembles[0], f'RUN_DIR is "": {why}{self.left_out}'


def _find_below(DATA_DIR: str | Path, RECIPE: str) -> _Found:
    """The finished runs in `runs/` and in its folders; with DATA_DIR those of that store, which is opened."""
    from lsdkit.openset.preparing import open_or_render

    pixels = open_or_render(DATA_DIR, find_recipe(RECIPE)).manifest["checksums"]["images.npy"] if DATA_DIR else ""
    runs, broken = [], []
    for path in sorted([*resolve(RUNS).glob(f"*/{RESULT}"), *resolve(RUNS).glob(f"*/*/{RESULT}")]):
        try:
            run = read_run(path.parent)
        except (ValueError, KeyError):
            broken.append(str(path.parent.relative_to(resolve(RUNS))))
            continue
        if pixels in ("", run.checksums.get("images.npy")):
            runs.append(run)
    folders: dict[Path, list[Run]] = {}
    for run in runs:
        folders.setdefault(run.folder.parent, []).append(run)
    single = folders.pop(resolve(RUNS), [])
    ensembles = [group for group in folders.values() if len(group) > 1 and _is_ensemble(group)]
    ensembles.sort(key=lambda group: (-len(group), -sum(run.val_macro_f1 for run in group) / len(group)))
    left_out = f" (left out, of another version: {', '.join(broken)})" if broken else ""
    return _Found(ensembles, single, left_out)


def _is_ensemble(runs: Sequence[Run]) -> bool:
    """Whether runs are of one recipe, one task and one store: what a vote or a table compares."""
    first = runs[0]
    return all((run.member.recipe, run.checksums) == (first.member.recipe, first.checksums) for run in runs)


def _take_best(runs: Iterable[Run], why: str) -> tuple[Run, str]:
    best = max(runs, key=lambda run: run.val_macro_f1)
    return best, f"{why}; of its runs {best.name}, the one of the best validation macro F1 ({best.val_macro_f1:.3f})"


def _list_at_least(folder: Path, least: int) -> list[Run]:
    """The finished runs in a named folder; `FileNotFoundError`, with what was looked for, where they are fewer."""
    runs = list_runs(folder)
    if len(runs) >= least:
        return runs
    there = f"holds {len(runs)}" if folder.is_dir() else "does not exist"
    wanted = "a finished run, or a folder with finished runs in it" if least == 1 else "a folder with two finished runs"
    names = {str(project_path(path.parent)) for path in (*folder.parent.glob(f"*/{RESULT}"),)}
    names |= {str(project_path(path.parent.parent)) for path in folder.parent.glob(f"*/*/{RESULT}")}
    near = get_close_matches(str(project_path(folder)), sorted(names), 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise FileNotFoundError(
        f"Expected RUN_DIR to be {wanted} (a folder each, with a {RESULT}), but {project_path(folder)} {there}: {hint}"
        'RUN_DIR "" takes what is in runs/, and trains small members where nothing is'
    )
