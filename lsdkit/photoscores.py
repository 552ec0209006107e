"""Scores of answers about photographs, some of which got no answer because no face was found in them.

A photograph without an answer is a miss of its class and a false alarm of none: in F1 = 2 TP / (2 TP + FP + FN) it adds
to FN alone. Leaving such photographs out would reward a face detector that loses the hard ones.

    macro_f1_6          mean F1 of the six expressions; a class that is neither present nor answered scores 0
    macro_f1_4          the same over `FOUR`: photographs of fear and disgust, whose labels are the least certain, are
                        left out, and the answer is the likeliest of the four
    balanced_accuracy   mean recall over the expressions that are present; chance is 1/6 where all are

All come from one tally of (truth, answer among six, answer among four), so that each resample gives them together.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lsdkit.expressions import EXPRESSIONS
from lsdkit.metrics import f1_from_confusion, interval
from lsdkit.seeds import numpy_generator

FOUR = tuple(index for index, name in enumerate(EXPRESSIONS) if name not in ("DISGUST", "FEAR"))
K = len(EXPRESSIONS)
NONE = K  # the answer about a photograph in which no face was found
CHUNK = 2**23  # numbers of a resample that are held at once
SCORES = ("macro_f1_6", "macro_f1_4", "balanced_accuracy")


def answers(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest expression of all six, and of `FOUR`, each (B,) in 0..5, from probabilities (B, 6).

    A face whose probabilities are NaN has no answer: `NONE`.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    known = np.isfinite(probabilities).all(1)
    filled = np.where(known[:, None], probabilities, 0)
    four = np.array(FOUR)[filled[:, FOUR].argmax(1)]
    return np.where(known, filled.argmax(1), NONE), np.where(known, four, NONE)


def tally(labels: np.ndarray, six: np.ndarray, four: np.ndarray) -> np.ndarray:
    """Counts (6, 7, 7): truth, answer among six, answer among four; the last of each is `NONE`. Arguments: (B,)."""
    cells = np.bincount(_cells(labels, six, four), minlength=K * (K + 1) ** 2)
    return cells.reshape(K, K + 1, K + 1)


def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` (...), and `f1` and `recall` of each expression (..., 6), in [0, 1], from tallies (..., 6, 7, 7).

    >>> found = scores(tally(np.arange(6), np.arange(6), np.array([0, 3, 4, 3, 4, 5])))
    >>> float(found["macro_f1_6"]), float(found["macro_f1_4"]), float(found["balanced_accuracy"])
    (1.0, 1.0, 1.0)
    """
    counts = np.asarray(counts, dtype=float)
    six, four = counts.sum(-1), counts.sum(-2)  # (..., 6, 7): truth, answer
    keep = np.zeros((K, 1))
    keep[list(FOUR)] = 1
    f1, present = _f1(six), six.sum(-1)  # (..., 6)
    hits = np.diagonal(six[..., :K], axis1=-2, axis2=-1)
    recall = np.divide(hits, present, out=np.zeros_like(hits), where=present > 0)
    return {
        "macro_f1_6": f1.mean(-1),
        "macro_f1_4": _f1(four * keep)[..., FOUR].mean(-1),
        "balanced_accuracy": recall.sum(-1) / np.maximum((present > 0).sum(-1), 1),
        "f1": f1,
        "recall": recall,
    }


def resampled(
    labels: np.ndarray,
    six: np.ndarray,
    four: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Tallies (R, 6, 7, 7) of bootstrap resamples, drawn with replacement: photographs, or whole `groups` (B,) of them.

    What is drawn depends on the number of units and the seed alone, so the resamples of two models over the same
    photographs are paired.
    """
    units = pd.factorize(np.arange(len(labels)) if groups is None else np.asarray(groups))[0]
    number, width = units.max() + 1, K * (K + 1) ** 2
    used, cell = np.unique(_cells(labels, six, four), return_inverse=True)  # few of the 294 cells occur
    table = np.bincount(units * len(used) + cell, minlength=number * len(used)).reshape(number, -1)  # (U, cells)
    generator, parts, step = numpy_generator(seed, "photographs"), [], max(1, CHUNK // number)
    for start in range(0, resamples, step):
        times = generator.multinomial(number, np.full(number, 1 / number), size=min(step, resamples - start))
        found = np.zeros((len(times), width), np.float32)
        found[:, used] = times.astype(np.float32) @ table.astype(np.float32)
        parts.append(found)
    return np.concatenate(parts).reshape(-1, K, K + 1, K + 1)


def described(counts: np.ndarray, draws: Mapping[str, np.ndarray]) -> dict:
    """Scores of a tally (6, 7, 7) as JSON values, with 95% intervals for each unit of `draws`, (R, 6, 7, 7) each."""
    found = scores(counts)
    text = {name: float(found[name]) for name in SCORES}
    text |= {name: _named(found[name]) for name in ("f1", "recall")}
    text["intervals"] = {unit: _intervals(scores(each)) for unit, each in draws.items()}
    return text


def summary(counts: np.ndarray, draws: Mapping[str, np.ndarray]) -> dict:
    """Mean over seeds of each of `SCORES`, from tallies (S, 6, 7, 7), as plain JSON values.

    `sd` is the standard deviation over the seeds (None for one seed); the intervals are those of the mean over the same
    seeds when the photographs are drawn anew, from `draws`, (S, R, 6, 7, 7) each: they hold nothing of the seeds.
    """
    found = scores(counts)
    spread = {unit: scores(each) for unit, each in draws.items()}
    return {
        name: {
            "mean": float(found[name].mean()),
            "sd": float(found[name].std(ddof=1)) if len(counts) > 1 else None,
            "intervals": {unit: _ends(each[name].mean(0)) for unit, each in spread.items()},
        }
        for name in SCORES
    }


def _cells(labels: np.ndarray, six: np.ndarray, four: np.ndarray) -> np.ndarray:
    labels, six, four = (np.asarray(values, dtype=np.int64) for values in (labels, six, four))
    for name, values, most in (("labels", labels, K - 1), ("answers", six, NONE), ("answers", four, NONE)):
        if values.shape != labels.shape or not len(values) or values.min() < 0 or values.max() > most:
            raise ValueError(f"Expected `{name}` in 0..{most}, {len(labels)} of at least 1, but got {values[:5]} ...")
    return (labels * (K + 1) + six) * (K + 1) + four


def _f1(table: np.ndarray) -> np.ndarray:
    """F1 (..., 6) from counts (..., 6, 7) of truth and answer."""
    square = np.concatenate([table, np.zeros((*table.shape[:-2], 1, K + 1))], axis=-2)  # nothing truly is NONE
    return f1_from_confusion(square)[..., :K]


def _named(values: np.ndarray) -> dict[str, float]:
    return dict(zip(EXPRESSIONS, map(float, values), strict=True))


def _ends(draws: np.ndarray) -> list[float]:
    return [float(end) for end in interval(draws)]


def _intervals(found: Mapping[str, np.ndarray]) -> dict:
    ends = {name: _ends(found[name]) for name in SCORES}
    return ends | {"f1": {name: _ends(found["f1"][:, index]) for index, name in enumerate(EXPRESSIONS)}}
