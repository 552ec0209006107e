"""The training loop: epochs of steps, a score after each epoch, checkpoints, and a stop that loses nothing.

It knows a task and nothing of networks, faces or losses. Who calls it holds the run's folder, says how a checkpoint is
written, and is told of every step and epoch.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from lsdkit.common.signals import Interrupts, Stopped
from lsdkit.training.processes import ALONE, Alone
from lsdkit.training.progress import Clock, Progress


class Task(Protocol):
    """What is trained. Everything random in it is a function of its own seed, the epoch and the step."""

    epochs: int
    measures: tuple[str, ...]  # names of what a step returns: "loss", then its parts
    criterion: str  # which score decides the epoch that is kept: its largest value, the earlier of two equal ones

    def start_epoch(self, epoch: int) -> dict[str, float]:
        """Get ready for an epoch (from 0); returns what its row of the history begins with, such as the rate."""

    def batches(self, epoch: int) -> Sequence[np.ndarray]:
        """The faces of each step of an epoch."""

    def step(self, batch: np.ndarray, epoch: int, step: int) -> Sequence[float]:
        """One step of the optimiser; returns `measures`. Raises `FloatingPointError` for a loss that is not finite."""

    def score(self, check: Callable[[], None]) -> dict[str, float]:
        """Scores for the history, `criterion` among them; calls `check` now and then, which may raise."""

    def scored_state(self) -> dict:
        """A copy of the tensors that were scored: what is kept of the best epoch."""


def fit(
    task: Task,
    progress: Progress,
    save: Callable[[], None],
    *,
    checkpoint_every: float = 300.0,
    on_step: Callable[[], None] = lambda: None,
    on_epoch: Callable[[dict], None] = lambda row: None,
    processes: Alone = ALONE,
) -> None:
    """Train from where `progress` stands to the task's last epoch; changes both in place.

    `save` writes a checkpoint: after each epoch and, inside one, every `checkpoint_every` seconds. A row of the history
    holds epoch (from 1), what `start_epoch` tells, the means of `measures`, the scores and seconds. SIGTERM and an
    interrupt are answered after the step under way: the checkpoint is written, then `SystemExit` or `KeyboardInterrupt`
    is raised. Where several processes make these steps together, all of them stop after the same one.
    """
    clock = Clock(progress)

    def checkpoint() -> None:
        clock.save()
        save()

    with Interrupts() as interrupts:

        def check() -> None:
            if agreed := processes.agree(interrupts.received):  # one that comes meanwhile waits for the next time
                interrupts.received = agreed
                interrupts.check()

        try:
            while progress.epoch < task.epochs:
                row = {"epoch": progress.epoch + 1, **task.start_epoch(progress.epoch)}
                for batch in task.batches(progress.epoch)[progress.step :]:
                    progress.add_step(task.step(batch, progress.epoch, progress.step), len(batch))
                    on_step()
                    if clock.unsaved() > checkpoint_every:
                        checkpoint()
                    check()
                scores = task.score(interrupts.check)
                row |= dict(zip(task.measures, progress.means(), strict=True)) | scores
                row["seconds"] = clock.epoch_seconds()
                progress.end_epoch(row, task.criterion, task.scored_state())
                checkpoint()
                on_epoch(row)
                check()
        except Stopped as stopped:
            checkpoint()
            processes.wait()
            raise stopped.reason from None
