"""Notebooks run by papermill, each in a process of its own: its parameters checked first, its threads limited."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lsdkit.experiment import check_parameters
from lsdkit.paths import project_root

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One notebook to run: where its executed copy goes and which parameters it gets."""

    name: str
    notebook: Path
    copy: Path
    parameters: dict = field(default_factory=dict)


def notebook_path(stem: str) -> Path:
    """The notebook of this name in `notebooks/`; raises `FileNotFoundError` with the names there are."""
    folder = project_root() / "notebooks"
    path = folder / f"{stem}.ipynb"
    if not path.is_file():
        names = ", ".join(sorted(found.stem for found in folder.glob("*.ipynb"))) or "no notebooks at all"
        raise FileNotFoundError(f"Expected {stem}.ipynb in {folder}, but found {names}")
    return path


def execute(job: Job, threads: int = 0) -> str:
    """Run a job's notebook; returns "" or the last lines of what went wrong. `threads` 0 leaves them to the machine.

    The executed copy, written cell by cell, is in `job.copy` also after a failure.
    """
    check_parameters(job.notebook, job.parameters)
    job.copy.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(job.notebook),
        str(job.copy),
        "--no-progress-bar",
        "--kernel",
        "python3",
    ]
    for name, value in job.parameters.items():
        command += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    environment = {**os.environ, "LSDKIT_ROOT": str(project_root()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if threads:
        environment.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    done = subprocess.run(command, cwd=project_root(), env=environment, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else "\n".join(done.stderr.strip().splitlines()[-4:]) or f"exit {done.returncode}"


def execute_all(
    jobs: Sequence[Job], at_once: int, threads: int, report: Callable[[Job, str, float], None]
) -> dict[str, str]:
    """Run jobs, `at_once` at a time, in the given order; a failed one stops no other. Returns {name: what went wrong}.

    `report(job, error, seconds)` is called as each ends.
    """
    failed: dict[str, str] = {}

    def one(job: Job) -> None:
        start = time.perf_counter()
        error = execute(job, threads)
        if error:
            failed[job.name] = error
        report(job, error, time.perf_counter() - start)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, jobs))
    return failed


@contextmanager
def peak_memory(every: float = 0.5):
    """Yield a dict whose "bytes" is the largest resident memory of this process and all below it, seen so far."""
    peak, stop = {"bytes": 0}, threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not stop.wait(every):
            total = 0
            for process in [own, *own.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                except psutil.Error:  # it ended between the listing and the question
                    continue
            peak["bytes"] = max(peak["bytes"], total)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
