"""Notebooks run headless: their parameters are checked, and they end when they are told to."""

import os
import signal
import threading
import time

import nbformat
import pytest

from lsdkit.reproduce import headless


def test_unknown_parameters_stop_before_anything_runs(tmp_path):
    notebook = tmp_path / "one.ipynb"
    cell = nbformat.v4.new_code_cell('MIX: str = "mixup"\nBAG: int = 0', metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), notebook)
    headless.check_parameters(headless.Job("one", notebook, tmp_path / "copy.ipynb", {"MIX": "mixup", "BAG": 1}))
    wrong = headless.Job("one", notebook, tmp_path / "copy.ipynb", {"MIXX": "mixup", "BAGS": 1, "BAG": 0})
    for check in (headless.check_parameters, headless.execute, lambda job: headless.execute_all([job], 1, 1, print)):
        with pytest.raises(ValueError, match=r"Expected parameters of one\.ipynb \(MIX, BAG\), but got BAGS, MIXX"):
            check(wrong)
    assert not (tmp_path / "copy.ipynb").exists()


def test_jobs_are_made_of_the_projects_notebooks(tmp_path):
    job = headless.make_job("03_train", tmp_path / "run", {"BAG": 1}, "weak")
    assert (job.name, job.notebook.name, job.copy) == ("weak", "03_train.ipynb", tmp_path / "run" / "03_train.ipynb")
    assert job.parameters == {"BAG": 1, "RUN_DIR": str(tmp_path / "run")}
    assert headless.make_job("03_train", tmp_path, {}).name == "03_train"
    with pytest.raises(FileNotFoundError, match=r"Expected 33_train\.ipynb .*03_train, 04_per_class_f1"):
        headless.make_job("33_train", tmp_path, {})


@pytest.mark.slow
@pytest.mark.notebooks
def test_a_notebook_that_takes_too_long_is_ended(tiny_store, tmp_path):
    job = headless.make_job("03_train", tmp_path / "run", {"DATA_DIR": str(tiny_store.path), "RECIPE": "smoke"})
    start = time.monotonic()
    assert headless.execute(job, 1, timeout=3.0) == "it ran longer than 3 s"
    assert time.monotonic() - start < 3 + 3 * headless.ENDS_WITHIN
    assert not job.copy.exists()


def test_what_a_report_raises_stops_the_others_and_starts_no_more(tmp_path, monkeypatch):
    ended, started = [], threading.Event()

    def execute(job, threads, *, stop, **options):
        if job.name == "fails":
            assert started.wait(20)
            return "ValueError: no"
        started.set()
        ended.append((job.name, stop.wait(20)))
        return "it was stopped"

    def report(job, error, seconds):
        raise InterruptedError(job.name)

    monkeypatch.setattr(headless, "execute", execute)
    monkeypatch.setattr(headless, "check_parameters", lambda job: None)
    jobs = [headless.Job(name, tmp_path / "one.ipynb", tmp_path / name) for name in ("long", "fails", "later", "last")]
    start = time.monotonic()
    with pytest.raises(InterruptedError, match="fails"):
        headless.execute_all(jobs, 2, 1, report)
    assert time.monotonic() - start < 15
    assert ended == [("long", True)]


def test_a_death_is_told_with_the_memory_it_had():
    told = headless.describe_death(3 * headless.GIB, 0)
    assert told.startswith(
        "its kernel died, killed as a system does where memory runs out, or crashed: it held 3.0 GiB"
    )
    assert "\n" not in told
    assert headless.describe_death(0, 2).startswith("the system killed it for want of memory: it held 0.0 GiB")


@pytest.mark.slow
@pytest.mark.notebooks
@pytest.mark.skipif(os.name == "nt", reason="a signal that Windows lacks")
def test_a_killed_kernel_is_no_traceback(tmp_path):
    notebook, kill = tmp_path / "one.ipynb", f"import os\nos.kill(os.getpid(), {int(signal.SIGKILL)})"
    cells = [nbformat.v4.new_code_cell('MIX: str = "mixup"', metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(kill))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), notebook)
    told = headless.execute(headless.Job("one", notebook, tmp_path / "copy.ipynb", {"MIX": "mixup"}), 1)
    assert "killed" in told
    assert "GiB at its most" in told
    assert "DeadKernelError" not in told
    assert (tmp_path / "copy.failed.ipynb").is_file()
