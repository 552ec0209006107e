"""FER2013: numbers of a table as pictures."""

import numpy as np
import pytest

from tests.data_sets import fer2013, numbers, prepare


@pytest.mark.parametrize(
    ("end", "mark", "columns"),
    [
        ("\n", "", "emotion,pixels,Usage"),
        ("\r\n", "\ufeff", "emotion,pixels,Usage"),
        ("\n", "", "emotion, Usage, pixels"),
    ],
)
def test_fer2013(tmp_path, end, mark, columns):
    root = fer2013(tmp_path / "in", end=end, mark=mark, columns=columns)
    store = prepare("fer2013", root / "fer2013.csv" if end == "\n" else root)
    assert [store.counts(split).tolist() for split in ("train", "validation", "test")] == [[1] * 6] * 3
    assert store.manifest["counts"]["extra"] == {"NEUTRAL": 1}
    assert store.manifest["left_out"] == {"held_out": 2}
    pixels = np.array(numbers(3).split(), np.uint8).reshape(48, 48, 1)
    assert (store.images[store.keys.index("train/HAPPINESS/00004")] == pixels).all()


def test_fer2013_lines_that_are_wrong(tmp_path):
    lines = [f"0,{numbers(1, 2303)},Training", f"0,{numbers(1)} 256,Training", "0,,Training", "0,a b,Training"]
    lines += [f"0,{numbers(90)},Testing", f"7,{numbers(91)},Training", f"0,{numbers(92)}", "", '"0'[:-1]]
    lines += [f'0,"{numbers(93)}",Training', f"1,{numbers(0)},Training", numbers(94).replace(" ", " 300 ", 1)]
    store = prepare("fer2013", fer2013(tmp_path / "in", lines))
    assert store.manifest["left_out"] == {"malformed": 8, "unknown_class": 1, "held_out": 2, "duplicate": 1}
    said = store.left_out.set_index("path")["detail"]
    assert said["fer2013.csv, line 23"] == "pixels are not 2304 whole numbers from 0 to 255"
    assert "'Testing' is none of Training, PublicTest, PrivateTest" in said["fer2013.csv, line 27"]
    assert store.counts("train").tolist() == [2, 1, 1, 1, 1, 1]
