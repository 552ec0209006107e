"""Stores as they are written: what goes in comes out, bit for bit; copies, kills and odd files are noticed."""

import errno
import io
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common import files
from lsdkit.data.decoding import LeftOut
from lsdkit.data.store import Store
from lsdkit.data.writer import StoreWriter, write_store

ROOT = Path(__file__).parents[2]


def photo(seed, width=24, height=24):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def source(root, count=8):
    """`count` JPEGs and their table: two classes in train, then one validation, one test and one extra face."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        photo(i).save(root / f"{i}.jpg", quality=90)
        split = {count - 3: "validation", count - 2: "test", count - 1: "extra"}.get(i, "train")
        name = {"extra": "NEUTRAL", "test": ""}.get(split, ("FEAR", "SADNESS")[i % 2])
        rows.append((f"{split}/{i}", split, name, f"0{i}", f"{i}.jpg"))
    return pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])


def write(tmp_path, table, landmarks=None, **options):
    given = {"size": None, "kind": "photographs", "source": "made up", "settings": {}, "progress": False}
    return write_store(tmp_path / "store", table, landmarks or {}, root=tmp_path / "images", **(given | options))


def test_round_trip_is_pillows_decoding_bit_for_bit(tmp_path):
    table = source(tmp_path / "images")
    points = np.random.default_rng(0).uniform(-1, 1, (68, 2))
    store = write(tmp_path, table, {"train/1": points})
    assert store.images.shape == (8, 24, 24, 3)
    assert isinstance(store.images, np.memmap)
    for i in range(8):
        assert (store.images[i] == np.asarray(Image.open(tmp_path / "images" / f"{i}.jpg").convert("RGB"))).all()
    np.testing.assert_allclose(store.landmarks[1], points.astype(np.float32))
    assert np.isnan(store.landmarks[[0, *range(2, 8)]]).all()
    assert store.keys == table["key"].tolist()
    assert store.faces["subject"].tolist() == table["subject"].tolist()  # "00" stays text
    assert store.faces["landmarks"].tolist() == ["missing", "given", *["missing"] * 6]
    assert store.labels.tolist() == [2, 4, 2, 4, 2, 4, -1, 6]
    assert store.labels.dtype == np.int64
    assert store.rows("train").tolist() == [0, 1, 2, 3, 4]
    assert store.rows("extra").dtype == np.int64
    assert store.counts("train").tolist() == [0, 0, 3, 0, 2, 0]
    assert store.counts("extra").tolist() == [0] * 6
    assert store.manifest["counts"] == {
        "train": {"FEAR": 3, "SADNESS": 2},
        "validation": {"SADNESS": 1},
        "test": {"": 1},
        "extra": {"NEUTRAL": 1},
    }
    store.verify()
    with pytest.raises(ValueError, match="split"):
        store.rows("dev")


def test_same_source_gives_the_same_bytes_with_any_number_of_workers(tmp_path):
    table = source(tmp_path / "images")
    sums = [write(tmp_path, table, jobs=jobs).manifest["checksums"] for jobs in (1, 3)]
    assert sums[0] == sums[1]


def test_resizing_is_antialiased(tmp_path):
    (tmp_path / "images").mkdir()
    coins = np.random.default_rng(0).integers(0, 2, (256, 256, 1), dtype=np.uint8).repeat(3, 2) * 255
    Image.fromarray(coins).save(tmp_path / "images" / "0.png")
    table = pd.DataFrame(
        [("k", "train", "FEAR", "", "0.png")], columns=["key", "split", "expression", "subject", "path"]
    )
    store = write(tmp_path, table, size=16)
    assert 120 < store.images.mean() < 135
    assert store.images.std() < 16  # plain sampling: 127
    photo(0, 40, 30).save(tmp_path / "images" / "0.png")
    assert write(tmp_path, table).manifest["size"] == 112  # the first image is not square


def test_what_cannot_be_decoded_is_named_and_counted(tmp_path):
    table = source(tmp_path / "images", 10)
    images = tmp_path / "images"
    (images / "0.jpg").write_bytes(b"not an image")
    (images / "2.jpg").write_bytes((images / "2.jpg").read_bytes()[:600])
    (images / "3.jpg").unlink()
    (images / "4.jpg").write_bytes(b"")
    store = write(tmp_path, table, left_out=[{"path": "x.jpg", "reason": "unknown_class", "detail": "'bored'"}])
    assert store.manifest["left_out"] == {"unreadable": 4, "unknown_class": 1}
    assert store.images.shape[0] == len(store) == 6
    assert store.keys == [key for i, key in enumerate(table["key"]) if i not in (0, 2, 3, 4)]
    assert (store.images[0] == np.asarray(Image.open(images / "1.jpg"))).all()
    assert (store.images[5] == np.asarray(Image.open(images / "9.jpg"))).all()
    assert (store.path / "images.npy").stat().st_size == 128 + 6 * 24 * 24 * 3  # shortened, not padded
    lost = pd.read_csv(store.path / "left_out.csv")
    assert lost["path"].tolist() == ["x.jpg", "0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    assert lost["detail"][1] == "no image format that Pillow knows, 12 bytes"
    assert "truncated" in lost["detail"][2].lower()
    store.verify()


def test_nothing_left_is_an_error(tmp_path):
    table = source(tmp_path / "images")
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(b"not an image")
    with pytest.raises(ValueError, match="none of 8 images"):
        write(tmp_path, table)
    assert not list(tmp_path.glob("*store*"))
    assert not list(tmp_path.glob(".*store*"))


def test_duplicates(tmp_path):
    table = source(tmp_path / "images", 10)  # 0-6 train, 7 validation, 8 test, 9 extra
    images = tmp_path / "images"
    for copy in (2, 3, 7, 8):  # 0 is FEAR: 2 a copy, 3 a copy called SADNESS, 7 in validation, 8 in test
        (images / f"{copy}.jpg").write_bytes((images / "0.jpg").read_bytes())
    store = write(tmp_path, table)
    assert store.manifest["left_out"] == {"duplicate": 2}
    lost = pd.read_csv(store.path / "left_out.csv")
    assert lost["detail"].tolist() == ["same bytes as train/0", "same bytes as train/0, labelled FEAR"]
    assert store.manifest["notes"] == {"equal_images_two_expressions": 2, "equal_images_two_splits": 2}
    across = write(tmp_path, table, across_splits=True)
    assert across.manifest["left_out"] == {"duplicate": 3}
    assert across.counts("validation").sum() == 0
    assert len(across.rows("test")) == 1


def test_repeated_test_images_all_stay(tmp_path):
    table = source(tmp_path / "images", 4).assign(split="test", expression="")
    for i in (1, 2, 3):
        (tmp_path / "images" / f"{i}.jpg").write_bytes((tmp_path / "images" / "0.jpg").read_bytes())
    assert len(write(tmp_path, table)) == 4


def shrink(image, key):
    """A transform for worker processes: refuses one face, turns the others into their lower left quarter."""
    if key == "train/2":
        raise LeftOut("no_face", "none")
    return image.crop((0, 12, 12, 24)), np.full((68, 2), 0.25), "found"


@pytest.mark.parametrize("jobs", [1, 2])
def test_transform_makes_image_and_landmarks(tmp_path, jobs):
    store = write(tmp_path, source(tmp_path / "images"), transform=shrink, size=12, jobs=jobs)
    assert store.manifest["left_out"] == {"no_face": 1}
    assert (store.images[0] == np.asarray(Image.open(tmp_path / "images" / "0.jpg"))[12:, :12]).all()
    assert (store.landmarks == 0.25).all()
    assert set(store.faces["landmarks"]) == {"found"}


def test_other_folders_are_never_replaced(tmp_path):
    table = source(tmp_path / "images")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="other things"):
        write(tmp_path, table)
    assert (tmp_path / "store" / "thesis.tex").exists()


def test_an_older_store_stays_until_the_new_one_is_whole(tmp_path):
    table = source(tmp_path / "images")
    first = write(tmp_path, table).manifest

    def broken(image, key):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        write(tmp_path, table, transform=broken, jobs=1)
    assert Store.open(tmp_path / "store").manifest == first
    assert write(tmp_path, table, size=12).manifest["size"] == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "store"]


def test_a_killed_preparation_leaves_no_half_store(tmp_path):
    source(tmp_path / "images").to_csv(tmp_path / "table.csv", index=False)
    script = """
