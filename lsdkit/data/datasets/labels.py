"""What a data set is, what its files tell of a face, and how such files are read: all that its own module builds on."""

import csv
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lsdkit.common.landmarks import POINTS
from lsdkit.data.decoding import LeftOut


@dataclass(frozen=True)
class Labelled:
    """A face as a data set's files tell it, unchecked.

    where: of the label, in words. path: of the picture, as the files have it; folder: what it starts from, below the
    root. code: of the class. points: reads (68, 2) in pixels of the picture, or raises `ValueError`. Of a face without
    a file of its own, name: of the file that is written for it; cut: makes its picture of the file at `path`; stamp:
    when its label changed, ns.
    """

    where: str
    path: str
    code: str
    split: str = "train"
    folder: str = ""
    points: Callable[[], np.ndarray] | None = None
    name: str = ""
    cut: Callable[[Path], Image.Image] | None = None
    stamp: int = 0


class Misread(NamedTuple):
    """A line, or a file, that tells no face, and what is wrong with it."""

    where: str
    detail: str


@dataclass(frozen=True)
class DataSet:
    """A data set: what its codes mean, codes of pictures without an expression, and its layouts in words.

    read: lists the faces of a folder (or file); raises `FileNotFoundError` where it is in none of the layouts.
    """

    title: str
    read: Callable[["DataSet", Path], Iterable[Labelled | Misread]]
    layout: str
    codes: dict[str, str]
    no_expression: dict[str, str] = field(default_factory=dict)
    has_landmarks: bool = False

    @property
    def most(self) -> int:
        """How many classes it has, counted as `lsdkit pretrain` does."""
        return 8 if "CONTEMPT" in self.codes.values() else 7

    def refuse(self, source: Path) -> FileNotFoundError:
        """The error of a source that is in none of the layouts."""
        found = ", ".join(sorted(path.name for path in source.iterdir())[:12]) if source.is_dir() else "no folder"
        codes = ",".join(f"{code}={name.lower()}" for code, name in self.codes.items())
        return FileNotFoundError(
            f"Expected {self.title} in {source}, as {self.layout}. Found: {found or 'nothing'}. Folders named by its "
            f"numbers instead are for `lsdkit prepare folder`, with --map {codes} (only the folders that are there)"
        )


def number_codes(names: str, start: int = 0) -> dict[str, str]:
    """Codes as text -> names, numbered in order.

    >>> number_codes("ANGER DISGUST", start=1)
    {'1': 'ANGER', '2': 'DISGUST'}
    """
    return {str(code): name for code, name in enumerate(names.split(), start)}


def clean_path(path: str) -> str:
    """A path of a label file, relative to its folder; raises `LeftOut` for one that leaves it or can be none.

    >>> clean_path("./1//a.jpg")
    '1/a.jpg'
    """
    clean = posixpath.normpath(path.strip())
    if clean == "." or "\0" in clean or max(map(len, clean.split("/"))) > 240:
        raise LeftOut("malformed", f"{path.strip()[:40]!r} is no path of a file")
    if clean.startswith("/") or re.match(r"[A-Za-z]:|\\", clean):
        raise LeftOut("outside", "an absolute path; only paths below the data set's folder are read")
    if clean.split("/")[0] == "..":
        raise LeftOut("outside", "the path leaves the data set's folder")
    return clean


def find_first(root: Path, names: Iterable[str]) -> str:
    """The first of these files and folders that is there, or ""."""
    return next((name for name in names if (root / name).exists()), "")


def find_pictures(root: Path, folders: Sequence[str], paths: Iterable[str]) -> str:
    """The folder below the root that paths of a label file start from: one in which any is a file."""
    there, example = [folder for folder in folders if (root / folder).is_dir()], ""
    for path in paths:
        try:
            path = clean_path(path)
        except LeftOut:
            continue
        example = example or path
        for folder in there:
            if (root / folder / path).is_file():
                return folder
    if not example:
        raise FileNotFoundError(f"Expected the labels in {root} to name pictures below it, but no path of theirs does")
    places = " or ".join(str(root / folder) for folder in folders)
    raise FileNotFoundError(
        f"Expected pictures such as {example or '1.jpg'} in {places}, but none that the labels name is there; put the "
        "pictures there"
    )


def read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, from 1, blank ones left away; bytes that are no UTF-8 cost their line only."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def read_rows(file: Path, columns: Sequence[str], needed: Sequence[str]) -> Iterator[dict[str, str] | Misread]:
    """Rows of a CSV file, a line each, with `where`; without a line of names, `columns` are its own."""
    header = None
    for number, line in read_lines(file):
        where = f"{file.name}, line {number}"
        try:
            cells = [cell.strip() for cell in next(csv.reader([line]))]
        except csv.Error as error:
            yield Misread(where, str(error))
            continue
        if header is None:
            named = bool({*needed} & {*cells})
            header = cells if named else list(columns)
            if missing := [name for name in needed if name not in header]:
                raise ValueError(f"Expected the columns {', '.join(needed)} in {file}, but lacks {', '.join(missing)}")
            if named:
                continue
        if len(cells) != len(header):
            yield Misread(where, f"{len(cells)} cells instead of {len(header)}")
            continue
        yield dict(zip(header, cells, strict=True)) | {"where": where}


def shape_points(numbers: Iterable) -> np.ndarray:
    """(68, 2) of x, y, x, y, ...; `ValueError` says what is wrong."""
    numbers = [*numbers]
    if len(numbers) != 2 * POINTS:
        raise ValueError(f"{len(numbers)} numbers instead of {2 * POINTS}")
    try:
        points = np.array(numbers, dtype=float).reshape(POINTS, 2)
    except ValueError:
        raise ValueError("landmarks that are no numbers") from None
    if not np.isfinite(points).all():
        raise ValueError("landmarks that are not finite")
    return points
