"""Photographs for a benchmark: what was given, what of it became a face, and who is on it.

No photograph vanishes: one in which no face is found, or that cannot be read, stays in the count as one without a face.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import preparing
from lsdkit.data.readers import Listing, read_csv, read_folder
from lsdkit.data.store import Store
from lsdkit.data.subjects import NAME_NUMBER, name_subjects
from lsdkit.photographs.views import Faces

RENDERED, MEAN = "rendered", "mean of the collections"  # what the benchmark itself calls things
NAME = re.compile(r"\w[\w .+-]{0,39}(?<![ .])")  # of a collection: a word for tables, figures and file names
LARGEST_SUBJECT = 0.2  # share of the photographs beyond which a name is no person's ("image_0001")


@dataclass(frozen=True)
class Photographs:
    """The photographs of the six expressions: P in all, with and without a face.

    `rows` (P,) are rows of `store`, -1 where no face was found; `labels` (P,) in 0..5; `subjects` (P,) or None.
    """

    store: Store
    keys: list[str]
    labels: np.ndarray
    rows: np.ndarray
    subjects: np.ndarray | None
    subjects_from: str  # in words
    lost: dict[str, int]  # reason -> photographs without a face
    how: dict[str, int]  # how the face was found -> photographs

    @property
    def has_face(self) -> np.ndarray:
        """bool (P,): whether a face was found."""
        return self.rows >= 0

    @property
    def people(self) -> np.ndarray:
        """(P,): the subjects; where they are not known, each photograph is a person of its own."""
        return np.array(self.keys) if self.subjects is None else self.subjects

    def count(self) -> dict[str, dict[str, int]]:
        """{expression: {"given", "found"}}."""
        parts = (self.labels, self.labels[self.has_face])
        counts = zip(*(np.bincount(part, minlength=len(EXPRESSIONS)).tolist() for part in parts), strict=True)
        return {name: {"given": g, "found": f} for name, (g, f) in zip(EXPRESSIONS, counts, strict=True)}


@dataclass(frozen=True)
class Collection:
    """A collection of photographs under test, what models see of its faces, and what its photographs are like.

    `measures`: a row a photograph, in their order, as from `lsdkit.photographs.traits.measure_photographs`.
    """

    name: str
    source: str
    photographs: Photographs
    faces: Faces
    measures: pd.DataFrame

    @property
    def target(self) -> tuple[Faces, np.ndarray]:
        """What models answer about: the faces, and the rows (B,) of those of the six expressions."""
        return self.faces, self.photographs.rows[self.photographs.has_face]


def check_names(names: Iterable[str]) -> None:
    """Raise `ValueError` where names of collections cannot stand in tables and file names, or two are one.

    >>> check_names(["films", "web 48"])
    """
    names = list(names)
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"Expected a collection's name of at most 40 letters, digits, spaces and . + - _ that begins with a "
                f"letter or digit, but got {name!r}; name it as in --photographs NAME=DIR"
            )
        if name.casefold() in (RENDERED, MEAN):
            raise ValueError(f"Expected a collection's name to be none of the benchmark's own, but got {name!r}")
    for name, number in Counter(name.casefold() for name in names).items():
        if number > 1:
            raise ValueError(
                f"Expected collections of different names, but {number} are called {name!r}; name each as in "
                "--photographs NAME=DIR"
            )
    if not names:
        raise ValueError("Expected at least one collection of photographs, but got none")


def list_photographs(source: Path | str) -> Listing:
    """The photographs in a folder per expression, or of a CSV file (path, expression and optionally subject).

    Raises `ValueError` where none shows one of the six expressions.
    """
    source = Path(source)
    listing = read_csv(source, split="test") if source.is_file() else read_folder(source, split="test")
    if not listing.table["expression"].isin(EXPRESSIONS).any():
        raise ValueError(f"Expected photographs of {', '.join(EXPRESSIONS)} in {source}, but there are none")
    return listing


def prepare_photographs(
    source: Path | str,
    out: Path | str,
    *,
    pixels: int = 112,
    annotator: str = "dlib",
    jobs: int | None = None,
    progress: bool = True,
) -> Photographs:
    """Find, align, crop and annotate the faces of photographs into the store `out`.

    `source` as in `list_photographs`, `annotator` a name of `lsdkit prepare --landmarks`. What is finished is kept.
    Raises `ValueError` where no photograph shows one of the six expressions, or where no face is found in any.
    """
    options = {"split": "test", "crop": True, "landmarks": annotator, "size": pixels, "jobs": jobs}
    table = list_photographs(source).table
    table = table[table["expression"].isin(EXPRESSIONS)]
    make = preparing.prepare_csv if Path(source).is_file() else preparing.prepare_folder
    store = make(source, out, **options, progress=progress)
    subjects, subjects_from = find_subjects(table)
    reason_of = dict(zip(store.left_out["path"], store.left_out["reason"], strict=True))
    place = {key: row for row, key in enumerate(store.keys)}
    rows = np.array([place.get(key, -1) for key in table["key"]], dtype=np.int64)
    return Photographs(
        store=store,
        keys=table["key"].tolist(),
        labels=table["expression"].map(EXPRESSIONS.index).to_numpy(np.int64),
        rows=rows,
        subjects=subjects,
        subjects_from=subjects_from,
        lost=dict(Counter(reason_of.get(path, "unknown") for path in table["path"][rows < 0])),
        how=dict(Counter(store.faces["landmarks"].iloc[rows[rows >= 0]])),
    )


def find_subjects(table: pd.DataFrame) -> tuple[np.ndarray | None, str]:
    """Who is on each photograph of a table (columns key, subject and path), (P,), and where that is known from.

    From the column subject where it is filled; else from files named NAME_NUMBER, where half of them are and no name
    makes up a fifth of all. A photograph that names nobody is taken for a person of its own. None where nothing says.
    """
    names = table["subject"].to_numpy(dtype=object)
    source = "the column subject"
    if not (names != "").any():
        names = np.array(name_subjects(table["path"], NAME_NUMBER), dtype=object)
        source = "files named NAME_NUMBER"
        most = max(Counter(names[names != ""]).values(), default=0)
        if (names != "").mean() < 0.5 or most > LARGEST_SUBJECT * len(table):
            return None, "not known"
    return np.where(names == "", table["key"].to_numpy(dtype=object), names).astype(str), source
