"""What a self-supervised backbone knows, and whether it has collapsed: features (N, C) in, numbers out.

Labels and landmarks serve for scoring alone: weighted k-NN and a linear probe (Caron et al. 2021, section 4,
"Evaluation protocols"), a linear read-out of the landmarks, and three measures of collapse that a falling loss hides.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import POINTS, inter_ocular_error
from lsdkit.method.metrics import macro_f1

PROBES = ("knn_macro_f1", "linear_macro_f1", "landmark_nme")
NEIGHBOURS, TEMPERATURE = 20, 0.07  # of k-NN, section 4
PENALTIES = np.logspace(-1, 5, 7)  # of the landmarks' read-out; the best one by leave-one-out
CONSTANT, ONE, UNIFORM = 0.05, 0.1, 0.98  # limits of the three kinds of collapse


def probe(x: np.ndarray, labels: np.ndarray, points: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """What three read-outs of features (N, C) learn on the faces that are `first`, bool (N,), and say of the others.

    Faces without one of the six expressions, or without a landmark, are left out; NaN where that leaves too few.
    """
    known, seen = (labels >= 0) & (labels < len(EXPRESSIONS)), np.isfinite(points).all(axis=(1, 2))
    found = dict.fromkeys(PROBES, float("nan"))
    old, new = first & known, ~first & known
    if len(np.unique(labels[old])) > 1 and new.any():
        faces = x[old], labels[old], x[new], labels[new]
        found |= {"knn_macro_f1": score_neighbours(*faces), "linear_macro_f1": score_linear(*faces)}
    old, new = first & seen, ~first & seen
    if old.sum() > 1 and new.any():
        found["landmark_nme"] = score_landmarks(x[old], points[old], x[new], points[new])
    return found


def score_neighbours(x: np.ndarray, labels: np.ndarray, new: np.ndarray, answers: np.ndarray) -> float:
    """Macro F1 of k-NN votes weighed by exp(cosine / 0.07): fitted on x (N, C), scored on new (M, C)."""
    votes = KNeighborsClassifier(
        min(NEIGHBOURS, len(x)), metric="cosine", weights=lambda distance: np.exp((1 - distance) / TEMPERATURE)
    )
    return macro_f1(answers, votes.fit(x, labels).predict(new))


def score_linear(x: np.ndarray, labels: np.ndarray, new: np.ndarray, answers: np.ndarray) -> float:
    """Macro F1 of a logistic regression on standardised features, its classes weighed alike."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, class_weight="balanced"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a probe, stopped after as many steps everywhere
        return macro_f1(answers, probe.fit(x, labels).predict(new))


def score_landmarks(x: np.ndarray, points: np.ndarray, new: np.ndarray, truth: np.ndarray) -> float:
    """Mean `inter_ocular_error` on new faces of a ridge regression from features to points (N, 68, 2)."""
    read_out = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(x, points.reshape(len(x), -1))
    return float(np.nanmean(inter_ocular_error(read_out.predict(new).reshape(-1, POINTS, 2), truth)))


def measure_collapse(features: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Features (N, C) and the teacher's distributions (N, K) as three numbers of about 0..1.

    `feature_deviation`: of features of length 1, the mean standard deviation times sqrt(C); 1 where directions are
    spread evenly, 0 where all are one. `mean_entropy`: of the mean distribution, over log K; 0 where one prototype has
    all faces. `face_entropy`: the mean over faces of their own entropy, over log K; 1 where each face says nothing. The
    two differ: all prototypes used alike is well, and every face spread over all of them is not (section 5.3).
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return {
        "feature_deviation": float(unit.std(axis=0).mean() * np.sqrt(unit.shape[1])),
        "mean_entropy": float(_entropy(targets.mean(axis=0))),
        "face_entropy": float(_entropy(targets).mean()),
    }


def name_collapse(measures: dict[str, float]) -> list[str]:
    """Which kinds of collapse the measures show, in words; none where they show none.

    >>> name_collapse({"feature_deviation": 0.6, "mean_entropy": 0.02, "face_entropy": 0.01})
    ['one prototype has nearly all faces (mean_entropy 0.020, expected above 0.1)']
    """
    deviation, mean, face = (measures[name] for name in ("feature_deviation", "mean_entropy", "face_entropy"))
    found = {
        f"constant features (feature_deviation {deviation:.3f}, expected above {CONSTANT})": deviation < CONSTANT,
        f"one prototype has nearly all faces (mean_entropy {mean:.3f}, expected above {ONE})": mean < ONE,
        f"uniform over the prototypes (face_entropy {face:.3f}, expected below {UNIFORM})": face > UNIFORM,
    }
    return [text for text, holds in found.items() if holds]


def list_collapses(history: Sequence[dict]) -> dict[str, str]:
    """A note on each kind of collapse that the rows of a history show: in which epochs, and whether it has passed."""
    rows, notes = {}, {}  # kind -> the rows that show it, each with its text
    for row in history:
        for text in name_collapse(row):
            rows.setdefault(text.partition(" (")[0], []).append((row["epoch"], text))
    for kind, shown in rows.items():
        last = shown[-1][0] == history[-1]["epoch"]
        when = "since" if last else f"in {len(shown)} epochs, not at the end, from"
        notes[kind] = f"Collapse {when} epoch {shown[0][0]}: {shown[-1][1]}; see docs/pretraining.md"
    return notes


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of distributions (..., K) over log K: (...)."""
    return -(p * np.log(np.maximum(p, 1e-30))).sum(axis=-1) / np.log(p.shape[-1])
