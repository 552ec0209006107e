"""The store opened: what is absent, incomplete or damaged is told."""

import os
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from lsdkit.cli import main
from lsdkit.common import files
from lsdkit.data.combining import join_stores, view_store
from lsdkit.data.store import CHECKED, Store, hold_folder
from lsdkit.prediction import predict, predict_official
from lsdkit.recipes import SMOKE, Member
from lsdkit.reproduce.scores import read_subjects
from lsdkit.selfsupervision.pretraining import pretrain_dino
from lsdkit.selfsupervision.settings import DinoSettings
from lsdkit.training.member import train_member
from tests.fake_runs import make_run, store_of


def test_damage_is_noticed(tiny_store, tmp_path):
    store = Store.open(shutil.copytree(tiny_store.path, tmp_path / "store"))
    with (store.path / "images.npy").open("r+b") as stream:
        stream.seek(1000)
        byte = stream.read(1)
        stream.seek(1000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ValueError, match=r"images.npy differ"):
        Store.open(store.path).verify()
    os.truncate(store.path / "images.npy", 2000)
    with pytest.raises(ValueError, match="damaged"):
        Store.open(store.path)
    (store.path / "images.npy").unlink()
    with pytest.raises(ValueError, match=r"lacks images.npy"):
        Store.open(store.path)
    np.save(store.path / "images.npy", np.zeros((3, 24, 24, 3), np.uint8))
    with pytest.raises(ValueError, match="disagree"):
        Store.open(store.path)
    files.write_json(store.path / "manifest.json", {"format": 99})
    with pytest.raises(ValueError, match="format 1"):
        Store.open(store.path)


def test_absent_store_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="lsdkit prepare open"):
        Store.open(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=r"is empty.*lsdkit prepare open"):
        Store.open(tmp_path)


def test_a_folder_of_photographs_is_prepared_as_the_message_says(tmp_path, capsys):
    for name in ("fear", "anger"):
        for number in range(4):
            path = tmp_path / "my photographs" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colours = np.random.default_rng([number, len(name)]).integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(colours).save(path)
    with pytest.raises(FileNotFoundError, match=r"has no manifest.json") as caught:
        Store.open(tmp_path / "my photographs")
    lsdkit, *command = shlex.split(str(caught.value).split("`")[1])
    assert lsdkit == "lsdkit"
    assert main(command) == 0
    capsys.readouterr()
    assert f"then name {command[-1]} instead" in str(caught.value)
    assert len(Store.open(command[-1])) == 8


@pytest.mark.parametrize(
    ("settings", "aligned"),
    [
        ({"reader": "open", "version": 1, "size": 96}, True),
        ({"reader": "release", "crop": True}, True),
        ({"reader": "folder", "crop": True}, True),
        *(({"reader": reader, "crop": False}, False) for reader in ("release", "folder", "csv")),
        ({"reader": "release"}, False),  # of an earlier version
        ({"reader": "inner", "window": [9, 9, 60], "from": {"reader": "open"}}, False),  # a window of aligned faces
        ({"reader": "inner", "window": [0, 0, 112], "grey": True, "from": {"reader": "open"}}, True),
        ({"reader": "inner", "window": [0, 0, 112], "grey": True, "from": {"reader": "folder", "crop": False}}, False),
        ({"reader": "repeated", "from": {"reader": "csv", "crop": True}}, True),
        ({}, False),
    ],
)
def test_whether_faces_are_cut_as_our_alignment_cuts_them(tiny_store, settings, aligned):
    manifest = tiny_store.manifest | {"settings": settings}
    store = Store(tiny_store.path, manifest, tiny_store.faces, tiny_store.images, tiny_store.landmarks)
    assert store.aligned is aligned
    assert not tiny_store.aligned


def change(path, old, new):
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))


def zero_pixels(store):
    images = np.load(store / "images.npy")
    images[3] = 0
    np.save(store / "images.npy", images)


def lose_landmarks(store):
    points = np.load(store / "landmarks.npy")
    points[3] = np.nan
    np.save(store / "landmarks.npy", points)


