"""Notebooks run by papermill, each in a process of its own: its parameters checked first, its threads limited."""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from secrets import token_hex

from lsdkit.common.paths import project_root
from lsdkit.notebook.parameters import check_names

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
ENDS_WITHIN = 15.0  # seconds that a notebook has to save its work and end, once it was told to
STARTS_WITHIN = 300  # seconds that a kernel has to start; among much other work the usual minute is too short


@dataclass(frozen=True)
class Job:
    """One notebook to run: where its executed copy goes and which parameters it gets."""

    name: str
    notebook: Path
    copy: Path
    parameters: dict = field(default_factory=dict)


def make_job(stem: str, folder: Path, parameters: dict, name: str = "") -> Job:
    """The notebook `stem` of `notebooks/` with RUN_DIR `folder`, where its copy goes too; `name` "" is `stem`."""
    return Job(name or stem, find_notebook(stem), folder / f"{stem}.ipynb", {**parameters, "RUN_DIR": str(folder)})


def find_notebook(stem: str) -> Path:
    """The notebook of this name in `notebooks/`; raises `FileNotFoundError` with the names there are."""
    folder = project_root() / "notebooks"
    path = folder / f"{stem}.ipynb"
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in folder.glob("*.ipynb"))) or "no notebooks at all"
        raise FileNotFoundError(f"Expected {stem}.ipynb in {folder}, but found {names}")
    return path


def check_parameters(job: Job) -> None:
    """Raise `ValueError` for a parameter that the notebook does not declare (papermill itself only logs a warning)."""
    import papermill

    check_names(job.parameters, papermill.inspect_notebook(str(job.notebook)), job.notebook.name)


def execute(
    job: Job,
    threads: int = 0,
    *,
    environment: Mapping[str, str] | None = None,
    timeout: float = 0.0,
    stop: threading.Event | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> str:
    """Run a job's notebook; returns "" or the last lines of what went wrong.

    `threads` 0 leaves them to the machine; `environment` is added to this process's own; after `timeout` seconds (0 =
    never), or once `stop` is set, the notebook is told to end, and it saves its work first. It also ends when this
    process is killed, whichever way. `tell` is called, in a thread, with each line that it prints. The executed
    notebook is `job.copy` after a success, and NAME.failed.ipynb beside it after a failure.
    """
    check_parameters(job)
    job.copy.parent.mkdir(parents=True, exist_ok=True)
    stem = job.copy.stem
    failed = job.copy.with_name(f"{stem}.failed.ipynb")
    running = job.copy.with_name(f"{stem}.{token_hex(4)}.running.ipynb")  # a killed attempt may still write its own
    command = [sys.executable, "-c", "from lsdkit.reproduce.headless import run_leashed; run_leashed('papermill')"]
    command += [str(job.notebook), str(running), "--no-progress-bar", "--kernel", "python3", "--stdout-file", "-"]
    command += ["--start-timeout", str(STARTS_WITHIN)]
    for name, value in job.parameters.items():
        command += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    variables = {**os.environ, "LSDKIT_ROOT": str(project_root()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    variables |= {**dict.fromkeys(THREAD_VARIABLES if threads else (), str(threads)), **(environment or {})}
    code, text = _wait_for(command, variables, timeout or float("inf"), stop or threading.Event(), tell)
    if code == 0:
        failed.unlink(missing_ok=True)
        running.replace(job.copy)
        for left in job.copy.parent.glob(f"{stem}.*.running.ipynb"):
            left.unlink(missing_ok=True)
        return ""
    if running.exists():
        running.replace(failed)
    return "\n".join(text.strip().splitlines()[-4:]) or f"exit {code}"


def run_leashed(module: str) -> None:
    """Run a module as `python -m` does, until it ends or whoever holds the other end of the standard input does.

    The operating system closes that end when its process dies, by SIGKILL too. The module then gets SIGTERM, to which
    papermill ends its kernel, and the kernel saves a training under way; `ENDS_WITHIN` seconds later it is ended.
    """

    def watch() -> None:
        os.read(0, 1)  # nothing is ever written: it returns at the end of the file
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ENDS_WITHIN)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _wait_for(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> tuple[int, str]:
    """Run a command that calls `run_leashed`; returns its exit code and what it wrote to standard error."""
    end, why, heard = time.monotonic() + timeout, "", {"errors": ""}
    theirs, ours = os.pipe()
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        process = subprocess.Popen(command, cwd=project_root(), env=environment, stdin=theirs, **outputs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)

    def hear() -> None:
        with process.stdout as lines:
            for line in lines:
                tell(line.rstrip())

    def hear_errors() -> None:
        with process.stderr as text:
            heard["errors"] = text.read()

    listeners = [threading.Thread(target=each, daemon=True) for each in (hear, hear_errors)]
    for listener in listeners:
        listener.start()
    try:
        while process.returncode is None:
            try:
                process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                if not why and (stop.is_set() or time.monotonic() > end):
                    why = "it was stopped" if stop.is_set() else f"it ran longer than {timeout:.0f} s"
                    process.terminate()
                    end = time.monotonic() + 2 * ENDS_WITHIN
                elif why and time.monotonic() > end:
                    process.kill()
    finally:  # after an interrupt of this process, too: without the other end of its input it ends
        os.close(ours)
        process.wait()
        for listener in listeners:
            listener.join(ENDS_WITHIN)  # a kernel that outlives it holds its outputs open
    return (1, why) if why else (process.returncode, heard["errors"])


def execute_all(
    jobs: Sequence[Job],
    at_once: int,
    threads: int,
    report: Callable[[Job, str, float], None],
    *,
    environments: Sequence[Mapping[str, str]] = ({},),
    timeout: float = 0.0,
    tell: Callable[[Job, str], None] = lambda job, line: None,
) -> dict[str, str]:
    """Run jobs, `at_once` at a time, in the given order; a failed one stops no other. Returns {name: what went wrong}.

    `report(job, error, seconds)` is called as each ends, `tell(job, line)` with each line that a notebook prints. The
    `environments` (such as a GPU's) go to the `at_once` places in turn, and a place runs one job at a time; `timeout`
    in seconds is each job's own (0 = none). An interrupt ends the notebooks under way, which save their work. Raises
    `ValueError`, before any is run, where a job names a parameter that its notebook does not have.
    """
    for job in {(job.notebook, *sorted(job.parameters)): job for job in jobs}.values():
        check_parameters(job)
    failed: dict[str, str] = {}
    places, stop = SimpleQueue(), threading.Event()
    for number in range(at_once):
        places.put(environments[number % len(environments)])

    def run_one(job: Job) -> None:
        start, environment = time.perf_counter(), places.get()
        try:
            error = execute(job, threads, environment=environment, timeout=timeout, stop=stop, tell=partial(tell, job))
        finally:
            places.put(environment)
        if stop.is_set():
            return
        if error:
            failed[job.name] = error
        report(job, error, time.perf_counter() - start)

    with ThreadPoolExecutor(at_once) as pool:
        try:
            list(pool.map(run_one, jobs))
        except BaseException:  # an interrupt, too: start nothing more
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failed
