"""Landmarks that several processes look up: kept in a file, so that a worker is sent its name and not all points.

A `transform` travels to its worker with every few images; with the landmarks of 400,000 faces in it (440 MB) that would
take days: pickling 20,000 faces' took half a second for every four images.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from lsdkit.common.files import tell_full_disk


@dataclass(frozen=True)
class SharedPoints:
    """Landmarks by key, (68, 2) each, in a file; read once in each process."""

    file: Path
    written: int = field(default_factory=time.time_ns)  # a file of the same name with other points is another

    def __contains__(self, key: str) -> bool:
        return key in _read(self)[0]

    def __getitem__(self, key: str) -> np.ndarray:
        places, points = _read(self)
        return np.array(points[places[key]])


@contextmanager
def share_points(points: Mapping[str, np.ndarray], file: Path) -> Iterator[SharedPoints]:
    """Keep landmarks in `file` (.npy, and their keys in a .txt beside it) until the block ends; at least one face's."""
    names = file.with_suffix(".txt")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tell_full_disk(file.parent):
            np.save(file, np.stack([*points.values()]))
            names.write_text("".join(f"{key}\0" for key in points), encoding="utf-8", errors="surrogateescape")
        yield SharedPoints(file)
    finally:
        _read.cache_clear()
        file.unlink(missing_ok=True)
        names.unlink(missing_ok=True)


@cache
def _read(shared: SharedPoints) -> tuple[dict[str, int], np.ndarray]:
    """Row of each key, and the points (N, 68, 2), which stay on disk."""
    text = shared.file.with_suffix(".txt").read_text(encoding="utf-8", errors="surrogateescape")
    return {key: row for row, key in enumerate(text.split("\0")[:-1])}, np.load(shared.file, mmap_mode="r")
