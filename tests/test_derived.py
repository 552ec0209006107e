"""Stores made of other stores: windows without colour, and chosen faces, repeated."""

import numpy as np
import pytest

from lsdkit.derived import WHOLE, inner_store, repeated_store


def test_grey_is_pillows_luma_and_is_kept(tiny_store, tmp_path):
    grey = inner_store(tiny_store, tmp_path / "grey")
    grey.verify()
    expected = tiny_store.images[:].astype(float) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey.images[:] - expected[..., None]).max() <= 1
    assert grey.faces.equals(tiny_store.faces)
    np.testing.assert_allclose(grey.landmarks, tiny_store.landmarks, atol=1e-7)
    assert grey.kind == "rendered"
    written = (grey.path / "manifest.json").stat().st_mtime_ns
    assert (inner_store(tiny_store, tmp_path / "grey").path / "manifest.json").stat().st_mtime_ns == written


def test_a_window_is_cut_out_and_its_landmarks_move_along(tiny_store, tmp_path):
    side = tiny_store.images.shape[1]
    left, top, width = side // 4, side // 8, side // 2
    window = inner_store(tiny_store, tmp_path / "w", window=(left / side, top / side, width / side), grey=False)
    window.verify()
    assert (window.images[:] == tiny_store.images[:, top : top + width, left : left + width]).all()
    pixels = (tiny_store.landmarks + 1) / 2 * side - [left, top]  # from the window's corner
    np.testing.assert_allclose((window.landmarks + 1) / 2 * width, pixels, atol=1e-4)
    assert window.manifest["settings"]["window"] == [left, top, width]


@pytest.mark.parametrize("window", [(-0.2, 0, 0.5), (0.6, 0, 0.5), (0, 0.6, 0.5), (0, 0, 0)])
def test_a_window_outside_the_picture_is_refused(tiny_store, tmp_path, window):
    with pytest.raises(ValueError, match="inside a picture"):
        inner_store(tiny_store, tmp_path / "w", window=window)
    assert not (tmp_path / "w").exists()


def test_another_window_is_not_taken_for_a_finished_one(tiny_store, tmp_path):
    first = inner_store(tiny_store, tmp_path / "w", window=WHOLE)
    second = inner_store(tiny_store, tmp_path / "w", window=(0.0, 0.0, 0.5))
    assert first.images.shape[1] == 2 * second.images.shape[1]


def test_fewer_faces_are_repeated_to_as_many(tiny_store, tmp_path):
    chosen = np.concatenate(
        [tiny_store.rows("train")[tiny_store.labels[tiny_store.rows("train")] == k][:3] for k in range(6)]
    )
    store = repeated_store(tiny_store, chosen, tmp_path / "few")
    store.verify()
    for split in ("train", "validation", "test"):
        assert (store.counts(split) == tiny_store.counts(split)).all()
    train = store.rows("train")
    originals = [store.keys[row].split("+")[0] for row in train]
    assert set(originals) == {tiny_store.keys[row] for row in chosen}
    assert len(set(store.keys)) == len(store)
    places = [tiny_store.keys.index(key) for key in originals]
    assert (store.images[train] == tiny_store.images[places]).all()
    np.testing.assert_array_equal(store.landmarks[train], tiny_store.landmarks[places])
    written = (store.path / "manifest.json").stat().st_mtime_ns
    assert repeated_store(tiny_store, chosen, store.path).path == store.path
    assert (store.path / "manifest.json").stat().st_mtime_ns == written
