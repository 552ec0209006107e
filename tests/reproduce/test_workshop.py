"""The workshop's check: what it finds, what it says to do, and that it prepares nothing in vain."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from lsdkit.common.files import write_json
from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.reproduce import lessons, workshop
from lsdkit.reproduce.demo import list_entries
from lsdkit.reproduce.workshop import Check, check_machine, check_prepared, prepare_workshop
from lsdkit.training.runs import write_run
from tests.fake_runs import make_run


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one notebook and nothing prepared."""
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    cell = {"cell_type": "markdown", "metadata": {}, "source": ["# 01"]}
    write_json(tmp_path / "notebooks" / "01_one.ipynb", {"cells": [cell]})
    return tmp_path


def by_name(checks) -> dict[str, Check]:
    return {each.name: each for each in checks}


@pytest.mark.slow
def test_this_machine_will_do():
    assert workshop.list_advice(check_machine()) == []


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("cores", ("cores", lambda: 1), "at least 2 is needed; notebooks run, one at a time"),
        ("memory", ("psutil.virtual_memory", lambda: SimpleNamespace(total=2**30)), "at least 4.0 GiB is needed"),
        ("disk", ("shutil.disk_usage", lambda _: SimpleNamespace(free=2**29)), "at least 2.0 GiB is needed"),
    ],
)
def test_what_is_too_small_is_told_with_what_to_do(project, monkeypatch, name, change, words):
    monkeypatch.setattr(workshop, "_run", lambda *module: subprocess.CompletedProcess(module, 0, "{}", ""))
    monkeypatch.setattr(f"lsdkit.reproduce.workshop.{change[0]}", change[1])
    (line,) = [line for line in workshop.list_advice(check_machine()) if line.startswith(f"  {name}:")]
    assert words in line


@pytest.mark.parametrize(
    ("answer", "found", "advice"),
    [
        (sys.executable, "in this environment", ""),
        ("python", "in this environment", ""),
        (
            "/elsewhere/bin/python",
            "python3 is /elsewhere/bin/python, of another environment",
            "remove /kernels/python3",
        ),
        ("", "JupyterLab knows no kernel python3", "ipykernel install --sys-prefix` makes one"),
    ],
)
def test_a_kernel_of_another_environment_is_found(monkeypatch, answer, found, advice):
    spec = (
        f'{{"python3": {{"resource_dir": "/kernels/python3", "spec": {{"argv": ["{answer}"]}}}}}}' if answer else "{}"
    )
    told = subprocess.CompletedProcess((), 0, f'{{"kernelspecs": {spec}}}', "")
    monkeypatch.setattr(workshop, "_run", lambda *module: told)
    check = workshop._check_kernel()
    assert found in check.found
    assert advice in check.advice
    assert bool(check.advice) == bool(advice)


def test_packages_that_do_not_fit_are_named(monkeypatch):
    broken = subprocess.CompletedProcess((), 1, "lsdkit 0.1.0 requires anny, which is not installed.\n", "")
    monkeypatch.setattr(workshop, "_run", lambda *module: broken)
    assert "requires anny" in workshop._check_packages().found
    assert "make env" in workshop._check_packages().advice
    without = subprocess.CompletedProcess((), 1, "", "python: No module named pip")
    monkeypatch.setattr(workshop, "_run", lambda *module: without)
    assert workshop._check_packages().advice == ""


def test_weights_that_are_not_there_are_named(monkeypatch):
    def lose(recipe, appearance):
        raise FileNotFoundError("Expected dlib_face in weights")

    monkeypatch.setattr(workshop, "fingerprint_sources", lose)
    check = workshop._check_weights()
    assert (check.found, bool(check.advice)) == ("Expected dlib_face in weights", True)


def test_what_is_prepared_is_found(project):
    missing = by_name(check_prepared())
    assert missing["open set"].advice == missing["members"].advice == "`lsdkit workshop` makes it"
    assert missing["members"].found == "8 of 8 not trained"
    assert missing["notebooks"].found == "not run as they are now: 01_one"
    for entry in list_entries():
        write_run(make_run(project / lessons.DEMO / entry.member.name, entry.member))
    (lesson,) = lessons.list_lessons()
    lesson.copy.parent.mkdir(parents=True)
    lesson.copy.write_bytes(lesson.notebook.read_bytes())
    there = by_name(check_prepared())
    assert there["members"] == Check("members", "trained")
    assert there["notebooks"] == Check("notebooks", "each was run here once")


def test_check_prepares_nothing_and_a_machine_that_will_not_do_neither(project, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(workshop, "run_lessons", lambda: ran.append(1))
    monkeypatch.setattr(workshop, "check_machine", lambda: [Check("memory", "1 GiB", "buy some")])
    with pytest.raises(SystemExit) as end:
        prepare_workshop()
    assert end.value.code == 1
    assert "missing:\n  memory: buy some\n  open set: `lsdkit workshop` makes it" in (capsys.readouterr().out)
    monkeypatch.setattr(workshop, "check_machine", lambda: [Check("memory", "8 GiB")])
    with pytest.raises(SystemExit):
        prepare_workshop(check=True)
    assert ran == []
    monkeypatch.setattr(workshop, "check_prepared", lambda: [Check("members", "trained")])
    text = prepare_workshop()
    assert ran == [1]
    assert text == "memory       ok  8 GiB\nmembers      ok  trained\n\nready: nothing of it needs a network"


def test_lessons_that_are_executed_are_not_run_again(project, monkeypatch):
    ran, failed = [], {}
    monkeypatch.setattr(lessons, "list_missing_members", list)
    monkeypatch.setattr(lessons, "execute_all", lambda jobs, *options: ran.append([job.name for job in jobs]) or failed)
    assert [lesson.name for lesson in lessons.run_lessons()] == ["01_one"]
    (lesson,) = lessons.list_lessons()
    lesson.copy.parent.mkdir(parents=True)
    lesson.copy.write_bytes(lesson.notebook.read_bytes())
    lessons.run_lessons()
    assert ran == [["01_one"], []]
    failed["01_one"] = "Traceback\nValueError: no"
    with pytest.raises(ChildProcessError, match="01_one: ValueError: no"):
        lessons.run_lessons()


def test_parameters_are_given_to_notebooks_that_there_are():
    assert set(lessons.GIVEN) <= {path.stem for path in (PACKAGE_PARENT / "notebooks").glob("*.ipynb")}
