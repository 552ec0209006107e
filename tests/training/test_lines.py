"""A training in lines: what they say, when, and the time left."""

import time

import pytest

from lsdkit.training import lines as module
from lsdkit.training.lines import Lines
from lsdkit.training.progress import Progress


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """Seconds that have passed; tests move it on."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def step(progress: Progress, lines: Lines, clock: list[float], seconds: float) -> None:
    clock[0] += seconds
    progress.add_step([2.0, 1.0], 8)
    lines.end_step()


def end_epoch(progress: Progress, lines: Lines, seconds: float, score: float) -> None:
    row = {"epoch": progress.epoch + 1, "loss": 2.0, "f1": score, "seconds": seconds}
    progress.end_epoch(row, "f1", {})
    lines.end_epoch(row)


def test_each_epoch_has_a_line_with_the_time_left(clock, capsys):
    progress = Progress()
    lines = Lines(progress, 2, 4, "f1", "macro F1")
    for epoch in range(2):
        for _ in range(4):
            step(progress, lines, clock, 0.5)
        end_epoch(progress, lines, 2.0, 0.25 * (epoch + 1))
    said = capsys.readouterr()
    assert said.out == ""  # results go there
    assert said.err.splitlines() == [
        "epoch 1 of 2: loss 2.000, macro F1 0.250, 2 s; about 2 s left",
        "epoch 2 of 2: loss 2.000, macro F1 0.500, 2 s",
    ]


def test_a_long_epoch_has_lines_between(clock, capsys):
    progress = Progress()
    lines = Lines(progress, 1, 100, "f1", "macro F1")
    for _ in range(60):
        step(progress, lines, clock, 1.0)
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1 of 1: step 6 of 100, loss 2.000; about 2 min left",
        "epoch 1 of 1: step 37 of 100, loss 2.000; about 63 s left",
    ]
    assert module.EVERY == 30


def test_what_is_resumed_counts_its_own_time(clock, capsys):
    progress = Progress(epoch=1, step=2, faces=16, sums=[32.0, 16.0])
    lines = Lines(progress, 3, 4, "f1", "macro F1")
    for _ in range(2):
        step(progress, lines, clock, 1.0)
    end_epoch(progress, lines, 4.0, 0.5)
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2 of 3: goes on after step 2 of 4",
        "epoch 2 of 3: loss 2.000, macro F1 0.500, 4 s; about 4 s left",
    ]


def test_an_epoch_without_a_score_says_none(clock, capsys):
    progress = Progress()
    lines = Lines(progress, 1, 1, "f1", "macro F1")
    step(progress, lines, clock, 1.0)
    end_epoch(progress, lines, 1.0, float("nan"))
    assert capsys.readouterr().err == "epoch 1 of 1: loss 2.000, 1 s\n"


def test_silence(clock, capsys):
    progress = Progress(epoch=1)
    lines = Lines(progress, 2, 1, "f1", "macro F1", silent=True)
    step(progress, lines, clock, 99.0)
    end_epoch(progress, lines, 99.0, 0.5)
    assert capsys.readouterr() == ("", "")
