"""The machine: its cores, the versions on it, and the memory that a tree of processes holds."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import psutil

from lsdkit import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn")  # what a run's numbers rest on


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def list_versions(*more: str) -> dict[str, str]:
    """The versions of lsdkit, Python, `PACKAGES` and `more` packages.

    >>> list(list_versions("scikit-image"))[:3]
    ['lsdkit', 'python', 'torch']
    """
    packages = {name: version(name) for name in (*PACKAGES, *more)}
    return {"lsdkit": __version__, "python": platform.python_version(), **packages}


def resident_memory(root: int) -> int:
    """Bytes of memory that a process and all below it hold.

    Where the system tells it (Linux), a page that several processes share counts once, a part for each (proportional
    set size, https://docs.kernel.org/filesystems/proc.html); elsewhere it counts for each of them.
    """
    try:
        process = psutil.Process(root)
        found = [process, *process.children(recursive=True)]
    except psutil.Error:  # it has ended
        return 0
    return sum(map(_memory, found))


def _memory(process: psutil.Process) -> int:
    try:
        told = process.memory_full_info()
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
