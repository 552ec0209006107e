"""Faces that are no picture files of their own, such as boxes in photographs, written as such before a store is made.

Each becomes a PNG file, which keeps every pixel and carries the time of what it was made of: a second run finds the
faces that are there, and a store of them is kept.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from lsdkit.common import files
from lsdkit.common.bars import open_bar
from lsdkit.common.machine import cores
from lsdkit.data.decoding import LeftOut

MARK = "unpacked.txt"  # in a folder of such files: the kit made it


@dataclass(frozen=True)
class Packed:
    """A face to write: its file's name in the folder, the file it comes from, and what cuts it out of that.

    `cut` may raise `LeftOut`. stamp: of the label file, ns; a face is written anew where it or the source changed.
    """

    name: str
    source: Path
    cut: Callable[[Path], Image.Image]
    stamp: int


def check_unpacked(folder: Path) -> None:
    """Raise `ValueError` where a folder holds things that `unpack` did not write."""
    if folder.exists() and not (folder / MARK).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"Expected {folder}, where faces are written, to be new or made by this command, but it holds other "
            "things; choose another --out, or move it away"
        )


def unpack(faces: Sequence[Packed], folder: Path, jobs: int | None, progress: bool) -> dict[str, LeftOut]:
    """Write faces into `folder`, where they are not there yet; returns those that could not be, by name."""
    with files.hold_lock(folder.parent / f".{folder.name}.lock"):
        check_unpacked(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("Faces that `lsdkit prepare` cut out; it makes them again where they are gone.\n")
        with ThreadPoolExecutor(jobs or cores()) as pool:
            outcomes = pool.map(partial(_write, folder=folder), faces)
            shown = open_bar(outcomes, desc="unpacking", total=len(faces), unit="face", disable=not progress)
            return {face.name: lost for face, lost in zip(faces, shown, strict=True) if lost}


def _write(face: Packed, folder: Path) -> LeftOut | None:
    target = folder / face.name
    try:
        stamp = max(face.stamp, face.source.stat().st_mtime_ns)
        if target.is_file() and target.stat().st_mtime_ns == stamp:
            return None
        picture = face.cut(face.source)
    except OSError as error:
        return LeftOut("unreadable", f"{type(error).__name__}: {error.strerror or error}")
    except LeftOut as lost:
        return lost
    with files.tell_full_disk(folder):
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, format="PNG")
    os.utime(target, ns=(stamp, stamp))  # last, so that a file of a killed run is written again
    return None