DAMAGE = {
    "images": (zero_pixels, "images.npy differ"),
    "landmarks": (lose_landmarks, "landmarks.npy differ"),
    "split": (lambda store: change(store / "faces.csv", b",train,", b",validation,"), "faces.csv differ"),
    "label": (lambda store: change(store / "faces.csv", b",ANGER,", b",FEAR,"), "faces.csv differ"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_changed_store_opens_and_is_refused_by_whatever_rests_on_it(tiny_store, tmp_path, damage):
    copy = shutil.copytree(tiny_store.path, tmp_path / "store")
    change_it, message = DAMAGE[damage]
    change_it(copy)
    store, member = Store.open(copy), Member(recipe=SMOKE)
    run = make_run(tmp_path / "run", member, store=store_of(store))
    for use in (
        lambda: train_member(member, store, tmp_path / "new", progress=False),
        lambda: predict(run, store),
        lambda: predict_official("dan_rafdb", store),
        run.open_store,
        lambda: read_subjects(run, store.faces["key"]),
        lambda: view_store(store, tmp_path / "grey"),
        lambda: join_stores([tiny_store.path, copy], tmp_path / "joined", progress=False),
        lambda: pretrain_dino([copy], tmp_path / "dino", DinoSettings(), progress=False),
    ):
        with pytest.raises(files.Damaged, match=message):
            use()
    assert not any((tmp_path / name).exists() for name in ("grey", "joined"))


def test_a_store_is_read_once_in_a_process_and_again_where_a_file_changed(tiny_store, tmp_path, monkeypatch):
    store, read = Store.open(shutil.copytree(tiny_store.path, tmp_path / "store")), []
    hash_file = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: read.append(path.name) or hash_file(path))
    for _ in range(3):
        store.verify()
        Store.open(store.path).verify()
    assert sorted(read) == sorted(CHECKED)
    times = (store.path / "images.npy").stat()
    zero_pixels(store.path)
    os.utime(store.path / "images.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(files.Damaged, match=r"images\.npy differ"):
        store.verify()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("faces.csv", b",ANGER,", b",Anger,", r"`expression` in .*faces\.csv .* face 1 has 'Anger'"),
        ("faces.csv", b",train,", b",tr\xffin,", r"faces\.csv is damaged"),
        ("faces.csv", b"key,split", b"key;split", r"Expected .*faces\.csv to have the columns key, split"),
        ("faces.csv", b"train/ANGER/1,", b"train/ANGER/0,", r"each key of .*faces\.csv once, but 'train/ANGER/0'"),
        ("faces.csv", b"train/ANGER/1,", b"train/ANGER/1\r,", r"(faces\.csv is damaged|Expected .*faces\.csv)"),
        ("manifest.json", b'"rendered"', b'"rendeled"', r"manifest\.json is damaged"),
        ("manifest.json", b'"size": 40', b'"size": 39', r"manifest\.json is damaged"),
        ("images.npy", b"NUMPY", b"NUMBY", r"images\.npy is damaged"),
        ("landmarks.npy", b"'<f4'", b"'|S4'", r"landmarks\.npy of"),
        ("landmarks.npy", b"'<f4'", b"'<f9'", r"landmarks\.npy is damaged"),
    ],
)
def test_what_cannot_be_what_was_stored_is_named_at_once(tiny_store, tmp_path, name, old, new, message):
    copy = shutil.copytree(tiny_store.path, tmp_path / "store")
    change(copy / name, old, new)
    with pytest.raises(files.Damaged, match=message):
        Store.open(copy)


@pytest.mark.parametrize("content", [b"null", b"[]", b"\xff{}", b"", b"[" * 10000])
def test_a_manifest_that_is_none_is_named(tiny_store, tmp_path, content):
    copy = shutil.copytree(tiny_store.path, tmp_path / "store")
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(files.Damaged, match=r"manifest\.json.*after removing the folder"):
        Store.open(copy)


def test_a_store_without_a_seal_is_one_of_an_earlier_version(tiny_store, tmp_path):
    copy = shutil.copytree(tiny_store.path, tmp_path / "store")
    manifest = files.read_json(copy / "manifest.json")
    del manifest[files.SEAL]
    files.write_json(copy / "manifest.json", manifest)
    Store.open(copy).verify()


@pytest.mark.parametrize("both", [False, True], ids=["in between", "before the first"])
def test_a_kill_between_the_two_renames_heals_by_itself(tiny_store, tmp_path, both):
    store = shutil.copytree(tiny_store.path, tmp_path / "store")
    shutil.copytree(store, tmp_path / ".store.partial")
    if both:
        shutil.copytree(store, tmp_path / ".store.old")
    else:
        store.rename(tmp_path / ".store.old")
    Store.open(store).verify()
    assert view_store(tiny_store, store.with_name("other")).path.is_dir()
    with hold_folder(store):
        assert (store / "manifest.json").is_file()
