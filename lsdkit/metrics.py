"""Scores of predictions over the six classes, their bootstrap intervals, and the agreement between members.

The challenge's score is the macro F1: the mean over the six classes of F1 = 2 TP / (2 TP + FP + FN), where a class
that is neither present nor predicted scores 0 (paper section 3.1). The classes are pinned to 0..5, so that an absent
class lowers the mean instead of dropping out of it.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

from lsdkit.expressions import EXPRESSIONS
from lsdkit.seeds import numpy_generator

CLASSES = list(range(len(EXPRESSIONS)))


def _checked(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"Expected `labels` and `predicted` to be two lists of the same length of at least 1, "
            f"but got shapes {labels.shape} and {predicted.shape}"
        )
    for name, values in (("labels", labels), ("predicted", predicted)):
        strange = np.setdiff1d(values, CLASSES)
        if len(strange):
            raise ValueError(f"Expected `{name}` in 0..5, but got {strange.tolist()}; leave out faces of other classes")
    return labels.astype(np.int64), predicted.astype(np.int64)


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Macro F1 in [0, 1] over the six classes, absent ones included. Both arguments: (B,) integers in 0..5.

    >>> macro_f1([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4]) < macro_f1([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]) == 1
    True
    """
    labels, predicted = _checked(labels, predicted)
    return float(f1_score(labels, predicted, labels=CLASSES, average="macro", zero_division=0))


def f1_per_class(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 in [0, 1] of each class, (6,), in the order of `EXPRESSIONS`; 0 for one neither present nor predicted."""
    labels, predicted = _checked(labels, predicted)
    return f1_score(labels, predicted, labels=CLASSES, average=None, zero_division=0)


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts (6, 6): row = true class, column = predicted class."""
    labels, predicted = _checked(labels, predicted)
    return confusion_matrix(labels, predicted, labels=CLASSES)


def f1_from_confusion(counts: np.ndarray) -> np.ndarray:
    """F1 per class, (..., K), from confusion counts (..., K, K): 2 TP / (row sum + column sum), 0 where both are 0."""
    counts = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)  # (..., K)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that are present in `labels`, in [0, 1]; chance is 1 / classes present."""
    counts = confusion(labels, predicted)
    present = counts.sum(1) > 0
    return float((np.diagonal(counts)[present] / counts.sum(1)[present]).mean())


def bootstrap_f1(
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Percentile bootstrap intervals of macro F1 and of each class's F1.

    Faces are drawn with replacement. Only the confusion counts matter, so instead of B indices a resample draws the 36
    counts from their multinomial distribution, which is the same distribution and takes milliseconds. With `groups`
    (a subject a face) whole groups are drawn instead: faces of one subject are not independent, and intervals that
    treat them so are too narrow.

    Returns a table, one row for `macro_f1` and one a class, with the columns `value`, `low`, `high` in [0, 1]. The
    interval says how the score moves with the *faces*; it holds nothing about the seed of the training.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"Expected `level` in (0, 1) and `resamples` of at least 1, but got {level} and {resamples}")
    labels, predicted = _checked(labels, predicted)
    cells = labels * len(CLASSES) + predicted  # (B,) in 0..35
    draws = _draw_counts(cells, len(CLASSES) ** 2, groups, resamples, seed)
    f1 = f1_from_confusion(draws.reshape(resamples, len(CLASSES), len(CLASSES)))  # (R, K)
    value = f1_per_class(labels, predicted)
    scores = np.concatenate([f1.mean(1, keepdims=True), f1], axis=1)  # (R, 1 + K)
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2], axis=0)
    index = pd.Index(["macro_f1", *EXPRESSIONS], name="score")
    return pd.DataFrame({"value": [value.mean(), *value], "low": low, "high": high}, index=index)


def bootstrap_difference(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, float]:
    """Macro F1 of `first` minus that of `second` on the same faces, with a paired bootstrap interval.

    Both are scored on the same resampled faces, so what is hard for both cancels. Returns `value`, `low`, `high` in
    [-1, 1]; an interval that holds 0 shows no difference. `groups` as in `bootstrap_f1`.
    """
    labels, first = _checked(labels, first)
    _, second = _checked(labels, second)
    k = len(CLASSES)
    draws = _draw_counts((labels * k + first) * k + second, k**3, groups, resamples, seed).reshape(resamples, k, k, k)
    difference = f1_from_confusion(draws.sum(3)).mean(1) - f1_from_confusion(draws.sum(2)).mean(1)  # (R,)
    low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
    return {"value": macro_f1(labels, first) - macro_f1(labels, second), "low": float(low), "high": float(high)}


def _draw_counts(cells: np.ndarray, width: int, groups: np.ndarray | None, resamples: int, seed: int) -> np.ndarray:
    """Counts of each cell, (R, width), in `resamples` draws with replacement of the faces or of whole groups."""
    generator = numpy_generator(seed, "bootstrap")
    if groups is None:
        counts = np.bincount(cells, minlength=width)
        return generator.multinomial(len(cells), counts / len(cells), size=resamples)
    if len(groups) != len(cells):
        raise ValueError(f"Expected a group for each of the {len(cells)} faces, but got {len(groups)}")
    group = pd.factorize(np.asarray(groups))[0]
    number = group.max() + 1
    table = np.bincount(group * width + cells, minlength=number * width).reshape(number, width)  # (G, width)
    return generator.multinomial(number, np.full(number, 1 / number), size=resamples) @ table


def agreement(predicted: np.ndarray) -> np.ndarray:
    """Share of faces to which two members give the same class, (M, M) in [0, 1], from predictions (M, B).

    >>> agreement([[0, 1, 2, 3], [0, 1, 2, 0]])
    array([[1.  , 0.75],
           [0.75, 1.  ]])
    """
    predicted = np.asarray(predicted)  # (M, B)
    return (predicted[:, None, :] == predicted[None, :, :]).mean(-1)


def kappa(predicted: np.ndarray) -> np.ndarray:
    """Cohen's kappa between members, (M, M): agreement beyond chance, 1 = the same predictions, 0 = chance.

    Two members that agree on every face score 1, also where they give one class only (where kappa is undefined).
    """
    predicted = np.asarray(predicted)  # (M, B)
    result = np.ones((len(predicted), len(predicted)))
    for i, first in enumerate(predicted):
        for j, second in enumerate(predicted[:i]):
            if not np.array_equal(first, second):
                result[i, j] = result[j, i] = cohen_kappa_score(first, second, labels=CLASSES)
    return result
