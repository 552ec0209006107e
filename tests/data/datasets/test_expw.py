"""ExpW: the boxes of its list cut out of photographs, once."""

import os

import numpy as np
import pytest
from PIL import Image

from tests.data_sets import expw, prepare

EXPW = ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE", "NEUTRAL")


@pytest.mark.parametrize(("end", "mark", "prefix"), [("\n", "", ""), ("\r\n", "\ufeff", "image/")])
def test_expw_cuts_the_boxes_out(tmp_path, end, mark, prefix):
    root = expw(tmp_path / "in", end=end, mark=mark, prefix=prefix)
    store = prepare("expw", root)
    assert len(store) == 14
    assert store.manifest["size"] == 20
    assert store.left_out.empty
    assert store.faces["split"].value_counts().to_dict() == {"train": 6, "validation": 6, "extra": 2}
    for image, path, name in zip(store.images, store.faces["path"], store.faces["expression"], strict=True):
        code = EXPW.index(name)
        whole = Image.open(root / f"{prefix}origin" / f"{path.rpartition('_')[0]}.jpg")
        box = (2 * code, code, 2 * code + 20, code + 20)
        assert (image == np.asarray(whole.crop(box))).all()
    assert "a man_0.png" in set(store.faces["path"])


def test_expw_boxes_and_lines_that_are_wrong(tmp_path):
    lines = ["b.jpg 10 0 0 0 20 0.9 1", "b.jpg 11 20 20 10 10 0.9 1", "b.jpg 12 100 0 20 120 0.9 1"]
    lines += ["b.jpg 13 -5 -5 15 15 0.9 2", "b.jpg 14 -15 -15 15 15 0.9 1", "b.jpg 15 0 0 9 99999999999 0.9 1"]
    lines += ["b.jpg 16 0 0 9 9 0.9 7", "b.jpg 17 0 0 nine 9 0.9 1", "b.jpg 1 0 0 9 9 0.9 4", "b.jpg", "b.jpg x"]
    lines += ["../b.jpg 0 0 0 9 9 0.9 1", "/b.jpg 0 0 0 9 9 0.9 1", "absent.jpg 0 0 0 9 9 0.9 1"]
    lines += ["bad.jpg 0 0 0 9 9 0.9 1", "bad.jpg 1 0 0 9 9 0.9 1"]
    root = expw(tmp_path / "in", lines)
    (root / "origin" / "bad.jpg").write_bytes((root / "origin" / "b.jpg").read_bytes()[:500])
    store = prepare("expw", root)
    assert store.manifest["left_out"] == {
        "bad_box": 5,
        "malformed": 3,
        "unreadable": 3,
        "outside": 2,
        "unknown_class": 1,
        "duplicate": 1,
    }
    said = store.left_out.set_index("path")["detail"]
    assert "it is empty" in said["b_10.png"]
    assert "it leaves the 60 x 40 pixels" in said["b_12.png"]
    assert said["b_1.png"] == "label.lst, line 23: the face of label.lst, line 9, labelled DISGUST in train"
    assert "image_name face_id" in said["label.lst, line 24"]
    out = store.images[store.faces["path"].tolist().index("b_13.png")]  # it sticks out by 5: the border is repeated
    whole = np.asarray(Image.open(root / "origin" / "b.jpg"))
    assert (out[5:, 5:] == whole[:15, :15]).all()
    assert (out[:5, :5] == whole[0, 0]).all()


def test_expw_is_cut_out_once_and_again_where_it_changed(tmp_path):
    root = expw(tmp_path / "in")
    made = (prepare("expw", root).path / "manifest.json").stat().st_mtime_ns
    cut = tmp_path / "store-faces" / "b_3.png"
    before = cut.stat()
    assert (prepare("expw", root).path / "manifest.json").stat().st_mtime_ns == made
    assert cut.stat().st_ctime_ns == before.st_ctime_ns
    cut.unlink()
    assert (prepare("expw", root).path / "manifest.json").stat().st_mtime_ns == made  # written again, the same
    lines = (root / "label.lst").read_text().replace("b.jpg 3 3 6 26 23", "b.jpg 3 4 7 27 24")
    (root / "label.lst").write_text(lines)
    os.utime(root / "label.lst", ns=(0, before.st_mtime_ns + 10**9))
    store = prepare("expw", root)
    image = store.images[store.faces["path"].tolist().index("b_3.png")]
    assert (image == np.asarray(Image.open(root / "origin" / "b.jpg").crop((7, 4, 27, 24)))).all()
