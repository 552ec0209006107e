"""Members in pairs: how alike they answer, how good they are, and what a vote of the two gains.

A vote needs members that are good and err on different faces. A pair is where both can be read from two numbers: the
diagram of kappa and error of Margineantu and Dietterich, *Pruning Adaptive Boosting*, ICML 1997.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote

GROUPS = ("two strong members", "a strong and a weak member", "two weak members")
COLUMNS = ["first", "second", "kappa", "mean", "gain", "group"]


def tabulate_pairs(
    labels: np.ndarray, stack: np.ndarray, weak: Sequence[bool], way: str = "probabilities"
) -> pd.DataFrame:
    """Every pair of members: a row a pair, from labels (B,) and probabilities (M, B, 6).

    Columns: first and second (positions), kappa (`metrics.kappa`), mean (macro F1 of the two), gain (macro F1 of their
    vote above the better one) and group, of `GROUPS`, by whether each member is `weak` (M,).
    """
    labels, stack = np.asarray(labels), np.asarray(stack, dtype=np.float64)
    kappa, single = metrics.kappa(stack.argmax(2)), metrics.score_answers(labels, stack.argmax(2))
    rows = []
    for one, other in zip(*np.triu_indices(len(stack), 1), strict=True):
        voted = metrics.score_answers(labels, soft_vote(stack[[one, other]], way).argmax(1)[None])[0]
        gain, group = voted - max(single[one], single[other]), GROUPS[int(weak[one]) + int(weak[other])]
        rows.append((int(one), int(other), kappa[one, other], single[[one, other]].mean(), gain, group))
    return pd.DataFrame(rows, columns=COLUMNS)


def describe_pairs(pairs: pd.DataFrame) -> str:
    """Whether votes of two gain more where the two are less alike, in a sentence, from `tabulate_pairs`.

    >>> table = pd.DataFrame({"kappa": [0.2, 0.4, 0.6, 0.8], "gain": [0.05, 0.03, -0.01, 0.0]})
    >>> describe_pairs(table).partition(": ")[0]
    'The vote of two is above the better one in 2 of 4 pairs'
    """
    wins = pairs["gain"] > 0
    told = f"The vote of two is above the better one in {wins.sum()} of {len(pairs)} pairs"
    alike = pairs["kappa"] > pairs["kappa"].median()
    if not alike.any():
        return f"{told}; all are equally alike."
    parts = ((~alike, "less"), (alike, "more"))
    each = [f"{wins[part].mean():.0%} of the {part.sum()} that are {word} alike" for part, word in parts]
    means = [f"{pairs['gain'][part].mean():+.3f}" for part, _ in parts]
    return f"{told}: {each[0]} (mean gain {means[0]}), {each[1]} ({means[1]})."
