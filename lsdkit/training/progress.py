"""How far a training has come, and the time that it has taken: what a checkpoint holds beside tensors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Where a training stands. The sums are of the epoch under way, each value weighed by the faces of its step."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the epoch under way
    faces: int = 0  # faces seen in those steps
    sums: list[float] = field(default_factory=list)  # of the loss and its parts
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)  # a row an epoch
    best: dict = field(default_factory=dict)  # epoch (from 1), its score, state: what will be kept
    notes: list[str] = field(default_factory=list)  # what a reader of the result should know

    def add_step(self, values: Sequence[float], faces: int) -> None:
        """Count a step over so many faces, with the loss and its parts."""
        before = self.sums or [0.0] * len(values)
        self.sums = [total + faces * value for total, value in zip(before, values, strict=True)]
        self.step, self.faces = self.step + 1, self.faces + faces

    def means(self) -> list[float]:
        """The loss and its parts, each a mean over the faces of the epoch so far."""
        return [total / self.faces for total in self.sums]

    def end_epoch(self, row: dict, score: str, state: dict) -> None:
        """Add the epoch's row to the history, keep `state` where its score is the best yet, turn to the next epoch."""
        self.history.append(row)
        if not self.best or row[score] > self.best[score]:
            self.best = {"epoch": row["epoch"], score: row[score], "state": state}
        self.epoch, self.step, self.faces, self.sums = self.epoch + 1, 0, 0, []


class Clock:
    """Brings `progress.seconds` up to date; what passed since is not in it yet."""

    def __init__(self, progress: Progress):
        self.progress, self.mark = progress, time.monotonic()

    def unsaved(self) -> float:
        """Seconds since the last `save`."""
        return time.monotonic() - self.mark

    def save(self) -> None:
        """Add what has passed to the progress."""
        now = time.monotonic()
        self.progress.seconds, self.mark = self.progress.seconds + now - self.mark, now

    def epoch_seconds(self) -> float:
        """What the epoch under way has taken."""
        return self.progress.seconds + self.unsaved() - sum(row["seconds"] for row in self.progress.history)
