"""From each kind of source to a store; the open set is stood in for by a small made-up release here."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit import openset, prepare
from lsdkit.detect import dlib_models
from lsdkit.expressions import RELEASE_FOLDERS
from lsdkit.landmarks import COLUMNS
from lsdkit.recipes import recipe_named
from lsdkit.store import Store

QUIET = {"progress": False, "jobs": 1}


def photo(file, seed, size=(20, 20)):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG")


def points(shift=0.0):
    """(68, 2) that pass for a face: eyes, mouth, the rest in between."""
    found = np.zeros((68, 2))
    found[36:42], found[42:48], found[48:] = (-0.4, -0.2), (0.4, -0.2), (0, 0.4)
    return found + shift


def point_table(keys, values):
    return pd.DataFrame(np.reshape(values, (len(keys), 136)), columns=list(COLUMNS)).assign(key=keys)


def release(root, *, rendered=True):
    """A release of two training, one validation face a class and two test faces, with the open set's table."""
    keys, seed = [], 0
    for folder, split, count in (
        ("training_set_synthetic_images", "train", 2),
        ("validation_set_real_images", "validation", 1),
    ):
        for name in RELEASE_FOLDERS:
            for i in range(count):
                photo(root / folder / name / f"{i}.jpg", seed := seed + 1)
                keys.append(f"{split}/{name.replace('ANGRER', 'ANGER')}/{i}")
    for i in range(2):
        photo(root / "lsd_test_data" / f"{i}.jpg", seed := seed + 1)
        keys.append(f"test/{i}")
    (root / "lsd_test_data" / "list.csv").write_text("image,expression\n0.jpg,\n1.jpg,\n")
    if rendered:
        table = point_table(keys, [points()] * len(keys)).assign(split="", subject="s1", variant=0, seed=0)
        table["expression"] = [key.split("/")[1] if key.count("/") == 2 else "FEAR" for key in keys]
        table.to_csv(root / "faces.csv", index=False)
    return root


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """`render_release` replaced by the made-up release; returns the arguments of its calls."""
    calls = []

    def render_release(out, **options):
        calls.append(options)
        return release(out)

    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    monkeypatch.setattr(openset, "render_release", render_release)
    return calls


def test_open_set_is_rendered_once(stand_in, tmp_path):
    store = prepare.prepare_open("data/open", pixels=20, **QUIET)
    assert store.path == tmp_path / "data" / "open"
    assert store.kind == "rendered"
    assert (tmp_path / "data" / "open-release" / "training_set_synthetic_images" / "ANGRER" / "0.jpg").is_file()
    assert store.counts("train").tolist() == [2] * 6
    assert store.labels[store.rows("test")].tolist() == [2, 2]  # from the table
    assert np.isfinite(store.landmarks).all()
    assert set(store.faces["landmarks"]) == {"exact"}
    prepare.prepare_open("data/open", pixels=20, **QUIET)
    assert len(stand_in) == 1
    prepare.prepare_open("data/open", pixels=20, seed=1, **QUIET)
    assert [call["seed"] for call in stand_in] == [0, 1]


def test_open_or_render_renders_defaults_only(stand_in, tmp_path):
    small = prepare.open_or_render("", recipe_named("smoke"), progress=False)
    assert small.path == tmp_path / "data" / "open-smoke"
    assert {name: stand_in[0][name] for name in ("fraction", "validation", "test")} == {
        "fraction": 0.001,
        "validation": 60,
        "test": 60,
    }
    usual = prepare.open_or_render("", recipe_named("demo"), progress=False)
    assert usual.path == tmp_path / "data" / "open"
    assert (stand_in[1]["fraction"], stand_in[1]["validation"]) == (0.01, 600)
    assert prepare.open_or_render("data/open-smoke", recipe_named("paper")).keys == small.keys
    assert len(stand_in) == 2
    with pytest.raises(FileNotFoundError, match="lsdkit prepare"):
        prepare.open_or_render("data/mine", recipe_named("smoke"))


