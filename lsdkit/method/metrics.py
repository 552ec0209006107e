"""Scores of predictions over the six classes, their bootstrap intervals, and the agreement between members.

The challenge's score is the macro F1: the mean over the six classes of F1 = 2 TP / (2 TP + FP + FN), where a class
that is neither present nor predicted scores 0 (paper section 3.1). The classes are pinned to 0..5, so that an absent
class lowers the mean instead of dropping out of it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import ndtri, stdtrit
from sklearn.metrics import cohen_kappa_score, confusion_matrix, f1_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator

INDICES = list(range(len(EXPRESSIONS)))
CHUNK = 2**23  # numbers of a resample that are held at once: bounds the memory of a bootstrap


def _checked(labels: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if labels.shape != predicted.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"Expected `labels` and `predicted` to be two lists of the same length of at least 1, "
            f"but got shapes {labels.shape} and {predicted.shape}"
        )
    for name, values in (("labels", labels), ("predicted", predicted)):
        strange = values[~np.isin(values, INDICES)]
        if len(strange):
            found = np.unique(strange).tolist()
            raise ValueError(f"Expected `{name}` in 0..5, but got {found}; leave out faces of other classes")
    return labels.astype(np.int64), predicted.astype(np.int64)


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Macro F1 in [0, 1] over the six classes, absent ones included. Both arguments: (B,) integers in 0..5.

    >>> macro_f1([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4]) < macro_f1([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]) == 1
    True
    """
    return float(f1_per_class(labels, predicted).mean())


