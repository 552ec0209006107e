"""The status of a folder of runs, by its files alone."""

import os
import platform
import time

import pandas as pd
import pytest

from lsdkit.common import files
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.reproduce import status
from lsdkit.reproduce.record import LOCK, RECORD
from lsdkit.reproduce.status import list_lines, read_status, show_status
from lsdkit.training.runs import write_run
from tests.fake_runs import make_run

NAMES = [f"run{number}" for number in range(4)]


def write_record(folder, names=NAMES, **session):
    """The sweep.json of a sweep that began a minute ago."""
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    session = {"started": started, "host": platform.node(), "jobs": 2, "failed": {}, "ended": False, **session}
    record = {"members": dict.fromkeys(names, ""), "work": dict.fromkeys(names, 10.0), "sessions": [session]}
    files.write_json(folder / RECORD, record)


def finish(folder, name, seconds=40.0):
    write_run(make_run(folder / name, member_from_parameters("smoke", EPOCHS=5), seconds=seconds))


def begin(folder, name, epochs=()):
    """A training of 5 epochs, with a history of these seconds."""
    files.write_json(folder / name / "member.json", {"member": {"epochs": 5}})
    if epochs:
        rows = {"epoch": range(1, len(epochs) + 1), "seconds": epochs, "val_macro_f1": 0.25}
        files.write_table(folder / name / "history.csv", pd.DataFrame(rows))


def read(folder) -> dict[str, status.RunStatus]:
    return {run.name: run for run in read_status(folder).runs}


def test_a_sweep_under_way(tmp_path):
    write_record(tmp_path, failed={"run2": "ValueError: it went wrong"})
    finish(tmp_path, "run0")
    begin(tmp_path, "run1", [8.0, 10.0, 10.0, 10.0])
    with files.hold_lock(tmp_path / LOCK), files.hold_lock(tmp_path / "run1" / ".lock"):
        found = read_status(tmp_path)
    assert [(run.name, run.state) for run in found.runs] == [
        *(("run1", "running"), ("run2", "failed"), ("run3", "waiting"), ("run0", "done"))
    ]
    running, failed, _, done = found.runs
    assert (running.epoch, running.epochs, running.score) == (4, 5, 0.25)
    assert running.left == pytest.approx(10, abs=5)
    assert failed.describe() == "ValueError: it went wrong"
    assert done.describe() == "macro F1 0.500, 40 s"
    assert found.alive
    assert found.left == pytest.approx(40, abs=5)  # the one that waits takes as long as the one that is done
    lines = list_lines(found)
    assert "1 of 4 done, 1 running, 1 failed, 1 waiting; about 40 s left" in lines[0]
    assert lines[1].startswith("running  run1  4 of 5 epochs, macro F1 0.250, about ")


def test_what_a_killed_sweep_leaves_waits(tmp_path):
    write_record(tmp_path)
    finish(tmp_path, "run0")
    begin(tmp_path, "run1", [10.0])
    (tmp_path / LOCK).touch()
    (tmp_path / "run1" / ".lock").touch()
    (tmp_path / "run1" / "03_train.failed.ipynb").touch()  # of a run that was stopped, too
    found = read_status(tmp_path)
    assert not found.alive
    assert [run.state for run in found.runs] == ["waiting"] * 3 + ["done"]
    assert read(tmp_path)["run1"].describe() == "saved after 1 of 5 epochs"
    assert "no sweep runs in it now: the same command again" in list_lines(found)[0]
    with files.hold_lock(tmp_path / LOCK):  # the next one, which has not come to run1 yet
        os.utime(tmp_path / "run1" / "history.csv", (1, 1))
        for path in (tmp_path / "run1").iterdir():
            os.utime(path, (1, 1))
        assert read(tmp_path)["run1"].state == "waiting"


