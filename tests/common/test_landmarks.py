"""The 68 points: their order, parts, mirror and units, what can be a face, and how far two sets of them are apart."""

import numpy as np
import pytest

from lsdkit.common.landmarks import (
    FLIP,
    LINES,
    PARTS,
    anchor_points,
    denormalise,
    eye_distance,
    inter_ocular_error,
    mean_landmarks,
    normalise,
    plausible,
)
from tests.schematic import face, flip


def test_parts_and_lines_cover_the_68_points_once():
    assert [point for part in PARTS.values() for point in range(68)[part]] == list(range(68))
    assert sorted(point for line in LINES.values() for point in dict.fromkeys(line)) == list(range(68))


def test_landmark_errors_against_a_slow_loop():
    generator = np.random.default_rng(0)
    truth, guess = generator.normal(size=(3, 68, 2)), generator.normal(size=(3, 68, 2))
    truth[0, 5] = np.nan
    truth[2, 36] = np.nan  # no eye corner, no unit
    found = inter_ocular_error(guess, truth)
    for row in (0, 1):
        unit = np.hypot(*(truth[row, 36] - truth[row, 45]))
        distances = [np.hypot(*(guess[row, i] - truth[row, i])) for i in range(68) if np.isfinite(truth[row, i, 0])]
        assert found[row] == pytest.approx(sum(distances) / len(distances) / unit)
    assert np.isnan(found[2])
    assert np.isnan(inter_ocular_error(guess, np.full_like(truth, np.nan))).all()


def test_a_unit_of_ones_own_measures_any_points():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 4, 5, 2))
    second[1, 2] = np.nan
    unit = np.array([2.0, 1.0, 0.0, np.nan])
    error = inter_ocular_error(first, second, unit=unit)
    assert error[0] == pytest.approx(np.hypot(*(first[0] - second[0]).T).mean() / 2)
    assert error[1] == pytest.approx(np.hypot(*(first[1] - second[1]).T)[[0, 1, 3, 4]].mean())
    assert np.isnan(error[2:]).all()
    assert np.isnan(inter_ocular_error(first[:1], np.full((1, 5, 2), np.nan), unit=unit[:1])).all()
    with pytest.raises(ValueError, match="one shape"):
        inter_ocular_error(first, second[:2])


def test_eyes_and_mouth_of_one_face_and_of_many():
    left, right, mouth = anchor_points(face())
    np.testing.assert_allclose([left, right, mouth], [[-0.37, -0.25], [0.37, -0.25], [0, 0.4]], atol=1e-12)
    np.testing.assert_array_equal(anchor_points(np.stack([face(), face(0.1)]))[:, 0], [left, right, mouth])
    assert eye_distance(face()) == pytest.approx(0.94)


def test_flip_is_an_involution_with_the_published_pairs():
    assert sorted(FLIP) == list(range(68))
    assert (FLIP[FLIP] == np.arange(68)).all()
    published = ",".join(f"{i} {16 - i}" for i in range(8)) + "," + ",".join(f"{i} {43 - i}" for i in range(17, 22))
    published += ",31 35,32 34,36 45,37 44,38 43,39 42,40 47,41 46,"
    published += "48 54,49 53,50 52,55 59,56 58,60 64,61 63,65 67"
    for pair in published.split(","):
        left, right = map(int, pair.split())
        assert (FLIP[left], FLIP[right]) == (right, left)
    assert [point for point in range(68) if FLIP[point] == point] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_flip_keeps_a_symmetric_face_and_mirrors_a_shifted_one():
    np.testing.assert_allclose(flip(face()), face(), atol=1e-12)
    shifted = np.add(face(), [0.1, 0])
    np.testing.assert_allclose(flip(shifted), face() - [0.1, 0], atol=1e-12)
    np.testing.assert_allclose(flip(np.stack([face(), shifted]))[1], flip(shifted))


def test_flip_twice_is_nothing_for_any_points():
    points = np.random.default_rng(0).normal(size=(5, 3, 68, 2))
    assert (flip(flip(points)) == points).all()
    assert (flip(points) != points).any()


def test_units_agree_with_the_edges_of_the_image():
    corners = np.array([[-0.5, -0.5], [9.5, 4.5], [4.5, 2.0]])  # outer corners of a 10 x 5 image, and its middle
    np.testing.assert_allclose(normalise(corners, 10, 5), [[-1, -1], [1, 1], [0, 0]])
    np.testing.assert_allclose(denormalise(normalise(corners, 10, 5), 10, 5), corners)


def test_plausible_knows_a_face_from_other_arrangements():
    assert plausible(face())
    assert not plausible(face() * [1, -1])  # upside down
    assert not plausible(face()[:, ::-1])  # axes exchanged
    assert not plausible(face() * 4)  # of another crop
    assert not plausible(face() * [-1, 1])  # mirrored without exchanging the points
    assert not plausible(np.full((68, 2), np.nan))


def test_plausible_takes_many_faces_at_once_and_says_the_same():
    rng = np.random.default_rng(0)
    faces = face() * rng.uniform(0.2, 2.5, (60, 1, 1)) + rng.uniform(-0.8, 0.8, (60, 1, 2))
    faces[3], faces[4, 7, 1], faces[5, 40, 0] = np.nan, np.nan, np.inf
    together = plausible(faces.reshape(6, 10, 68, 2))
    assert (together.shape, together.dtype) == ((6, 10), bool)
    assert together.ravel().tolist() == [bool(plausible(points)) for points in faces]
    assert not together.ravel()[3:6].any()
    assert 5 < together.sum() < 55


def test_the_mean_face_leaves_out_faces_with_missing_points():
    points = np.random.default_rng(0).normal(size=(6, 68, 2)).astype(np.float32)
    points[1] = np.nan
    points[3, 67, 1] = np.nan  # one number of one point
    points[4, 0, 0] = np.inf
    found = mean_landmarks(points)
    assert (found.shape, found.dtype) == ((68, 2), np.float32)
    for point in range(68):
        for axis in (0, 1):
            known = [float(points[row, point, axis]) for row in (0, 2, 5)]
            assert found[point, axis] == pytest.approx(sum(known) / 3, rel=1e-6, abs=1e-7)
    np.testing.assert_array_equal(mean_landmarks(points[:1]), points[0])
    for none in (points[1:2], points[:0]):
        np.testing.assert_array_equal(mean_landmarks(none), np.zeros((68, 2), np.float32))
