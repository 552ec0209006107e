"""The ensemble approach (paper section 2.2, figure 1b): bags, which weak members are trained on, and the soft vote.

A vote knows probabilities only, never networks: an ensemble is computed from the predictions that runs left behind.
"""

import numpy as np

from lsdkit.common.expressions import CLASSES
from lsdkit.common.seeds import numpy_generator
from lsdkit.recipes import BAGS, Recipe, check_choice


def draw_bag(labels: np.ndarray, bag: int, seed: int, recipe: Recipe) -> np.ndarray:
    """Positions in `labels` of the faces of one bag, sorted: a function of (seed, bag) and the settings alone.

    `labels`: (N,) integers; faces outside the K classes of the recipe are left out. Bag 0 is the whole set; bags 1..5
    hold `bag_fraction` of it, drawn class by class so that each keeps its share (at least one face), without
    replacement unless `bag_replacement`; with `bag_disjoint` no face is in two bags. The paper (section 2.2) says
    "20%" and not how.

    Raises `ValueError` where a class has too few faces for disjoint bags.

    >>> from lsdkit.recipes import PAPER
    >>> rows = draw_bag(np.repeat(np.arange(6), 50), 1, 0, PAPER)
    >>> np.bincount(rows // 50).tolist()
    [10, 10, 10, 10, 10, 10]
    """
    check_choice("BAG", bag, tuple(range(BAGS + 1)))
    labels = np.asarray(labels)
    known = (labels >= 0) & (labels < recipe.classes)
    if bag == 0:
        return np.flatnonzero(known)
    chosen = [np.empty(0, np.int64)]
    for index in np.unique(labels[known]):
        rows = np.flatnonzero(labels == index)
        share = recipe.bag_fraction * len(rows)
        if recipe.bag_disjoint:
            order = numpy_generator(seed, "disjoint bags", index).permutation(rows)
            ends = [round(number * share) for number in range(BAGS + 1)]
            if min(np.diff(ends)) < 1:
                raise ValueError(
                    f"Expected a face of {CLASSES[index]} for each of {BAGS} disjoint bags of "
                    f"{recipe.bag_fraction:.0%}, but {len(rows)} are too few; turn `bag_disjoint` off or add faces"
                )
            part = order[ends[bag - 1] : ends[bag]]
        else:
            size = max(1, round(share))
            part = numpy_generator(seed, "bag", bag, index).choice(rows, size, replace=recipe.bag_replacement)
        chosen.append(part)
    return np.sort(np.concatenate(chosen))


def soft_vote(probabilities: np.ndarray, how: str = "probabilities") -> np.ndarray:
    """Probabilities (B, K) of an ensemble from those of its members (M, B, K).

    "probabilities": their mean. "logits": the softmax of the summed log-probabilities; a log-probability is the logit
    less a constant of the face, which the softmax cancels, so this is the softmax of the summed logits.

    >>> soft_vote([[[0.9, 0.1]], [[0.2, 0.8]]]).round(3).tolist()
    [[0.55, 0.45]]
    """
    check_choice("vote", how, ("probabilities", "logits"))
    stack = np.asarray(probabilities, dtype=np.float64)  # (M, B, K)
    if stack.ndim != 3 or not len(stack):
        raise ValueError(f"Expected `probabilities` of shape (M, B, K) with M of at least 1, but got {stack.shape}")
    if not (np.isfinite(stack).all() and (stack >= 0).all() and np.allclose(stack.sum(-1), 1, atol=1e-4)):
        raise ValueError("Expected `probabilities` of at least 0 that sum to 1 over the classes; pass no logits")
    if how == "probabilities":
        return stack.mean(0)
    logits = np.log(np.maximum(stack, np.finfo(np.float64).tiny)).sum(0)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
