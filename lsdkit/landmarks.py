"""The 68 landmarks of a face: their order, mirror and units; readers of landmark files; annotation by dlib.

Order (iBUG 300-W, 0-based): 0-16 jaw, 17-21 and 22-26 brows, 27-35 nose, 36-41 the eye on the image's left, 42-47 the
other eye, 48-59 outer and 60-67 inner lips. Unit everywhere: [-1, 1] of the image, -1 its left or top *edge*, 1 its
right or bottom edge, x to the right, y down.
"""

import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.expressions import index_of, name_of

LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)  # as seen in the image
COLUMNS = tuple(f"{axis}{point}" for point in range(68) for axis in "xy")  # x0, y0, ..., x67, y67
_PAIRS = (  # points that change places in a mirror image
    *((i, 16 - i) for i in range(8)),
    *((i, 43 - i) for i in range(17, 22)),
    *((31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)),
)


def _flip_permutation() -> np.ndarray:
    order = np.arange(68)
    for left, right in _PAIRS:
        order[[left, right]] = right, left
    return order


FLIP = _flip_permutation()  # int64 (68,): point i of the mirror image is point FLIP[i] with x negated


def flip(points: np.ndarray) -> np.ndarray:
    """Landmarks (..., 68, 2) in [-1, 1] of the mirror image: x negated, points exchanged so that the order stays.

    >>> bool((flip(flip(np.arange(136.0).reshape(68, 2))) == np.arange(136.0).reshape(68, 2)).all())
    True
    """
    return np.asarray(points)[..., FLIP, :] * np.array([-1, 1])


def normalise(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """Pixel positions (..., 68, 2) to [-1, 1]. Pixel (0, 0) means the centre of the first pixel.

    >>> normalise(np.array([[0.0, 1.5]]), 2, 4).tolist()
    [[-0.5, 0.0]]
    """
    return (2 * np.asarray(points, dtype=float) + 1) / np.array([width, height]) - 1


def denormalise(points: np.ndarray, width: int, height: int) -> np.ndarray:
    """The inverse of `normalise`: [-1, 1] to pixel positions.

    >>> denormalise(np.array([[-0.5, 0.0]]), 2, 4).tolist()
    [[0.0, 1.5]]
    """
    return ((np.asarray(points, dtype=float) + 1) * np.array([width, height]) - 1) / 2


def plausible(points: np.ndarray) -> bool:
    """Whether (68, 2) points in [-1, 1] can be a face that fills a good part of its image.

    Eyes inside the image and in their order, between a twentieth and two thirds of the width apart, nearer to level
    than to upright, above the mouth and not in the lowest quarter. A rough check: it finds landmarks of another crop
    or another axis, not small errors.
    """
    points = np.asarray(points)
    if not np.isfinite(points).all():
        return False
    left, right, mouth = points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0), points[MOUTH].mean(0)
    inside = np.abs([left, right]).max() < 1 and max(left[1], right[1]) < 0.5
    across, up = right - left
    return bool(inside and 0.1 < across < 1.34 and abs(up) < across and mouth[1] > (left[1] + right[1]) / 2)


@dataclass
class Annotations:
    """Landmarks by key, with where they came from. Keys without an entry in `points` have none."""

    points: dict[str, np.ndarray] = field(default_factory=dict)  # key -> (68, 2) in [-1, 1]
    status: dict[str, str] = field(default_factory=dict)  # key -> "found", "missing" or "implausible"
    convention: str = ""  # of the files read

    def counts(self) -> dict[str, int]:
        """Faces by status."""
        return dict(Counter(self.status.values()))


