"""How far landmarks are from the mean face, whatever their place, size and tilt: Procrustes distance.

A shape is 68 complex numbers, centred and of length 1. Against a mean m of the same kind a shape z has
|<z, m>| = cos of the angle between them after the best rotation and scale, so the full Procrustes distance is
sqrt(1 - |<z, m>|^2), 0 for the same shape and 1 for one that has nothing in common (Dryden and Mardia, *Statistical
Shape Analysis*, 1998, section 4.2).
"""

import numpy as np

from lsdkit.common.landmarks import LEFT_EYE, RIGHT_EYE

ROUNDS = 3  # of averaging; the mean moves by less than 1e-4 after it on rendered and on photographed faces
TRIM = 0.9  # share of the faces, the nearest ones, that make the next mean: outliers do not move it
SAMPLE = 20_000  # faces, evenly spaced, that the mean of a large store is taken over
CUT = 6.0  # robust standard deviations above the median


def preshapes(points: np.ndarray) -> np.ndarray:
    """complex128 (N, 68) of length 1 around 0 from landmarks (N, 68, 2); NaN where points are missing or all one."""
    points = np.asarray(points, dtype=float)
    shapes = np.full(points.shape[:2], complex(np.nan, np.nan))
    z = points[..., 0] + 1j * points[..., 1]
    z -= z.mean(1, keepdims=True)
    length = np.linalg.norm(z, axis=1)
    good = length > 1e-9  # not NaN, not one point
    shapes[good] = z[good] / length[good, None]
    return shapes


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """complex128 (68,): the trimmed Procrustes mean of pre-shapes (N, 68), N at least 1, none NaN; eyes level."""
    mean = shapes[0]
    for _ in range(ROUNDS + 1):  # the first round only forgets which face was first
        product = shapes @ mean.conj()
        size = np.abs(product)
        nearest = size >= np.quantile(size, 1 - TRIM)
        turned = shapes[nearest] * (product[nearest] / size[nearest].clip(1e-12)).conj()[:, None]
        mean = turned.mean(0)
        mean /= np.linalg.norm(mean)
    across = mean[RIGHT_EYE].mean() - mean[LEFT_EYE].mean()
    return mean * np.abs(across) / across


def distances(points: np.ndarray) -> np.ndarray:
    """float64 (N,) full Procrustes distances in [0, 1] of landmarks (N, 68, 2) to their own mean; NaN where missing.

    >>> face = np.random.default_rng(0).normal(size=(68, 2))
    >>> bool(distances(np.stack([face, 3 * face[:, ::-1] * [1, -1] + 5])).max() < 1e-6)
    True
    """
    shapes = preshapes(np.asarray(points)[:: max(1, len(points) // SAMPLE)])
    shapes = shapes[np.isfinite(shapes).all(1)]
    return distances_to(mean_shape(shapes), points) if len(shapes) else np.full(len(points), np.nan)


def distances_to(mean: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float64 (N,) distances, as in `distances`, of landmarks (N, 68, 2) to a mean shape complex (68,)."""
    points, distance = np.asarray(points), np.full(len(points), np.nan)
    for start in range(0, len(points), SAMPLE):  # in pieces, which bounds the memory
        shapes = preshapes(points[start : start + SAMPLE])
        good = np.isfinite(shapes).all(1)
        cosine = np.abs(shapes[good] @ mean.conj())
        distance[start : start + SAMPLE][good] = np.sqrt(np.clip(1 - cosine**2, 0, 1))
    return distance


def outlier_limit(distance: np.ndarray, cut: float = CUT) -> float:
    """Distance above which a shape is an outlier: median + `cut` robust standard deviations (1.4826 MAD), at most 1."""
    known = distance[np.isfinite(distance)]
    if not len(known):
        return 1.0
    middle = np.median(known)
    return float(min(1.0, middle + cut * 1.4826 * np.median(np.abs(known - middle))))
