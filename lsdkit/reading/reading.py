"""Photographs read: faces found, cut out and shown to the networks as these learned, one picture or many."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.common.bars import Bar, open_bar
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.machine import cores
from lsdkit.data.detection import dlib_models
from lsdkit.data.pictures import quote_name
from lsdkit.figures.readings import reading_sheet
from lsdkit.figures.style import Figure, png
from lsdkit.prediction import Panel, Voter, find_model
from lsdkit.reading.searching import FoundFace, Picture, Searched, search
from lsdkit.reading.workers import search_all

MODEL = "open-1"
BATCH = 32  # pictures whose faces are shown to the networks at a time
MOST_JOBS = 8  # unless more are asked for: one process takes 150 MB and more, and the networks are soon the slower part
FEW = 12  # pictures that are worth a process of their own, which takes a second to load dlib's models

Model = Panel | Voter | Path | str | Sequence[Voter | Path | str]


@dataclass(frozen=True, eq=False)
class FaceReading:
    """One face, and what the networks say of it.

    box: x, y, width, height, pixels of the upright picture. landmarks: (68, 2) there, by dlib. probabilities: (6,), of
    anger, disgust, fear, happiness, sadness, surprise. crop: the aligned crop, uint8 (S, S, 3). seen: what of it the
    networks were shown, a picture for each of their views. found: which attempt found it (docs/data.md).
    """

    box: tuple[int, int, int, int]
    landmarks: np.ndarray
    probabilities: np.ndarray
    crop: np.ndarray
    seen: tuple[np.ndarray, ...]
    found: str

    @property
    def expression(self) -> str:
        """The likeliest expression, in lower case as in the columns of a table of readings."""
        return EXPRESSIONS[int(self.probabilities.argmax())].lower()

    @property
    def probability(self) -> float:
        """That of the likeliest expression, in [0, 1]."""
        return float(self.probabilities.max())

    def __repr__(self) -> str:
        return f"FaceReading({self.expression} {self.probability:.2f}, box={self.box}, found={self.found!r})"


@dataclass(frozen=True, eq=False)
class Reading:
    """A picture read. file: its name, "" for an array. size: width and height of the upright picture, pixels; (0, 0)
    where it cannot be read. faces: the largest first. reason: why there are none, "" where there are."""

    file: str
    size: tuple[int, int]
    faces: tuple[FaceReading, ...]
    reason: str = ""

    @property
    def captions(self) -> list[str]:
        """A name for each face: the file's, and which face of several."""
        name = quote_name(self.file) or "picture"
        numbers = range(1, len(self.faces) + 1)
        return [f"{name}, face {number}" if len(self.faces) > 1 else name for number in numbers]

    def plot(self) -> Figure:
        """The faces, each with its six probabilities; raises `ValueError` where there are none."""
        chances = np.array([face.probabilities for face in self.faces])
        return reading_sheet([face.crop for face in self.faces], chances, self.captions)

    def __repr__(self) -> str:
        faces = "; ".join(f"{face.expression} {face.probability:.2f}" for face in self.faces)
        count = f"{len(self.faces)} face{'s' * (len(self.faces) > 1)}: " if self.faces else ""
        width, height = self.size
        return f"Reading({quote_name(self.file) or 'a picture'}, {width} x {height}, {count}{faces or self.reason})"

    def _repr_png_(self) -> bytes | None:
        return png(self.plot()) if self.faces else None


def read(picture: Picture, *, model: Model = MODEL, device: str = "auto") -> Reading:
    """What a photograph's faces express, by a trained model: box, landmarks, six probabilities of each face.

    picture: a path, the bytes of a file, a PIL image, or an array (`lsdkit.data.pictures.open_picture`). model: a
    packed model by name ("open-1" comes with the kit) or file, a run, several, or a folder of runs, which vote
    (`lsdkit.prediction.find_voters`); or a `Panel`, loaded before. A picture without a face, and one that cannot be
    opened, are answers: `faces` is empty and `reason` says why. Raises what `find_voters` raises of the model, and
    `ValueError` where dlib is not installed.
    """
    return next(read_many([picture], model=model, device=device, jobs=1, progress=False))


