"""What a run, an ensemble or a packed model answers: faces in, probabilities of the six expressions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import write_table
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.store import SPLITS, Store
from lsdkit.data.viewing import View
from lsdkit.ensembles.rules import find_ensemble, group_by_seed, select_members
from lsdkit.ensembles.votes import vote_runs, vote_way
from lsdkit.method.bagging import soft_vote
from lsdkit.method.network import MultiTask
from lsdkit.method.views import to_float
from lsdkit.recipes import Member
from lsdkit.training import evaluation
from lsdkit.training.bundles import SUFFIX, Packed, load_bundle
from lsdkit.training.predictions import prediction_table
from lsdkit.training.runs import Run, is_finished, list_runs, read_run
from lsdkit.weights.dan import from_official
from lsdkit.weights.published import locate, parse

ALL = ("", "all")
SHIPPED = {"open-1": "open_1.safetensors"}  # packed models that come with the kit: name -> file in lsdkit/models
OFFICIAL = "dan_"  # begins the names of official DANs
Voter = Run | Packed  # what has a vote: a trained network and its settings
DAN_SIZE, DAN_BATCH = 224, 32  # pixels that the official DAN is shown; faces at a time


def predict(
    runs: Voter | Path | str | Sequence[Run | Path | str],
    faces: Store | np.ndarray,
    *,
    split: str = "test",
    device: str = "auto",
    aligned: bool | None = None,
) -> np.ndarray:
    """Probabilities (B, 6) of anger, disgust, fear, happiness, sadness and surprise, by a run or the vote of several.

    `runs`: a run or its folder, several of them, a folder of runs, all of which vote as their recipe says, or a packed
    model (its file, or its name where it is one of `SHIPPED`). `faces`: square crops, uint8 RGB (B, S, S, 3), or a
    store, whose faces of `split` are taken. A network that learned from a part of the crops, or without colour, is
    shown the same of whole crops (`lsdkit.data.viewing.View.show`). `aligned`: whether faces are cut as our alignment
    cuts them, eyes and mouth in the same places; a network whose weights take a window of such crops is shown the whole
    picture where they are not. Without it, crops are taken as aligned, and a store as it says itself (`Store.aligned`).
    Raises `ValueError` where the recipes vote in different ways, for another type or shape, for crops that are neither
    whole nor the part that was learned from, where `aligned` is not what a store says, and where nothing is finished.
    """
    if isinstance(faces, Store):
        if aligned not in (None, faces.aligned):
            raise ValueError(
                f"Expected `aligned` to be left out or {faces.aligned}, as the store in {faces.path} says, but got "
                f"{aligned}; to say otherwise, give its pictures: store.images[store.rows({split!r})]"
            )
        faces.verify()
        rows = faces.rows(split)
    else:
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[3] != 3 or faces.shape[1] != faces.shape[2]:
            raise ValueError(
                "Expected `faces` to be a store or square RGB crops, uint8 (B, S, S, 3), but got "
                f"{faces.dtype} {faces.shape}; `lsdkit prepare folder --crop` makes a store of photographs"
            )
        rows = np.arange(len(faces))
    voters = find_voters(runs)[1]
    where, way, stack = choose_device(device), vote_way(voters), []
    for voter in voters:
        asked = load_voter(voter, where), voter.member, voter.find_view(), where
        stack.append(_ask(*asked, faces, rows, aligned is None or bool(aligned)))
    return soft_vote(stack, way) if len(rows) else np.empty((0, len(EXPRESSIONS)))


def predict_mirrored(runs: Sequence[Run], store: Store, keys: Sequence[str], *, device: str = "auto") -> np.ndarray:
    """Probabilities (M, B, 6) that each run gives the mirror images of the store's faces of these keys.

    Raises `ValueError` for a key that the store does not have.
    """
    row_of = {key: row for row, key in enumerate(store.keys)}
    unknown = [key for key in keys if key not in row_of]
    if unknown:
        raise ValueError(f"Expected faces of the store in {store.path}, but it has no {unknown[0]!r}; name its own")
    faces = store.images[np.array([row_of[key] for key in keys], dtype=np.int64)][:, :, ::-1]  # (B, H, W, 3)
    return np.stack([predict(run, faces, device=device, aligned=store.aligned) for run in runs])


def find_voters(model: Voter | Path | str | Sequence[Voter | Path | str]) -> tuple[str, list[Voter]]:
    """What votes, in words, and the networks that do, none of them loaded yet.

    `model` is one of `SHIPPED` by name, the file of a packed model, a run or its folder, several of them, or a folder
    of runs, all of which vote. Raises `FileNotFoundError` where there is nothing, and what `load_bundle` and
    `choose_runs` raise.
    """
    if isinstance(model, Run | Packed):
        return f"the run {model.name}", [model]
    if isinstance(model, Path | str):
        path = find_model(model)
        if path.is_dir():
            return choose_runs(path)
        bundle = load_bundle(path)
        if str(model) in SHIPPED and bundle.name != str(model):
            raise ValueError(f"Expected {path} to be {model}, but it is {bundle.name!r}; install lsdkit again")
        return bundle.name, list(bundle.members)
    voters = [voter if isinstance(voter, Run | Packed) else read_run(voter) for voter in model]
    return f"{len(voters)} runs", voters


def find_model(model: Path | str) -> Path:
    """The file or folder of a model that comes with the kit, or at a path: as it is typed where there is something,
    else from the project's folder. Raises `FileNotFoundError` where there is nothing."""
    others = f"a packed model ({SUFFIX}), a run's folder or a folder of runs"
    if str(model) in SHIPPED:
        path = Path(str(resources.files("lsdkit.models").joinpath(SHIPPED[str(model)])))
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected the model {model} at {path}, but there is none; install lsdkit again, or name {others}"
            )
        return path
    path = Path(model).absolute() if Path(model).exists() else resolve(model)
    if not path.exists():
        names = ", ".join(SHIPPED)
        raise FileNotFoundError(f"Expected a model, but there is nothing at {path}; name {names}, {others}")
    return path


