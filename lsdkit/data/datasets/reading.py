"""One way for all data sets: which of the labelled faces are taken, and each other one named, with the reason."""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lsdkit.common.expressions import CLASSES, EXTRA
from lsdkit.common.landmarks import normalise
from lsdkit.data.datasets.affectnet import AFFECTNET
from lsdkit.data.datasets.expw import EXPW
from lsdkit.data.datasets.fer2013 import FER2013
from lsdkit.data.datasets.labels import DataSet, Labelled, Misread, clean_path
from lsdkit.data.datasets.rafdb import RAFDB
from lsdkit.data.decoding import LeftOut
from lsdkit.data.readers import Listing, check_folder, check_split, make_row, split_off, tabulate
from lsdkit.data.store import SPLITS
from lsdkit.data.unpacking import Packed, unpack

DATA_SETS = {"affectnet": AFFECTNET, "expw": EXPW, "rafdb": RAFDB, "fer2013": FER2013}
FARTHEST = 3  # of landmarks in [-1, 1] of the picture: beyond it they are no points of this picture
TURNED = 0x0112  # the EXIF tag that says how a picture is to be turned


class Face(NamedTuple):
    """A face that is taken: `path` below the root, points in [-1, 1] or why there are none, and what told it."""

    split: str
    expression: str
    path: str
    points: np.ndarray | None
    why: str
    label: Labelled


def read_data_set(
    name: str,
    source: str | Path,
    unpacked: str | Path,
    *,
    classes: int = 0,
    validation: float = 0.2,
    seed: int = 0,
    jobs: int | None = None,
    progress: bool = True,
) -> Listing:
    """Faces of the public data set `name`, one of `DATA_SETS`, laid out in `source` as its `layout` says.

    Args:
        unpacked: folder for the faces of a set whose faces are no files; it is then the listing's root.
        classes: 6, 7 with neutral, 8 with contempt; 0 = all that the set has. Others are left out ("other_class").
        validation, seed: as in `lsdkit.data.readers.read_folder`, for a set without validation faces of its own.
        jobs, progress: of the unpacking.

    Splits are the set's own. Neutral and contempt go to "extra", which is trained on; those of the set's own validation
    and test faces are therefore left out ("held_out"). A face that is listed twice counts once ("duplicate"); of a
    training and a held-out one the latter stays. Further reasons: "no_expression", "unknown_class", "malformed" (a line
    or an annotation that cannot be read), "outside" (a path that leaves the folder), "bad_box". A face whose landmarks
    cannot be used stays without any. Raises `ValueError` for classes that the set does not have, or where no face is
    left; `FileNotFoundError` for another layout.
    """
    data_set, source = DATA_SETS[name], Path(source)
    classes = classes or data_set.most
    if not 6 <= classes <= data_set.most:
        fit = ", ".join(map(str, range(6, data_set.most + 1)))
        raise ValueError(f"Expected --classes of {data_set.title} to be one of {fit}, but got {classes}")
    check_split("", validation)
    root = source.parent if source.is_file() else check_folder(source)
    faces, left_out, own_validation = _choose(root, data_set.read(data_set, source), data_set, CLASSES[:classes])
    if faces and faces[0].label.cut:
        packed = [Packed(face.label.name, root / face.path, face.label.cut, face.label.stamp) for face in faces]
        lost = unpack(packed, Path(unpacked), jobs, progress)
        left_out += [{"path": path, "reason": why.reason, "detail": why.detail} for path, why in lost.items()]
        faces = [face._replace(path=face.label.name) for face in faces if face.label.name not in lost]
        root = Path(unpacked)
    if not faces:
        first = "; ".join(f"{row['path']}: {row['reason']} ({row['detail']})" for row in left_out[:3])
        raise ValueError(f"Expected faces in {source}, but none of {len(left_out)} could be used: {first}")
    faces.sort(key=lambda face: SPLITS.index(face.split))
    rows = [make_row(_key(face), face.split, face.expression, "", face.path) for face in faces]
    listing = Listing(root, tabulate(rows), left_out)
    listing = listing if own_validation else split_off(listing, validation, seed)
    pairs = list(zip(listing.table["key"], faces, strict=True))
    listing.landmarks = {key: face.points for key, face in pairs if face.points is not None}
    listing.why_missing = {key: face.why for key, face in pairs if face.why}
    return listing


def _key(face: Face) -> str:
    return f"{face.split}/{face.expression}/{Path(face.path).stem}"


def _choose(
    root: Path, labels: Iterable[Labelled | Misread], data_set: DataSet, names: Sequence[str]
) -> tuple[list[Face], list[dict], bool]:
    """Faces to take, rows of those left out, and whether the set has validation faces of its own."""
    taken, left_out, own_validation = {}, [], False

    def leave_out(label: Labelled, reason: str, detail: str) -> None:
        path = label.name or posixpath.join(label.folder, label.path)
        left_out.append({"path": path, "reason": reason, "detail": f"{label.where}: {detail}"})

    for label in labels:
        if isinstance(label, Misread):
            left_out.append({"path": label.where, "reason": "malformed", "detail": label.detail})
            continue
        own_validation |= label.split == "validation"
        try:
            expression = _judge_class(label, data_set, names)
            path = posixpath.join(label.folder, clean_path(label.path))
            split = "extra" if expression in EXTRA else label.split
            name = clean_path(label.name) if label.name else path
            face = Face(split, expression, path, None, "", replace(label, name=name if label.cut else "", points=None))
            if earlier := taken.get(name):
                if label.split == "train" or earlier.label.split != "train":
                    raise LeftOut("duplicate", _describe_twin(earlier))
                leave_out(earlier.label, "duplicate", _describe_twin(face))
            taken[name] = face._replace(**_place_points(label, root / path))
        except LeftOut as lost:
            leave_out(label, lost.reason, lost.detail)
    return list(taken.values()), left_out, own_validation


def _describe_twin(face: Face) -> str:
    return f"the face of {face.label.where}, labelled {face.expression} in {face.label.split}"


def _judge_class(label: Labelled, data_set: DataSet, names: Sequence[str]) -> str:
    """Name of the expression; raises `LeftOut` for a face that shows none, an unknown one, or one not to be taken."""
    code = label.code.strip()
    if code in data_set.no_expression:
        raise LeftOut("no_expression", f"{code} is {data_set.no_expression[code]}")
    if code not in data_set.codes:
        raise LeftOut("unknown_class", f"{code!r} is no code of {data_set.title} ({', '.join(data_set.codes)})")
    name = data_set.codes[code]
    if name not in names:
        raise LeftOut("other_class", f"{name}: only {len(names)} classes were asked for")
    if name in EXTRA and label.split != "train":
        raise LeftOut("held_out", f"{name} of the {label.split} faces, which nothing may be trained on")
    return name


def _place_points(label: Labelled, file: Path) -> dict:
    """`points` in [-1, 1] of the picture, and `why` there are none."""
    if label.points is None:
        return {}
    try:
        with Image.open(file) as image:
            size, turned = image.size, image.getexif().get(TURNED, 1) != 1
    except Exception:  # as in `decoding.decode`, which will say why the picture cannot be read
        return {}
    if turned:
        return {"why": "missing: the picture is stored turned"}  # do the points mean it before or after? Nothing tells
    try:
        points = normalise(label.points(), *size)
    except ValueError as error:
        return {"why": f"missing: {error}"}
    if not np.abs(points).max() <= FARTHEST:
        return {"why": "missing: points far outside the picture"}
    return {"points": points}
