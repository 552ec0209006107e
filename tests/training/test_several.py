"""A whole training in two processes, which is that of one process: its history, its files, its stop and its end."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints, launching, processes
from lsdkit.training.member import train_member

ROOT = Path(__file__).parents[2]
SIZES = {"image_size": 16, "batch_size": 13, "learning_rate": 1e-5}  # with a large rate rounding soon decides
MEMBER = Member(recipe=replace(SMOKE, **SIZES, averaging=0.9, statistics="measured", class_weights="balanced"))
OPTIONS = {"device": "cpu", "progress": False}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def alone(tiny_store, tmp_path_factory):
    return train_member(MEMBER, tiny_store, tmp_path_factory.mktemp("alone"), **OPTIONS)


def compare(run, alone):
    """The history of one process up to rounding, and files that say the same."""
    names = ["lr", "loss", "expression", "affinity", "partition", "landmarks", "val_loss"]
    one, other = (each.read_history()[names].to_numpy() for each in (run, alone))
    np.testing.assert_allclose(one, other, rtol=1e-3)
    ours, theirs = (checkpoints.read_weights(each.folder)["state"] for each in (run, alone))
    assert ours.keys() == theirs.keys()
    assert run.counts == alone.counts
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in alone.folder.iterdir()}
    assert run.device == "2 x cpu"


SCRIPT = """
import json, os, signal, sys, lsdkit
from pathlib import Path
from lsdkit.training.runs import read_member

member = read_member(json.loads(sys.argv[1]), Path("here"))
stop = lambda row: os.kill(os.getpid(), signal.SIGTERM)
lsdkit.train(member, lsdkit.Store.open(sys.argv[2]), sys.argv[3], device="cpu", on_epoch=stop)
"""


@pytest.mark.slow
def test_two_processes_train_as_one_does(tiny_store, tmp_path, alone, capsys):
    """A script under torchrun, whose first process gets SIGTERM after an epoch; then a call that goes on from there."""
    pytest.importorskip("lightning_fabric")
    script, folder, rows = tmp_path / "train.py", tmp_path / "run", []
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    command += [json.dumps(MEMBER.spec()), str(tiny_store.path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode != 0
    assert done.stderr.count("epoch 1 of 2: loss") == 1  # the first process alone tells
    progress = checkpoints.read(folder / "checkpoint.pt")["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 0)
    run = train_member(MEMBER, tiny_store, folder, device="cpu", devices=2, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [2]
    assert rows[0]["loss"] == pytest.approx(run.read_history()["loss"][1], rel=1e-6)  # a table has fewer digits
    assert "epoch 2 of 2: loss" in capsys.readouterr().err
    compare(run, alone)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train_member(MEMBER, tiny_store, folder, **OPTIONS) == run  # finished, whatever the number
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.slow
def test_a_stop_is_answered_and_a_dead_process_ends_all(tiny_store, tmp_path):
    pytest.importorskip("lightning_fabric")
    member = replace(MEMBER, epochs=500)

    def find_workers():
        return [each for each in psutil.Process().children(recursive=True) if "RANK" in each.environ()]

    def kill(row):
        for each in find_workers():
            if each.environ()["RANK"] == "1":
                each.kill()

    def stop(row):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train_member(member, tiny_store, tmp_path, devices=2, on_epoch=stop, **OPTIONS)
    reached = checkpoints.read(tmp_path / "checkpoint.pt")["progress"]
    assert 1 <= reached["epoch"] < 500
    with pytest.raises(RuntimeError, match=r"A process of the training in .* has ended; the last checkpoint stays"):
        train_member(member, tiny_store, tmp_path, devices=2, on_epoch=kill, **OPTIONS)
    assert checkpoints.read(tmp_path / "checkpoint.pt")["progress"]["epoch"] > reached["epoch"]
    assert find_workers() == []


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A function that lets a few lines of shell stand in for torchrun and its processes."""

    def let(lines: str) -> None:
        path = tmp_path / "stand-in"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        monkeypatch.setattr(launching.sys, "executable", str(path))
        monkeypatch.setattr(launching, "check_devices", lambda device, devices: device)

    return let


def tell(kind, value):
    return f"echo '{launching.MARK}{json.dumps([kind, value])}'"


def test_what_the_first_process_tells_is_passed_on(tiny_store, tmp_path, stand_in, capsys):
    rows, row = [], {"epoch": 1, "loss": 0.1 + 0.2}
    lines = [tell("row", row), "echo 'epoch 1 of 2'", tell("warning", "odd"), tell("error", ["OSError", "full"])]
    stand_in("\n".join([*lines, "echo noise >&2", "exit 1"]))
    with pytest.raises(OSError, match=r"^full$"), pytest.warns(UserWarning, match=r"^odd$"):
        train_member(MEMBER, tiny_store, tmp_path / "run", devices=2, on_epoch=rows.append, **OPTIONS)
    assert rows == [row]
    assert capsys.readouterr().err == "epoch 1 of 2\n"


def test_an_end_without_a_word(tiny_store, tmp_path, stand_in):
    stand_in("echo 'out of memory' >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"A process of the training in .*run has ended; (?s:.*)out of memory"):
        train_member(MEMBER, tiny_store, tmp_path / "run", devices=2, **OPTIONS)


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_stop_closes_the_pipe_and_waits(tiny_store, tmp_path, stand_in, number, kind):
    """What stands in for the training reads to the pipe's end, and is let finish."""
    stand_in(
        "\n".join([tell("row", {}), "cat", f"touch {tmp_path}/saved", tell("error", ["SystemExit", "143"]), "exit 1"])
    )
    with pytest.raises(kind):
        train_member(
            MEMBER,
            tiny_store,
            tmp_path / "run",
            devices=2,
            on_epoch=lambda row: os.kill(os.getpid(), number),
            **OPTIONS,
        )
    assert (tmp_path / "saved").exists()


def test_an_error_of_the_callback_stops_it_too(tiny_store, tmp_path, stand_in):
    stand_in("\n".join([tell("row", {}), "cat", f"touch {tmp_path}/saved"]))
    with pytest.raises(ZeroDivisionError):
        train_member(MEMBER, tiny_store, tmp_path / "run", devices=2, on_epoch=lambda row: 1 / 0, **OPTIONS)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("devices", [0, -1, 1.5, True, "2"])
def test_a_number_of_devices_that_is_none(tiny_store, tmp_path, devices):
    with pytest.raises(ValueError, match="Expected `DEVICES`"):
        train_member(MEMBER, tiny_store, tmp_path / "run", devices=devices, **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_had_is_told_before_anything_starts(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(launching.subprocess, "Popen", None)
    with pytest.raises(ValueError, match="Expected `DEVICE` to be one of"):
        train_member(MEMBER, tiny_store, tmp_path, devices=2, device="gpu")
    monkeypatch.setattr(processes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"Expected at most 2 `DEVICES`.* but got 3; or say DEVICE cpu"):
        train_member(MEMBER, tiny_store, tmp_path, devices=3, device="cuda")
    with pytest.raises(ValueError, match="Expected `DEVICE` auto, cpu or cuda with 2 `DEVICES`, but got 'cuda:1'"):
        train_member(MEMBER, tiny_store, tmp_path, devices=2, device="cuda:1")
    monkeypatch.setattr(processes, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'lsdkit\[distributed\]'"):
        train_member(MEMBER, tiny_store, tmp_path, devices=2, device="cpu")


def test_another_number_than_torchrun_started(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="Expected `DEVICES` 2, the processes that torchrun started, or 1, but got 3"):
        train_member(MEMBER, tiny_store, tmp_path, devices=3, **OPTIONS)
