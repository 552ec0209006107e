"""Notebooks run by papermill, each in a process of its own: its parameters checked first, its threads limited."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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

    The executed notebook is `job.copy` after a success, and NAME.failed.ipynb beside it after a failure.
    """
    check_parameters(job.notebook, job.parameters)
    job.copy.parent.mkdir(parents=True, exist_ok=True)
    running, failed = (job.copy.with_name(f"{job.copy.stem}.{word}.ipynb") for word in ("running", "failed"))
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(job.notebook),
        str(running),
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
    if done.returncode == 0:
        failed.unlink(missing_ok=True)
        running.replace(job.copy)
        return ""
    if running.exists():
        running.replace(failed)
    return "\n".join(done.stderr.strip().splitlines()[-4:]) or f"exit {done.returncode}"


def execute_all(
    jobs: Sequence[Job], at_once: int, threads: int, report: Callable[[Job, str, float], None]
) -> dict[str, str]:
    """Run jobs, `at_once` at a time, in the given order; a failed one stops no other. Returns {name: what went wrong}.

    `report(job, error, seconds)` is called as each ends. Raises `ValueError`, before any is run, where a job names a
    parameter that its notebook does not have.
    """
    for job in jobs:
        check_parameters(job.notebook, job.parameters)
    failed: dict[str, str] = {}

    def one(job: Job) -> None:
        start = time.perf_counter()
        error = execute(job, threads)
        if error:
            failed[job.name] = error
        report(job, error, time.perf_counter() - start)

    with ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(one, jobs))
        except BaseException:  # an interrupt, too: start nothing more
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed


def resident_memory(root: int) -> int:
    """Bytes of memory that a process and all below it hold; 0 where the system has no /proc (not Linux).

    A page that several processes share counts once, a part for each (proportional set size,
    https://docs.kernel.org/filesystems/proc.html).
    """
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):  # it ended between the listing and the reading
            continue
    below, found = {root}, [root]
    for process in found:
        children = [child for child, parent in parents.items() if parent == process and child not in below]
        below.update(children)
        found.extend(children)
    return sum(map(_proportional, found))


def _proportional(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or there is no /proc
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def peak_memory(every: float = 0.5) -> Iterator[dict[str, int]]:
    """Yield a dict whose "bytes" is the largest `resident_memory` of this process and those below it, seen so far."""
    peak, stop = {"bytes": resident_memory(os.getpid())}, threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            peak["bytes"] = max(peak["bytes"], resident_memory(os.getpid()))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
