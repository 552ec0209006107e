"""How good landmarks are where there is no truth: shapes that no face has, and where two annotators differ.

Distances between points are in units of the inter-ocular distance: between the outer eye corners, points 36 and 45
(Sagonas et al., "300 faces in-the-wild challenge", 2016, section 5), the mean of both annotators'.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from lsdkit import shapes
from lsdkit.annotators import Annotator
from lsdkit.landmarks import normalise, plausible
from lsdkit.store import Store

GROUPS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
    "17-67": slice(17, 68),  # all but the jaw, whose points lie on the visible contour or on the bone
    "all": slice(0, 68),
}


def errors(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """float64 (N, 68): distances between two sets of landmarks (N, 68, 2) of the same faces in inter-ocular distances.

    NaN for a face that either lacks. Symmetric in its arguments.

    >>> face = np.random.default_rng(0).normal(size=(1, 68, 2))
    >>> float(errors(face, face).max())
    0.0
    """
    first, second = (np.asarray(points, dtype=float) for points in (first, second))
    if first.shape != second.shape or first.ndim != 3 or first.shape[1:] != (68, 2):
        raise ValueError(f"Expected two arrays (N, 68, 2) of one length, but got {first.shape} and {second.shape}")
    across = sum(np.linalg.norm(points[:, 45] - points[:, 36], axis=-1) for points in (first, second)) / 2
    across = np.where(across > 0, across, np.nan)
    return np.linalg.norm(first - second, axis=-1) / across[:, None]


def disagreement(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """Inter-annotator distance by part of the face: a row a group of `GROUPS`; columns faces, mean, median, p95.

    A face's value is the mean over the group's points; see `errors` for the unit. NaN where no face has both.
    """
    found = errors(first, second)
    found = found[np.isfinite(found).all(1)]
    rows = {}
    for name, part in GROUPS.items():
        each = found[:, part].mean(1)
        middle = (each.mean(), np.median(each), np.quantile(each, 0.95)) if len(each) else (np.nan,) * 3
        rows[name] = (len(each), *map(float, middle))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["faces", "mean", "median", "p95"])


def annotated(
    store: Store, annotator: Annotator, rows: Sequence[int], *, progress: bool = True
) -> tuple[np.ndarray, list[str]]:
    """An annotator on the stored pictures of `rows`: (n, 68, 2) in [-1, 1], NaN where missing; and its statuses."""
    points, statuses = np.full((len(rows), 68, 2), np.nan), []
    for place, row in enumerate(tqdm(rows, desc="annotating", unit="face", disable=not progress)):
        image = Image.fromarray(np.asarray(store.images[row]))
        found = annotator(image)
        statuses.append(found.status)
        if found.points is not None:
            points[place] = normalise(found.points, *image.size)
    return points, statuses


def ranked(store: Store, rows: Sequence[int], against: np.ndarray | None = None) -> pd.DataFrame:
    """Faces of `rows`, the worst landmarks first; only those that have landmarks.

    Columns: row (of the store), key, expression, landmarks (how they came about), plausible, shape_distance (to the
    mean of the store, 0 to 1), and with `against` (n, 68, 2), another annotator's points, their mean error to it. The
    order: implausible ones, then by that error, else by the shape's distance.
    """
    rows = np.asarray(rows)
    points = store.landmarks[rows]
    faces = store.faces.iloc[rows][["key", "expression", "landmarks"]].reset_index(drop=True)
    faces.insert(0, "row", rows)
    faces["plausible"] = plausible(points)
    faces["shape_distance"] = shapes.distances(store.landmarks)[rows]
    order = ["plausible", "shape_distance"]
    if against is not None:
        faces["error"] = errors(points, against).mean(1)
        order.insert(1, "error")
    faces = faces[np.isfinite(points).all((1, 2))]
    return faces.sort_values(order, ascending=[True, *[False] * (len(order) - 1)], kind="stable")
