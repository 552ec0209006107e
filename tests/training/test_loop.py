"""The loop on a task without any network: what it asks for, in which order, and where it goes on."""

import os
import signal
from dataclasses import asdict

import numpy as np
import pytest

from lsdkit.training.loop import fit
from lsdkit.training.progress import Clock, Progress


class Counting:
    """A task whose steps return their number, and whose score is told beforehand."""

    measures = ("loss", "part")
    criterion = "goodness"

    def __init__(self, scores=(0.2, 0.5, 0.5)):
        self.scores, self.epochs, self.calls, self.made = scores, len(scores), [], 0

    def start_epoch(self, epoch):
        self.calls.append(("start", epoch))
        self.epoch = epoch
        return {"lr": 0.5**epoch}

    def batches(self, epoch):
        return [np.arange(2), np.arange(4)]

    def step(self, batch, epoch, step):
        self.calls.append(("step", epoch, step, len(batch)))
        self.made += 1
        return [float(self.made), 1.0]

    def score(self, check):
        check()
        self.calls.append(("score", self.epoch))
        return {"goodness": self.scores[self.epoch]}

    def scored_state(self):
        return {"made": self.made}


def test_epochs_steps_scores_and_what_is_kept():
    task, progress, rows, steps, saved = Counting(), Progress(), [], [], []
    fit(task, progress, lambda: saved.append(progress.epoch), on_step=lambda: steps.append(1), on_epoch=rows.append)
    assert task.calls[:4] == [("start", 0), ("step", 0, 0, 2), ("step", 0, 1, 4), ("score", 0)]
    assert len(steps) == 6
    assert saved == [1, 2, 3]
    assert [list(row) for row in rows] == [["epoch", "lr", "loss", "part", "goodness", "seconds"]] * 3
    assert [row["lr"] for row in rows] == [1.0, 0.5, 0.25]
    assert rows[0]["loss"] == pytest.approx((2 * 1 + 4 * 2) / 6)  # a mean over faces, not over steps
    assert rows == progress.history
    assert progress.best == {"epoch": 2, "goodness": 0.5, "state": {"made": 4}}  # the earlier of two equal ones
    assert (progress.epoch, progress.step, progress.faces, progress.sums) == (3, 0, 0, [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_answered_after_the_step_and_the_rest_is_done_later(number, monkeypatch):
    whole = Progress()
    fit(Counting(), whole, lambda: None)
    task, progress, saved = Counting(), Progress(), []
    with monkeypatch.context() as patch:
        patch.setattr(
            task, "step", lambda *a: (Counting.step(task, *a), task.made == 3 and os.kill(os.getpid(), number))[0]
        )
        with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt):
            fit(task, progress, lambda: saved.append(asdict(progress)))
    assert (saved[-1]["epoch"], saved[-1]["step"]) == (1, 1)
    again = Progress(**saved[-1])
    fit(task, again, lambda: None)
    assert task.made == 6  # no step is made twice
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]
    assert again.best == whole.best


def test_an_error_in_a_step_leaves_the_last_checkpoint_alone():
    task, progress, saved = Counting(), Progress(), []
    task.step = lambda *arguments: (_ for _ in ()).throw(FloatingPointError("the loss is nan"))
    with pytest.raises(FloatingPointError, match="nan"):
        fit(task, progress, lambda: saved.append(1))
    assert saved == []


def test_the_clock_counts_what_was_saved_and_what_was_not(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = Progress(seconds=7.0, history=[{"seconds": 4.0}])
    clock = Clock(progress)
    now[0] += 2
    assert clock.unsaved() == 2
    assert clock.epoch_seconds() == 5  # 7 + 2 less those of the first epoch
    clock.save()
    assert progress.seconds == 9
    assert clock.unsaved() == 0
