"""Scores of answers about photographs, some of which got no answer because no face was found in them.

A photograph without an answer is a miss of its class and a false alarm of none: in F1 = 2 TP / (2 TP + FP + FN) it adds
to FN alone. Leaving such photographs out would reward a face detector that loses the hard ones.

    macro_f1_6          mean F1 of the six expressions; a class that is neither present nor answered scores 0
    macro_f1_4          the same over `FOUR`: photographs of fear and disgust, whose labels are the least certain, are
                        left out, and the answer is the likeliest of the four
    balanced_accuracy   mean recall over the expressions that are present; chance is 1/6 where all are

All come from one tally of (truth, answer among six, answer among four), so that each resample gives them together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.method.metrics import f1_from_confusion, interval, resample_counts

FOUR = tuple(index for index, name in enumerate(EXPRESSIONS) if name not in ("DISGUST", "FEAR"))
K = len(EXPRESSIONS)
NONE = K  # the answer about a photograph in which no face was found
TALLY = (K, K + 1, K + 1)
SCORES = ("macro_f1_6", "macro_f1_4", "balanced_accuracy")


@dataclass(frozen=True)
class Tally:
    """How often each (truth, answer among six, answer among four) occurs; the last answer of each is `NONE`.

    `counts` (6, 7, 7); `draws`: for each unit that is drawn, "images" or "subjects", counts (R, 6, 7, 7) in R bootstrap
    resamples.
    """

    counts: np.ndarray
    draws: dict[str, np.ndarray]

    @property
    def confusion(self) -> np.ndarray:
        """(6, 6): truth, answer among six, without those that have no answer."""
        return self.counts.sum(-1)[:, :K]


def choose_answers(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest expression of all six, and of `FOUR`, each (B,) in 0..5, from probabilities (B, 6).

    A face whose probabilities are NaN has no answer: `NONE`.
    """
    probabilities = np.asarray(probabilities, dtype=float)
    known = np.isfinite(probabilities).all(1)
    filled = np.where(known[:, None], probabilities, 0)
    four = np.array(FOUR)[filled[:, FOUR].argmax(1)]
    return np.where(known, filled.argmax(1), NONE), np.where(known, four, NONE)


def tally_answers(
    labels: np.ndarray, six: np.ndarray, four: np.ndarray, *, subjects: np.ndarray | None = None, resamples: int = 2000
) -> Tally:
    """Count answers, and count them in bootstrap resamples of the photographs and, where known, of whole subjects.

    labels (B,) in 0..5; six and four (B,) as from `choose_answers`; subjects (B,). What is drawn depends on the number
    of units alone, so the resamples of two models over the same photographs are paired.
    """
    cells, size = _number_cells(labels, six, four), int(np.prod(TALLY))
    units = {"images": np.arange(len(cells))} | ({} if subjects is None else {"subjects": subjects})
    options = {"resamples": resamples, "purpose": "photographs"}
    draws = {unit: resample_counts([cells], size, groups=groups, **options) for unit, groups in units.items()}
    counts = np.bincount(cells, minlength=size).reshape(TALLY)
    return Tally(counts, {unit: each.reshape(-1, *TALLY) for unit, each in draws.items()})


def score_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` (...), and `f1` and `recall` of each expression (..., 6), in [0, 1], from tallies (..., 6, 7, 7).

    >>> tally = tally_answers(np.arange(6), np.arange(6), np.array([0, 3, 4, 3, 4, 5]), resamples=1)
    >>> score_counts(tally.counts)["macro_f1_4"]
    np.float64(1.0)
    """
    counts = np.asarray(counts, dtype=float)
    six, four = counts.sum(-1), counts.sum(-2)  # (..., 6, 7): truth, answer
    keep = np.isin(np.arange(K), FOUR)[:, None]
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


def describe_scores(tally: Tally) -> dict:
    """Scores of a tally as JSON values, with 95% intervals for each unit that is drawn."""
    scores, spread = score_counts(tally.counts), {unit: score_counts(each) for unit, each in tally.draws.items()}
    value = {name: float(scores[name]) for name in SCORES}
    value |= {name: dict(zip(EXPRESSIONS, scores[name].tolist(), strict=True)) for name in ("f1", "recall")}
    value["intervals"] = {
        unit: {name: _ends(draws[name]) for name in SCORES}
        | {"f1": {name: _ends(draws["f1"][:, index]) for index, name in enumerate(EXPRESSIONS)}}
        for unit, draws in spread.items()
    }
    return value


def summarise_seeds(tallies: Sequence[Tally]) -> dict:
    """Mean over seeds of each of `SCORES`, from a tally a seed, as plain JSON values.

    `sd` is the standard deviation over the seeds (None for one seed); the intervals are those of the mean over the same
    seeds when the photographs are drawn anew: they hold nothing of the seeds.
    """
    scores, spread = score_seeds(tallies)
    return {
        name: {
            "mean": float(scores[name].mean()),
            "sd": float(scores[name].std(ddof=1)) if len(tallies) > 1 else None,
            "intervals": {unit: _ends(draws[name]) for unit, draws in spread.items()},
        }
        for name in SCORES
    }


def score_seeds(tallies: Sequence[Tally]) -> tuple[dict, dict]:
    """`score_counts` of a tally a seed, (S, ...), and for each unit the draws (R, ...) of its mean over the seeds."""
    scores = score_counts(np.stack([tally.counts for tally in tallies]))
    spread = {unit: score_counts(np.stack([tally.draws[unit] for tally in tallies])) for unit in tallies[0].draws}
    return scores, {unit: {name: each[name].mean(0) for name in SCORES} for unit, each in spread.items()}


def _number_cells(labels: np.ndarray, six: np.ndarray, four: np.ndarray) -> np.ndarray:
    labels, six, four = (np.asarray(values, dtype=np.int64) for values in (labels, six, four))
    for name, values, most in (("labels", labels, K - 1), ("answers", six, NONE), ("answers", four, NONE)):
        if values.shape != labels.shape or not len(values) or values.min() < 0 or values.max() > most:
            raise ValueError(f"Expected `{name}` in 0..{most}, {len(labels)} of at least 1, but got {values[:5]} ...")
    return np.ravel_multi_index((labels, six, four), TALLY)


def _f1(table: np.ndarray) -> np.ndarray:
    """F1 (..., 6) from counts (..., 6, 7) of truth and answer."""
    square = np.concatenate([table, np.zeros((*table.shape[:-2], 1, K + 1))], axis=-2)  # nothing truly is NONE
    return f1_from_confusion(square)[..., :K]


def _ends(draws: np.ndarray) -> list[float]:
    return [float(end) for end in interval(draws)]
