"""What explorers of many faces share: thumbnails of the rows that are in sight, and one face large with its record."""

import warnings
from functools import cached_property
from pathlib import Path

from PIL import Image

from lsdkit.data.store import Store
from lsdkit.explore.explorer import PARTS, Answer, Explorer
from lsdkit.explore.packing import pack_faces

LARGE = 288  # pixels a side of the one face, at most


class SheetExplorer(Explorer):
    """An explorer of a `store`'s faces; its script shows them on sheets (`scripts/sheet.js`)."""

    shared = ("sheet.js",)
    store: Store

    def answer_thumbnails(self, rows: list[int]) -> Answer:
        """Pictures and landmarks of these rows: uint8 (n, S, S, 3), float32 (n, 68, 2)."""
        pictures = pack_faces(self.store, rows)
        return {"size": pictures.shape[1], "parts": PARTS}, [pictures, self.store.landmarks[rows]]

    def answer_face(self, row: int) -> Answer:
        """One face as large as the store has it, up to `LARGE`, its landmarks, and what is known of it."""
        picture = pack_faces(self.store, [row], LARGE)
        return {"size": picture.shape[1], "record": self.describe(row)}, [picture, self.store.landmarks[row]]

    def describe(self, row: int) -> list[tuple[str, str]]:
        """The record of a face as names and values."""
        face = self.store.faces.iloc[row]
        names = {"landmarks": "found"}
        known = [(names.get(name, name), str(value)) for name, value in face.items() if value != ""]
        sides = self.measure_original(row)
        return [("row", str(row)), *known, *([("original", f"{sides[0]} x {sides[1]} pixels")] if sides else [])]

    @cached_property
    def root(self) -> Path | None:
        """The folder that the paths of faces.csv are relative to; None where it is not there any more."""
        source, first = Path(self.store.manifest["source"]), self.store.faces["path"].iloc[0]
        beside = self.store.path.parent
        places = (source, source.parent, beside / source, beside / f"{self.store.path.name}-faces")
        return next((place for place in places if (place / first).is_file()), None)

    def measure_original(self, row: int) -> tuple[int, int] | None:
        """Width and height of the picture that a face was read from, by its header; None where it is not there."""
        file = self.root / self.store.faces["path"].iloc[row] if self.root else None
        if file is None or not file.is_file():  # a pipe would be waited for
            return None
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(file) as picture:
                return picture.size
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
