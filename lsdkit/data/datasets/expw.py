"""ExpW: `label.lst`, a line a face with its box in a picture of `origin/`; the faces are cut out.

Source: Zhang et al., "From Facial Expression Recognition to Interpersonal Relation Prediction"
(https://arxiv.org/abs/1609.06426).
"""

import posixpath
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.data.datasets.labels import DataSet, Labelled, Misread, find_first, find_pictures, number_codes, read_lines
from lsdkit.data.pictures import LeftOut, open_picture

LISTS = ("label.lst", "label/label.lst")
PICTURES = ("origin", "image/origin")
INSIDE = 0.5  # least share of a box that lies inside its photograph


def _read(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    listed = find_first(root, LISTS)
    if not listed or not find_first(root, PICTURES):
        raise data_set.refuse(root)
    return _read_faces(root, listed)


def _read_faces(root: Path, listed: str) -> Iterator[Labelled | Misread]:
    names = (line.rsplit(None, 7)[0] for _, line in read_lines(root / listed))
    folder = find_pictures(root, PICTURES, names)
    stamp = (root / listed).stat().st_mtime_ns
    for number, line in read_lines(root / listed):
        where, cells = f"{listed}, line {number}", line.rsplit(None, 7)
        try:
            path, (face, top, left, right, bottom) = cells[0].strip(), map(int, cells[1:6])
            code = cells[7]
        except (ValueError, IndexError):
            yield Misread(where, "expected: image_name face_id top left right bottom confidence label")
            continue
        cut = partial(_cut_box, box=(left, top, right, bottom))
        name = f"{posixpath.splitext(path)[0]}_{face}.png"
        yield Labelled(where, path, code, "train", folder, name=name, cut=cut, stamp=stamp)


def _cut_box(file: Path, box: tuple[int, int, int, int]) -> Image.Image:
    """What a box (left, top, right, bottom) holds of a picture; the border is repeated where it sticks out."""
    image = open_picture(file)
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        raise LeftOut("bad_box", f"left {left}, top {top}, right {right}, bottom {bottom}: it is empty")
    wide, high = min(right, image.width) - max(left, 0), min(bottom, image.height) - max(top, 0)
    if min(wide, high) <= 0 or wide * high < INSIDE * (right - left) * (bottom - top):
        size = f"{image.width} x {image.height}"
        raise LeftOut("bad_box", f"left {left}, top {top}, right {right}, bottom {bottom}: it leaves the {size} pixels")
    rows = np.clip(np.arange(top, bottom), 0, image.height - 1)
    columns = np.clip(np.arange(left, right), 0, image.width - 1)
    return Image.fromarray(np.asarray(image)[rows[:, None], columns])


EXPW = DataSet(
    "ExpW",
    _read,
    "label.lst beside the pictures' folder origin/",
    number_codes("ANGER DISGUST FEAR HAPPINESS SADNESS SURPRISE NEUTRAL"),
)
