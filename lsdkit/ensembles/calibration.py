"""Whether probabilities can be believed: of answers given with 80%, are 80% right? And the one number that mends most.

Reliability and the expected calibration error are those of Guo, Pleiss, Sun and Weinberger, *On Calibration of Modern
Neural Networks*, ICML 2017, https://arxiv.org/abs/1706.04599, equations 1 to 3, where each bin is as wide as the next
(Naeini, Cooper and Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI 2015); so is the
temperature (section 4.2).
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from lsdkit.common.seeds import numpy_generator

BINS = 10
COLDEST, HOTTEST = 0.05, 20.0  # temperatures that are looked among
_TINY = np.finfo(np.float64).tiny


def bin_confidence(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Answers by how sure they are: a row for each of `bins` equally wide ranges of the answer's probability.

    labels: (B,) in 0..K-1; probabilities: (B, K). Columns: low and high (the ends of the range), faces, confidence (the
    mean probability of the answers in it) and accuracy (the share that is right), NaN where there is no face. Raises
    `ValueError` without faces, for another shape and for less than one bin.

    >>> bin_confidence([0, 1], [[0.9, 0.1], [0.7, 0.3]], bins=2)[["faces", "confidence", "accuracy"]].values.tolist()
    [[0.0, nan, nan], [2.0, 0.8, 0.5]]
    """
    labels, probabilities = _check(labels, probabilities)
    if bins < 1:
        raise ValueError(f"Expected `bins` of at least 1, but got {bins}")
    edges = np.linspace(0, 1, bins + 1)
    given = pd.DataFrame(
        {"confidence": probabilities.max(1), "accuracy": (probabilities.argmax(1) == labels).astype(float)}
    )
    groups = given.groupby(np.searchsorted(edges[1:-1], given["confidence"]))
    table = groups.mean().reindex(range(bins))
    table.insert(0, "faces", groups.size().reindex(range(bins), fill_value=0))
    table.insert(0, "high", edges[1:])
    table.insert(0, "low", edges[:-1])
    return table


def calibration_error(binned: pd.DataFrame) -> float:
    """The expected calibration error, ECE, in [0, 1], of a table of `bin_confidence`.

    The distance between confidence and accuracy, a mean over the bins that counts each by its faces (equation 3). It is
    above 0 by chance alone where faces are few: `chance_error` says by how much.

    >>> round(calibration_error(bin_confidence([0, 1], [[0.9, 0.1], [0.7, 0.3]])), 2)  # .1 and .7 off
    0.4
    """
    gaps = (binned["confidence"] - binned["accuracy"]).abs()
    return float((gaps * binned["faces"]).sum() / binned["faces"].sum())


def chance_error(probabilities: np.ndarray, bins: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The mean ECE of answers that are right just as often as these probabilities (B, K) say: what chance makes of it.

    Labels are drawn from the probabilities, `draws` times, by a generator of `seed`.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    generator = numpy_generator(seed, "calibration by chance")
    steps, errors = probabilities.cumsum(1)[:, :-1], []
    for _ in range(draws):
        labels = (generator.random((len(probabilities), 1)) > steps).sum(1)  # (B,)
        errors.append(calibration_error(bin_confidence(labels, probabilities, bins)))
    return float(np.mean(errors))


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of -log of the true class's probability, in nats, from labels (B,) and probabilities (B, K).

    >>> round(log_loss([0], [[0.5, 0.5]]), 3)
    0.693
    """
    labels, probabilities = _check(labels, probabilities)
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _TINY)).mean())


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (..., K) as the softmax of their logits divided by a temperature: above 1 less sure, below 1 more.

    Which class is the answer does not change. Raises `ValueError` for a temperature that is not above 0.

    >>> apply_temperature([0.8, 0.2], 2.0).round(3).tolist()
    [0.667, 0.333]
    """
    if not temperature > 0:
        raise ValueError(f"Expected a `temperature` above 0, but got {temperature}")
    logits = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _TINY)) / temperature
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature, from `COLDEST` to `HOTTEST`, of the least `log_loss` on these faces (section 4.2)."""
    labels, probabilities = _check(labels, probabilities)
    found = minimize_scalar(
        lambda power: log_loss(labels, apply_temperature(probabilities, np.exp(power))),
        bounds=np.log([COLDEST, HOTTEST]),
        method="bounded",
    )
    return float(np.exp(found.x))


def describe_calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> str:
    """Whether a member is as often right as it says, in a sentence, from labels (B,) and probabilities (B, K).

    >>> describe_calibration([0, 0, 0, 1], [[0.75, 0.25]] * 4)[:72]
    'Its answers have a mean probability of 75% and 75% of them are right: it'
    """
    labels, probabilities = _check(labels, probabilities)
    sure, right = probabilities.max(1).mean(), (probabilities.argmax(1) == labels).mean()
    error, chance = calibration_error(bin_confidence(labels, probabilities, bins)), chance_error(probabilities, bins)
    way = "too sure" if sure > right else "not sure enough"
    verdict = f"it is {way}, by more than chance makes" if error > 1.5 * chance else "it is about as sure as it may be"
    return (
        f"Its answers have a mean probability of {sure:.0%} and {right:.0%} of them are right: {verdict}. ECE "
        f"{error:.3f} over {len(labels):,} faces in {bins} bins, where perfect calibration reads {chance:.3f}."
    )


def _check(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "Expected `labels` (B,) and `probabilities` (B, K) of at least one face, "
            f"but got shapes {labels.shape} and {probabilities.shape}"
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"Expected `labels` in 0..{probabilities.shape[1] - 1}, but got {labels.min()} to {labels.max()}; "
            "leave out faces of other classes"
        )
    return labels, probabilities
