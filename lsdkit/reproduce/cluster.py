"""The runs of a sweep as tasks of Ray, on this machine or on a running cluster (the extra `cluster`).

A task is one notebook in a process of its own, as on one machine (`lsdkit.reproduce.headless`). What machines share is
the folder of runs: paths travel, never faces or weights. Ray starts a task again when its worker or its machine dies;
the new attempt waits for the run folder's lock and goes on from the last checkpoint. Nothing is kept in Ray: where the
cluster itself is lost, the same sweep given again goes on from the finished runs' files.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lsdkit.common.files import describe_difference
from lsdkit.common.machine import cores, list_versions
from lsdkit.common.paths import resolve
from lsdkit.data.store import Store
from lsdkit.reproduce.headless import ENDS_WITHIN, Job, execute, find_notebook

RETRIES = 5  # how often a run is started again after its worker or its machine died
EVERY = 0.5  # seconds between two looks at what was told and what ended
PATIENCE = 60.0  # seconds without a machine that has room for a run, until it is told
OBJECTS = 100_000_000  # bytes of Ray's object store on this machine: nothing but words passes through it
SHOWN = 12  # letters of a checksum that a message shows

Machine = tuple[str, int, float]  # name, cores, GPUs


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines to run on: those of the Ray cluster at `address` ("auto": the one of this machine), or "": this one.

    `gpus_per_run` is a part of a GPU or a whole number of them; None is one, where there are any. Raises `ValueError`
    for another number, and where Ray is not installed.
    """

    address: str = ""
    gpus_per_run: float | None = None

    def __post_init__(self):
        share = self.gpus_per_run
        if share is not None and (share < 0 or (share > 1 and share != int(share))):
            raise ValueError(f"Expected --gpus-per-run to be a part of one or a whole number, but got {share:g}")
        _import_ray()  # before any work

    @contextmanager
    def connect(
        self,
        store: Store,
        data: str,
        *,
        jobs: int = 0,
        device: str = "auto",
        say: Callable[[str], None] = print,
    ) -> Iterator["Connected"]:
        """Connect to Ray, or start it here and end it afterwards; yields an engine (`lsdkit.reproduce.engines`).

        `data` is the folder in which every machine has the faces of `store`. `jobs` runs go at a time (0 = as many as
        there are GPUs for, or one on each machine), with as many threads as let them all go at once. `say` gets a line
        where runs wait for a machine. Raises `ValueError` where Ray is not reached or no machine has room for a run.
        """
        ray, share = _import_ray(), self.gpus_per_run
        _start(ray, self.address)
        try:
            machines = _list_machines(ray)
            share = 0.0 if device == "cpu" else float(any(gpus for *_, gpus in machines)) if share is None else share
            at_once, threads = divide(machines, jobs, share)
            if not at_once:
                raise ValueError(f"Expected a machine with a core and {share:g} GPUs, but got {_describe(machines)}")
            yield Connected(ray, at_once, threads, share, machines, store, data, jobs, say)
        finally:
            ray.shutdown()


