"""Collapse is told from health on made features, and probes find what was put there."""

import numpy as np
import pytest

from lsdkit.selfsupervision import probes

FACES, FEATURES, K = 400, 32, 64


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def targets_of(hot: np.ndarray) -> np.ndarray:
    """Distributions (N, K) that give nearly all to one prototype each."""
    targets = np.full((FACES, K), 0.01 / (K - 1))
    targets[np.arange(FACES), hot] = 0.99
    return targets


def test_spread_features_and_used_prototypes_are_healthy(generator):
    measures = probes.measure_collapse(generator.normal(size=(FACES, FEATURES)), targets_of(np.arange(FACES) % K))
    assert measures["feature_deviation"] == pytest.approx(1, abs=0.02)
    assert measures["mean_entropy"] == pytest.approx(1, abs=0.01)
    assert measures["face_entropy"] < 0.05
    assert probes.name_collapse(measures) == []


def test_each_kind_of_collapse_is_named(generator):
    healthy = generator.normal(size=(FACES, FEATURES)), targets_of(np.arange(FACES) % K)
    constant = 1 + 0.01 * generator.normal(size=(FACES, FEATURES))
    uniform = generator.dirichlet(np.full(K, 1000.0), FACES)
    for word, features, targets in (
        ("constant features", constant, healthy[1]),
        ("one prototype", healthy[0], targets_of(np.zeros(FACES, int))),
        ("uniform", healthy[0], uniform),
    ):
        (found,) = probes.name_collapse(probes.measure_collapse(features, targets))
        assert found.startswith(word)


def test_a_note_names_the_epochs_of_a_collapse():
    sound = {"feature_deviation": 0.5, "mean_entropy": 0.9, "face_entropy": 0.5}
    flat = sound | {"face_entropy": 1.0}
    rows = [{"epoch": epoch, **row} for epoch, row in enumerate((sound, flat, flat, sound), start=1)]
    assert probes.list_collapses(rows[:1]) == {}
    assert probes.list_collapses(rows[:3])["uniform over the prototypes"].startswith("Collapse since epoch 2: uniform")
    passed = probes.list_collapses(rows)["uniform over the prototypes"]
    assert passed.startswith("Collapse in 2 epochs, not at the end, from epoch 2: uniform")


def test_probes_find_classes_and_points(generator):
    labels = np.arange(FACES) % 6
    x = generator.normal(size=(6, FEATURES))[labels] * 3 + generator.normal(size=(FACES, FEATURES))
    points = (x @ generator.normal(size=(FEATURES, 136))).reshape(FACES, 68, 2)
    half = FACES // 2
    for score in (probes.score_neighbours, probes.score_linear):
        assert score(x[:half], labels[:half], x[half:], labels[half:]) > 0.97
        assert score(x[:half], labels[:half], x[half:], generator.permutation(labels[half:])) < 0.3
    assert probes.score_landmarks(x[:half], points[:half], x[half:], points[half:]) < 0.01
