"""Calibration beside scikit-learn's and the definition written out, and temperatures that are known."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss as sklearn_log_loss

from lsdkit.ensembles.calibration import (
    apply_temperature,
    bin_confidence,
    calibration_error,
    chance_error,
    describe_calibration,
    fit_temperature,
    log_loss,
)

RNG = np.random.default_rng(0)


def draw(count: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (B, 6), and labels that are drawn from them: calibrated."""
    logits = spread * RNG.normal(size=(count, 6))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return np.array([RNG.choice(6, p=row) for row in probabilities]), probabilities


@pytest.mark.parametrize("bins", [1, 7, 10, 15])
def test_bins_are_those_of_scikit_learn(bins):
    labels, probabilities = draw(500)
    table = bin_confidence(labels, probabilities, bins)
    right = probabilities.argmax(1) == labels
    accuracy, confidence = calibration_curve(right, probabilities.max(1), n_bins=bins)
    filled = table[table["faces"] > 0]
    np.testing.assert_allclose(filled["accuracy"], accuracy)
    np.testing.assert_allclose(filled["confidence"], confidence)
    assert table["faces"].sum() == 500
    assert len(table) == bins
    assert table.loc[table["faces"] == 0, ["confidence", "accuracy"]].isna().all(axis=None)


def test_the_error_is_its_definition():
    labels, probabilities = draw(300)
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (sure > low) & (sure <= low + 0.1)
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert calibration_error(bin_confidence(labels, probabilities)) == pytest.approx(expected)


def test_an_answer_of_one_and_of_a_sixth_have_a_bin():
    table = bin_confidence([0, 1], np.array([np.eye(6)[0], np.full(6, 1 / 6)]))
    assert table["faces"].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_chance_alone_makes_what_calibrated_answers_read():
    errors = [calibration_error(bin_confidence(*draw(200))) for _ in range(40)]
    _, probabilities = draw(4000)
    some = np.mean([chance_error(probabilities[first : first + 200]) for first in range(0, 4000, 500)])
    assert np.mean(errors) == pytest.approx(some, rel=0.15)
    assert chance_error(probabilities) < some / 3  # of more faces less


def test_the_loss_is_scikit_learns():
    labels, probabilities = draw(50)
    assert log_loss(labels, probabilities) == pytest.approx(sklearn_log_loss(labels, probabilities, labels=range(6)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_again(temperature):
    labels, probabilities = draw(20_000)
    wrong = apply_temperature(probabilities, 1 / temperature)
    found = fit_temperature(labels, wrong)
    assert found == pytest.approx(temperature, rel=0.05)
    grid = np.linspace(0.25, 4, 200)
    losses = [log_loss(labels, apply_temperature(wrong, each)) for each in grid]
    assert log_loss(labels, apply_temperature(wrong, found)) <= min(losses) + 1e-6
    assert (apply_temperature(wrong, found).argmax(1) == wrong.argmax(1)).all()


def test_a_temperature_divides_logits():
    logits = RNG.normal(size=(4, 6))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    half = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    np.testing.assert_allclose(apply_temperature(softmax, 2), half)
    with pytest.raises(ValueError, match="above 0, but got 0"):
        apply_temperature(softmax, 0)


def test_the_sentence_says_which_way():
    labels, probabilities = draw(2000)
    assert "about as sure as it may be" in describe_calibration(labels, probabilities)
    assert "it is too sure" in describe_calibration(labels, apply_temperature(probabilities, 0.4))
    assert "it is not sure enough" in describe_calibration(labels, apply_temperature(probabilities, 3))


@pytest.mark.parametrize(
    ("labels", "shape", "says"),
    [
        ([0, 1], (3, 6), r"\(2,\) and \(3, 6\)"),
        ([], (0, 6), "at least one face"),
        ([0, 6], (2, 6), "0..5, but got 0 to 6"),
    ],
)
def test_what_does_not_fit_is_refused(labels, shape, says):
    with pytest.raises(ValueError, match=says):
        bin_confidence(np.array(labels, dtype=int), np.full(shape, 1 / 6))
