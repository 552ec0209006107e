"""The public data sets of photographs, in the layouts that they are handed out in: a table for each, one way for all.

A `DataSet` says what its class codes mean and how its files are laid out; its reader lists labelled faces as the files
tell them. `read_data_set` alone decides which of them are taken, and names every other one and why. Faces that are no
picture files of their own (boxes in photographs, numbers in a table) are written as such (`lsdkit.data.unpacking`), so
that what follows is the same for all sources.
"""

import csv
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lsdkit.common.expressions import CLASSES, EXTRA
from lsdkit.common.landmarks import POINTS, normalise
from lsdkit.data.decoding import LeftOut, decode
from lsdkit.data.readers import (
    SPLIT_NAMES,
    Listing,
    check_folder,
    check_split,
    list_folders,
    list_images,
    make_row,
    split_off,
    tabulate,
)
from lsdkit.data.store import SPLITS
from lsdkit.data.unpacking import Packed, unpack

FARTHEST = 3  # of landmarks in [-1, 1] of the picture: beyond it they are no points of this picture
INSIDE = 0.5  # least share of a box that lies inside its photograph
TURNED = 0x0112  # the EXIF tag that says how a picture is to be turned


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


class Face(NamedTuple):
    """A face that is taken: `path` below the root, points in [-1, 1] or why there are none, and what told it."""

    split: str
    expression: str
    path: str
    points: np.ndarray | None
    why: str
    label: Labelled


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


def _shape_points(numbers: Iterable) -> np.ndarray:
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


def _find(root: Path, names: Iterable[str]) -> str:
    """The first of these that is there, or ""."""
    return next((name for name in names if (root / name).exists()), "")


def _find_pictures(root: Path, folders: Sequence[str], paths: Iterable[str]) -> str:
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


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, from 1, blank ones left away; bytes that are no UTF-8 cost their line only."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line.rstrip("\n")


def _read_rows(file: Path, columns: Sequence[str], needed: Sequence[str]) -> Iterator[dict[str, str] | Misread]:
    """Rows of a CSV file, a line each, with `where`; without a line of names, `columns` are its own."""
    header = None
    for number, line in _read_lines(file):
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


AFFECTNET_COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
AFFECTNET_LISTS = ("", "Manually_Annotated_file_lists")
AFFECTNET_PICTURES = ("", "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")


