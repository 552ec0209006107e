"""The store opened: what is absent, incomplete or damaged is told."""

import os
import shutil

import numpy as np
import pytest

from lsdkit.common import files
from lsdkit.data.store import Store


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
    with pytest.raises(FileNotFoundError, match=r"has no manifest.json"):
        Store.open(tmp_path)
