"""How good landmarks are where there is no truth: shapes that no face has, and where two annotators differ."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.bars import open_bar
from lsdkit.common.landmarks import INNER, PARTS, POINTS, eye_distance, inter_ocular_error, normalise, plausible
from lsdkit.data import shapes
from lsdkit.data.annotators import Annotator
from lsdkit.data.store import Store

GROUPS = {**PARTS, "17-67": INNER, "all": slice(POINTS)}


def measure_disagreement(first: np.ndarray, second: np.ndarray, part: slice = GROUPS["all"]) -> np.ndarray:
    """Distance of two annotators' landmarks (N, 68, 2) of the same faces, the mean over the points of a part: (N,).

    In inter-ocular distances, the mean of both annotators', so that neither is the truth. NaN for a face that either
    lacks.
    """
    first, second = (np.asarray(points, dtype=float) for points in (first, second))
    unit = (eye_distance(first) + eye_distance(second)) / 2
    return inter_ocular_error(first[:, part], second[:, part], unit=unit)


def tabulate_disagreement(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """`measure_disagreement` by part of the face: a row a group of `GROUPS`; columns faces, mean, median, p95.

    Only faces that both annotators have all points of count; NaN where there is none.
    """
    both = np.isfinite(first).all((1, 2)) & np.isfinite(second).all((1, 2))
    rows = {}
    for name, part in GROUPS.items():
        errors = pd.Series(measure_disagreement(first[both], second[both], part)).dropna()
        rows[name] = (len(errors), errors.mean(), errors.median(), errors.quantile(0.95))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["faces", "mean", "median", "p95"])


def annotate_rows(
    store: Store, annotator: Annotator, rows: Sequence[int], *, progress: bool = True
) -> tuple[np.ndarray, list[str]]:
    """An annotator on the stored pictures of `rows`: (n, 68, 2) in [-1, 1], NaN where missing; and its statuses."""
    points, statuses = np.full((len(rows), POINTS, 2), np.nan), []
    for place, row in enumerate(open_bar(rows, desc="annotating", unit="face", disable=not progress)):
        image = Image.fromarray(np.asarray(store.images[row]))
        pixels, status = annotator(image)
        statuses.append(status)
        if pixels is not None:
            points[place] = normalise(pixels, *image.size)
    return points, statuses


def rank_landmarks(store: Store, rows: Sequence[int], against: np.ndarray | None = None) -> pd.DataFrame:
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
        faces["error"] = measure_disagreement(points, against)
        order.insert(1, "error")
    faces = faces[np.isfinite(points).all((1, 2))]
    return faces.sort_values(order, ascending=[True, *[False] * (len(order) - 1)], kind="stable")