def _read_affectnet(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    for place in AFFECTNET_LISTS:
        lists = {"train": root / place / "training.csv", "validation": root / place / "validation.csv"}
        if all(file.is_file() for file in lists.values()):
            return _read_affectnet_lists(root, lists)
    folders = {"train": "train_set", "validation": "val_set"}
    if all((root / folder / "annotations").is_dir() for folder in folders.values()):
        return _read_affectnet_arrays(root, folders)
    raise data_set.refuse(root)


def _read_affectnet_lists(root: Path, lists: dict[str, Path]) -> Iterator[Labelled | Misread]:
    path, needed = AFFECTNET_COLUMNS[0], ("subDirectory_filePath", "facial_landmarks", "expression")
    for split, file in lists.items():
        rows = partial(_read_rows, file, AFFECTNET_COLUMNS, needed)
        folder = _find_pictures(root, AFFECTNET_PICTURES, (row[path] for row in rows() if isinstance(row, dict)))
        for row in rows():
            if isinstance(row, Misread):
                yield row
                continue
            points = partial(_split_points, row["facial_landmarks"])
            yield Labelled(row["where"], row[path], row["expression"], split, folder, points)


def _split_points(text: str) -> np.ndarray:
    return _shape_points(text.rstrip(";").split(";"))


def _read_affectnet_arrays(root: Path, folders: dict[str, str]) -> Iterator[Labelled | Misread]:
    for split, folder in folders.items():
        notes, pictures = root / folder / "annotations", list_images(root / folder / "images")
        known = {picture.rpartition(".")[0] for picture in pictures}
        stems = sorted(file.name.removesuffix("_exp.npy") for file in notes.glob("*_exp.npy"))
        for picture in [*pictures, *(f"{stem}.jpg" for stem in stems if stem not in known)]:  # the latter are missing
            stem = picture.rpartition(".")[0]
            file = notes / f"{stem}_exp.npy"
            where = file.relative_to(root).as_posix()
            try:
                code = str(_read_code(file))
            except Exception as error:  # numpy's reader raises many kinds; each means: no class
                yield Misread(f"{folder}/images/{picture}", f"{where}: {type(error).__name__}: {error}"[:200])
                continue
            points = partial(_load_points, notes / f"{stem}_lnd.npy")
            yield Labelled(where, picture, code, split, f"{folder}/images", points)


def _read_code(file: Path) -> int:
    """The class in a file that holds one number, perhaps as text."""
    value = np.load(file, allow_pickle=False).item()
    if int(value) != float(value):
        raise ValueError(f"Expected a whole number, but got {value}")
    return int(value)


def _load_points(file: Path) -> np.ndarray:
    try:
        numbers = np.load(file, allow_pickle=False).ravel()
    except FileNotFoundError:
        raise ValueError(f"no file {file.name}") from None
    except Exception as error:  # as in `_read_affectnet_arrays`
        raise ValueError(f"{file.name} cannot be read") from error
    return _shape_points(numbers)


EXPW_LISTS = ("label.lst", "label/label.lst")
EXPW_PICTURES = ("origin", "image/origin")


def _read_expw(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    listed = _find(root, EXPW_LISTS)
    if not listed or not _find(root, EXPW_PICTURES):
        raise data_set.refuse(root)
    return _read_expw_lines(root, listed)


def _read_expw_lines(root: Path, listed: str) -> Iterator[Labelled | Misread]:
    names = (line.rsplit(None, 7)[0] for _, line in _read_lines(root / listed))
    folder = _find_pictures(root, EXPW_PICTURES, names)
    stamp = (root / listed).stat().st_mtime_ns
    for number, line in _read_lines(root / listed):
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
    image = decode(file.read_bytes())
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


RAFDB_LISTS = tuple(f"{place}EmoLabel/list_pa{r}tition_label.txt" for place in ("", "basic/") for r in ("", "r"))
RAFDB_PICTURES = ("Image/aligned", "basic/Image/aligned", "aligned")
RAFDB_FOLDERS = ("", "DATASET")  # that hold train/ and test/


def _read_rafdb(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    if listed := _find(root, RAFDB_LISTS):
        return _read_rafdb_lines(root, listed)
    for place in RAFDB_FOLDERS:
        splits = [path for path in list_folders(root / place) if path.name.lower() in SPLIT_NAMES]
        classes = [path for split in splits for path in list_folders(split) if list_images(path)]
        if odd := [path for path in classes if path.name not in data_set.codes]:
            if len(odd) == len(classes):
                break
            wanted = ", ".join(data_set.codes)
            raise ValueError(f"Expected class folders {wanted} of {data_set.title}, but got {odd[0]}; move it away")
        if classes:
            return _read_rafdb_folders(root, classes)
    raise data_set.refuse(root)


def _read_rafdb_folders(root: Path, classes: Sequence[Path]) -> Iterator[Labelled]:
    for path in classes:
        folder, split = path.relative_to(root).as_posix(), SPLIT_NAMES[path.parent.name.lower()]
        for image in list_images(path):
            yield Labelled(f"folder {folder}", image, path.name, split, folder)


def _read_rafdb_lines(root: Path, listed: str) -> Iterator[Labelled | Misread]:
    rows = [(f"{listed}, line {number}", line.split()) for number, line in _read_lines(root / listed)]
    folder = _find_pictures(root, RAFDB_PICTURES, (_align_name(cells[0]) for _, cells in rows))
    for where, cells in rows:
        split = SPLIT_NAMES.get(posixpath.basename(cells[0]).partition("_")[0].lower(), "")
        if len(cells) != 2 or not split:
            yield Misread(where, "expected: train_NUMBER.jpg CODE, or test_NUMBER.jpg CODE")
            continue
        yield Labelled(where, _align_name(cells[0]), cells[1], split, folder)


def _align_name(name: str) -> str:
    """The name of the aligned file: train_1.jpg is listed, train_1_aligned.jpg is there."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem.removesuffix('_aligned')}_aligned{dot}{ending}"


FER2013_COLUMNS = ("emotion", "pixels", "Usage")
FER2013_FILES = ("fer2013.csv", "icml_face_data.csv", "fer2013/fer2013.csv")
FER2013_SIDE = 48
FER2013_SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def _read_fer2013(data_set: DataSet, source: Path) -> Iterator[Labelled | Misread]:
    root, listed = (source.parent, source.name) if source.is_file() else (source, _find(source, FER2013_FILES))
    if not listed:
        raise data_set.refuse(source)
    for number, row in enumerate(_read_rows(root / listed, FER2013_COLUMNS, FER2013_COLUMNS), start=1):
        if isinstance(row, Misread):
            yield row
            continue
        split = FER2013_SPLITS.get(row["Usage"])
        pixels = _parse_pixels(row["pixels"])
        if not split or pixels is None:
            least = FER2013_SIDE**2
            wrong = f"Usage {row['Usage'][:40]!r} is none of {', '.join(FER2013_SPLITS)}" if not split else ""
            yield Misread(row["where"], wrong or f"pixels are not {least} whole numbers from 0 to 255")
            continue
        cut = partial(_draw_pixels, pixels=pixels)
        yield Labelled(row["where"], listed, row["emotion"], split, name=f"{split}/{number:05}.png", cut=cut)


def _parse_pixels(text: str) -> bytes | None:
    try:
        pixels = bytes(map(int, text.split()))  # refuses numbers outside 0..255
    except ValueError:
        return None
    return pixels if len(pixels) == FER2013_SIDE**2 else None


def _draw_pixels(_: Path, pixels: bytes) -> Image.Image:
    return Image.frombytes("L", (FER2013_SIDE, FER2013_SIDE), pixels)


def _number(names: str, start: int = 0) -> dict[str, str]:
    """Codes as text -> names, numbered in order."""
    return {str(code): name for code, name in enumerate(names.split(), start)}


DATA_SETS = {
    "affectnet": DataSet(
        "AffectNet",
        _read_affectnet,
        "training.csv and validation.csv beside the picture folders, or train_set/ and val_set/, each with images/ and "
        "annotations/",
        _number("NEUTRAL HAPPINESS SADNESS SURPRISE FEAR DISGUST ANGER CONTEMPT"),
        {"8": "none", "9": "uncertain", "10": "no face"},
        has_landmarks=True,
    ),
    "expw": DataSet(
        "ExpW",
        _read_expw,
        "label.lst beside the pictures' folder origin/",
        _number("ANGER DISGUST FEAR HAPPINESS SADNESS SURPRISE NEUTRAL"),
    ),
    "rafdb": DataSet(
        "RAF-DB",
        _read_rafdb,
        "EmoLabel/list_patition_label.txt with Image/aligned/, or train/1 to train/7 and test/1 to test/7",
        _number("SURPRISE FEAR DISGUST HAPPINESS SADNESS ANGER NEUTRAL", start=1),
    ),
    "fer2013": DataSet(
        "FER2013",
        _read_fer2013,
        "fer2013.csv (emotion, pixels, Usage), or that file itself",
        _number("ANGER DISGUST FEAR HAPPINESS SADNESS SURPRISE NEUTRAL"),
    ),
}