def test_another_machine_sees_fresh_files_where_locks_do_not_reach(tmp_path):
    write_record(tmp_path, host="another")
    begin(tmp_path, "run1", [10.0])
    found = read_status(tmp_path)
    assert found.alive
    assert {run.name: run.state for run in found.runs}["run1"] == "running"
    for path in [*tmp_path.rglob("*"), tmp_path]:
        os.utime(path, (1, 1))
    assert not read_status(tmp_path).alive
    write_record(tmp_path, host="another", ended=True)
    assert not read_status(tmp_path).alive


def test_a_failure_without_a_sweep_is_read_from_its_notebook(tmp_path):
    error = {"output_type": "error", "ename": "ValueError", "evalue": "too small\nby far", "traceback": []}
    files.write_json(tmp_path / "run0" / "03_train.failed.ipynb", {"cells": [{"source": ""}, {"outputs": [error]}]})
    begin(tmp_path, "run0")
    begin(tmp_path, "run1")
    files.write_json(tmp_path / "run1" / "03_train.failed.ipynb", {"cells": []})
    begin(tmp_path, "run2")
    with files.hold_lock(tmp_path / "run2" / ".lock"):
        found = read(tmp_path)
    assert found["run0"].describe() == "ValueError: too small"
    assert found["run1"].describe() == "03_train.failed.ipynb shows where it stopped"
    assert found["run2"].describe() == "0 of 5 epochs"
    assert found["run2"].state == "running"
    assert "no sweep runs" not in list_lines(read_status(tmp_path))[0]


def test_records_of_earlier_versions_and_damaged_results_are_told(tmp_path):
    write_record(tmp_path, failed=["run2"])
    finish(tmp_path, "run0")
    result = files.read_json(tmp_path / "run0" / "result.json")
    files.write_json(tmp_path / "run0" / "result.json", result | {"seconds": 1e9})
    found = read(tmp_path)
    assert found["run2"].describe() == "no reason is kept"
    assert "result.json is damaged" in found["run0"].reason
    files.write_text(tmp_path / RECORD, "[]")
    with pytest.raises(files.Damaged, match=r"sweep\.json"):
        read_status(tmp_path)


def test_what_failed_in_an_earlier_session_has_failed_until_another_is_under_way(tmp_path):
    write_record(tmp_path, failed={"run1": "ValueError: no", "run2": "ValueError: first"})
    record = files.read_json(tmp_path / RECORD)
    record["sessions"].append(record["sessions"][0] | {"failed": {"run2": "ValueError: second"}})
    files.write_json(tmp_path / RECORD, record)
    reasons = {run.name: run.reason for run in read_status(tmp_path).runs if run.state == "failed"}
    assert reasons == {"run1": "ValueError: no", "run2": "ValueError: second"}
    with files.hold_lock(tmp_path / LOCK):
        assert {name for name, run in read(tmp_path).items() if run.state == "failed"} == {"run2"}


def test_text_keeps_to_a_terminal(tmp_path):
    write_record(tmp_path, [f"run{number}" for number in range(30)])
    finish(tmp_path, "run7")
    lines = list_lines(read_status(tmp_path), width=40, height=10)
    assert len(lines) == 10
    assert max(map(len, lines)) <= 40
    assert lines[-1] == "... and 22 more, the last of them done"
    assert len(list_lines(read_status(tmp_path))) == 31


def test_a_terminal_is_drawn_anew_until_nothing_runs(tmp_path, monkeypatch, capsys):
    write_record(tmp_path, ["run0", "run1"])
    lock = files.hold_lock(tmp_path / LOCK)
    lock.__enter__()
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        finish(tmp_path, f"run{len(looks) - 1}")
        if len(looks) == 2:
            lock.__exit__(None, None, None)

    monkeypatch.setattr(status.time, "sleep", sleep)
    monkeypatch.setattr(status.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    text = show_status(tmp_path)
    assert "2 of 2 done" in text
    drawn = capsys.readouterr().out
    assert ["0 of 2 done" in drawn, "1 of 2 done" in drawn] == [True, True]
    assert drawn.count("\x1b[3A\x1b[J") == 2
    assert len(looks) == 2
    assert show_status(tmp_path, once=True) == text
    assert capsys.readouterr().out == ""


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a sweep or runs in"):
        read_status(tmp_path)
