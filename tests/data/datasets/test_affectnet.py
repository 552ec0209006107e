"""AffectNet in both layouts: what reaches a store, and how everything else is named."""

import numpy as np
import pytest
from PIL import Image

from lsdkit.data.preparing import prepare_data_set, summarise
from tests.data_sets import POINTS, SIZE, affectnet, arrays, line, prepare, read, text_of
from tests.small_release import photo

NAMES = ("NEUTRAL", "HAPPINESS", "SADNESS", "SURPRISE", "FEAR", "DISGUST", "ANGER", "CONTEMPT")


@pytest.mark.parametrize(("end", "mark", "header"), [("\n", "", True), ("\r\n", "\ufeff", True), ("\n", "", False)])
def test_affectnet_lists(tmp_path, end, mark, header):
    store = prepare("affectnet", affectnet(tmp_path / "in", end=end, mark=mark, header=header), size=20)
    faces = store.faces
    assert dict(zip(faces["path"], faces["expression"], strict=True)) == {
        **{f"0/{code}.jpg": name for code, name in enumerate(NAMES)},
        **{f"1/{code}.jpg": name for code, name in enumerate(NAMES) if 0 < code < 7},
    }
    assert faces["split"].value_counts().to_dict() == {"train": 6, "validation": 6, "extra": 2}
    np.testing.assert_allclose(store.landmarks, np.broadcast_to(POINTS, (14, 68, 2)), atol=1e-5)
    assert set(faces["landmarks"]) == {"given"}
    assert store.left_out["reason"].tolist() == ["held_out"] * 2  # neutral and contempt of validation
    store.verify()


