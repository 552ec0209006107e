"""Scores of answers about photographs, some of which got no answer because no face was found in them.

A photograph without an answer is a miss of its class and a false alarm of none: in F1 = 2 TP / (2 TP + FP + FN) it adds
to FN alone. Leaving such photographs out would reward a face detector that loses the hard ones.

    macro_f1_6          mean F1 of the six expressions; a class that is neither present nor answered scores 0
    macro_f1_5          the same without fear: its photographs are left out, and the answer is the likeliest of the five
    macro_f1_4          the same without fear and disgust, whose labels are the least certain
    balanced_accuracy   mean recall over the expressions that are present; chance is 1/6 where all are

All come from one tally of truth and answer for each of the three questions, so that each resample gives them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.method.metrics import f1_from_confusion, interval, resample_counts

K = len(EXPRESSIONS)
NONE = K  # the answer about a photograph in which no face was found


def _without(*names: str) -> tuple[int, ...]:
    return tuple(index for index, name in enumerate(EXPRESSIONS) if name not in names)


QUESTIONS = {  # score -> the expressions that its answer is chosen from
    "macro_f1_6": _without(),
    "macro_f1_5": _without("FEAR"),
    "macro_f1_4": _without("FEAR", "DISGUST"),
}
SCORES = (*QUESTIONS, "balanced_accuracy")
TALLY = (len(QUESTIONS), K, K + 1)
PEOPLE, IMAGES = "subjects", "images"  # what a bootstrap draws


@dataclass(frozen=True)
class Tally:
    """How often each (truth, answer) occurs, for each of `QUESTIONS`; the last answer is `NONE`.

    `counts` (3, 6, 7); `draws`: for each unit that is drawn, "images" or "subjects", counts (R, 3, 6, 7) in R bootstrap
    resamples.
    """

    counts: np.ndarray
    draws: dict[str, np.ndarray]

    @property
    def confusion(self) -> np.ndarray:
        """(6, 6): truth, answer among six, without those that have no answer."""
        return self.counts[0, :, :K]


def choose_answers(probabilities: np.ndarray) -> np.ndarray:
    """The likeliest expression of those of each of `QUESTIONS`, (3, B) in 0..5, from probabilities (B, 6).

    A face whose probabilities are NaN has no answer: `NONE`.

    >>> choose_answers([[0.1, 0.2, 0.4, 0.1, 0.1, 0.1]]).tolist()
    [[2], [1], [0]]
    """
    probabilities = np.asarray(probabilities, dtype=float)
    known = np.isfinite(probabilities).all(1)
    filled = np.where(known[:, None], probabilities, 0)
    answers = [np.array(chosen)[filled[:, chosen].argmax(1)] for chosen in QUESTIONS.values()]
    return np.where(known, answers, NONE)


def tally_answers(
    labels: np.ndarray,
    answers: np.ndarray,
    *,
    subjects: np.ndarray | None = None,
    resamples: int = 2000,
    purpose: str = "photographs",
) -> Tally:
    """Count answers, and count them in bootstrap resamples of the photographs and, where known, of whole subjects.

    labels (B,) in 0..5; answers (3, B) as from `choose_answers`; subjects (B,). What is drawn depends on `purpose` and
    the number of units alone, so the resamples of two models over the same photographs are paired; collections with
    purposes of their own are drawn independently.
    """
    cells, size = _number_cells(labels, answers), K * (K + 1)
    units = {IMAGES: np.arange(cells.shape[1])} | ({} if subjects is None else {PEOPLE: subjects})
    options = {"resamples": resamples, "purpose": purpose}
    draws = {unit: resample_counts(cells, size, groups=groups, **options) for unit, groups in units.items()}
    counts = np.stack([np.bincount(row, minlength=size) for row in cells]).reshape(TALLY)
    return Tally(counts, {unit: each.reshape(-1, *TALLY) for unit, each in draws.items()})


def score_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """`SCORES` (...), and `f1` and `recall` of each expression (..., 6), in [0, 1], from tallies (..., 3, 6, 7).

    >>> tally = tally_answers(np.arange(6), np.array([[0, 1, 2, 3, 4, 5], [0, 1, 3, 3, 4, 5], [0, 3, 3, 3, 4, 4]]))
    >>> {name: float(value) for name, value in score_counts(tally.counts).items() if name.startswith("macro")}
    {'macro_f1_6': 1.0, 'macro_f1_5': 1.0, 'macro_f1_4': 0.6666666666666666}
    """
    counts = np.asarray(counts, dtype=float)
    six = counts[..., 0, :, :]  # (..., 6, 7): truth, answer
    values = {}
    for place, (name, chosen) in enumerate(QUESTIONS.items()):
        asked = np.isin(np.arange(K), chosen)[:, None]
        values[name] = score_f1(counts[..., place, :, :] * asked)[..., chosen].mean(-1)
    recall, present = score_recall(six), six.sum(-1) > 0
    return values | {
        "balanced_accuracy": recall.sum(-1) / np.maximum(present.sum(-1), 1),
        "f1": score_f1(six),
        "recall": recall,
    }


def score_f1(table: np.ndarray) -> np.ndarray:
    """F1 (..., 6) of each expression, from counts (..., 6, 7) of truth and answer; 0 where it is in neither."""
    square = np.concatenate([table, np.zeros((*table.shape[:-2], 1, K + 1))], axis=-2)  # nothing truly is NONE
    return f1_from_confusion(square)[..., :K]


def score_recall(table: np.ndarray) -> np.ndarray:
    """Recall (..., 6) of each expression, from counts (..., 6, 7) of truth and answer; 0 for an absent one."""
    hits, present = np.diagonal(table[..., :K], axis1=-2, axis2=-1), table.sum(-1)
    return np.divide(hits, present, out=np.zeros_like(hits, dtype=float), where=present > 0)


def describe_scores(tally: Tally) -> dict:
    """Scores of a tally as JSON values, with 95% intervals for each unit that is drawn."""
    scores, spread = score_counts(tally.counts), {unit: score_counts(each) for unit, each in tally.draws.items()}
    value = {name: float(scores[name]) for name in SCORES}
    value |= {name: dict(zip(EXPRESSIONS, scores[name].tolist(), strict=True)) for name in ("f1", "recall")}
    value["intervals"] = {
        unit: {name: ends(draws[name]) for name in SCORES}
        | {"f1": {name: ends(draws["f1"][:, index]) for index, name in enumerate(EXPRESSIONS)}}
        for unit, draws in spread.items()
    }
    return value


def summarise_seeds(tallies: Sequence[Tally]) -> dict:
    """Mean over seeds of each of `SCORES`, from a tally a seed, as plain JSON values.

    `sd` is the standard deviation over the seeds (None for one seed); the intervals are those of the mean over the same
    seeds when the photographs are drawn anew: they hold nothing of the seeds.
    """
    return _describe_seeds(*score_seeds(tallies))


def summarise_collections(collections: Mapping[str, Sequence[Tally]]) -> dict:
    """As `summarise_seeds`, of the mean over collections, each with a tally a seed in the same order of seeds.

    The collections are taken as they are: images, or people, are drawn anew within each of them, independently where
    their tallies have purposes of their own. Where some collections do not know their people, their images are drawn
    among the others' people.
    """
    parts = [score_seeds(tallies) for tallies in collections.values()]
    scores = {name: np.mean([part[name] for part, _ in parts], axis=0) for name in SCORES}
    spread = {}
    for unit in dict.fromkeys(unit for _, draws in parts for unit in draws):
        drawn = [draws.get(unit, draws[IMAGES]) for _, draws in parts]
        spread[unit] = {name: np.mean([each[name] for each in drawn], axis=0) for name in SCORES}
    return _describe_seeds(scores, spread)


def score_seeds(tallies: Sequence[Tally]) -> tuple[dict, dict]:
    """`score_counts` of a tally a seed, (S, ...), and for each unit the draws (R, ...) of its mean over the seeds."""
    scores = score_counts(np.stack([tally.counts for tally in tallies]))
    spread = {unit: score_counts(np.stack([tally.draws[unit] for tally in tallies])) for unit in tallies[0].draws}
    return scores, {unit: {name: each[name].mean(0) for name in SCORES} for unit, each in spread.items()}


def ends(draws: np.ndarray) -> list[float]:
    """The two ends of the 95% percentile interval of draws (R,)."""
    return [float(end) for end in interval(draws)]


def _describe_seeds(scores: Mapping[str, np.ndarray], spread: Mapping[str, Mapping[str, np.ndarray]]) -> dict:
    return {
        name: {
            "mean": float(scores[name].mean()),
            "sd": float(scores[name].std(ddof=1)) if len(scores[name]) > 1 else None,
            "intervals": {unit: ends(draws[name]) for unit, draws in spread.items()},
        }
        for name in SCORES
    }


def _number_cells(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(3, B): label * 7 + answer."""
    labels, answers = np.asarray(labels, dtype=np.int64), np.asarray(answers, dtype=np.int64)
    if not labels.size or labels.ndim != 1 or answers.shape != (len(QUESTIONS), len(labels)):
        raise ValueError(
            f"Expected labels of at least one photograph and answers ({len(QUESTIONS)}, {labels.size}), but got "
            f"{answers.shape}"
        )
    for name, values, most in (("labels", labels, K - 1), ("answers", answers, NONE)):
        if values.min() < 0 or values.max() > most:
            raise ValueError(f"Expected `{name}` in 0..{most}, but got {values.min()} to {values.max()}")
    return labels * (K + 1) + answers
