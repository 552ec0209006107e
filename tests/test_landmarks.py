"""Landmark order, mirror, units, and the readers of landmark files."""

import numpy as np
import pandas as pd
import pytest

from lsdkit.landmarks import (
    COLUMNS,
    FLIP,
    annotate,
    denormalise,
    dlib_models,
    flip,
    normalise,
    plausible,
    points_of_table,
    read_deca,
    read_table,
)

KEYS = ["train/ANGER/1", "train/ANGER/10", "train/ANGER/2", "train/FEAR/3"]


def face(shift: float = 0.0) -> np.ndarray:
    """(68, 2): a schematic face in [-1, 1], mirror-symmetric where `shift` is 0."""
    t = np.linspace(-1, 1, 17)
    jaw = np.stack([0.7 * np.sin(t * np.pi / 2), -0.2 + 0.9 * np.cos(t * np.pi / 2)], 1)
    brows = [(x, -0.45) for x in (-0.55, -0.46, -0.37, -0.28, -0.2, 0.2, 0.28, 0.37, 0.46, 0.55)]
    nose = [(0, y) for y in (-0.2, -0.1, 0.0, 0.1)] + [(x, 0.18) for x in (-0.12, -0.06, 0, 0.06, 0.12)]
    eye = np.array([(-0.1, 0), (-0.04, -0.04), (0.04, -0.04), (0.1, 0), (0.04, 0.04), (-0.04, 0.04)])
    outer = [(0.3 * np.cos(a), 0.1 * np.sin(a)) for a in np.deg2rad(180 + 30 * np.arange(12))]
    inner = [(0.2 * np.cos(a), 0.05 * np.sin(a)) for a in np.deg2rad(180 + 45 * np.arange(8))]
    mouth = np.add([*outer, *inner], [0, 0.4])
    return np.concatenate([jaw, brows, nose, np.add(eye, [-0.37, -0.25]), np.add(eye, [0.37, -0.25]), mouth]) + shift


def test_flip_is_an_involution_with_the_published_pairs():
    assert sorted(FLIP) == list(range(68))
    assert (FLIP[FLIP] == np.arange(68)).all()
    published = "0 16,7 9,17 26,21 22,31 35,32 34,36 45,37 44,38 43,39 42,40 47,41 46,"
    published += "48 54,49 53,50 52,55 59,56 58,60 64,61 63,65 67"
    for pair in published.split(","):
        left, right = map(int, pair.split())
        assert FLIP[left] == right
    assert [point for point in range(68) if FLIP[point] == point] == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_flip_keeps_a_symmetric_face_and_mirrors_a_shifted_one():
    np.testing.assert_allclose(flip(face()), face(), atol=1e-12)
    shifted = np.add(face(), [0.1, 0])
    np.testing.assert_allclose(flip(shifted), face() - [0.1, 0], atol=1e-12)
    np.testing.assert_allclose(flip(np.stack([face(), shifted]))[1], flip(shifted))


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


def write_deca(folder, points_by_name):
    for name, points in points_by_name.items():
        place = folder / name
        place.mkdir(parents=True)
        np.savetxt(place / f"{place.name}_kpt2d.txt", points, fmt="%.18e")


@pytest.mark.parametrize(("convention", "scale"), [("[-1, 1]", False), ("pixels of 224", True)])
def test_deca_reads_both_conventions(tmp_path, convention, scale):
    names = {"1": face(0.01), "10": face(0.02), "3": face(0.03)}
    write_deca(tmp_path, {name: points * 112 + 112 if scale else points for name, points in names.items()})
    found = read_deca(tmp_path, KEYS, iscrop_false=True)
    assert found.convention == convention
    assert found.counts() == {"found": 3, "missing": 1}
    np.testing.assert_allclose(found.points["train/ANGER/10"], face(0.02), atol=1e-9)  # by name, not sorted position
    np.testing.assert_allclose(found.points["train/FEAR/3"], face(0.03), atol=1e-9)
    assert "train/ANGER/2" not in found.points


def test_deca_pairs_by_class_folder_where_stems_repeat(tmp_path):
    keys = ["train/ANGER/1", "train/FEAR/1", "validation/FEAR/7"]
    write_deca(tmp_path / "classes", {"ANGRER/1": face(0.01), "fear/1": face(0.02), "fear/7": face(0.03)})
    found = read_deca(tmp_path / "classes", keys, iscrop_false=True)
    for key, shift in zip(keys, (0.01, 0.02, 0.03), strict=True):
        np.testing.assert_allclose(found.points[key], face(shift))
    write_deca(tmp_path / "bare", {"1": face()})
    with pytest.raises(ValueError, match="could belong to train/ANGER/1 or train/FEAR/1"):
        read_deca(tmp_path / "bare", keys, iscrop_false=True)


def test_deca_needs_to_know_the_crop(tmp_path):
    write_deca(tmp_path, {"1": face()})
    with pytest.raises(ValueError, match="--iscrop False"):
        read_deca(tmp_path, KEYS)
    half = np.array([[0.5, 0, 0.1], [0, 0.5, 0.2], [0, 0, 1]])
    found = read_deca(tmp_path, KEYS, transforms={"train/ANGER/1": half})
    np.testing.assert_allclose(found.points["train/ANGER/1"], face() * 0.5 + [0.1, 0.2])


def test_deca_refuses_what_fits_no_convention(tmp_path):
    write_deca(tmp_path / "large", {"1": face() * 500 + 500})
    with pytest.raises(ValueError, match="span"):
        read_deca(tmp_path / "large", KEYS, iscrop_false=True)
    write_deca(tmp_path / "mixed", {"1": face() * 112 + 112, "10": face()})
    with pytest.raises(ValueError, match="span"):
        read_deca(tmp_path / "mixed", KEYS, iscrop_false=True)
    write_deca(tmp_path / "short", {"1": face()[:60]})
    with pytest.raises(ValueError, match="68 rows"):
        read_deca(tmp_path / "short", KEYS, iscrop_false=True)
    write_deca(tmp_path / "strangers", {"99": face()})
    with pytest.raises(ValueError, match="none fits a face"):
        read_deca(tmp_path / "strangers", KEYS, iscrop_false=True)


def test_deca_checks_the_eyes(tmp_path):
    names = {"1": face(), "10": face(), "2": face() * [1, -1]}
    write_deca(tmp_path / "one", names)
    found = read_deca(tmp_path / "one", KEYS, iscrop_false=True)
    assert found.status["train/ANGER/2"] == "implausible"
    assert "train/ANGER/2" not in found.points
    write_deca(tmp_path / "most", {name: points * [1, -1] for name, points in names.items()})
    with pytest.raises(ValueError, match="only 1 of 3"):
        read_deca(tmp_path / "most", KEYS, iscrop_false=True)


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


def test_without_dlib_the_extra_is_named(monkeypatch):
    dlib_models.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"lsdkit\[dlib\]"):
        annotate(np.zeros((8, 8, 3), np.uint8))
    dlib_models.cache_clear()