def test_release_kinds(tmp_path):
    rendered = prepare.prepare_release(release(tmp_path / "a"), tmp_path / "a-store", **QUIET)
    assert rendered.kind == "rendered"
    assert set(rendered.faces["subject"]) == {"s1"}
    plain = prepare.prepare_release(release(tmp_path / "b", rendered=False), tmp_path / "b-store", **QUIET)
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
    made = (prepare.prepare_folder(source, out, **QUIET).path / "manifest.json").stat().st_mtime_ns

    def again(**options):
        return (prepare.prepare_folder(source, out, **QUIET, **options).path / "manifest.json").stat().st_mtime_ns

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
    store = prepare.prepare_folder(source, tmp_path / "out", **options)
    np.testing.assert_allclose(store.landmarks[store.keys.index(keys[1])], points(0.2), atol=1e-6)
    assert store.faces["landmarks"].value_counts().to_dict() == {"missing": 8, "table": 2}
    point_table(["a", "b"], [points()] * 2).to_csv(tmp_path / "points.csv", index=False)
    with pytest.raises(ValueError, match="none of its 2 keys"):
        prepare.prepare_folder(source, tmp_path / "out", **options)


def test_folder_with_landmarks_of_deca(tmp_path):
    source = folder(tmp_path / "in")
    place = tmp_path / "deca" / "Happy" / "3"
    place.mkdir(parents=True)
    np.savetxt(place / "3_kpt2d.txt", points() * 112 + 112)
    options = {"split": "train", "landmarks": f"deca:{tmp_path / 'deca'}", **QUIET}
    with pytest.raises(ValueError, match="iscrop"):
        prepare.prepare_folder(source, tmp_path / "out", **options)
    store = prepare.prepare_folder(source, tmp_path / "out", iscrop_false=True, **options)
    np.testing.assert_allclose(store.landmarks[store.keys.index("train/HAPPINESS/3")], points(), atol=1e-6)
    assert np.isfinite(store.landmarks).all((1, 2)).sum() == 1
    upside_down = tmp_path / "deca" / "Happy" / "2"
    upside_down.mkdir()
    np.savetxt(upside_down / "2_kpt2d.txt", points() * [112, -112] + 112)
    store = prepare.prepare_folder(source, tmp_path / "out", iscrop_false=True, **options)
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
            prepare.prepare_folder(source, tmp_path / "out", **QUIET, **options)
    assert not (tmp_path / "out").exists()


def test_crop_without_dlib_names_the_extra(tmp_path, monkeypatch):
    dlib_models.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"lsdkit\[dlib\]"):
        prepare.prepare_folder(folder(tmp_path / "in"), tmp_path / "out", crop=True, **QUIET)
    dlib_models.cache_clear()


def test_csv_and_its_summary(tmp_path):
    folder(tmp_path / "in")
    rows = [f"in/happy/{i}.jpg,happy" for i in range(5)] + [f"in/sad/{i}.jpg,sad" for i in range(5)]
    rows += ["in/happy/1.jpg,bored", "in/absent.jpg,sad", "in/sad/0.jpg,"]
    (tmp_path / "faces.csv").write_text("path,expression\n" + "\n".join(rows))
    store = prepare.prepare_csv(tmp_path / "faces.csv", tmp_path / "out", seed=3, **QUIET)
    assert store.manifest["left_out"] == {"unknown_class": 1, "unreadable": 1}
    text = prepare.summary(store)
    assert "11 faces (photographs), 20 px" in text
    assert "unlabelled" in text
    assert "unreadable: 1, such as in/absent.jpg" in text
    assert "equal images two splits: 1" in text
    assert store.manifest["settings"]["seed"] == 3


def test_another_source_does_not_replace_a_store(tmp_path):
    folder(tmp_path / "a" / "faces")
    folder(tmp_path / "b" / "faces")
    prepare.prepare_folder(tmp_path / "a" / "faces", tmp_path / "out", **QUIET)
    with pytest.raises(ValueError, match="choose another --out"):
        prepare.prepare_folder(tmp_path / "b" / "faces", tmp_path / "out", **QUIET)


def test_a_part_of_the_open_set_is_rendered_whatever_is_asked_for(tmp_path):
    source = folder(tmp_path / "open-release" / "faces")
    (tmp_path / "open-release" / prepare.RENDERED_MARK).write_text("{}")
    assert prepare.prepare_folder(source, tmp_path / "out", kind="photographs", **QUIET).kind == "rendered"


def test_a_damaged_store_is_made_again(tmp_path):
    source = folder(tmp_path / "in")
    images = prepare.prepare_folder(source, tmp_path / "out", **QUIET).path / "images.npy"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.warns(UserWarning, match="made again"):
        prepare.prepare_folder(source, tmp_path / "out", **QUIET)
    assert images.read_bytes() == whole
