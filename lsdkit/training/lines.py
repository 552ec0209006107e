"""A training under way in lines of text: one an epoch and, while an epoch is long, some between, with the time left.

Lines and no bar: they appear while a notebook's cell runs, in JupyterLab, a terminal and papermill's log alike, and
what they say is still true in a saved notebook.
"""

import math
import time

from lsdkit.common.bars import choose_stream
from lsdkit.training.progress import Progress

EPOCH = "epoch "  # how each line begins
FIRST, EVERY = 5.0, 30.0  # seconds to the first line inside an epoch, and from line to line


class Lines:
    """Tells of the steps and epochs of a training, from where `progress` stands.

    `epochs` of `steps` steps each; `score` is the column of the history that an epoch's line gives, `words` its name.
    """

    def __init__(self, progress: Progress, epochs: int, steps: int, score: str, words: str, *, silent: bool = False):
        self.progress, self.epochs, self.steps = progress, epochs, steps
        self.score, self.words, self.silent = score, words, silent
        self.done = self._count_steps()
        self.start = self.told = time.monotonic()
        self.told += FIRST - EVERY
        if self.done:
            self._tell(f"goes on after step {progress.step} of {steps}")

    def end_step(self) -> None:
        """Tell where it stands, where nothing was told for `EVERY` seconds."""
        if time.monotonic() - self.told > EVERY:
            at, loss = self.progress, self.progress.means()[0]
            self._tell(f"step {at.step} of {self.steps}, loss {loss:.3f}{self._estimate_rest()}")

    def end_epoch(self, row: dict) -> None:
        """Tell of an epoch by its row of the history, which `Progress.end_epoch` has added."""
        score = "" if math.isnan(row[self.score]) else f"{self.words} {row[self.score]:.3f}, "
        what = f"loss {row['loss']:.3f}, {score}{describe_time(row['seconds'])}{self._estimate_rest()}"
        self._tell(what, row["epoch"])

    def _tell(self, what: str, epoch: int = 0) -> None:
        self.told = time.monotonic()
        if not self.silent:
            text = f"{EPOCH}{epoch or self.progress.epoch + 1} of {self.epochs}: {what}"
            print(text, file=choose_stream(), flush=True)

    def _count_steps(self) -> int:
        return self.progress.epoch * self.steps + self.progress.step

    def _estimate_rest(self) -> str:
        """The time left, by the steps made since the start; scoring and saving are in their time."""
        made, left = self._count_steps() - self.done, self.epochs * self.steps - self._count_steps()
        return f"; about {describe_time((time.monotonic() - self.start) / made * left)} left" if made and left else ""


def describe_time(seconds: float) -> str:
    """A length of time in words.

    >>> describe_time(4.4), describe_time(300), describe_time(9000)
    ('4 s', '5 min', '2.5 h')
    """
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
