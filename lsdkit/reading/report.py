"""`lsdkit read`: photographs and folders of them in, a table and a contact sheet out."""

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import atomic, write_bytes
from lsdkit.common.paths import project_path
from lsdkit.data.pictures import quote_name
from lsdkit.data.readers import list_images
from lsdkit.figures.readings import reading_sheet
from lsdkit.figures.style import Figure, png
from lsdkit.prediction import check_new
from lsdkit.reading.reading import MODEL, FaceReading, Model, Reading, load_panel, read_many
from lsdkit.reading.searching import NO_FACE

COLUMNS = ("file", "face", "x", "y", "width", "height", "found", *map(str.lower, EXPRESSIONS), "expression", "reason")
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes a cell for a formula by
ON_A_SHEET = 60  # faces at most
NAME = 70  # characters of a name that the other columns make room for


def read_photographs(
    places: Sequence[Path | str],
    *,
    out: Path | str = "",
    sheet: Path | str = "",
    model: Model = MODEL,
    jobs: int | None = None,
    device: str = "auto",
) -> str:
    """Read photographs and what lies in folders, at any depth; returns a table, or what was written, as text.

    `out`: the CSV file to write (docs/photographs.md has its columns); "" = the table is returned. `sheet`: the PNG
    file to draw the first `ON_A_SHEET` faces into. Every picture has a row, whatever it is. Raises, before the first
    picture, `FileNotFoundError` for a place that is not there, `ValueError` for a folder without pictures, a sheet that
    is no .png or one that is `out` too, `FileExistsError` where `out` or `sheet` exists, `OSError` where it cannot be
    written, and what `read_many` raises.
    """
    pictures = list_pictures(places)
    if sheet and not str(sheet).lower().endswith(".png"):
        raise ValueError(f"Expected a sheet that ends in .png, but got {sheet}")
    out, sheet = (_check_place(path) if path else None for path in (out, sheet))
    if out and out == sheet:
        raise ValueError(f"Expected the table and the sheet in different files, but got {out} for both")
    panel, summary = load_panel(model, device), _Summary()
    with closing(read_many(pictures, model=panel, jobs=jobs)) as readings:
        if out:
            with atomic(out) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as stream:
                write_rows(stream, summary.follow(readings))
            lines = [f"{project_path(out)}: {summary}"]
        else:
            lines = [*tabulate(summary.follow(readings)), f"{summary}"]
    lines[-1] += f", read by {panel.name}"
    if sheet and summary.shown:
        write_bytes(sheet, png(summary.draw(panel.name), 150))
        lines.append(f"{project_path(sheet)}: {summary.describe_sheet()}")
    elif sheet:
        lines.append("no sheet is drawn without a face")
    return "\n".join(lines)


def _check_place(path: Path | str) -> Path:
    """The path of a new file, whose folder is made: that nothing can be written there is known before hours of work."""
    path = check_new(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise OSError(f"Expected a folder to write {path.name} to, but {path.parent} is none: {error}") from error


def list_pictures(places: Iterable[Path | str]) -> list[str]:
    """The pictures that these name: files as they are, of folders all below them in natural order (2 before 10).

    Raises `FileNotFoundError` for a place that is not there and `ValueError` for a folder without pictures.
    """
    pictures = []
    for place in map(os.fsdecode, places):
        if os.path.isdir(place):
            inside = list_images(Path(place))
            if not inside:
                raise ValueError(f"Expected photographs in the folder {quote_name(place)}, but found no picture file")
            pictures += [os.path.join(place, name) for name in inside]
        elif os.path.lexists(place):
            pictures.append(place)
        else:
            beside = os.path.dirname(place) or "."
            near = get_close_matches(os.path.basename(place), os.listdir(beside) if os.path.isdir(beside) else [], 1)
            hint = f"; did you mean {quote_name(os.path.join(os.path.dirname(place), near[0]))}?" if near else ""
            raise FileNotFoundError(
                f"Expected a photograph or a folder, but there is nothing at {quote_name(place)}{hint}"
            )
    return pictures


def write_rows(stream: TextIO, readings: Iterable[Reading]) -> None:
    """Write `COLUMNS` as CSV: a row for each face, and one for a picture without any."""
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for reading in readings:
        name = name_row(reading.file)
        for number, face in enumerate(reading.faces, start=1):
            chances = (f"{chance:.4f}" for chance in face.probabilities)
            table.writerow((name, number, *face.box, face.found, *chances, face.expression, ""))
        if not reading.faces:
            table.writerow((name, *[""] * (len(COLUMNS) - 2), reading.reason))


def name_row(file: str) -> str:
    """A file's name for a table: printable, and nothing that a spreadsheet would take for a formula.

    >>> name_row("=cmd.jpg"), name_row("anna/=1.jpg")
    ('./=cmd.jpg', 'anna/=1.jpg')
    """
    name = quote_name(file)
    return f"./{name}" if name.startswith(FORMULA) else name


def tabulate(readings: Iterable[Reading]) -> Iterator[str]:
    """Lines to read: file, which face, its likeliest expression and that one's probability; or why there is no face."""
    rows = [("file", "face", "expression", "probability")]
    for reading in readings:
        name = quote_name(reading.file)
        for number, face in enumerate(reading.faces, start=1):
            rows.append((name, str(number), face.expression, f"{face.probability:.2f}"))
        if not reading.faces:
            rows.append((name, "-", reading.reason, ""))
    wide = min(NAME, max(len(name) for name, *_ in rows))
    for name, face, expression, probability in rows:
        yield f"{name:{wide}}  {face:>4}  {expression:10}  {probability}".rstrip()


class _Summary:
    """What readings come to, counted as they pass, and the first faces for a sheet."""

    def __init__(self):
        self.pictures = self.faces = 0
        self.without = Counter()  # pictures without a face, by the kind of reason
        self.shown: list[tuple[FaceReading, str]] = []  # with their captions

    def follow(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        for reading in readings:
            self.pictures += 1
            self.faces += len(reading.faces)
            if not reading.faces:
                self.without[reading.reason.partition(":")[0]] += 1
            free = ON_A_SHEET - len(self.shown)
            self.shown += list(zip(reading.faces, reading.captions, strict=True))[:free]
            yield reading

    def __str__(self) -> str:
        words = {NO_FACE: "without a face"}
        reasons = "".join(f", {count:,} {words.get(reason, reason)}" for reason, count in self.without.items())
        return f"{_count(self.faces, 'face')} in {_count(self.pictures, 'picture')}{reasons}"

    def describe_sheet(self) -> str:
        some = len(self.shown) < self.faces
        return f"the first {len(self.shown)} of {self.faces:,} faces" if some else _count(self.faces, "face")

    def draw(self, model: str) -> Figure:
        """The sheet; the folder that all pictures lie in is left away from their names."""
        faces, captions = zip(*self.shown, strict=True)
        folders = [os.path.dirname(os.path.abspath(caption)) for caption in captions]
        names = [os.path.relpath(os.path.abspath(caption), os.path.commonpath(folders)) for caption in captions]
        chances = np.array([face.probabilities for face in faces])
        heading = f"{self}, read by {model}" + (f": {self.describe_sheet()}" if len(faces) < self.faces else "")
        return reading_sheet([face.crop for face in faces], chances, names, heading=heading)


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"