@dataclass(frozen=True)
class Connected:
    """The engine of a cluster, while Ray is connected."""

    ray: Any
    at_once: int
    threads: int
    gpus_per_run: float
    machines: list[Machine]
    store: Store
    data: str
    jobs: int  # at most so many at a time; 0: whatever there is room for
    say: Callable[[str], None]

    def describe(self) -> dict:
        """What sweep.json holds of it."""
        own = {"gpus_per_run": self.gpus_per_run, "machines": [list(machine) for machine in self.machines]}
        return {"engine": "ray", "jobs": self.at_once, "threads": self.threads, **own}

    def execute_all(
        self,
        jobs: Sequence[Job],
        report: Callable[[Job, str, float], None],
        *,
        timeout: float = 0.0,
        tell: Callable[[Job, str], None] = lambda job, line: None,
    ) -> dict[str, str]:
        """Run jobs as `lsdkit.reproduce.headless.execute_all` does: a failed one stops no other."""
        train, lines = _define_tasks(self.ray, self.threads, self.gpus_per_run)
        every = {"versions": list_versions(), "data": self.data, "checksums": self.store.checksums}
        every |= {"threads": self.threads, "timeout": timeout}
        named, waiting, under_way, failed = {job.name: job for job in jobs}, deque(jobs), {}, {}
        room = time.monotonic()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < (self.jobs or len(jobs)):
                    job = waiting.popleft()
                    job.copy.parent.mkdir(parents=True, exist_ok=True)  # who does not see it shares another folder
                    own = {"name": job.name, "notebook": job.notebook.stem, "folder": str(job.copy.parent)}
                    task = {**every, **own, "parameters": dict(job.parameters)}
                    under_way[train.options(name=job.name).remote(task, lines)] = job
                ended, _ = self.ray.wait([*under_way], num_returns=len(under_way), timeout=EVERY)
                with suppress(self.ray.exceptions.RayError):  # then lines are lost, and no run
                    for name, line in self.ray.get(lines.take.remote()):
                        tell(named[name], line)
                for sent in ended:
                    job = under_way.pop(sent)
                    error, seconds = self._take_result(sent)
                    if error:
                        failed[job.name] = error
                    report(job, error, seconds)
                room = self._check_room(room)
        except BaseException:  # an interrupt, too: what is under way saves its work
            with suppress(self.ray.exceptions.RayError):  # of a cluster that is lost
                for sent in under_way:
                    self.ray.cancel(sent)
                self.ray.wait([*under_way], num_returns=len(under_way), timeout=2 * ENDS_WITHIN)
            raise
        return failed

    def _take_result(self, sent: Any) -> tuple[str, float]:
        try:
            return self.ray.get(sent)
        except self.ray.exceptions.RayTaskError as error:
            return str(error), 0.0
        except self.ray.exceptions.RayError as error:
            what = " ".join(str(error).split())[:200]
            return f"Ray gave it up, after at most {RETRIES} new starts ({type(error).__name__}: {what})", 0.0

    def _check_room(self, since: float) -> float:
        """When there was room for a run last; tells where there was none for long."""
        now = time.monotonic()
        if now - since < PATIENCE:
            return since
        if not count_room(_list_machines(self.ray), self.threads, self.gpus_per_run):
            self.say(f"waiting for a machine with {self.threads} cores and {self.gpus_per_run:g} GPUs: there is none")
        return now


def train_here(task: Mapping, tell: Callable[[str], None]) -> tuple[str, float]:
    """Run a task's notebook on this machine, once it is sure to be the sweep's; returns what went wrong, and seconds.

    `task` holds name, notebook, folder, parameters, threads and timeout of a job, and what `check_machine` compares.
    """
    start, here = time.perf_counter(), socket.gethostname()
    try:
        check_machine(task)
        folder, notebook = Path(task["folder"]), find_notebook(task["notebook"])
        job = Job(task["name"], notebook, folder / notebook.name, task["parameters"])
        error = execute(job, task["threads"], timeout=task["timeout"], tell=tell)
    except (ValueError, OSError) as wrong:
        error = str(wrong)
    return error and f"on {here}:\n{error}", time.perf_counter() - start


def check_machine(task: Mapping) -> None:
    """Raise `ValueError` where this machine has other versions, another folder of runs or another store than the sweep.

    `task` holds versions (`machine.list_versions`), folder, which the sweep has made, and the store's data (its folder)
    and checksums (`Store.checksums`). Whether a store's bytes are those of its manifest is told by the run.
    """
    here, folder, path = socket.gethostname(), Path(task["folder"]), resolve(task["data"])
    if other := describe_difference(list_versions(), task["versions"]):
        raise ValueError(f"Expected the versions of the sweep on {here}, but {other}; install the same there")
    if not folder.is_dir():
        raise ValueError(
            f"Expected {here} to share the folder of runs, but it does not see {folder}; choose an --out that all "
            "machines see under the same path"
        )
    if not (path / "manifest.json").is_file():
        raise ValueError(f"Expected the sweep's store on {here}, but {path} holds none; copy it there, or share it")
    theirs, ours = Store.open(path).checksums, task["checksums"]
    if wrong := [
        f"{name} is {theirs[name][:SHOWN]}, not {ours[name][:SHOWN]}" for name in ours if theirs[name] != ours[name]
    ]:
        raise ValueError(
            f"Expected the sweep's store on {here}, but {path} holds another: {'; '.join(wrong)}; copy the sweep's "
            "there, or share it"
        )


