"""Models that train in seconds, beside which a network's score is to be read: majority, landmarks, HOG, face network.

Each but the first is a multinomial logistic regression, every class weighed equally, on standardised features:

    landmarks   the 51 points within the face (the contour moves with the pose and with who annotated it), brought to
                the mean shape of the training faces by the best rotation, scale and shift (full Procrustes)
    hog         histograms of oriented gradients of the grey inner face's square root (Dalal and Triggs, "Histograms of
                Oriented Gradients for Human Detection", CVPR 2005), by scikit-image
    face        the map after the tenth block of dlib's face-recognition network (`lsdkit.method.recognition`), of the
                grey whole crop
    hog+landmarks   both sets of features side by side
    hog+face        the vote of the two regressions: the mean of their probabilities

Nothing here is random: a model is a function of its training faces.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import INNER as INNER_POINTS
from lsdkit.data.shapes import mean_shape, preshapes
from lsdkit.data.store import Store
from lsdkit.method.backbones import Backbone, create
from lsdkit.method.bagging import soft_vote
from lsdkit.method.recognition import CHIP
from lsdkit.photographs.views import INNER, WHOLE, Faces
from lsdkit.recipes import check_choice
from lsdkit.weights import published
from lsdkit.weights.loading import fill

MAJORITY = "majority"
STRENGTH = {  # C of the logistic regression: the inverse of how strongly its weights are drawn to 0
    "landmarks": 3e-3,
    "hog": 1e-4,
    "hog+landmarks": 1e-4,
    "face": 1e-5,
}
VOTES = {"hog+face": ("hog", "face")}
NAMES = (MAJORITY, *STRENGTH, *VOTES)
HOG_SIDE = 72  # pixels; with cells of 8 and blocks of 2 cells, moved by one, 8 * 8 * 4 * 9 = 2304 features
HOG = {
    "orientations": 9,
    "pixels_per_cell": (8, 8),
    "cells_per_block": (2, 2),
    "block_norm": "L2-Hys",
    "transform_sqrt": True,
}
BATCH = 64  # faces that the face network is shown at a time
ITERATIONS, TOLERANCE = 1000, 1e-3  # of the solver

Tests = Mapping[str, tuple[Faces, np.ndarray]]


def fit_all(
    names: Sequence[str], train: Faces, rows: np.ndarray, tests: Tests
) -> dict[str, tuple[dict[str, np.ndarray], float]]:
    """For each of these models what `fit_predict` gives, and the seconds that it took.

    Each regression is fitted once, though it votes as well; the seconds of a vote are the sum of its regressions'.
    """
    made, alone = {}, dict.fromkeys(part for name in names for part in VOTES.get(name, (name,)))
    for name in alone:
        start = time.perf_counter()
        made[name] = fit_predict(name, train, rows, tests), time.perf_counter() - start
    for name in VOTES.keys() & set(names):
        parts = [made[part] for part in VOTES[name]]
        made[name] = _vote([answers for answers, _ in parts]), sum(seconds for _, seconds in parts)
    return {name: made[name] for name in names}


def fit_predict(name: str, train: Faces, rows: np.ndarray, tests: Tests) -> dict[str, np.ndarray]:
    """Probabilities (B, 6) of the faces of each (faces, rows) in `tests`, by a model trained on `rows` of `train`.

    `name` is one of `NAMES`; `rows` are faces of the six expressions. A class without training faces gets probability
    0. Raises `ValueError` for another name, and where a regression is left with fewer than two classes or without
    landmarks.
    """
    check_choice("model", name, NAMES)
    if name in VOTES:
        return _vote([fit_predict(part, train, rows, tests) for part in VOTES[name]])
    labels = train.store.labels[rows]
    if name == MAJORITY:
        share = np.bincount(labels, minlength=len(EXPRESSIONS)) / len(labels)
        return {test: np.tile(share, (len(chosen), 1)) for test, (_, chosen) in tests.items()}
    if len(np.unique(labels)) < 2:
        raise ValueError(f"Expected training faces of at least two expressions in {train.store.path}, but got one")
    mean = _mean_face(train.store, rows) if "landmarks" in name else None

    def measure(faces: Faces, chosen: np.ndarray) -> np.ndarray:
        parts = [_read(feature, faces)[chosen] for feature in FEATURES if feature in name.split("+")]
        if mean is not None:
            parts.append(align_landmarks(faces.store.landmarks[chosen], mean))
        return np.concatenate(parts, axis=1)

    regression = LogisticRegression(C=STRENGTH[name], class_weight="balanced", max_iter=ITERATIONS, tol=TOLERANCE)
    model = make_pipeline(StandardScaler(), regression).fit(measure(train, rows), labels)
    answers = {test: np.zeros((len(chosen), len(EXPRESSIONS))) for test, (_, chosen) in tests.items()}
    for test, (faces, chosen) in tests.items():
        if len(chosen):
            answers[test][:, regression.classes_] = model.predict_proba(measure(faces, chosen))
    return answers


def compute_hog(images: np.ndarray) -> np.ndarray:
    """HOG (B, 2304) float32 of uint8 RGB pictures (B, H, W, 3), made grey and `HOG_SIDE` pixels a side."""
    side = (HOG_SIDE, HOG_SIDE)
    greys = (Image.fromarray(image).convert("L").resize(side, Image.Resampling.BICUBIC) for image in images)
    features = [hog(np.asarray(grey), **HOG).astype(np.float32) for grey in greys]
    return np.stack(features) if features else np.empty((0, 2304), np.float32)


@torch.no_grad()
def compute_face(images: np.ndarray) -> np.ndarray:
    """The face network's map (B, 8192) float32 of uint8 RGB crops (B, S, S, 3) as our alignment cuts them, made grey.

    Raises `FileNotFoundError` where its weights are not installed.
    """
    network, parts = _face_network(), []
    for start in range(0, len(images), BATCH):
        greys = [np.asarray(Image.fromarray(image).convert("L")) for image in images[start : start + BATCH]]
        pixels = torch.from_numpy(np.stack(greys))[:, None].expand(-1, 3, -1, -1).float() / 255
        parts.append(network(pixels.contiguous(memory_format=torch.channels_last)).flatten(1).numpy())
    return np.concatenate(parts) if parts else np.empty((0, 8192), np.float32)


FEATURES: dict[str, tuple[str, Callable]] = {"hog": (INNER, compute_hog), "face": (WHOLE, compute_face)}  # and its view


@cache
def _face_network() -> Backbone:
    network = create("dlib_face").eval()
    network.window = (*network.window[:3], CHIP)  # a map of 8 x 8 places: 128 * 8 * 8 = 8192 features
    fill(network.graph, published.tensors(published.parse("dlib_face")[0]), "dlib_face")
    return network.to(memory_format=torch.channels_last)


def _read(feature: str, faces: Faces) -> np.ndarray:
    view, _ = FEATURES[feature]
    store = faces.seen(view)
    return _measure(feature, store.path, store.manifest["checksums"]["images.npy"])


@lru_cache(maxsize=16)  # the open sets and the photographs, which several models read
def _measure(feature: str, store: Path, checksum: str) -> np.ndarray:
    """Features (N, F) of every face of a store; `checksum` of its pixels tells a store that was made anew."""
    return FEATURES[feature][1](Store.open(store).images)


def forget() -> None:
    """Give back the memory of the features that were computed in this process."""
    _measure.cache_clear()


def align_landmarks(points: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(B, 102) coordinates of the inner points of landmarks (B, 68, 2), brought to the shape `mean`, complex (68,).

    Shift, size and tilt of the face do not count. A face without landmarks gets the mean shape itself.
    """
    shapes = preshapes(points)
    shapes = np.where(np.isfinite(shapes).all(1, keepdims=True), shapes, mean / np.linalg.norm(mean))
    product = shapes @ mean.conj()
    turned = shapes * (product / np.abs(product).clip(1e-12)).conj()[:, None]
    inner = turned[:, INNER_POINTS]
    return np.concatenate([inner.real, inner.imag], axis=1)


def _mean_face(train: Store, rows: np.ndarray) -> np.ndarray:
    """The mean shape of these faces, complex (68,); `ValueError` where none has landmarks."""
    shapes = preshapes(train.landmarks[rows])
    shapes = shapes[np.isfinite(shapes).all(1)]
    if not len(shapes):
        raise ValueError(f"Expected landmarks of training faces in {train.path}, but there are none")
    return mean_shape(shapes)


def _vote(answers: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {test: soft_vote([each[test] for each in answers]) for test in answers[0]}