def read_many(
    pictures: Iterable[Picture],
    *,
    model: Model = MODEL,
    device: str = "auto",
    jobs: int | None = None,
    progress: bool = True,
) -> Iterator[Reading]:
    """The `Reading` of each picture, in order, as they are made: the memory needed does not grow with their number.

    jobs: processes that search for faces; None = one a core, at most 8, and none for a few pictures; 1 = this process
    alone. What goes wrong with one picture is its `reason`, and the rest goes on, even where a process dies on it.
    progress: show a bar. Raises as `read` does, before the first picture, and `ValueError` for jobs below 1 and for one
    picture in the place of several.
    """
    if isinstance(pictures, str | bytes | os.PathLike | io.BytesIO | Image.Image):
        kind = type(pictures).__name__
        raise ValueError(f"Expected several pictures, but got one ({kind}): give a list, or take `lsdkit.read`")
    if jobs is not None and jobs < 1:
        raise ValueError(f"Expected `jobs` of at least 1, but got {jobs}")
    panel, total = load_panel(model, device), len(pictures) if hasattr(pictures, "__len__") else None
    if jobs is None:
        jobs = min(cores(), MOST_JOBS, MOST_JOBS if total is None else max(1, total // FEW))
    jobs = jobs if total is None else max(1, min(jobs, total))  # a process takes one picture at a time
    if jobs == 1:
        dlib_models()  # where it is not installed, that is said now
    return _read(pictures, panel, jobs, open_bar(total=total, desc="reading", unit="picture", disable=not progress))


def load_panel(model: Model, device: str = "auto") -> Panel:
    """The networks of a model, in memory; those of a packed model are kept for the next call."""
    if isinstance(model, Panel):
        return model
    if not isinstance(model, Path | str) or (file := find_model(model)).is_dir():
        return Panel.load(model, device)
    return _load_kept(str(model), device, file, file.stat().st_mtime_ns, file.stat().st_size)


@lru_cache(maxsize=2)
def _load_kept(model: str, device: str, *_: object) -> Panel:
    return Panel.load(model, device)


def _read(pictures: Iterable[Picture], panel: Panel, jobs: int, bar: Bar) -> Iterator[Reading]:
    if jobs > 1:
        searched = search_all(pictures, panel.sizes, jobs)
    else:
        searched = ((picture, search(picture, panel.sizes)) for picture in pictures)
    batch = []
    with bar, closing(searched):
        for each in searched:
            batch.append(each)
            bar.update()
            if len(batch) == BATCH:
                yield from _answer(batch, panel)
                batch = []
        yield from _answer(batch, panel)


def _answer(batch: Sequence[tuple[Picture, Searched]], panel: Panel) -> Iterator[Reading]:
    """The readings of pictures that were searched, their faces shown to the networks together."""
    faces = [face for _, found in batch for face in found.faces]
    crops = {side: np.array([face.crops[side] for face in faces]) for side in panel.sizes}
    answered = zip(faces, panel.ask(crops), strict=True)
    for picture, found in batch:
        read_faces = tuple(_tell(face, chances, panel) for face, chances in islice(answered, len(found.faces)))
        yield Reading(name_picture(picture), found.size, read_faces, found.reason)


def _tell(face: FoundFace, chances: np.ndarray, panel: Panel) -> FaceReading:
    seen = tuple(view.show(face.crops[view.pixels][None])[0] for view in dict.fromkeys(panel.views))
    return FaceReading(face.box, face.points, chances, face.crops[panel.sizes[0]], seen, face.found)


def name_picture(picture: Picture) -> str:
    """The name of a picture's file as it was given, "" where it has none."""
    if isinstance(picture, Image.Image):
        picture = getattr(picture, "filename", "")
    return os.fsdecode(picture) if isinstance(picture, str | os.PathLike) else ""
