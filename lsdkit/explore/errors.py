"""The explorer of notebook 04: what trained members take for what, labels in doubt, a map of the features."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.audit.mislabelled import rank_label_errors
from lsdkit.data.store import Store
from lsdkit.ensembles import votes
from lsdkit.explore.explorer import Answer
from lsdkit.explore.mapping import map_features
from lsdkit.explore.sheets import SheetExplorer
from lsdkit.figures.faces import face_sheet
from lsdkit.figures.style import LABELS, Figure
from lsdkit.method.bagging import soft_vote
from lsdkit.training import evaluation
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import RESULT, Run, is_finished, list_runs, read_run

MAPPED = 1200  # faces on the map, at most, evenly spaced
CHUNK = 64  # faces that a network reads between two words of progress
STILL = 12


class Errors(SheetExplorer):
    """The mistakes of a run, of those trained beside it, and of their vote, on validation and test faces.

    `runs`: a run or its folder, beside which its neighbours of the same recipe and store can be chosen; or several
    runs, or a folder of them. `data_dir`: where the store is, if not where the run says. Raises `FileNotFoundError`
    where there are no runs, and `ValueError` where they saw different faces, or none of known expression.
    """

    script = "errors"
    title = "What trained members take for what"

    def __init__(self, runs: Run | Path | str | Sequence[Run], data_dir: str | Path = ""):
        self.runs, self.first = find_runs(runs)
        self.store: Store = self.runs[self.first].open_store(data_dir)
        faces, stack = votes.read_stack(self.runs)
        known = faces["expression"].isin(EXPRESSIONS).to_numpy()
        if not known.any():
            raise ValueError(
                f"Expected faces of known expression predicted by {self.runs[0].folder}, but there are none"
            )
        faces, stack = faces[known], stack[:, known]
        row_of = {key: row for row, key in enumerate(self.store.keys)}
        self.rows = np.array([row_of[key] for key in faces["key"]], np.int32)  # (B,)
        self.labels, self.split = labels_of(faces), faces["split"].to_numpy()
        self.names = [votes.name_run(run) for run in self.runs]
        if len(self.runs) > 1:
            stack = np.concatenate([stack, soft_vote(stack, votes.vote_way(self.runs))[None]])
            self.names.append(f"vote of all {len(self.runs)}")
        self.stack = stack.astype(np.float32)  # (M, B, 6), the vote last
        self.splits = list(dict.fromkeys(self.split))
        every = np.arange(len(self.rows))
        self.mapped = every[:: -(-len(every) // MAPPED)]
        self.network = cache(self._load)
        self.features: dict[int, list[np.ndarray]] = {}
        super().__init__()

    def still(self) -> Figure:
        """The faces whose labels are likeliest wrong, else the most confident mistakes, with label and answer."""
        stack = self.stack[self.first]
        wrong = np.flatnonzero((stack.argmax(1) != self.labels) & (self.split == self.splits[0]))
        order = wrong[np.argsort(-stack[wrong].max(1), kind="stable")]
        places = [*dict.fromkeys([*self.find_doubts(self.first, self.splits[0]), *order])][:STILL]
        places = places or [0]
        answers = stack[places].argmax(1)
        titles = [
            f"{LABELS[self.labels[place]]}\n{LABELS[answer]} {stack[place, answer]:.2f}"
            for place, answer in zip(places, answers, strict=True)
        ]
        return face_sheet(self.store.images[self.rows[places]], titles, columns=6, size=1.4)

    def find_doubts(self, voter: int, split: str) -> np.ndarray:
        """Positions among the faces of those of a split whose labels are in doubt, likeliest first."""
        own = np.flatnonzero(self.split == split)
        return own[rank_label_errors(self.labels[own], self.stack[voter, own])]

    def answer_start(self) -> Answer:
        """Names, and of each face its row, label, split and what every voter says of it."""
        said = {"classes": LABELS, "splits": self.splits, "names": self.names, "first": self.first}
        split = np.array([self.splits.index(name) for name in self.split], np.int8)
        return said, [self.rows, self.labels.astype(np.int8), split, self.stack]

    def answer_doubts(self, voter: int, split: str) -> Answer:
        """`find_doubts` as whole numbers."""
        return {}, [self.find_doubts(voter, split).astype(np.int32)]

    def answer_map(self, voter: int) -> Answer:
        """The map of a member's features: how many faces it has read so far, and once it has all, the places.

        To be asked until it is done. The vote has no features: its map is that of the run it begins with.
        """
        member = voter if voter < len(self.runs) else self.first
        parts, total = self.features.setdefault(member, []), len(self.mapped)
        start = sum(map(len, parts))
        if start < total:
            rows, run = self.rows[self.mapped[start : start + CHUNK]], self.runs[member]
            parts.append(evaluation.read_features(self.network(member), self.store, rows, run.member, self._device))
            start += len(rows)
        if start < total:
            return {"done": start, "of": total}, []
        places = self._place(member).astype(np.float32)
        return {"done": total, "of": total, "name": self.names[member]}, [self.mapped.astype(np.int32), places]

    @cache  # noqa: B019  an explorer lives as long as its kernel
    def _place(self, member: int) -> np.ndarray:
        return map_features(np.concatenate(self.features[member]))

    @property
    def _device(self):
        return choose_device("auto")

    def _load(self, member: int):
        return evaluation.load_network(self.runs[member].folder, self._device)


def find_runs(runs: Run | Path | str | Sequence[Run]) -> tuple[list[Run], int]:
    """The runs that can be chosen, and which comes first; a single one brings its neighbours, see `Errors`."""
    if isinstance(runs, Path | str) and not is_finished(runs):
        found = list_runs(runs)
        if not found:
            raise FileNotFoundError(f"Expected a finished run, or a folder of such, but there is none in {runs}")
        return found, 0
    if isinstance(runs, Path | str):
        runs = read_run(runs)
    if not isinstance(runs, Run):
        return list(runs), 0
    found = []
    for path in sorted(runs.folder.parent.glob(f"*/{RESULT}")):
        try:
            other = read_run(path.parent)
        except (ValueError, KeyError):  # of another version: no neighbour
            continue
        if (other.member.recipe, other.checksums) == (runs.member.recipe, runs.checksums):
            found.append(other)
    names = [run.name for run in found]
    return (found, names.index(runs.name)) if runs.name in names else ([runs], 0)
