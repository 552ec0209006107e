"""Procrustes distance against scipy's, its invariances, and the outliers it finds."""

import numpy as np
import pytest
from scipy.spatial import procrustes

from lsdkit.common.landmarks import FLIP
from lsdkit.data import shapes


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def faces(generator: np.random.Generator, count: int = 200) -> np.ndarray:
    """Landmarks (N, 68, 2): one shape with noise, each turned, scaled and moved."""
    base = np.random.default_rng(3).uniform(-0.5, 0.5, (68, 2))
    base[36:42, 0] -= 1
    base[42:48, 0] += 1
    points = base + generator.normal(0, 0.02, (count, 68, 2))
    angle, scale = generator.uniform(-0.5, 0.5, count), generator.uniform(0.5, 1.5, count)
    turn = scale[:, None, None] * np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(
        -1, 2, 2
    )
    return points @ turn + generator.uniform(-0.3, 0.3, (count, 1, 2))


def test_distance_to_the_mean_is_scipys(generator):
    points = faces(generator, 30)
    mean = shapes.mean_shape(shapes.preshapes(points))
    reference = [procrustes(np.stack([mean.real, mean.imag], 1), face)[2] for face in points]
    np.testing.assert_allclose(shapes.distances(points) ** 2, reference, rtol=1e-6)


def test_mean_has_level_eyes_and_length_one(generator):
    mean = shapes.mean_shape(shapes.preshapes(faces(generator)))
    across = mean[42:48].mean() - mean[36:42].mean()
    assert abs(across.imag) < 1e-12
    assert across.real > 0
    assert np.linalg.norm(mean) == pytest.approx(1)


def test_wrong_order_and_noise_are_outliers_and_do_not_move_the_mean(generator):
    points = faces(generator)
    clean = shapes.distances(points)
    points[0] = points[0, FLIP]
    points[1] = generator.uniform(-1, 1, (68, 2))
    points[2, :, 1] *= -1
    points[3] = np.nan
    points[4] = 0.5
    found = shapes.distances(points)
    assert np.isnan(found[3:5]).all()
    assert np.flatnonzero(found > shapes.outlier_limit(found)).tolist() == [0, 1, 2]
    np.testing.assert_allclose(found[5:], clean[5:], atol=0.005)


def test_pieces_and_a_sampled_mean(generator, monkeypatch):
    points = faces(generator)
    whole = shapes.distances(points)
    monkeypatch.setattr(shapes, "SAMPLE", 60)
    np.testing.assert_allclose(shapes.distances(points), whole, atol=0.002)


def test_without_landmarks():
    found = shapes.distances(np.full((3, 68, 2), np.nan))
    assert np.isnan(found).all()
    assert shapes.outlier_limit(found) == 1
    assert shapes.distances(np.zeros((0, 68, 2))).shape == (0,)
