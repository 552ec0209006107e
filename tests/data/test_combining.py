"""Stores made of other stores: joined, every face where it belongs and at one size; and seen through a window."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common import files
from lsdkit.common.expressions import CLASSES
from lsdkit.data import combining
from lsdkit.data.combining import WHOLE, derive_store, join_stores, view_store
from lsdkit.data.store import Store
from lsdkit.data.viewing import View
from lsdkit.data.writer import write_store


def make_store(root, name, side=24, kind="photographs", seed=0, splits=("train", "validation"), per_class=2):
    """A store of noise faces with neutral and contempt in "extra", and one file that cannot be read."""
    generator, rows, landmarks = np.random.default_rng(seed), [], {}
    (root / f"{name}-files").mkdir(parents=True)
    for split in (*splits, "extra"):
        for expression in CLASSES[6:] if split == "extra" else CLASSES[:6]:
            for number in range(per_class):
                key, path = f"{split}/{expression}/{number}", f"{split}-{expression}-{number}.png"
                noise = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(noise).save(root / f"{name}-files" / path)
                rows.append((key, split, expression, f"person-{number}" if number else "", path))
                landmarks[key] = generator.uniform(-1, 1, (68, 2))
    (root / f"{name}-files" / "broken.png").write_bytes(b"no image")
    rows.append(("train/FEAR/broken", "train", "FEAR", "", "broken.png"))
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    options = {"size": None, "kind": kind, "source": name, "settings": {}, "progress": False}
    return write_store(root / name, table, landmarks, root=root / f"{name}-files", **options)


@pytest.fixture
def two(tmp_path) -> list[Store]:
    return [make_store(tmp_path, "one"), make_store(tmp_path, "two", side=40, seed=1)]


def test_all_faces_at_one_size_under_their_stores_names(two, tmp_path):
    joined = join_stores([store.path for store in two], tmp_path / "out", progress=False)
    joined.verify()
    assert len(joined) == len(two[0]) + len(two[1]) == len(set(joined.keys))
    assert joined.images.shape == (len(joined), 24, 24, 3)
    start = 0
    for store in two:
        rows = slice(start, start + len(store))
        assert joined.keys[rows] == [f"{store.path.name}/{key}" for key in store.keys]
        for column in ("split", "expression", "landmarks"):
            assert joined.faces[column][rows].tolist() == store.faces[column].tolist()
        subjects = [f"{store.path.name}/{name}" if name else "" for name in store.faces["subject"]]
        assert joined.faces["subject"][rows].tolist() == subjects
        np.testing.assert_array_equal(joined.landmarks[rows], store.landmarks)
        for row in range(len(store)):
            image = Image.fromarray(np.asarray(store.images[row])).resize((24, 24), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(joined.images[start + row], np.asarray(image))
        start += len(store)
    np.testing.assert_array_equal(joined.images[: len(two[0])], two[0].images)
    assert set(joined.labels[joined.rows("extra")]) == {6, 7}
    assert joined.manifest["counts"]["extra"] == {"NEUTRAL": 4, "CONTEMPT": 4}
    assert joined.manifest["left_out"] == {"unreadable": 2}
    lost = pd.read_csv(joined.path / "left_out.csv")
    assert lost["path"].tolist() == ["one/broken.png", "two/broken.png"]


def test_a_finished_join_is_kept_until_a_source_changes(two, tmp_path):
    paths = [store.path for store in two]
    out = join_stores(paths, tmp_path / "out", progress=False).path
    before = (out / "images.npy").stat().st_mtime_ns
    assert (join_stores(paths, out, progress=False).path / "images.npy").stat().st_mtime_ns == before
    table, manifest = paths[1] / "faces.csv", files.read_json(paths[1] / "manifest.json")
    files.write_text(table, table.read_text().replace(",given", ",dlib"))
    sums = manifest["checksums"] | {"faces.csv": files.sha256(table)}
    files.write_json(paths[1] / "manifest.json", files.seal(manifest | {"checksums": sums}))
    join_stores(paths, out, progress=False)
    assert (out / "images.npy").stat().st_mtime_ns != before
    with pytest.raises(ValueError, match="holds one of"):
        join_stores(paths[::-1], out, progress=False)


def test_a_copy_in_a_later_store_is_left_out_and_a_leak_is_counted(tmp_path):
    one, same = make_store(tmp_path / "a", "faces"), make_store(tmp_path / "b", "faces", splits=("train", "test"))
    joined = join_stores([one.path, same.path], tmp_path / "out", progress=False)
    # The generator's seed is the same: train and, with another split between them, extra hold the same pixels.
    assert joined.keys[: len(one)] == [f"faces/{key}" for key in one.keys]
    assert set(joined.faces["split"][len(one) :]) == {"test"}
    assert joined.keys[len(one)].startswith("faces-2/test/")
    assert joined.manifest["left_out"] == {"duplicate": 12 + 4, "unreadable": 2}
    assert joined.manifest["notes"]["equal_images_two_splits"] == 12  # validation of one, test of the other


def test_kinds_must_agree_unless_told(two, tmp_path):
    drawn = make_store(tmp_path, "drawn", kind="rendered", seed=2)
    paths = [two[0].path, drawn.path]
    with pytest.raises(ValueError, match="one holds photographs, drawn holds rendered"):
        join_stores(paths, tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="photographs only where all"):
        join_stores(paths, tmp_path / "out", kind="photographs", progress=False)
    assert join_stores(paths, tmp_path / "out", kind="synthetic", progress=False).kind == "synthetic"


def test_refusals_leave_nothing_behind(two, tmp_path):
    one, other = (store.path for store in two)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="at least two"):
        join_stores([one], tmp_path / "out")
    with pytest.raises(ValueError, match="at least two different"):
        join_stores([one, one], tmp_path / "out")
    with pytest.raises(ValueError, match="none of the stores"):
        join_stores([one, other], one)
    with pytest.raises(FileNotFoundError, match="Expected a store"):
        join_stores([one, tmp_path / "nothing"], tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_a_failure_leaves_the_earlier_join(two, tmp_path, monkeypatch):
    paths = [store.path for store in two]
    out = join_stores(paths, tmp_path / "out", progress=False).path
    before = files.read_json(out / "manifest.json")
    monkeypatch.setattr(combining, "VERSION", 2)

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(combining, "_resize", broken)
    with pytest.raises(OSError, match="disk full"):
        join_stores(paths, out, progress=False)
    assert files.read_json(Store.open(out).path / "manifest.json") == before
    assert not list(tmp_path.glob(".*.partial"))


def test_grey_is_pillows_luma_and_is_kept(tiny_store, tmp_path):
    grey = view_store(tiny_store, tmp_path / "grey")
    grey.verify()
    expected = tiny_store.images[:].astype(float) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey.images[:] - expected[..., None]).max() <= 1
    assert grey.faces.equals(tiny_store.faces)
    np.testing.assert_allclose(grey.landmarks, tiny_store.landmarks, atol=1e-7)
    assert grey.kind == "rendered"
    written = (grey.path / "manifest.json").stat().st_mtime_ns
    assert (view_store(tiny_store, tmp_path / "grey").path / "manifest.json").stat().st_mtime_ns == written


def test_a_window_is_cut_out_and_its_landmarks_move_along(tiny_store, tmp_path):
    side = tiny_store.images.shape[1]
    left, top, width = side // 4, side // 8, side // 2
    window = view_store(tiny_store, tmp_path / "w", window=(left / side, top / side, width / side), grey=False)
    window.verify()
    assert (window.images[:] == tiny_store.images[:, top : top + width, left : left + width]).all()
    pixels = (tiny_store.landmarks + 1) / 2 * side - [left, top]  # from the window's corner
    np.testing.assert_allclose((window.landmarks + 1) / 2 * width, pixels, atol=1e-4)
    assert window.manifest["settings"]["window"] == [left, top, width]


@pytest.mark.parametrize("window", [(-0.2, 0, 0.5), (0.6, 0, 0.5), (0, 0.6, 0.5), (0, 0, 0)])
def test_a_window_outside_the_picture_is_refused(tiny_store, tmp_path, window):
    with pytest.raises(ValueError, match="inside a picture"):
        view_store(tiny_store, tmp_path / "w", window=window)
    assert not (tmp_path / "w").exists()


def test_another_window_is_not_taken_for_a_finished_one(tiny_store, tmp_path):
    first = view_store(tiny_store, tmp_path / "w", window=WHOLE)
    second = view_store(tiny_store, tmp_path / "w", window=(0.0, 0.0, 0.5))
    assert first.images.shape[1] == 2 * second.images.shape[1]


def test_what_a_store_shows_of_the_crops_is_told(tiny_store, tmp_path):
    """A view, a view of a view, faces chosen from one, several joined: each is what the views make of the crops."""
    assert tiny_store.view == View(40)
    inner = view_store(tiny_store, tmp_path / "inner", window=(0.1, 0.2, 0.5), grey=False)
    assert inner.view == View(40, (4, 8, 20))
    grey = view_store(inner, tmp_path / "grey", window=(0.5, 0.0, 0.5))
    assert grey.view == View(40, (14, 8, 10), grey=True)
    np.testing.assert_array_equal(grey.images, grey.view.show(np.asarray(tiny_store.images)))
    rows = inner.rows("test")
    pictures = (inner.images[row] for row in rows)
    some = derive_store(inner, tmp_path / "some", {}, inner.faces.iloc[rows], pictures, inner.landmarks[rows])
    assert some.view == inner.view
    assert join_stores([inner.path, some.path], tmp_path / "both", progress=False).view == inner.view
    mixed = join_stores([tiny_store.path, inner.path], tmp_path / "mixed", progress=False)
    assert mixed.view.plain
    assert "view" not in mixed.manifest["settings"]


def test_views_of_earlier_versions_are_understood(tiny_store):
    settings = {"reader": "inner", "window": [22, 31, 67], "grey": True, "from": {"reader": "open", "pixels": 112}}
    manifest = tiny_store.manifest | {"settings": settings, "size": 67}
    earlier = Store(tiny_store.path, manifest, tiny_store.faces, tiny_store.images, tiny_store.landmarks)
    assert earlier.view == View(112, (22, 31, 67), grey=True)
