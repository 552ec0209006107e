"""Models that train in seconds, beside which a network's score is to be read: majority, landmarks, HOG, and both.

Each but the first is a multinomial logistic regression, every class weighed equally, on standardised features:

    landmarks   the 51 points within the face (the contour moves with the pose and with who annotated it), brought to
                the mean shape of the training faces by the best rotation, scale and shift (full Procrustes)
    hog         histograms of oriented gradients of the grey picture's square root (Dalal and Triggs, "Histograms of
                Oriented Gradients for Human Detection", CVPR 2005), by scikit-image
    a+b         both sets of features side by side

Nothing here is random: a model is a function of its training faces.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import INNER
from lsdkit.data.shapes import mean_shape, preshapes
from lsdkit.data.store import Store
from lsdkit.recipes import check_choice

MAJORITY = "majority"
STRENGTH = {  # C of the logistic regression: the inverse of how strongly its weights are drawn to 0
    "landmarks": 3e-3,
    "hog": 1e-4,
    "hog+landmarks": 1e-4,
}
NAMES = (MAJORITY, *STRENGTH)
HOG_SIDE = 72  # pixels; with cells of 8 and blocks of 2 cells, moved by one, 8 * 8 * 4 * 9 = 2304 features
HOG = {
    "orientations": 9,
    "pixels_per_cell": (8, 8),
    "cells_per_block": (2, 2),
    "block_norm": "L2-Hys",
    "transform_sqrt": True,
}
ITERATIONS, TOLERANCE = 1000, 1e-3  # of the solver


def fit_predict(
    name: str, train: Store, rows: np.ndarray, tests: dict[str, tuple[Store, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Probabilities (B, 6) of the faces of each (store, rows) in `tests`, by a model trained on `rows` of `train`.

    `name` is one of `NAMES`; `rows` are faces of the six expressions. A class without training faces gets probability
    0. Raises `ValueError` for another name, and where a regression is left with fewer than two classes or without
    landmarks.
    """
    check_choice("model", name, NAMES)
    labels = train.labels[rows]
    if name == MAJORITY:
        share = np.bincount(labels, minlength=len(EXPRESSIONS)) / len(labels)
        return {test: np.tile(share, (len(chosen), 1)) for test, (_, chosen) in tests.items()}
    if len(np.unique(labels)) < 2:
        raise ValueError(f"Expected training faces of at least two expressions in {train.path}, but got one")
    mean = _mean_face(train, rows) if "landmarks" in name else None

    def measure(store: Store, chosen: np.ndarray) -> np.ndarray:
        parts = []
        if "hog" in name:
            parts.append(_read_hog(store.path, store.manifest["checksums"]["images.npy"])[chosen])
        if "landmarks" in name:
            parts.append(align_landmarks(store.landmarks[chosen], mean))
        return np.concatenate(parts, axis=1)

    regression = LogisticRegression(C=STRENGTH[name], class_weight="balanced", max_iter=ITERATIONS, tol=TOLERANCE)
    model = make_pipeline(StandardScaler(), regression).fit(measure(train, rows), labels)
    answers = {test: np.zeros((len(chosen), len(EXPRESSIONS))) for test, (_, chosen) in tests.items()}
    for test, (store, chosen) in tests.items():
        if len(chosen):
            answers[test][:, regression.classes_] = model.predict_proba(measure(store, chosen))
    return answers


def compute_hog(images: np.ndarray) -> np.ndarray:
    """HOG (B, 2304) float32 of uint8 RGB pictures (B, H, W, 3), made grey and `HOG_SIDE` pixels a side."""
    side = (HOG_SIDE, HOG_SIDE)
    greys = (Image.fromarray(image).convert("L").resize(side, Image.Resampling.BICUBIC) for image in images)
    features = [hog(np.asarray(grey), **HOG).astype(np.float32) for grey in greys]
    return np.stack(features) if features else np.empty((0, 2304), np.float32)


@lru_cache(maxsize=2)  # the open set and the photographs, which two models read
def _read_hog(store: Path, checksum: str) -> np.ndarray:
    """HOG of every face of a store, (N, 2304); `checksum` of its pixels tells a store that was made anew."""
    return compute_hog(Store.open(store).images)


def align_landmarks(points: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(B, 102) coordinates of the inner points of landmarks (B, 68, 2), brought to the shape `mean`, complex (68,).

    Shift, size and tilt of the face do not count. A face without landmarks gets the mean shape itself.
    """
    shapes = preshapes(points)
    shapes = np.where(np.isfinite(shapes).all(1, keepdims=True), shapes, mean / np.linalg.norm(mean))
    product = shapes @ mean.conj()
    turned = shapes * (product / np.abs(product).clip(1e-12)).conj()[:, None]
    inner = turned[:, INNER]
    return np.concatenate([inner.real, inner.imag], axis=1)


def _mean_face(train: Store, rows: np.ndarray) -> np.ndarray:
    """The mean shape of these faces, complex (68,); `ValueError` where none has landmarks."""
    shapes = preshapes(train.landmarks[rows])
    shapes = shapes[np.isfinite(shapes).all(1)]
    if not len(shapes):
        raise ValueError(f"Expected landmarks of training faces in {train.path}, but there are none")
    return mean_shape(shapes)