def points_of_table(table: pd.DataFrame, source: str | Path) -> dict[str, np.ndarray]:
    """Landmarks of a table: key, x0, y0, ..., x67, y67 in [-1, 1]; a face with an empty cell is left away.

    Raises `ValueError` for missing columns, repeated keys, or values that are no [-1, 1] coordinates (pixels, for one).
    """
    missing = [name for name in ("key", *COLUMNS) if name not in table.columns]
    if missing:
        raise ValueError(
            f"Expected the columns key, x0, y0, ..., x67, y67 in {source}, but {len(missing)} are missing: "
            f"{', '.join(missing[:5])}"
        )
    if table["key"].duplicated().any():
        raise ValueError(
            f"Expected each key once in {source}, but {table['key'][table['key'].duplicated()].iloc[0]!r} repeats"
        )
    values = table[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy(float).reshape(-1, 68, 2)
    return _checked(table["key"].tolist(), values, source)


def read_table(file: str | Path) -> dict[str, np.ndarray]:
    """Landmarks from a CSV file (see `points_of_table`), or from `X.npy` (N, 68, 2) with `X.keys.txt`, a key a line."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a table of landmarks (.csv, or .npy with a .keys.txt beside it), but {file} is no file"
        )
    if file.suffix.lower() != ".npy":
        return points_of_table(pd.read_csv(file, dtype={"key": str}), file)
    names = file.with_suffix(".keys.txt")
    if not names.is_file():
        raise FileNotFoundError(f"Expected {names} with one key a line for the rows of {file}")
    keys = names.read_text(encoding="utf-8").split()
    values = np.load(file, allow_pickle=False)
    if values.shape != (len(keys), 68, 2) or len(set(keys)) < len(keys):
        raise ValueError(
            f"Expected ({len(keys)}, 68, 2) in {file} for {len(set(keys))} different keys, but got {values.shape}"
        )
    return _checked(keys, values, file)


def _checked(keys: list[str], values: np.ndarray, source: str | Path) -> dict[str, np.ndarray]:
    found = np.isfinite(values).all((1, 2))
    if found.any() and np.abs(values[found]).max() > 3:
        raise ValueError(
            f"Expected landmarks in [-1, 1] of the image in {source}, but got {np.abs(values[found]).max():.6g}; "
            "turn pixels into that with lsdkit.landmarks.normalise"
        )
    return {key: value for key, value, good in zip(keys, values, found, strict=True) if good}


def read_deca(
    folder: str | Path,
    keys: Iterable[str],
    *,
    iscrop_false: bool = False,
    transforms: Mapping[str, np.ndarray] | None = None,
) -> Annotations:
    """Landmarks that DECA wrote, `<name>/<name>_kpt2d.txt`, 68 rows "x y", for the faces of `keys`.

    Two conventions exist: pixels of a 224 crop (before August 2021) and [-1, 1] (after); the range of the numbers
    tells which, and a folder that fits neither, or mixes them, is refused. By default DECA (its `--iscrop` defaults
    to true) cuts out the face by its own detector and does not save where; so either state `iscrop_false` (it was run
    with `--iscrop False`: the whole image is the crop), or give `transforms`: key -> (3, 3) matrix from [-1, 1] of
    DECA's crop to [-1, 1] of the image.

    Files pair with faces by name, never by position: a file in .../ANGER/12/ belongs to "train/ANGER/12" (any known
    spelling of the class), one in 12/ to the one key that ends in "/12"; it is an error where several do. A face
    whose eyes do not fall where eyes can be gets none ("implausible"); more than half such is an error. Source:
    https://github.com/yfeng95/DECA
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of DECA results (<name>/<name>_kpt2d.txt), but {folder} is not one")
    if not iscrop_false and transforms is None:
        raise ValueError(
            "DECA's landmarks lie in the crop of its own detector, which it does not save, unless it was "
            "run with --iscrop False. "
            "State that it was (--iscrop-false, iscrop_false=True), or give the transforms; else the points "
            "miss the faces"
        )
    keys = list(keys)
    paired = _pair(folder, keys)
    if not paired:
        raise ValueError(
            f"Expected files such as {Path(*keys[0].split('/')[-2:])}/..._kpt2d.txt in {folder}, but none fits a face"
        )
    raw = {key: _read_points(file) for key, file in paired.items()}
    convention = _convention(raw, folder)
    result = Annotations(convention=convention, status=dict.fromkeys(keys, "missing"))
    for key, points in raw.items():
        points = points / 112 - 1 if convention == "pixels of 224" else points
        if transforms is not None:
            if key not in transforms:
                continue
            points = (np.c_[points, np.ones(68)] @ np.asarray(transforms[key]).T)[:, :2]
        result.status[key] = "found" if plausible(points) else "implausible"
        if result.status[key] == "found":
            result.points[key] = points
    if 2 * len(result.points) < len(raw):
        raise ValueError(
            f"Expected eyes where a face's eyes can be, but only {len(result.points)} of {len(raw)} faces of "
            f"{folder} have them "
            "there: was DECA really run with --iscrop False on these images?"
        )
    return result


def _pair(folder: Path, keys: list[str]) -> dict[str, Path]:
    """key -> its file, by the longest ending of the key that names a folder."""
    places = {}
    for file in sorted(folder.rglob("*_kpt2d.txt")):
        parts = [*file.relative_to(folder).parent.parts[:-1], file.name.removesuffix("_kpt2d.txt")]
        places["/".join([*map(_class_name, parts[:-1]), parts[-1]])] = file
    endings = Counter("/".join(key.split("/")[-n:]) for key in keys for n in range(1, key.count("/") + 2))
    paired = {}
    for key in keys:
        parts = key.split("/")
        for place in ("/".join(parts[-n:]) for n in range(len(parts), 0, -1)):
            if place in places:
                if endings[place] > 1:
                    same = [other for other in keys if f"/{other}".endswith(f"/{place}")]
                    raise ValueError(
                        f"{places[place]} could belong to {' or '.join(same[:3])}: run DECA on each class folder by "
                        f"itself, "
                        f"so that its results lie in {Path(folder.name, *parts[:-1])}"
                    )
                paired[key] = places[place]
                break
    return paired


def _class_name(part: str) -> str:
    try:
        return name_of(index_of(part))
    except ValueError:
        known = {
            "training_set_synthetic_images": "train",
            "validation_set_real_images": "validation",
            "lsd_test_data": "test",
        }
        return known.get(part, part)


def _read_points(file: Path) -> np.ndarray:
    try:
        points = np.array(
            [line.replace(",", " ").split() for line in file.read_text().split("\n") if line.strip()], dtype=float
        )
    except ValueError as error:
        raise ValueError(f"Expected 68 rows of numbers in {file}, but could not read them: {error}") from error
    if points.ndim != 2 or points.shape[0] != 68 or points.shape[1] < 2 or not np.isfinite(points).all():
        raise ValueError(f"Expected 68 rows 'x y' in {file}, but got an array of shape {points.shape}")
    return points[:, :2]


def _convention(raw: dict[str, np.ndarray], folder: Path) -> str:
    """Which of DECA's two conventions every file fits; `ValueError` where they fit neither or disagree."""
    lows, highs = (np.array([f(points) for points in raw.values()]) for f in (np.min, np.max))
    if (np.abs([lows, highs]) <= 2).all():
        return "[-1, 1]"
    if (highs > 2).all() and (lows >= -112).all() and (highs <= 336).all() and (highs - lows > 20).all():
        return "pixels of 224"
    raise ValueError(
        f"Expected the numbers of all files in {folder} in [-1, 1] or in pixels of a 224 crop, but they "
        f"span {lows.min():.6g} to "
        f"{highs.max():.6g} (file by file: widest {np.ptp([lows, highs], 0).max():.6g}, narrowest "
        f"{np.ptp([lows, highs], 0).min():.6g})"
    )


@cache
def dlib_models() -> tuple:
    """dlib's face detector and 68-point predictor. Raises `ValueError` naming the extra that installs them."""
    models = importlib.util.find_spec(
        "face_recognition_models"
    )  # located, not imported: its import needs pkg_resources
    if models is None or importlib.util.find_spec("dlib") is None:
        raise ValueError(
            "Finding faces needs dlib and its predictor, which are not installed: pip install 'lsdkit[dlib]'"
        )
    import dlib  # an optional extra, so not at the head of the file

    predictor = Path(models.origin).parent / "models" / "shape_predictor_68_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(predictor))


def annotate(pixels: np.ndarray, upsample: int = 0) -> np.ndarray | None:
    """Landmarks (68, 2) by dlib on an RGB image uint8 (H, W, 3), in pixel positions; None where it finds no face.

    Of several faces the largest is taken. `upsample` doubles the image so many times first: the detector needs
    faces of about 80 pixels. dlib's predictor was trained on iBUG 300-W: for research use.
    """
    detector, predictor = dlib_models()
    boxes = detector(pixels, upsample)
    if not boxes:
        return None
    shape = predictor(pixels, max(boxes, key=lambda box: box.area()))
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=float)