def test_affectnet_landmarks_align_the_face_without_any_annotator(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no dlib
    store = prepare("affectnet", affectnet(tmp_path / "in"), crop=True, size=32)
    eyes = [store.landmarks[:, 36:42].mean(1), store.landmarks[:, 42:48].mean(1)]
    np.testing.assert_allclose(eyes[0], np.broadcast_to([2 * 0.31 - 1, 2 * 0.4 - 1], (14, 2)), atol=0.05)
    np.testing.assert_allclose(eyes[1], np.broadcast_to([2 * 0.69 - 1, 2 * 0.4 - 1], (14, 2)), atol=0.05)
    assert not [path.name for path in tmp_path.iterdir() if "points" in path.name]


def test_affectnet_crop_gives_the_same_in_several_processes(tmp_path):
    root = affectnet(tmp_path / "in")
    one = prepare("affectnet", root, crop=True, size=32).manifest["checksums"]
    two = prepare_data_set("affectnet", root, tmp_path / "again", crop=True, size=32, jobs=2, progress=False)
    assert two.manifest["checksums"] == one


def test_affectnet_names_and_counts_what_is_wrong(tmp_path):
    root = tmp_path / "in"
    for i in range(9):
        photo(root / "2" / f"{i}.jpg", 300 + i, SIZE)
    (root / "2" / "8.jpg").write_bytes(b"no picture")
    (tmp_path / "secret.jpg").write_bytes((root / "2" / "0.jpg").read_bytes())
    short, words = ";".join(text_of(POINTS).split(";")[:-2]), ";".join(["x"] * 136)
    train = [line("2/0.jpg", 8), line("2/0.jpg", 9), line("2/1.jpg", 10), line("2/2.jpg", 11), line("2/2.jpg", "")]
    train += [line("../secret.jpg", 1), line(tmp_path / "secret.jpg", 1), line("", 1), line("2/\0.jpg", 1)]
    train += [line("2/3.jpg", 1, short), line("2/4.jpg", 1, words), line("2/5.jpg", 1, ""), "2/6.jpg,1,2", '"']
    train += [line("2/6.jpg", 1, text_of(POINTS * 50)), line("2/7.jpg", 1, text_of(POINTS * np.nan))]
    train += [line("2/8.jpg", 1), line("2/absent.jpg", 1), line("0/1.jpg", 1), line("./0/2.jpg", 1)]
    store = prepare("affectnet", affectnet(root, train, [line("0/3.jpg", 3)]), size=20)
    assert store.manifest["left_out"] == {
        "no_expression": 3,
        "unknown_class": 2,
        "outside": 2,
        "malformed": 4,
        "duplicate": 3,
        "held_out": 2,
        "unreadable": 2,
    }
    said = store.left_out.set_index("path")["detail"]
    assert said["2/1.jpg"] == "training.csv, line 12: 10 is no face"
    assert said["training.csv, line 22"] == "3 cells instead of 9"
    assert said["../secret.jpg"].endswith("the path leaves the data set's folder")
    assert said["0/1.jpg"] == "training.csv, line 28: the face of training.csv, line 3, labelled HAPPINESS in train"
    assert said["./0/2.jpg"].endswith("the face of training.csv, line 4, labelled SADNESS in train")
    assert said["0/3.jpg"].endswith("the face of validation.csv, line 10, labelled SURPRISE in validation")
    assert "FileNotFoundError" in said["2/absent.jpg"]
    how = dict(zip(store.faces["path"], store.faces["landmarks"], strict=True))
    assert how["2/3.jpg"] == "missing: 134 numbers instead of 136"
    assert how["2/4.jpg"] == "missing: landmarks that are no numbers"
    assert how["2/5.jpg"] == "missing: 1 numbers instead of 136"
    assert how["2/6.jpg"] == "missing: points far outside the picture"
    assert how["2/7.jpg"] == "missing: landmarks that are not finite"
    assert dict(zip(store.faces["path"], store.faces["split"], strict=True))["0/3.jpg"] == "validation"
    assert "missing: 134 numbers instead of 136" in summarise(store)


@pytest.mark.parametrize("kind", [int, str, float, np.bytes_])
def test_affectnet_arrays(tmp_path, kind):
    root = tmp_path / "in"
    arrays(root, "train_set", range(8), kind if kind is not np.bytes_ else lambda code: str(code).encode())
    arrays(root, "val_set", (6, 1))
    store = prepare("affectnet", root, size=20)
    assert store.keys == [
        *(f"train/{name}/{code}" for code, name in enumerate(NAMES) if 0 < code < 7),
        *("validation/ANGER/0", "validation/HAPPINESS/1", "extra/NEUTRAL/0", "extra/CONTEMPT/7"),
    ]
    np.testing.assert_allclose(store.landmarks[0], POINTS, atol=1e-5)


def test_affectnet_arrays_that_are_wrong(tmp_path):
    root = tmp_path / "in"
    notes = arrays(root, "train_set", [1] * 10)
    arrays(root, "val_set", (6, 1))
    (notes / "0_exp.npy").unlink()
    np.save(notes / "1_exp.npy", np.array({"code": 1}, dtype=object), allow_pickle=True)
    (notes / "2_exp.npy").write_bytes(b"")
    np.save(notes / "3_exp.npy", np.array(1.5))
    np.save(notes / "4_lnd.npy", np.zeros(134))
    (notes / "5_lnd.npy").unlink()
    (notes / "6_lnd.npy").write_bytes(b"damaged")
    (root / "train_set" / "images" / "7.jpg").unlink()
    np.save(notes / "8_exp.npy", np.array([1, 2]))
    store = prepare("affectnet", root, size=20)
    assert store.manifest["left_out"] == {"malformed": 5, "unreadable": 1}
    said = store.left_out.set_index("path")["detail"]
    assert "allow_pickle" in said["train_set/images/1.jpg"]
    assert "FileNotFoundError" in said["train_set/images/0.jpg"]
    how = dict(zip(store.faces["path"], store.faces["landmarks"], strict=True))
    assert how["train_set/images/4.jpg"] == "missing: 134 numbers instead of 136"
    assert how["train_set/images/5.jpg"] == "missing: no file 5_lnd.npy"
    assert how["train_set/images/6.jpg"] == "missing: 6_lnd.npy cannot be read"
    assert how["train_set/images/9.jpg"] == "given"


def test_a_picture_stored_turned_has_no_landmarks(tmp_path):
    root = affectnet(tmp_path / "in")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(root / "0" / "1.jpg").save(root / "0" / "1.jpg", exif=exif)
    assert read("affectnet", root).why_missing == {"train/HAPPINESS/1": "missing: the picture is stored turned"}