import sys, time, pandas as pd
from lsdkit.data.writer import write_store
def slow(image, key):
    open(sys.argv[1] + "/started", "w").close()
    time.sleep(60)
table = pd.read_csv(sys.argv[1] + "/table.csv", dtype=str, keep_default_na=False)
write_store(sys.argv[1] + "/store", table, {}, size=24, kind="photographs", source="", settings={},
            root=sys.argv[1] + "/images", transform=slow, jobs=1, progress=False)
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    try:
        for _ in range(600):
            if (tmp_path / "started").exists():
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "started").exists()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Store.open(tmp_path / "store")
    table = pd.read_csv(tmp_path / "table.csv", dtype=str, keep_default_na=False)
    write(tmp_path, table).verify()
    assert not (tmp_path / ".store.partial").exists()


def test_malformed_tables_are_refused(tmp_path):
    table = source(tmp_path / "images")
    with pytest.raises(ValueError, match="subject are missing"):
        write(tmp_path, table.drop(columns="subject"))
    with pytest.raises(ValueError, match="'dev'"):
        write(tmp_path, table.assign(split="dev"))
    with pytest.raises(ValueError, match="'HAPPY'"):
        write(tmp_path, table.assign(expression="HAPPY"))
    with pytest.raises(ValueError, match="and 6 more twice"):
        write(tmp_path, table.assign(key="same"))
    with pytest.raises(ValueError, match="kind"):
        write(tmp_path, table, kind="real")


