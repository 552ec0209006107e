"""Scores by group of photographs, so that a group in which a model fails is seen and a small one does not mislead.

Groups differ in which expressions they hold, and so do their scores. Each is therefore told with the expressions that
it is a mean over, and with its recall less that of the photographs outside it over the same expressions.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.method.metrics import resample_counts
from lsdkit.photographs.scores import K, ends, score_f1, score_recall
from lsdkit.photographs.traits import TRAITS, Trait

LEAST = 30  # photographs of a group that is scored
LEAST_OF_CLASS = 10  # photographs of an expression that counts in it


def score_groups(
    measures: pd.DataFrame,
    labels: np.ndarray,
    answers: Sequence[np.ndarray],
    *,
    subjects: np.ndarray | None = None,
    resamples: int = 2000,
    purpose: str = "photographs",
) -> dict:
    """{trait: {group: score}} of photographs with a face, as JSON values.

    measures: a column for each of `TRAITS`, of B photographs; labels (B,) in 0..5; answers: for each seed (B,) in 0..5;
    subjects (B,). A score holds `photographs`, how many are in the group. Where these are at least `LEAST`, with
    `LEAST_OF_CLASS` of two expressions, it also holds `expressions`, those with so many; `macro_f1` and `recall`, means
    over them and over the seeds; and `difference`, the mean recall less that of the trait's other photographs, over the
    expressions that have enough in both (None where fewer than two have). The last three have `value` and `interval`,
    95% over people drawn whole where they are known, else over photographs.
    """
    answers = np.stack([np.asarray(each) for each in answers])  # (S, B)
    return {
        trait.name: _score_trait(
            trait, measures[trait.name].to_numpy(float), labels, answers, subjects, resamples, purpose
        )
        for trait in TRAITS
    }


def _score_trait(
    trait: Trait,
    measure: np.ndarray,
    labels: np.ndarray,
    answers: np.ndarray,
    subjects: np.ndarray | None,
    resamples: int,
    purpose: str,
) -> dict:
    known = np.isfinite(measure)
    if not known.any():
        return {name: {"photographs": 0} for name in trait.groups}
    group, shape = np.digitize(measure[known], trait.edges), (len(trait.groups), K, K + 1)
    cells = (group * K + labels[known]) * (K + 1) + answers[:, known]
    size, people = int(np.prod(shape)), None if subjects is None else subjects[known]
    draws = resample_counts(cells, size, groups=people, resamples=resamples, purpose=purpose)
    draws = draws.reshape(resamples, -1, *shape)  # (R, S, G, 6, 7)
    counts = np.stack([np.bincount(row, minlength=size) for row in cells]).reshape(-1, *shape)  # (S, G, 6, 7)
    return {name: _score_group(place, counts, draws) for place, name in enumerate(trait.groups)}


def _score_group(place: int, counts: np.ndarray, draws: np.ndarray) -> dict:
    """The score of a group from counts (S, G, 6, 7) and draws (R, S, G, 6, 7) of its trait."""
    present = counts[0].sum(-1)  # (G, 6): photographs of each expression
    enough = present[place] >= LEAST_OF_CLASS
    number = int(present[place].sum())
    if number < LEAST or enough.sum() < 2:
        return {"photographs": number}
    both = enough & (present.sum(0) - present[place] >= LEAST_OF_CLASS)

    def describe(score: Callable[[np.ndarray], np.ndarray]) -> dict:
        """A score of tables (..., S, G, 6, 7), mean over the seeds."""
        return {"value": float(score(counts).mean()), "interval": ends(score(draws).mean(-1))}

    def apart(table: np.ndarray) -> np.ndarray:
        own = table[..., place, :, :]
        others = table.sum(-3) - own
        return _mean(score_recall(own), own, both) - _mean(score_recall(others), others, both)

    def own(score: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda table: _mean(score(table[..., place, :, :]), table[..., place, :, :], enough)

    return {
        "photographs": number,
        "expressions": [name for name, chosen in zip(EXPRESSIONS, enough, strict=True) if chosen],
        "macro_f1": describe(own(score_f1)),
        "recall": describe(own(score_recall)),
        "difference": describe(apart) if both.sum() > 1 else None,
    }


def _mean(values: np.ndarray, table: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean over the chosen expressions that a table (..., 6, 7) holds, (...), of values (..., 6)."""
    counted = (table.sum(-1) > 0) & chosen
    return (values * counted).sum(-1) / np.maximum(counted.sum(-1), 1)
