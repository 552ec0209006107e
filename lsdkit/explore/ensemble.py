"""The explorer of notebook 05: tick members and see what their vote is worth, class by class, and how they differ."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.ensembles import votes
from lsdkit.explore.explorer import Answer, Explorer
from lsdkit.figures.plots import per_class_f1
from lsdkit.figures.style import LABELS, Figure
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run, list_runs


class Ensemble(Explorer):
    """Macro F1, F1 of each class, disagreement, calibration and learning curve of the vote of ticked members.

    `runs`: finished runs, or the folder that holds them; they vote as their recipe says. All of it is counted in the
    browser from the members' probabilities, which are sent once a split; the bootstrap's intervals are the library's.
    Raises `ValueError` where there are no runs, where they saw different faces, and where no face's label is known.
    """

    script = "ensemble"
    title = "The vote of the members that are ticked"

    def __init__(self, runs: Path | str | Sequence[Run]):
        self.runs = list_runs(runs) if isinstance(runs, Path | str) else list(runs)
        if not self.runs:
            where = f" in {runs}" if isinstance(runs, Path | str) else ""
            raise ValueError(
                f"Expected finished runs{where}, but got none; train some, or name the folder that has them"
            )
        self.way, self.splits = votes.vote_way(self.runs), votes.labelled_splits(self.runs)
        if not self.splits:
            raise ValueError(
                f"Expected faces of known expression among the predictions of {self.runs[0].folder}, but there are none"
            )
        self.read = cache(self._read)
        self.read(self.splits[0])  # runs of different faces end here
        super().__init__()

    def still(self) -> Figure:
        """F1 of each class by the vote of all."""
        scores = self._score(self.splits[0], range(len(self.runs))).loc[list(EXPRESSIONS)]
        return per_class_f1(scores["value"], scores["low"], scores["high"])

    def answer_start(self) -> Answer:
        """What does not depend on the faces: names, and whether each member is weak."""
        names, weak = [votes.name_run(run) for run in self.runs], [bool(run.member.bag) for run in self.runs]
        return {"classes": LABELS, "splits": self.splits, "way": self.way, "names": names, "weak": weak}, []

    def answer_faces(self, split: str) -> Answer:
        """The labels (B,) of a split's faces, and the probabilities (M, B, 6) that each member gives them."""
        labels, stack = self.read(split)
        return {"faces": len(labels)}, [labels.astype(np.int8), stack]

    def answer_intervals(self, split: str, members: list[int]) -> Answer:
        """The 95% bootstrap intervals of the vote of `members`, numbers from 0: of macro F1, then of each class."""
        scores = self._score(split, members)
        return {name: scores[name].tolist() for name in ("value", "low", "high")}, []

    def _score(self, split: str, members: Sequence[int]) -> pd.DataFrame:
        labels, stack = self.read(split)
        return metrics.bootstrap_f1(labels, soft_vote(stack[list(members)], self.way).argmax(1))

    def _read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        faces, stack = votes.read_stack(self.runs, split)
        return labels_of(faces), stack.astype(np.float32)  # as the browser has them: both count the same numbers
