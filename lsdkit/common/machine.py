"""The machine: its cores, the versions on it, and the memory that a tree of processes holds."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import psutil

from lsdkit import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn")  # what a run's numbers rest on


def cores() -> int:
    """The processor cores that this process may use; a container's quota counts, rounded down, as at least one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(there, int(read_quota())))


def read_quota(root: Path = Path("/")) -> float:
    """The cores that control groups grant this process, of both versions; what there is where none limits it.

    A group's limit holds for those below it. Source: https://docs.kernel.org/admin-guide/cgroup-v2.html and
    https://docs.kernel.org/scheduler/sched-bwc.html
    """
    quotas = [float(os.cpu_count() or 1)]
    for folder in _list_groups(root, "cpu"):
        with suppress(OSError, ValueError):  # absent, or "max"
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            quotas += [quota / period] if quota > 0 else []
    return min(quotas)


def read_memory_limit(root: Path = Path("/")) -> int:
    """The bytes of memory that this process may fill: the machine's, or what control groups of both versions grant it.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html and
    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    """
    limits = [psutil.virtual_memory().total]
    for folder in _list_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # absent, or "max"
                limits.append(int((folder / name).read_text()))
    return min(limits)


def count_memory_kills(root: Path = Path("/")) -> int:
    """How many processes the system has killed for want of memory since it started; 0 where it does not tell.

    Source: `oom_kill` of https://docs.kernel.org/filesystems/proc.html (/proc/vmstat).
    """
    with suppress(OSError, ValueError):
        lines = (root / "proc/vmstat").read_text().splitlines()
        return int(dict(line.split() for line in lines).get("oom_kill", 0))
    return 0


def _list_groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's groups and of those above them; a container sees its own as the topmost."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        tops = [root / "sys/fs/cgroup"]
        tops += [tops[0] / kinds] if controller in kinds.split(",") else []
        for top in tops:
            group = top / path.strip("/")
            yield from (top, group, *(place for place in group.parents if place.is_relative_to(top)))


def list_versions(*more: str) -> dict[str, str]:
    """The versions of lsdkit, Python, `PACKAGES` and `more` packages.

    >>> list(list_versions("scikit-image"))[:3]
    ['lsdkit', 'python', 'torch']
    """
    packages = {name: version(name) for name in (*PACKAGES, *more)}
    return {"lsdkit": __version__, "python": platform.python_version(), **packages}


def resident_memory(root: int, *, quick: bool = False) -> int:
    """Bytes of memory that a process and all below it hold.

    Where the system tells it (Linux), a page that several processes share counts once, a part for each (proportional
    set size, https://docs.kernel.org/filesystems/proc.html); elsewhere, and if `quick`, it counts for each of them.
    """
    try:
        process = psutil.Process(root)
        found = [process, *process.children(recursive=True)]
    except psutil.Error:  # it has ended
        return 0
    return sum(_memory(each, quick) for each in found)


def _memory(process: psutil.Process, quick: bool) -> int:
    try:
        told = process.memory_info() if quick else process.memory_full_info()
    except (psutil.Error, OSError):  # it ended since, or is another user's
        return 0
    return getattr(told, "pss", told.rss)


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
