"""The 68 landmarks of a face: their order, mirror and units; whether they can be a face; tables of them.

Order (iBUG 300-W, 0-based): 0-16 jaw, 17-21 and 22-26 brows, 27-35 nose, 36-41 the eye on the image's left, 42-47 the
other eye, 48-59 outer and 60-67 inner lips. Unit everywhere: [-1, 1] of the image, -1 its left or top *edge*, 1 its
right or bottom edge, x to the right, y down.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

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


def plausible(points: np.ndarray) -> np.ndarray:
    """Whether points (..., 68, 2) in [-1, 1] can be a face that fills a good part of its image: bool (...,).

    Eyes inside the image and in their order, between a twentieth and two thirds of the width apart, nearer to level
    than to upright, above the mouth and not in the lowest quarter. A rough check: it finds landmarks of another crop
    or another axis, not small errors. Missing points (NaN, infinite) are not plausible.
    """
    points = np.asarray(points, dtype=float)
    points = np.where(np.isfinite(points).all((-2, -1), keepdims=True), points, np.nan)  # every test below fails then
    left, right, mouth = (points[..., part, :].mean(-2) for part in (LEFT_EYE, RIGHT_EYE, MOUTH))
    inside = (np.maximum(np.abs(left), np.abs(right)).max(-1) < 1) & (np.maximum(left, right)[..., 1] < 0.5)
    across, up = np.moveaxis(right - left, -1, 0)
    level = (across > 0.1) & (across < 1.34) & (np.abs(up) < across)
    return inside & level & (mouth[..., 1] > (left + right)[..., 1] / 2)


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
    keys = [line for line in names.read_text(encoding="utf-8").splitlines() if line.strip()]
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
