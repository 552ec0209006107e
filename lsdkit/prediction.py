"""What a run or an ensemble answers: faces in, probabilities of the six expressions out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import write_table
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.store import SPLITS, Store
from lsdkit.ensembles.rules import find_ensemble, group_by_seed, select_members
from lsdkit.ensembles.votes import vote_runs, vote_way
from lsdkit.method.bagging import soft_vote
from lsdkit.method.views import to_float
from lsdkit.training import evaluation
from lsdkit.training.predictions import prediction_table
from lsdkit.training.runs import Run, is_finished, list_runs, read_run
from lsdkit.weights.dan import from_official
from lsdkit.weights.published import locate, parse

ALL = ("", "all")
DAN_SIZE, DAN_BATCH = 224, 32  # pixels that the official DAN is shown; faces at a time


def predict(
    runs: Run | Path | str | Sequence[Run | Path | str],
    faces: Store | np.ndarray,
    *,
    split: str = "test",
    device: str = "auto",
    aligned: bool | None = None,
) -> np.ndarray:
    """Probabilities (B, 6) of anger, disgust, fear, happiness, sadness and surprise, by a run or the vote of several.

    `runs`: a run or its folder, several of them, or a folder of runs, all of which vote as their recipe says. `faces`:
    square crops, uint8 RGB (B, S, S, 3), or a store, whose faces of `split` are taken. `aligned`: whether they are cut
    as our alignment cuts them, eyes and mouth in the same places; a network whose weights take a window of such crops
    is shown the whole picture where they are not. Without it, crops are taken as aligned, and a store as it says itself
    (`Store.aligned`). Raises `ValueError` where the recipes vote in different ways, for another type or shape, where
    `aligned` is not what a store says, and where nothing is finished.
    """
    if isinstance(runs, Path | str):
        runs = choose_runs(runs)[1]
    runs = [run if isinstance(run, Run) else read_run(run) for run in ([runs] if isinstance(runs, Run) else runs)]
    if isinstance(faces, Store):
        if aligned not in (None, faces.aligned):
            raise ValueError(
                f"Expected `aligned` to be left out or {faces.aligned}, as the store in {faces.path} says, but got "
                f"{aligned}; to say otherwise, give its pictures: store.images[store.rows({split!r})]"
            )
        rows = faces.rows(split)
    else:
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[3] != 3 or faces.shape[1] != faces.shape[2]:
            raise ValueError(
                "Expected `faces` to be a store or square RGB crops, uint8 (B, S, S, 3), but got "
                f"{faces.dtype} {faces.shape}; `lsdkit prepare folder --crop` makes a store of photographs"
            )
        rows = np.arange(len(faces))
    where, way, stack, cut = choose_device(device), vote_way(runs), [], aligned is None or bool(aligned)
    for run in runs:
        network = evaluation.load_network(run.folder, where)
        logits = evaluation.predict_logits(network, faces, rows, run.member, where, aligned=cut)
        stack.append(evaluation.softmax(logits))
    return soft_vote(stack, way) if len(rows) else np.empty((0, len(EXPRESSIONS)))


def choose_runs(
    runs: Path | str, ensemble: str = "", seed: int | None = None, allow_incomplete: bool = False
) -> tuple[str, list[Run]]:
    """What votes, in words, and its runs: `runs` itself where it is a run's folder, or runs in it.

    `ensemble` is one of `ENSEMBLES` by id or name, or "all" (as is ""); `seed` is one of `group_by_seed`. Raises
    `ValueError` for an unknown name or seed, where there are several seeds and none is said for an ensemble, and where
    runs of it are missing unless `allow_incomplete`.
    """
    folder = Path(runs)
    if is_finished(folder):
        if ensemble not in ALL:
            raise ValueError(f"Expected a folder of runs for the ensemble {ensemble!r}, but {folder} is one run")
        return f"the run {folder.name}", [read_run(folder)]
    rule = None if ensemble in ALL else find_ensemble(ensemble)
    every = list_runs(folder)
    by_seed = group_by_seed(every)
    if not every or (seed is not None and seed not in by_seed):
        which = "" if seed is None else f" of seed {seed}"
        there = f"those of {', '.join(map(str, by_seed))}" if every else "none"
        raise ValueError(
            f"Expected finished runs{which} in {folder}, but found {there}; train some, or name a run's folder"
        )
    if rule is None:
        voters = every if seed is None else by_seed[seed]
        return f"all {len(voters)} runs", voters
    selections = select_members(every, rule.id)
    if seed is None and len(selections) > 1:
        raise ValueError(
            f"Expected --seed with {rule.name!r}, one of {', '.join(map(str, selections))}, because {folder} holds "
            "runs of several seeds; or take --ensemble all"
        )
    selection = selections[next(iter(selections)) if seed is None else seed]
    if not selection.complete and not (allow_incomplete and selection.runs):
        missing = "; ".join(selection.missing[:3]) + (" and more" if len(selection.missing) > 3 else "")
        raise ValueError(
            f"Expected every run of {rule.name!r} in {folder}, but {len(selection.missing)} are missing ({missing}); "
            "train them, or say --allow-incomplete"
        )
    lacking = f", {len(selection.missing)} missing" if selection.missing else ""
    return f"{selection.name} ({len(selection.runs)} runs{lacking})", list(selection.runs)


def vote(runs: Sequence[Run], store: Store | None = None, split: str = "test") -> pd.DataFrame:
    """The vote of runs over a split, as `predictions.prediction_table`: key, split, expression, six probabilities.

    Without `store`, of the predictions that the runs left (validation and test); with it, their networks are run over
    its faces. Raises `ValueError` where their recipes vote in different ways or the split has no faces.
    """
    if store is None:
        table = vote_runs(runs)
        table = table[table["split"] == split].reset_index(drop=True)
        there = "validation and test: run them over a store with --data STORE"
    else:
        table = _tabulate(store, split, predict(runs, store, split=split))
        there = ", ".join(name for name in SPLITS if len(store.rows(name)))
    if table.empty:
        raise ValueError(f"Expected faces of the split {split!r}, but there are none; there are those of {there}")
    return table


def predict_official(source: str, store: Store, split: str = "test", *, device: str = "auto") -> np.ndarray:
    """Probabilities (B, 6) of a store's faces by an official DAN, to compare with; those of the six expressions alone.

    `source` is one of the sets dan_... of `lsdkit weights`, as NAME or NAME@FILE. Raises as `from_official` does.
    """
    part = parse(source)[-1]
    where, rows = choose_device(device), store.rows(split)
    network = from_official(locate(part), part.published.name.removeprefix("dan_")).to(where)
    answers = [np.empty((0, len(EXPRESSIONS)))]
    for start in range(0, len(rows), DAN_BATCH):
        pixels = torch.from_numpy(np.ascontiguousarray(store.images[rows[start : start + DAN_BATCH]]))
        with torch.no_grad():
            logits = network(network.normalise(to_float(pixels, DAN_SIZE, where)))[0][:, : len(EXPRESSIONS)]
        answers.append(evaluation.softmax(logits.cpu().numpy()))
    return np.concatenate(answers)


def write_probabilities(
    runs: Path | str,
    out: Path | str,
    *,
    split: str = "test",
    data: str = "",
    ensemble: str = "",
    seed: int | None = None,
    allow_incomplete: bool = False,
) -> str:
    """Write the `vote` of `choose_runs` to the CSV file `out`; returns what was written, in words.

    `runs` may be an official DAN instead (see `predict_official`), which needs `data`. Raises `FileExistsError` where
    `out` exists.
    """
    out, store = check_new(out), Store.open(resolve(data)) if data else None
    if str(runs).startswith("dan_"):
        if store is None:
            raise ValueError(f"Expected --data STORE with {runs}, which left no predictions of its own")
        what, table = f"the official DAN {runs}", _tabulate(store, split, predict_official(str(runs), store, split))
    else:
        what, voters = choose_runs(runs, ensemble, seed, allow_incomplete)
        table = vote(voters, store, split)
    write_table(out, table)
    return f"{project_path(out)}: probabilities of {len(table):,} {split} faces by {what}"


def _tabulate(store: Store, split: str, answers: np.ndarray) -> pd.DataFrame:
    rows = store.rows(split)
    return prediction_table([store.keys[row] for row in rows], [split] * len(rows), store.labels[rows], answers)


def check_new(out: Path | str) -> Path:
    """The path to write to; `FileExistsError` where there is a file: answers are never overwritten."""
    out = resolve(out)
    if out.exists():
        raise FileExistsError(f"Expected {out} to be new, but it exists; choose another --out, or move it away")
    return out
