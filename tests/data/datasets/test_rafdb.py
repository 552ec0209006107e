"""RAF-DB as its list with aligned pictures, and as numbered folders."""

import pytest

from tests.data_sets import prepare, rafdb
from tests.small_release import photo

RAFDB = ("SURPRISE", "FEAR", "DISGUST", "HAPPINESS", "SADNESS", "ANGER", "NEUTRAL")


@pytest.mark.parametrize(("end", "mark"), [("\n", ""), ("\r\n", "\ufeff")])
def test_rafdb_list(tmp_path, end, mark):
    store = prepare("rafdb", rafdb(tmp_path / "in", end=end, mark=mark))
    assert store.counts("train").tolist() == [4] * 6
    assert store.counts("validation").tolist() == [1] * 6  # drawn: it has none of its own
    assert store.counts("test").tolist() == [1] * 6
    assert store.manifest["counts"]["extra"] == {"NEUTRAL": 5}
    assert store.manifest["left_out"] == {"held_out": 1}
    for path, name in zip(store.faces["path"], store.faces["expression"], strict=True):
        assert RAFDB[int(path.split("_")[1]) % 7] == name


def test_rafdb_lines_that_are_wrong(tmp_path):
    lines = ["train_00001.jpg 2", "train_00002.jpg 9", "train_00003.jpg", "other_1.jpg 1", "../train_1.jpg 1"]
    lines += ["/x/train_1.jpg 1", "train_99999.jpg 1", "train_00040.jpg 1", "test_00001.jpg 5"]
    root = rafdb(tmp_path / "in", lines)
    (root / "Image" / "aligned" / "train_00040_aligned.jpg").write_bytes(b"?")
    store = prepare("rafdb", root)
    assert store.manifest["left_out"] == {
        "duplicate": 2,
        "unknown_class": 1,
        "malformed": 2,
        "outside": 2,
        "unreadable": 2,
        "held_out": 1,
    }


def test_rafdb_folders(tmp_path):
    root = tmp_path / "in"
    for split, count in (("train", 5), ("test", 1)):
        for code in range(1, 8):
            for number in range(count):
                seed = 10 * code + number + (100 if split == "test" else 0)
                photo(root / "DATASET" / split / str(code) / f"{split}_{number}_aligned.jpg", seed)
    store = prepare("rafdb", root)
    assert [store.counts(split).tolist() for split in ("train", "validation", "test")] == [[4] * 6, [1] * 6, [1] * 6]
    for path, name in zip(store.faces["path"], store.faces["expression"], strict=True):
        assert RAFDB[int(path.split("/")[2]) - 1] == name
    photo(root / "DATASET" / "train" / "8" / "1.jpg", 1)
    with pytest.raises(ValueError, match=r"class folders 1, 2.*8; move it away"):
        prepare("rafdb", root)