def divide(machines: Sequence[Machine], jobs: int, share: float) -> tuple[int, int]:
    """How many runs go at a time on these machines (0: none has room), with how many threads each.

    Each takes `share` GPUs. `jobs` 0 is a run for each share of the GPUs, or without GPUs one on each machine.

    >>> divide([("a", 16, 4), ("b", 8, 2)], 0, 1.0), divide([("a", 16, 4), ("b", 8, 2)], 0, 0.5)
    ((6, 4), (12, 2))
    >>> divide([("a", 8, 0), ("b", 4, 0)], 0, 0.0), divide([("a", 8, 0), ("b", 4, 0)], 5, 0.0)
    ((2, 4), (5, 2))
    """
    numbers = [number for _, number, _ in machines if number]
    most = count_room(machines, 1, share)
    at_once = min(most, jobs or (most if share else len(numbers)))
    possible = range(1, max(numbers, default=1) + 1)
    return at_once, max(threads for threads in possible if count_room(machines, threads, share) >= at_once)


def count_room(machines: Sequence[Machine], threads: int, share: float) -> int:
    """How many runs of so many threads and `share` GPUs fit on these machines at a time.

    >>> count_room([("a", 16, 4.0), ("b", 8, 0.0)], 5, 0.5), count_room([("a", 16, 4.0), ("b", 8, 0.0)], 5, 0.0)
    (3, 4)
    """
    rooms = [(number // threads, gpus / share + 1e-6 if share else float(number)) for _, number, gpus in machines]
    return sum(int(min(by_cores, by_gpus)) for by_cores, by_gpus in rooms)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # an optional extra, so not at the head of the file
    except ImportError:
        raise ValueError(
            "Expected Ray for --engine ray, but it is not installed: pip install 'lsdkit[cluster]'"
        ) from None
    return ray


def _start(ray: Any, address: str) -> None:
    """Connect to the cluster at an address, or start one of this machine alone."""
    options = {"logging_level": "ERROR", "log_to_driver": False}
    if not address:
        os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # it would count a notebook's memory for no run
        options |= {"num_cpus": cores(), "num_gpus": torch.cuda.device_count()}
        options |= {"object_store_memory": OBJECTS, "include_dashboard": False}
    try:
        ray.init(address or "local", **options)
    except Exception as error:  # a bare one, too: where it does not start in time
        what = " ".join(str(error).split())[:300]
        advice = (
            "`ray status` on this machine tells what there is, `ray start --address=HOST:PORT` joins it to a cluster"
            if address
            else "a busy machine is too slow for it: try again later, or leave out --engine ray"
        )
        raise ValueError(
            f"Expected Ray to start at {address or 'this machine'}, but it says: {what}; {advice}"
        ) from error


def _list_machines(ray: Any) -> list[Machine]:
    alive = [(node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]]
    return [(name, int(there.get("CPU", 0)), float(there.get("GPU", 0))) for name, there in alive]


def _describe(machines: Sequence[Machine]) -> str:
    return "; ".join(f"{name}: {number} cores, {gpus:g} GPUs" for name, number, gpus in machines) or "no machine"


def _define_tasks(ray: Any, threads: int, share: float) -> tuple[Any, Any]:
    """The task that runs a notebook somewhere, and who takes its lines on this machine.

    Both are sent as they stand here, not by name: a machine without the kit, or with another one, can say so.
    """

    @ray.remote(num_cpus=threads, num_gpus=share, max_retries=RETRIES)
    def train(task, lines):
        try:
            from lsdkit.reproduce.cluster import train_here
        except ImportError as error:
            import socket

            kit = f"lsdkit {task['versions']['lsdkit']}"
            return f"Expected {kit} on {socket.gethostname()}, but {error}; install it there", 0.0
        return train_here(task, lambda line: lines.tell.remote(task["name"], line))

    @ray.remote(num_cpus=0)
    class Lines:
        def __init__(self):
            self.told = []

        def tell(self, name, line):
            self.told.append((name, line))

        def take(self):
            told, self.told = self.told, []
            return told

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return train, Lines.options(scheduling_strategy=here).remote()