def row(key, split="train", expression="FEAR"):
    return SimpleNamespace(key=key, split=split, expression=expression, subject="", path=f"{key}.png")


def test_faces_of_one_origin_are_no_copies_of_each_other(tmp_path):
    pixels, points = np.zeros((16, 16, 3), np.uint8), np.zeros((68, 2))
    with StoreWriter(tmp_path / "store") as writer:
        first = row("one/a")
        for face, origin, copies in (
            (first, "one", []),
            (row("one/b", expression="ANGER"), "one", []),
            (row("two/a", expression="ANGER"), "two", [first, first, "one/b"]),
            (row("two/b", split="test"), "two", []),
        ):
            found = writer.add(face, pixels, points, "given", digest=b"same", origin=origin)
            assert [copy.key for copy in found] == [copy if isinstance(copy, str) else copy.key for copy in copies]
        store = writer.finish(kind="rendered", source="made up", settings={})
    assert store.keys == ["one/a", "one/b", "two/b"]
    assert store.manifest["notes"] == {"equal_images_two_expressions": 2, "equal_images_two_splits": 1}


def test_pictures_without_colour_fill_all_channels_and_others_of_another_size_are_refused(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(row("a"), grey, None, "unknown")
        with pytest.raises(ValueError, match="broadcast"):
            writer.add(row("b"), np.zeros((17, 17, 3), np.uint8), None, "missing")
        writer.leave_out("b.png", "unreadable", "too large")
        store = writer.finish(kind="rendered", source="made up", settings={})
    store.verify()
    assert (store.images[0] == grey).all()
    assert store.faces["landmarks"].tolist() == ["missing"]  # whatever was said of them
    assert store.left_out.to_dict("records") == [{"path": "b.png", "reason": "unreadable", "detail": "too large"}]


def test_a_block_that_ends_early_leaves_nothing(tmp_path):
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(row("a"), np.zeros((16, 16, 3), np.uint8), None, "missing")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_older_store_and_no_half_one(tiny_store, tmp_path, monkeypatch):
    out = shutil.copytree(tiny_store.path, tmp_path / "store")
    face = next(tiny_store.faces.itertuples())

    def add_until_full(writer):
        with writer:
            for _ in range(3):
                writer.add(face, np.zeros((40, 40, 3), np.uint8), None, "missing")

    with pytest.raises(files.DiskFull, match=r"The disk of .*\.store\.partial is full: .* MB are missing; make room"):
        add_until_full(StoreWriter(out, faces=10**13))
    writer = StoreWriter(out, faces=3)

    class Full(io.BytesIO):
        def write(self, content):
            if len(content) > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_: Full())
    with pytest.raises(files.DiskFull, match="is full"):
        add_until_full(writer)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    Store.open(out).verify()


def test_a_link_as_out_is_refused_and_one_in_the_way_of_the_half_store_is_not_followed(tiny_store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"link is a symbolic link; name .*elsewhere itself"):
        StoreWriter(tmp_path / "link")
    (tmp_path / ".store.partial").symlink_to(tmp_path / "elsewhere")
    with StoreWriter(tmp_path / "store") as writer:
        writer.add(next(tiny_store.faces.itertuples()), np.zeros((40, 40, 3), np.uint8), None, "missing")
        writer.finish(kind="rendered", source="noise", settings={})
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["mine.txt"]
