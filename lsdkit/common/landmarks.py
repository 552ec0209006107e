"""The 68 landmarks of a face: their order and parts, their mirror, their units, and how far two sets of them are apart.

Order: iBUG 300-W, 0-based. Unit everywhere: [-1, 1] of the image, -1 its left or top *edge*, 1 its right or bottom
edge, x to the right, y down.
"""

import numpy as np

POINTS = 68
JAW, BROWS, NOSE, EYES, MOUTH = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
PARTS = {"jaw": JAW, "brows": BROWS, "nose": NOSE, "eyes": EYES, "mouth": MOUTH}
INNER = slice(17, 68)  # all but the jaw, whose points lie on the visible contour or on the bone
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # as seen in the image: the subject's right and left
EYE_CORNERS = (36, 45)  # the outer ones: their distance is the unit of landmark errors
LINES = {  # that a face is drawn with: each one's points in order, a closed one's first point again
    "jaw": [*range(17)],
    "brow, subject's right": [*range(17, 22)],
    "brow, subject's left": [*range(22, 27)],
    "nose": [*range(27, 36)],
    "eye, subject's right": [*range(36, 42), 36],
    "eye, subject's left": [*range(42, 48), 42],
    "lips outside": [*range(48, 60), 48],
    "lips inside": [*range(60, 68), 60],
}
COORDINATES = tuple(f"{axis}{point}" for point in range(POINTS) for axis in "xy")  # x0, y0, ..., x67, y67: of a table
# int64 (68,): point i of the mirror image is point FLIP[i] with x negated
FLIP = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40, 54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1
]


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


def anchor_points(points: np.ndarray) -> np.ndarray:
    """(3, ..., 2): the centres of the image's left eye, of the other, and of the mouth of landmarks (..., 68, 2)."""
    return np.stack([points[..., part, :].mean(-2) for part in (LEFT_EYE, RIGHT_EYE, MOUTH)])


def complete(points: np.ndarray) -> np.ndarray:
    """Landmarks (68, 2) with each missing point in the middle of the others of its part; NaN where a part has none."""
    missing = ~np.isfinite(points).all(1)
    points = np.where(missing[:, None], np.nan, points)
    for part in (JAW, BROWS, NOSE, LEFT_EYE, RIGHT_EYE, MOUTH) if missing.any() else ():
        lost = missing[part]
        if 0 < lost.sum() < len(lost):
            points[part] = np.where(lost[:, None], points[part][~lost].mean(0), points[part])
    return points


def mean_landmarks(points: np.ndarray) -> np.ndarray:
    """float32 (68, 2): the mean of the faces of (N, 68, 2) whose landmarks are all known; zeros where none is."""
    known = points[np.isfinite(points).all((1, 2))]
    return known.mean(0, dtype=float).astype(np.float32) if len(known) else np.zeros((POINTS, 2), np.float32)


def eye_distance(points: np.ndarray) -> np.ndarray:
    """The inter-ocular distance of landmarks (..., 68, 2), between the outer eye corners: (...), NaN where missing.

    Source: Sagonas et al., "300 faces in-the-wild challenge", 2016, section 5.
    """
    left, right = EYE_CORNERS
    return np.linalg.norm(points[..., left, :] - points[..., right, :], axis=-1)


def inter_ocular_error(first: np.ndarray, second: np.ndarray, *, unit: np.ndarray | None = None) -> np.ndarray:
    """Mean distance of two sets of points of the same N faces, in inter-ocular distances: (N,).

    first, second: (N, K, 2) in any one unit; points that are NaN in either are left out. unit: (N,), by default the
    `eye_distance` of `second`, which then holds all 68 points. A face without points or without a unit above 0 gives
    NaN. Raises `ValueError` for arrays of two shapes.

    >>> face = np.random.default_rng(0).normal(size=(1, 68, 2))
    >>> inter_ocular_error(face, face).tolist()
    [0.0]
    """
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 2:
        raise ValueError(f"Expected two arrays (N, K, 2) of one shape, but got {first.shape} and {second.shape}")
    distance = np.linalg.norm(first - second, axis=2)  # (N, K)
    unit = eye_distance(second) if unit is None else unit
    known = np.isfinite(unit) & (unit > 0) & ~np.isnan(distance).all(1)
    error = np.full(len(distance), np.nan)
    error[known] = np.nanmean(distance[known], axis=1) / unit[known]
    return error


def plausible(points: np.ndarray) -> np.ndarray:
    """Whether points (..., 68, 2) in [-1, 1] can be a face that fills a good part of its image: bool (...,).

    Eyes inside the image and in their order, between a twentieth and two thirds of the width apart, nearer to level
    than to upright, above the mouth and not in the lowest quarter. A rough check: it finds landmarks of another crop
    or another axis, not small errors. Missing points (NaN, infinite) are not plausible.
    """
    points = np.asarray(points, dtype=float)
    points = np.where(np.isfinite(points).all((-2, -1), keepdims=True), points, np.nan)  # every test below fails then
    left, right, mouth = anchor_points(points)
    inside = (np.maximum(np.abs(left), np.abs(right)).max(-1) < 1) & (np.maximum(left, right)[..., 1] < 0.5)
    across, up = np.moveaxis(right - left, -1, 0)
    level = (across > 0.1) & (across < 1.34) & (np.abs(up) < across)
    return inside & level & (mouth[..., 1] > (left + right)[..., 1] / 2)
