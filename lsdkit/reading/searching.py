"""The faces of one picture, found and cut out. It runs in worker processes, so that nothing here loads torch."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lsdkit.data.alignment import align
from lsdkit.data.detection import Face, find_faces
from lsdkit.data.pictures import LeftOut, open_picture

NO_FACE = "no face found"
Picture = str | bytes | os.PathLike | io.BytesIO | Image.Image | np.ndarray  # what `open_picture` takes


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face: points (68, 2) in pixels of the upright picture, its box there (x, y, width, height), how it was found,
    and its aligned crops by their side in pixels, uint8 (S, S, 3) each."""

    points: np.ndarray
    box: tuple[int, int, int, int]
    found: str
    crops: dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Searched:
    """What a picture holds: its size (width, height), its faces, the largest first; why there are none."""

    size: tuple[int, int] = (0, 0)
    faces: tuple[FoundFace, ...] = ()
    reason: str = ""


def search(picture: Picture, sizes: Sequence[int]) -> Searched:
    """Find the faces of a picture and cut each out, aligned, at these sides in pixels.

    A picture without a face, one that cannot be read and one that a library fails on are outcomes, told by `reason`.
    """
    try:
        image = open_picture(picture)
        found = find_faces(image)
        faces = tuple(_cut_out(image, face, sizes) for face in found)
    except LeftOut as left:
        return Searched(reason=f"{left.reason}: {left.detail}")
    except Exception as error:  # one picture among thousands; memory that does not suffice is such a one
        return Searched(reason=fail(f"{type(error).__name__}: {error}"))
    return Searched(image.size, faces, "" if faces else NO_FACE)


def fail(why: str) -> str:
    """The reason that is given for a picture on which the search broke off.

    >>> fail("the process ended by signal 11")
    'not searched: the process ended by signal 11'
    """
    return f"not searched: {why}"


def _cut_out(image: Image.Image, face: Face, sizes: Sequence[int]) -> FoundFace:
    crops = {side: np.asarray(align(image, face.points, side)[0]) for side in sizes}
    return FoundFace(face.points, _clip(face.box, image.size), face.how, crops)


def _clip(box: tuple[float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square (centre x, centre y, side) as x, y, width, height in whole pixels inside a picture of this size."""
    x, y, side = box
    left, top, right, bottom = (
        min(max(round(place), 0), most)
        for place, most in zip((x - side / 2, y - side / 2, x + side / 2, y + side / 2), (*size, *size), strict=True)
    )
    return left, top, right - left, bottom - top
