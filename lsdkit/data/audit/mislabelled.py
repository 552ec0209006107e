"""Faces whose label is likely wrong, by confident learning: what a network that did not learn them says of a data set.

Northcutt, Jiang and Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR 70 (2021), section 3.1
(https://doi.org/10.1613/jair.1.12125). The rule alone, not their estimate of how many labels are wrong.
"""

import numpy as np


def rank_label_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Positions (n,) of the faces whose label is likely wrong, the least probable label first.

    A class's threshold is the mean probability that faces of this label get for it. A face counts as the most probable
    of those classes whose threshold it reaches. Where that is not its label, and the label is not the most probable
    class of all either, the label is in doubt.

    labels: (B,) in 0..K-1. probabilities: (B, K) in [0, 1], of networks that did not learn from these faces.

    >>> rank_label_errors([0, 0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])).tolist()
    [1]
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    own = probabilities[np.arange(len(labels)), labels]
    sizes = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, own, minlength=probabilities.shape[1])
    thresholds = np.where(sizes, sums / np.maximum(sizes, 1), np.inf)  # (K,); nothing reaches that of an empty class
    reached = probabilities >= thresholds - 1e-9
    meant = np.where(reached, probabilities, -1).argmax(1)
    doubtful = reached.any(1) & (meant != labels) & (probabilities.argmax(1) != labels)
    places = np.flatnonzero(doubtful)
    return places[np.argsort(own[places], kind="stable")]
