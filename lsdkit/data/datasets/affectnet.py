"""AffectNet: `training.csv` and `validation.csv` beside the pictures, or the later release's arrays, a file a face.

Source: Mollahosseini et al., "AffectNet" (https://arxiv.org/abs/1708.03985), the manual annotations. Both layouts bring
68 landmarks in pixels of the picture. The boxes of the lists are not read.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lsdkit.data.datasets.labels import (
    DataSet,
    Labelled,
    Misread,
    find_pictures,
    number_codes,
    read_rows,
    shape_points,
)
from lsdkit.data.readers import list_images

COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
LISTS = ("", "Manually_Annotated_file_lists")
PICTURES = ("", "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")


def _read(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    for place in LISTS:
        lists = {"train": root / place / "training.csv", "validation": root / place / "validation.csv"}
        if all(file.is_file() for file in lists.values()):
            return _read_lists(root, lists)
    folders = {"train": "train_set", "validation": "val_set"}
    if all((root / folder / "annotations").is_dir() for folder in folders.values()):
        return _read_arrays(root, folders)
    raise data_set.refuse(root)


def _read_lists(root: Path, lists: dict[str, Path]) -> Iterator[Labelled | Misread]:
    path, needed = COLUMNS[0], ("subDirectory_filePath", "facial_landmarks", "expression")
    for split, file in lists.items():
        rows = partial(read_rows, file, COLUMNS, needed)
        folder = find_pictures(root, PICTURES, (row[path] for row in rows() if isinstance(row, dict)))
        for row in rows():
            if isinstance(row, Misread):
                yield row
                continue
            points = partial(_split_points, row["facial_landmarks"])
            yield Labelled(row["where"], row[path], row["expression"], split, folder, points)


def _split_points(text: str) -> np.ndarray:
    return shape_points(text.rstrip(";").split(";"))


def _read_arrays(root: Path, folders: dict[str, str]) -> Iterator[Labelled | Misread]:
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
    except Exception as error:  # as in `_read_arrays`
        raise ValueError(f"{file.name} cannot be read") from error
    return shape_points(numbers)


AFFECTNET = DataSet(
    "AffectNet",
    _read,
    "training.csv and validation.csv beside the picture folders, or train_set/ and val_set/, each with images/ and "
    "annotations/",
    number_codes("NEUTRAL HAPPINESS SADNESS SURPRISE FEAR DISGUST ANGER CONTEMPT"),
    {"8": "none", "9": "uncertain", "10": "no face"},
    has_landmarks=True,
)
