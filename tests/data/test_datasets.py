"""The public data sets in their own layouts, made here: what reaches a store, and how everything else is named."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.cli import main
from lsdkit.common.landmarks import denormalise
from lsdkit.data.datasets import AFFECTNET_COLUMNS, DATA_SETS, read_data_set
from lsdkit.data.preparing import prepare_data_set, prepare_folder, summarise
from lsdkit.data.readers import read_folder
from lsdkit.data.store import Store
from tests.schematic import face
from tests.small_release import photo

QUIET = {"progress": False, "jobs": 1}
SIZE = (60, 40)
POINTS = face(0.01)
NAMES = ("NEUTRAL", "HAPPINESS", "SADNESS", "SURPRISE", "FEAR", "DISGUST", "ANGER", "CONTEMPT")


def lost(listing):
    """Path -> (reason, detail) of what was left out."""
    return {row["path"]: (row["reason"], row["detail"]) for row in listing.left_out}


def text_of(points):
    return ";".join(f"{number:.4f}" for number in denormalise(points, *SIZE).ravel())


def line(path, code, points=None):
    return f"{path},1,2,30,30,{text_of(POINTS) if points is None else points},{code},0.1,-0.2"


def affectnet(root, train=(), validation=(), end="\n", mark="", header=True):
    """Each class once in training and in validation, and the given lines."""
    lists = {"training": list(train), "validation": list(validation)}
    for number, (name, lines) in enumerate(lists.items()):
        for code in range(8):
            photo(root / str(number) / f"{code}.jpg", 100 * number + code, SIZE)
        own = [line(f"{number}/{code}.jpg", code) for code in range(8)]
        head = [",".join(AFFECTNET_COLUMNS)] if header else []
        (root / f"{name}.csv").write_bytes((mark + end.join([*head, *own, *lines]) + end).encode())
    return root


def read(name, root, **options):
    return read_data_set(name, root, root.parent / "faces", **QUIET, **options)


def prepare(name, root, **options):
    return prepare_data_set(name, root, root.parent / "store", **QUIET, **options)


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


@pytest.mark.parametrize(("classes", "extra"), [(6, []), (7, ["NEUTRAL"]), (8, ["NEUTRAL", "CONTEMPT"])])
def test_classes(tmp_path, classes, extra):
    listing = read("affectnet", affectnet(tmp_path / "in"), classes=classes)
    table = listing.table
    assert table[table["split"] == "extra"]["expression"].tolist() == extra
    assert [row["reason"] for row in listing.left_out].count("other_class") == 2 * (8 - classes)


def arrays(root, split, codes, kind=int):
    notes = root / split / "annotations"
    notes.mkdir(parents=True)
    for number, code in enumerate(codes):
        photo(root / split / "images" / f"{number}.jpg", len(split) * 100 + number, SIZE)
        np.save(notes / f"{number}_exp.npy", np.array(kind(code)))
        np.save(notes / f"{number}_lnd.npy", denormalise(POINTS, *SIZE).ravel())
        for name in ("val", "aro"):
            np.save(notes / f"{number}_{name}.npy", np.array("0.5"))
    return notes


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


EXPW = ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE", "NEUTRAL")


def expw(root, lines=(), end="\n", mark="", prefix=""):
    """Two pictures of 60 x 40, each with seven faces in boxes of 20 x 20, and the given lines."""
    own = []
    for name in ("a man.jpg", "b.jpg"):
        photo(root / f"{prefix}origin" / name, len(name), SIZE)
        own += [f"{name} {code} {code} {2 * code} {2 * code + 20} {code + 20} 0.9 {code}" for code in range(7)]
    place = root / ("label" if prefix else "") / "label.lst"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes((mark + end.join([*own, *lines]) + end).encode())
    return root


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


def test_a_folder_of_someone_elses_faces_is_not_written_into(tmp_path):
    root = expw(tmp_path / "in")
    photo(tmp_path / "store-faces" / "b_3.png", 1)
    with pytest.raises(ValueError, match=r"store-faces.*choose another --out"):
        prepare("expw", root)


RAFDB = ("SURPRISE", "FEAR", "DISGUST", "HAPPINESS", "SADNESS", "ANGER", "NEUTRAL")


def rafdb(root, lines=(), end="\n", mark=""):
    """Five training faces and one test face of each class."""
    own, seed = [], 0
    for split, count in (("train", 35), ("test", 7)):
        for number in range(count):
            photo(root / "Image" / "aligned" / f"{split}_{number:05}_aligned.jpg", seed := seed + 1)
            own.append(f"{split}_{number:05}.jpg {number % 7 + 1}")
    place = root / "EmoLabel" / "list_patition_label.txt"
    place.parent.mkdir()
    place.write_bytes((mark + end.join([*own, *lines]) + end).encode())
    return root


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


def fer2013(root, lines=(), end="\n", mark="", columns="emotion,pixels,Usage"):
    """Each class once for each usage, and the given lines."""
    own = []
    for usage, number in (("Training", 0), ("PublicTest", 1), ("PrivateTest", 2)):
        for code in range(7):
            cells = {"emotion": code, "pixels": numbers(10 * number + code), "Usage": usage}
            own.append(",".join(str(cells[name.strip()]) for name in columns.split(",")))
    root.mkdir()
    (root / "fer2013.csv").write_bytes((mark + end.join([columns, *own, *lines]) + end).encode())
    return root


def numbers(seed, count=48 * 48):
    return " ".join(map(str, np.random.default_rng(seed).integers(0, 256, count)))


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


@pytest.mark.parametrize("name", DATA_SETS)
def test_another_layout_is_refused_with_advice_that_works(tmp_path, name):
    root, codes = tmp_path / "in", DATA_SETS[name].codes
    for code in codes:
        for number in range(2):
            photo(root / code / f"{number}.jpg", 10 * int(code) + number)
    with pytest.raises(
        ValueError, match=rf"code '{min(codes)}'.*prepare affectnet`, `expw`, `rafdb` and `fer2013`.*--map"
    ):
        read_folder(root)
    with pytest.raises(FileNotFoundError, match=r"Found: .*prepare folder.*--map") as refused:
        read(name, root)
    pairs = str(refused.value).partition("--map ")[2].partition(" ")[0].split(",")
    store = prepare_folder(root, tmp_path / "store", names=dict(pair.split("=") for pair in pairs), **QUIET)
    for path, expression in zip(store.faces["path"], store.faces["expression"], strict=True):
        assert codes[path.split("/")[0]] == expression


def test_pictures_elsewhere_classes_it_lacks_and_no_face(tmp_path):
    root = affectnet(tmp_path / "a")
    (root / "0").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"pictures such as 0/0.jpg in .*put the pictures there"):
        read("affectnet", root)
    with pytest.raises(ValueError, match=r"--classes of ExpW to be one of 6, 7, but got 8"):
        read("expw", expw(tmp_path / "b"), classes=8)
    with pytest.raises(FileNotFoundError, match="did you mean"):
        read("expw", tmp_path / "bb")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "fer2013.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(ValueError, match=r"none of 1 could be used: fer2013.csv, line 2: malformed"):
        read("fer2013", tmp_path / "c")
    (tmp_path / "c" / "fer2013.csv").write_text("emotion,Usage\n0,Training\n")
    with pytest.raises(ValueError, match="lacks pixels"):
        read("fer2013", tmp_path / "c")


def test_what_would_be_refused_at_the_end_is_refused_first(tmp_path):
    root = expw(tmp_path / "in")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    for options in ({}, {"size": 5000}):
        with pytest.raises(ValueError, match=r"other things|16\.\.1024"):
            prepare("expw", root, **options)
    assert not (tmp_path / "store-faces").exists()


def test_numbered_folders_by_hand(tmp_path):
    root = tmp_path / "in"
    for code in ("1", "2", "9"):
        for number in range(3):
            photo(root / code / f"{number}.jpg", 10 * int(code) + number)
    names = {"1": "surprise", "2": "Fear", "9": "none"}
    store = prepare_folder(root, tmp_path / "store", names=names, **QUIET)
    assert pd.Series(store.faces["expression"]).value_counts().to_dict() == {"SURPRISE": 3, "FEAR": 3}
    assert store.manifest["left_out"] == {"no_expression": 3}
    with pytest.raises(ValueError, match="'suprise' is no known expression; did you mean 'surprise'"):
        read_folder(root, names=names | {"1": "suprise"})
    with pytest.raises(ValueError, match=r"Expected folders 5 in"):
        read_folder(root, names=names | {"5": "anger"})
    with pytest.raises(ValueError, match="code '9'"):
        read_folder(root, names={"1": "surprise", "2": "fear"})


def test_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    makers = {"affectnet": affectnet, "expw": expw, "rafdb": rafdb, "fer2013": fer2013}
    for name, make in makers.items():
        make(tmp_path / name)
        assert main(["prepare", name, str(tmp_path / name), "--jobs", "1", "--classes", "6"]) == 0
        assert "left out" in capsys.readouterr().out
        counts = Store.open(tmp_path / "data" / name).manifest["counts"]
        assert "extra" not in counts
    assert main(["prepare", "expw", str(tmp_path / "expw"), "--out", str(tmp_path / "x"), "--classes", "8"]) == 2
    assert "one of 6, 7, but got 8" in capsys.readouterr().err
    photo(tmp_path / "numbered" / "1" / "1.jpg", 1)
    command = ["prepare", "folder", str(tmp_path / "numbered"), "--jobs", "1", "--out", str(tmp_path / "y")]
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--map", "1=surprise"]) == 0
    assert Store.open(tmp_path / "y").keys == ["train/SURPRISE/1"]
    for wrong in ("1", "1=surprise,1=fear"):
        assert main([*command, "--map", wrong]) == 2
        assert "each name once" in capsys.readouterr().err
