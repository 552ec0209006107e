"""Landmark order, mirror, units, and the readers of landmark files."""

import numpy as np
import pandas as pd
import pytest

from lsdkit.landmarks import (
    COLUMNS,
    FLIP,
    denormalise,
    flip,
    normalise,
    plausible,
    points_of_table,
    read_table,
)
from tests.schematic import face

KEYS = ["train/ANGER/1", "train/ANGER/10", "train/ANGER/2", "train/FEAR/3"]


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


def table(points):
    return pd.DataFrame({"key": KEYS[:2]} | dict(zip(COLUMNS, points.reshape(2, 136).T, strict=True)))


def test_table_and_array_agree(tmp_path):
    points = np.stack([face(0.01), face(0.02)])
    table(points).to_csv(tmp_path / "points.csv", index=False)
    np.save(tmp_path / "points.npy", points)
    (tmp_path / "points.keys.txt").write_text("\n".join(KEYS[:2]))
    for name in ("points.csv", "points.npy"):
        found = read_table(tmp_path / name)
        assert list(found) == KEYS[:2]
        np.testing.assert_allclose(found[KEYS[1]], face(0.02))


def test_table_refuses_pixels_repeats_and_gaps(tmp_path):
    points = np.stack([face(), face()])
    with pytest.raises(ValueError, match="normalise"):
        points_of_table(table(points * 112 + 112), "a table")
    with pytest.raises(ValueError, match="repeats"):
        points_of_table(table(points).assign(key="twice"), "a table")
    with pytest.raises(ValueError, match="missing: y67"):
        points_of_table(table(points).drop(columns="y67"), "a table")
    points[0, 5] = np.nan
    assert list(points_of_table(table(points), "a table")) == KEYS[1:2]
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "absent.csv")
    np.save(tmp_path / "alone.npy", points)
    with pytest.raises(FileNotFoundError, match=r"alone.keys.txt"):
        read_table(tmp_path / "alone.npy")


def test_plausible_takes_many_faces_at_once_and_says_the_same():
    rng = np.random.default_rng(0)
    faces = face() * rng.uniform(0.2, 2.5, (60, 1, 1)) + rng.uniform(-0.8, 0.8, (60, 1, 2))
    faces[3], faces[4, 7, 1], faces[5, 40, 0] = np.nan, np.nan, np.inf
    together = plausible(faces.reshape(6, 10, 68, 2))
    assert (together.shape, together.dtype) == ((6, 10), bool)
    assert together.ravel().tolist() == [bool(plausible(points)) for points in faces]
    assert not together.ravel()[3:6].any()
    assert 5 < together.sum() < 55


def test_keys_of_an_array_may_hold_spaces(tmp_path):
    np.save(tmp_path / "points.npy", np.stack([face(), face(0.1)]))
    (tmp_path / "points.keys.txt").write_text("train/ANGER/a man\ntrain/FEAR/2\n")
    assert list(read_table(tmp_path / "points.npy")) == ["train/ANGER/a man", "train/FEAR/2"]
