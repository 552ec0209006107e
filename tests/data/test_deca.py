"""The reader of DECA's files: both conventions, pairing by key, and whether the points lie on a face."""

import numpy as np
import pytest

from lsdkit.data.deca import read_deca
from tests.schematic import face

KEYS = ["train/ANGER/1", "train/ANGER/10", "train/ANGER/2", "train/FEAR/3"]


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
    assert found.implausible == []
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
    assert found.implausible == ["train/ANGER/2"]
    assert sorted(found.points) == ["train/ANGER/1", "train/ANGER/10"]
    write_deca(tmp_path / "most", {name: points * [1, -1] for name, points in names.items()})
    with pytest.raises(ValueError, match="only 1 of 3"):
        read_deca(tmp_path / "most", KEYS, iscrop_false=True)


def test_deca_names_two_files_of_one_face(tmp_path):
    write_deca(tmp_path, {"ANGRER/1": face(0.01), "anger/1": face(0.02), "fear/3": face()})
    with pytest.raises(ValueError, match=r"train/ANGER/1, but .*ANGRER.* and .*anger.* both belong to it"):
        read_deca(tmp_path, KEYS, iscrop_false=True)
    (tmp_path / "ANGRER" / "1" / "1_kpt2d.txt").unlink()
    np.testing.assert_allclose(read_deca(tmp_path, KEYS, iscrop_false=True).points[KEYS[0]], face(0.02))


def test_deca_names_the_file_that_fits_no_convention(tmp_path):
    odd = face()
    odd[3, 1] = -2.1
    write_deca(tmp_path, {"1": face(), "10": face(), "2": odd})
    with pytest.raises(ValueError, match=r"2 of 3 fit \[-1, 1\]; not so .*2_kpt2d.txt \(-2.1 to .*move their files"):
        read_deca(tmp_path, KEYS, iscrop_false=True)
    (tmp_path / "2" / "2_kpt2d.txt").unlink()
    assert sorted(read_deca(tmp_path, KEYS, iscrop_false=True).points) == ["train/ANGER/1", "train/ANGER/10"]