def load_voter(voter: Voter, device: torch.device | str = "cpu") -> MultiTask:
    """The trained network of a run, or of a member of a packed model, in evaluation mode."""
    return voter.build(device) if isinstance(voter, Packed) else evaluation.load_network(voter.folder, device)


@dataclass(frozen=True, eq=False)
class Panel:
    """Voters whose networks are in memory, for faces that come bit by bit."""

    name: str
    voters: tuple[Voter, ...]
    views: tuple[View, ...]
    networks: tuple[MultiTask, ...]
    device: torch.device

    @classmethod
    def load(cls, model: Voter | Path | str | Sequence[Voter | Path | str], device: str = "auto") -> "Panel":
        """The networks of `find_voters` on a device; raises `ValueError` where their recipes vote in different ways."""
        (name, voters), where = find_voters(model), choose_device(device)
        vote_way(voters)
        views = tuple(voter.find_view() for voter in voters)
        return cls(name, tuple(voters), views, tuple(load_voter(voter, where) for voter in voters), where)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the aligned crops that it asks for, in pixels, the first voter's first."""
        return tuple(dict.fromkeys(view.pixels for view in self.views))

    def ask(self, crops: Mapping[int, np.ndarray]) -> np.ndarray:
        """Probabilities (B, 6) of B faces, from their aligned crops of each of `sizes`: uint8 (B, S, S, 3)."""
        count = len(crops[self.sizes[0]])
        if not count:
            return np.empty((0, len(EXPRESSIONS)))
        stack = [
            _ask(network, voter.member, view, self.device, crops[view.pixels], np.arange(count), True)
            for network, voter, view in zip(self.networks, self.voters, self.views, strict=True)
        ]
        return soft_vote(stack, vote_way(self.voters))


def _ask(
    network: MultiTask,
    member: Member,
    view: View,
    device: torch.device,
    faces: Store | np.ndarray,
    rows: np.ndarray,
    aligned: bool,
) -> np.ndarray:
    """Probabilities (B, 6) that a network gives these rows of a store or of uint8 (N, S, S, 3), shown as it learned."""
    if not view.plain and not (isinstance(faces, Store) and faces.view == view):
        aligned = view.whole and (faces.aligned if isinstance(faces, Store) else aligned)
        faces = _Shown(faces.images if isinstance(faces, Store) else faces, view)
    return evaluation.softmax(evaluation.predict_logits(network, faces, rows, member, device, aligned=aligned))


class _Shown:
    """Pictures as a network is shown them, made when they are taken."""

    def __init__(self, images: np.ndarray, view: View):
        self.images, self.view = images, view

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.view.show(self.images[rows])


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
    store.verify()
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

    `runs` may be a packed model (see `find_voters`) or an official DAN (see `predict_official`) instead, which need
    `data`. Raises `FileExistsError` where `out` exists.
    """
    out, store = check_new(out), Store.open(resolve(data)) if data else None
    if left_nothing(runs) and store is None:
        raise ValueError(f"Expected --data STORE with {runs}, which left no predictions of its own")
    if str(runs).startswith(OFFICIAL):
        what, table = f"the official DAN {runs}", _tabulate(store, split, predict_official(str(runs), store, split))
    elif left_nothing(runs):
        what, voters = find_voters(runs)
        table = _tabulate(store, split, predict(voters, store, split=split))
    else:
        what, voters = choose_runs(runs, ensemble, seed, allow_incomplete)
        table = vote(voters, store, split)
    write_table(out, table)
    return f"{project_path(out)}: probabilities of {len(table):,} {split} faces by {what}"


def left_nothing(model: Path | str) -> bool:
    """Whether this names an official DAN or a packed model, which have no predictions, and no runs.

    >>> left_nothing("open-1"), left_nothing("mine.safetensors"), left_nothing("runs/mine")
    (True, True, False)
    """
    return str(model) in SHIPPED or str(model).startswith(OFFICIAL) or Path(model).suffix == SUFFIX


def _tabulate(store: Store, split: str, answers: np.ndarray) -> pd.DataFrame:
    rows = store.rows(split)
    return prediction_table([store.keys[row] for row in rows], [split] * len(rows), store.labels[rows], answers)


def check_new(out: Path | str) -> Path:
    """The path to write to; `FileExistsError` where there is a file: answers are never overwritten."""
    out = resolve(out)
    if out.exists():
        raise FileExistsError(f"Expected {out} to be new, but it exists; choose another name, or move it away")
    return out
