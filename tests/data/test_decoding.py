"""Tables of pictures to pixels: the order, the size that is stored, what is left out, notes on sizes."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.data.decoding import Decoded, decode_table, native_size, note_sizes
from lsdkit.data.pictures import LeftOut


def write(root, name, width, height, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(root / name, "PNG")
    return values


def table(*paths):
    return pd.DataFrame({"key": [f"train/{path}" for path in paths], "path": paths})


def halve(image, key):
    return image.crop((0, 0, image.width // 2, image.width // 2)), None, f"half of {key}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_come_in_order_with_digest_pixels_and_sizes(tmp_path, jobs):
    values = [write(tmp_path, f"{i}.png", 20, 20, i) for i in range(6)]
    write(tmp_path, "wide.png", 40, 20)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    faces = table(*(f"{i}.png" for i in range(6)), "wide.png", "bad.png", "absent.png", "nul\0.png")
    found = list(decode_table(faces, tmp_path, None, None, jobs, False))
    assert [row.path for row, _, _ in found] == faces["path"].tolist()
    for i, (_, digest, result) in enumerate(found[:6]):
        assert digest == hashlib.sha256((tmp_path / f"{i}.png").read_bytes()).digest()
        assert (result.pixels == values[i]).all()
        assert result[1:] == (None, "", (20, 20), (20, 20))
    wide = found[6][2]
    assert wide.pixels.shape == (20, 20, 3)
    assert (wide.picture, wide.cut) == ((40, 20), (40, 20))
    assert all(isinstance(result, LeftOut) and result.reason == "unreadable" for _, _, result in found[7:])
    assert found[7][1] == hashlib.sha256(b"no picture").digest()
    assert found[8][1] == b""


def test_a_transform_in_processes_gives_what_it_cuts(tmp_path):
    for i in range(4):
        write(tmp_path, f"{i}.png", 40, 30, i)
    found = list(decode_table(table("0.png", "1.png", "2.png", "3.png"), tmp_path, 16, halve, 2, False))
    assert [(result.status, result.picture, result.cut) for _, _, result in found] == [
        (f"half of train/{i}.png", (40, 30), (20, 20)) for i in range(4)
    ]
    assert isinstance(found[0][2], Decoded)


def test_the_size_of_the_first_square_picture(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    write(tmp_path, "square.png", 20, 20)
    write(tmp_path, "wide.png", 40, 20)
    write(tmp_path, "tiny.png", 15, 15)
    assert native_size(table("absent.png", "bad.png", "square.png"), tmp_path) == 20
    for first in ("wide.png", "tiny.png"):
        assert native_size(table(first, "square.png"), tmp_path) == 112
    assert native_size(table("bad.png"), tmp_path) == 112


def test_notes_on_sizes():
    assert note_sizes([], []) == {}
    plain = [(20, 20)] * 5
    assert note_sizes(plain, plain) == {}
    odd = [(40, 40), (10, 10), (41, 41), (9, 30), (1, 1)]
    assert note_sizes(plain + odd, plain + odd) == {  # the median is 20: 40 and 10 are not yet far from it
        "tiny_pictures": 3,
        "stretched_pictures": 1,
        "pictures_of_another_size": 3,
    }
    assert note_sizes([(400, 300), (15, 30)], [(112, 112)] * 2) == {"tiny_pictures": 1}
