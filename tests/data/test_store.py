"""The store opened: what is absent, incomplete or damaged is told."""

import os
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

from lsdkit.cli import main
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