def f1_per_class(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 in [0, 1] of each class, (6,), in the order of `EXPRESSIONS`; 0 for one neither present nor predicted."""
    labels, predicted = _checked(labels, predicted)
    return f1_score(labels, predicted, labels=INDICES, average=None, zero_division=0)


def confusion(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts (6, 6): row = true class, column = predicted class."""
    labels, predicted = _checked(labels, predicted)
    return confusion_matrix(labels, predicted, labels=INDICES)


def f1_from_confusion(counts: np.ndarray) -> np.ndarray:
    """F1 per class, (..., K), from confusion counts (..., K, K): 2 TP / (row sum + column sum), 0 where both are 0."""
    counts = np.asarray(counts, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)  # (..., K)
    total = counts.sum(-1) + counts.sum(-2)
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def score_answers(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Macro F1 of each of several members at once, (M,), from labels (B,) and answers (M, B) in 0..5.

    >>> score_answers(np.arange(6), np.array([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4]])).round(3).tolist()
    [1.0, 0.778]
    """
    k = len(INDICES)
    counts = np.stack([np.bincount(labels * k + each, minlength=k * k) for each in answers])  # (M, K * K)
    return f1_from_confusion(counts.reshape(-1, k, k)).mean(1)


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that are present in `labels`, in [0, 1]; chance is 1 / classes present."""
    counts = confusion(labels, predicted)
    present = counts.sum(1) > 0
    return float((np.diagonal(counts)[present] / counts.sum(1)[present]).mean())


def resample_counts(
    cells: np.ndarray,
    size: int,
    *,
    groups: np.ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
    purpose: str = "bootstrap",
) -> np.ndarray:
    """The bootstrap: how often each cell occurs in each resample, float32 (R, M, size), from cells (M, B) in 0..size-1.

    A cell says all that a score needs of one face and one member, such as label * 6 + answer. Drawn, with replacement,
    are units: faces, or whole `groups` (B,), such as subjects, whose faces are not independent. Every member is counted
    on the same resamples. How often each unit is drawn is multinomial; these numbers times the units' counts of cells
    are the resample's. Without groups, faces whose M cells agree count as one unit that is drawn as often as they are.

    The draws are a function of (seed, purpose), the number of resamples and the units alone. Raises `ValueError` for
    cells out of range, a wrong number of groups, missing groups and less than one resample.

    >>> resample_counts([[0, 0, 1]], 2, resamples=100).sum(-1).min()  # each resample holds three faces
    np.float32(3.0)
    """
    cells = np.asarray(cells, dtype=np.int64)
    if resamples < 1:
        raise ValueError(f"Expected `resamples` of at least 1, but got {resamples}")
    if cells.ndim != 2 or not cells.size or cells.min() < 0 or cells.max() >= size:
        raise ValueError(f"Expected `cells` (M, B) in 0..{size - 1}, but got {cells[:5]} of shape {cells.shape}")
    members, faces = cells.shape
    if groups is None:
        cells, copies = np.unique(cells, axis=1, return_counts=True)  # (M, U), (U,)
        units, draws, chances = np.arange(len(copies)), faces, copies / faces
    else:
        if len(groups) != faces:
            raise ValueError(f"Expected a group for each of the {faces} faces, but got {len(groups)}")
        units = pd.factorize(np.asarray(groups))[0]  # (B,), -1 where missing
        missing = np.flatnonzero(units < 0)
        if len(missing):
            raise ValueError(
                f"Expected a group for each of the {faces} faces, but {len(missing)} have none (NaN or None), first "
                f"face {missing[0]}; leave them out, or give each a group of its own"
            )
        draws = units.max() + 1
        chances = np.full(draws, 1 / draws)
    columns = cells + size * np.arange(members)[:, None]
    ones, places = np.ones(cells.size, np.float32), (np.tile(units, members), columns.ravel())
    table = sparse.coo_array((ones, places), shape=(len(chances), members * size)).tocsr()  # most cells never occur
    counts = np.empty((resamples, members * size), np.float32)  # exact up to 2^24 faces
    generator, step = numpy_generator(seed, purpose), max(1, CHUNK // len(chances))
    for start in range(0, resamples, step):
        part = counts[start : start + step]
        part[:] = generator.multinomial(draws, chances, size=len(part)).astype(np.float32) @ table
    return counts.reshape(resamples, members, size)


def _resample_f1(labels: np.ndarray, predicted: np.ndarray, **options) -> np.ndarray:
    """F1 of each class (R, M, 6) of members with predictions (M, B); options of `resample_counts`."""
    k = len(INDICES)
    cells = [labels * k + answers for labels, answers in (_checked(labels, one) for one in predicted)]
    return f1_from_confusion(resample_counts(cells, k * k, **options).reshape(-1, len(cells), k, k))


def bootstrap_scores(labels: np.ndarray, predicted: np.ndarray, **options) -> np.ndarray:
    """Macro F1 of each member in each bootstrap resample, (R, M) in [0, 1], from predictions (M, B) and labels (B,).

    Every member is scored on the same resampled faces, so that differences, means and other functions of the columns
    are paired: what is hard for all of them cancels. Options are those of `resample_counts`: `groups` (B,), such as
    subjects, that are drawn whole, `resamples` and `seed`.

    >>> draws = bootstrap_scores([0, 1, 2, 3, 4, 5], [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 4]], resamples=100)
    >>> draws.shape, bool((draws[:, 0] >= draws[:, 1]).all())
    ((100, 2), True)
    """
    return _resample_f1(labels, predicted, **options).mean(2)


def bootstrap_f1(labels: np.ndarray, predicted: np.ndarray, *, level: float = 0.95, **options) -> pd.DataFrame:
    """Percentile bootstrap intervals of macro F1 and of each class's F1; options as of `bootstrap_scores`.

    Returns a table, one row for `macro_f1` and one a class, with the columns `value`, `low`, `high` in [0, 1]. The
    interval says how the score moves with the *faces*; it holds nothing about the seed of the training.
    """
    value = f1_per_class(labels, predicted)
    f1 = _resample_f1(labels, [predicted], **options)[:, 0]  # (R, 6)
    low, high = interval(np.concatenate([f1.mean(1, keepdims=True), f1], axis=1), level)
    index = pd.Index(["macro_f1", *EXPRESSIONS], name="score")
    return pd.DataFrame({"value": [value.mean(), *value], "low": low, "high": high}, index=index)


def bootstrap_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, *, level: float = 0.95, **options
) -> dict[str, float]:
    """Macro F1 of `first` minus that of `second` on the same faces, with a paired bootstrap interval.

    Returns `value`, `low`, `high` in [-1, 1]; an interval that holds 0 shows no difference. Options as of
    `bootstrap_scores`.
    """
    draws = bootstrap_scores(labels, [first, second], **options)
    low, high = interval(draws[:, 0] - draws[:, 1], level)
    return {"value": macro_f1(labels, first) - macro_f1(labels, second), "low": float(low), "high": float(high)}


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis of bootstrap draws (R, ...): its low and high ends."""
    if not 0 < level < 1:
        raise ValueError(f"Expected `level` in (0, 1), but got {level}")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def seed_variance(points: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """How far the scores of S seeds lie apart: their variance, and how much of it chance on these faces makes.

    `points` (S,): scores on all faces; `draws` (R, S): in joint resamples. The second is the mean over the resamples of
    the variance of `draws - points`. Both have S - 1 in the divisor; for two seeds or more.
    """
    return float(np.var(points, ddof=1)), float(np.var(draws - points, axis=1, ddof=1).mean())


def interval_over_seeds(
    value: float, draws: np.ndarray, seeds: Sequence[tuple[float, float, float]], level: float = 0.95
) -> tuple[float, float]:
    """The interval of a mean over seeds, from its percentile interval over faces: `interval` of its `draws` (R,).

    A seed's score is mu + a_seed + b_faces + c_seed,faces, and what is wanted is mu. Resampled faces of the mean over S
    seeds hold var b + var c / S. The variance V over the seeds estimates var a + var c, and the noise n
    (`seed_variance`) var c alone: where V is above n, n / S gives way to V / S, else the seeds differ by chance and the
    faces say all. `seeds`: (V / S, n / S, S - 1) of each independent part. The quantile is that of t, whose degrees of
    freedom are the harmonic mean over the variance of the seeds' (Satterthwaite's) and of infinity, the faces'.

    >>> interval_over_seeds(0.5, np.array([0.4, 0.6]), [(0.01, 0.02, 2)]) == tuple(interval(np.array([0.4, 0.6])))
    True
    """
    low, high = interval(draws, level)
    beyond = [part for part in seeds if part[0] > part[1]]
    if beyond:
        whole, noise, freedom = np.array(beyond).T
        added = (whole - noise).sum()
        shares = min(1.0, whole.sum() / (np.var(draws) + added))  # above 1 where the seeds' draws go apart
        t = stdtrit(whole.sum() ** 2 / (whole**2 / freedom).sum() / shares, (1 + level) / 2)
        z = ndtri((1 + level) / 2)
        low = value - t / z * np.hypot(max(value - low, 0.0), z * np.sqrt(added))
        high = value + t / z * np.hypot(max(high - value, 0.0), z * np.sqrt(added))
    return float(low), float(high)


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
                result[i, j] = result[j, i] = cohen_kappa_score(first, second, labels=INDICES)
    return result
