"""Readers of the release, of folders and of CSV files: what they list, and what ends them at once."""

import os

import pandas as pd
import pytest

from lsdkit.common.landmarks import COORDINATES
from lsdkit.data.readers import list_folders, list_images, read_csv, read_folder, read_release
from lsdkit.data.release import CLASS_FOLDERS, LIST_HEADER, TEST, TRAIN, VALIDATION
from tests.small_release import write_release


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"a reader does not decode")


def release(root, train=("1.jpg", "2.JPG", "10.jpg")):
    """An empty-imaged release in `root`: three training and one validation face a class, three test faces."""
    for name in CLASS_FOLDERS:
        touch(root / TRAIN / name, *train, ".DS_Store")
        touch(root / VALIDATION / name, "1.jpg")
    touch(root / VALIDATION, ".DS_Store")
    touch(root / TEST, "0.jpg", "1.jpg", "2.jpg", ".DS_Store")
    (root / TEST / "list.csv").write_text(f"{LIST_HEADER}\n2.jpg,\n0.jpg,3\n1.jpg,-1\n")
    return root


def test_release_keys_splits_and_spelling(tmp_path):
    listing = read_release(release(tmp_path))
    table = listing.table
    assert listing.left_out == []
    assert table["split"].value_counts().to_dict() == {"train": 18, "validation": 6, "test": 3}
    assert table["key"].is_unique
    assert table["key"].tolist()[:3] == ["train/ANGER/1", "train/ANGER/2", "train/ANGER/10"]  # natural order
    assert table["path"].tolist()[1] == f"{TRAIN}/ANGRER/2.JPG"
    assert table[table["key"] == "validation/FEAR/1"]["expression"].tolist() == ["FEAR"]
    test = table[table["split"] == "test"]
    assert test["key"].tolist() == ["test/2", "test/0", "test/1"]  # the list's order
    assert test["expression"].tolist() == ["", "HAPPINESS", ""]


def test_release_without_test_data_or_list(tmp_path):
    release(tmp_path)
    (tmp_path / TEST / "list.csv").unlink()
    assert read_release(tmp_path).table["key"].tolist()[-3:] == ["test/0", "test/1", "test/2"]
    for file in (tmp_path / TEST).iterdir():
        file.unlink()
    (tmp_path / TEST).rmdir()
    assert set(read_release(tmp_path).table["split"]) == {"train", "validation"}


def test_release_table_supplies_subjects_landmarks_and_test_labels(tmp_path):
    release(tmp_path)
    keys = ["train/ANGER/10", "test/2", "train/FEAR/99"]
    faces = pd.DataFrame(
        {"key": keys, "split": "", "expression": ["ANGER", "FEAR", "FEAR"], "subject": ["007", "b", "c"]}
    )
    points = pd.DataFrame([[place / 200 for place in range(136)]] * 3, columns=list(COORDINATES))
    faces = pd.concat([faces.assign(variant=0), points], axis=1)
    faces.to_csv(tmp_path / "faces.csv", index=False)
    listing = read_release(tmp_path)
    table = listing.table.set_index("key")
    assert table.loc["train/ANGER/10", "subject"] == "007"
    assert table.loc["test/2", ["expression", "subject"]].tolist() == ["FEAR", "b"]
    assert table.loc["train/ANGER/1", "subject"] == ""
    assert sorted(listing.landmarks) == ["test/2", "train/ANGER/10"]
    assert listing.landmarks["test/2"][67].tolist() == [134 / 200, 135 / 200]
    assert listing.rendered
    faces.assign(expression="SADNESS").to_csv(tmp_path / "faces.csv", index=False)
    with pytest.raises(ValueError, match="calls train/ANGER/10 SADNESS"):
        read_release(tmp_path)
    faces.assign(key=["a", "b", "c"]).to_csv(tmp_path / "faces.csv", index=False)
    with pytest.raises(ValueError, match="none matches"):
        read_release(tmp_path)


def test_release_ends_at_a_wrong_folder_an_empty_class_and_a_misspelt_one(tmp_path):
    touch(tmp_path / "elsewhere" / "pictures", "1.jpg")
    with pytest.raises(FileNotFoundError, match=r"training_set_synthetic_images.*Found: pictures/"):
        read_release(tmp_path / "elsewhere")
    root = release(tmp_path / "release")
    with pytest.raises(FileNotFoundError, match=r"did you mean .*release"):
        read_release(tmp_path / "relaese")
    (root / VALIDATION / "FEAR" / "1.jpg").unlink()
    with pytest.raises(ValueError, match=r"FEAR .* but found none"):
        read_release(root)
    (root / VALIDATION / "FEAR").rmdir()
    with pytest.raises(ValueError, match="found none of FEAR"):
        read_release(root)
    touch(root / VALIDATION / "FAER", "1.jpg")
    with pytest.raises(ValueError, match=r"'FAER' with 1 images.*did you mean 'fear'"):
        read_release(root)


def test_folder_spellings_extras_and_things_beside(tmp_path):
    for name in ("happy", "Angry", "neutral", "Contempt"):
        touch(tmp_path / name, *(f"{i}.png" for i in range(10)), "Thumbs.db")
    touch(tmp_path, "README.md", "loose.jpg")
    (tmp_path / "notes").mkdir()  # no images: not a class
    listing = read_folder(tmp_path, validation=0.2)
    counts = listing.table.groupby(["split", "expression"]).size().to_dict()
    assert counts == {
        ("train", "ANGER"): 8,
        ("train", "HAPPINESS"): 8,
        ("validation", "ANGER"): 2,
        ("validation", "HAPPINESS"): 2,
        ("extra", "NEUTRAL"): 10,
        ("extra", "CONTEMPT"): 10,
    }
    assert listing.random_split
    assert all(
        key.startswith(f"{split}/") for key, split in zip(listing.table["key"], listing.table["split"], strict=True)
    )


def test_folder_split_is_a_function_of_the_seed(tmp_path):
    for name in ("fear", "sad"):
        touch(tmp_path / name, *(f"{i}.jpg" for i in range(40)))
    first, again, other = (set(read_folder(tmp_path, seed=seed).table["key"]) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert set(read_folder(tmp_path, split="test").table["split"]) == {"test"}
    assert set(read_folder(tmp_path, validation=0).table["split"]) == {"train"}


def test_folder_keeps_at_least_one_face_on_each_side(tmp_path):
    touch(tmp_path / "fear", "1.jpg", "2.jpg", "3.jpg")
    touch(tmp_path / "sad", "1.jpg")
    counts = read_folder(tmp_path, validation=0.01).table.groupby(["expression", "split"]).size()
    assert counts.to_dict() == {("FEAR", "train"): 2, ("FEAR", "validation"): 1, ("SADNESS", "train"): 1}


def test_folder_with_splits_of_its_own(tmp_path):
    for split in ("Train", "val", "test"):
        touch(tmp_path / split / "sad", "1.jpg", "1.png")
    table = read_folder(tmp_path).table
    assert set(table["split"]) == {"train", "validation", "test"}
    assert sorted(table["key"])[:2] == ["test/SADNESS/1", "test/SADNESS/1~2"]  # one stem, two files: two keys
    with pytest.raises(ValueError, match="no `split`"):
        read_folder(tmp_path, split="train")


def test_folder_ends_at_misspelt_empty_and_absent_classes(tmp_path):
    touch(tmp_path / "a" / "hapiness", "1.jpg")
    with pytest.raises(ValueError, match="did you mean 'happiness'"):
        read_folder(tmp_path / "a")
    (tmp_path / "b" / "fear").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"Expected images in .*fear .*but found none"):
        read_folder(tmp_path / "b")
    touch(tmp_path / "c", "1.jpg")
    with pytest.raises(ValueError, match=r"folder per expression .* found: 1.jpg"):
        read_folder(tmp_path / "c")
    with pytest.raises(ValueError, match="validation"):
        read_folder(tmp_path / "a", validation=20)
    with pytest.raises(FileNotFoundError):
        read_folder(tmp_path / "absent")


def test_pictures_of_every_suffix_are_listed_and_what_is_none_is_not(tmp_path):
    names = ["1.JPG", "2.jfif", "3.avif", "4.ppm", "5.heic", "6.nef", "10.tiff"]
    touch(tmp_path, *names, ".hidden.jpg", "._1.jpg", "Thumbs.db", "notes.txt", "jpg")
    for place in ("@eaDir", "__MACOSX", ".thumbs", "#recycle", "person/@eaDir"):
        touch(tmp_path / place, "1.jpg")
    touch(tmp_path / "person", "1.jpg")
    touch(tmp_path / "@anna", "1.jpg")  # a name on the web, no system's folder
    (tmp_path / "folder.jpg").mkdir()
    assert list_images(tmp_path) == [*names, "@anna/1.jpg", "person/1.jpg"]
    assert [folder.name for folder in list_folders(tmp_path)] == ["@anna", "folder.jpg", "person"]


def test_linked_folders_are_followed_once(tmp_path):
    root, other = tmp_path / "in" / "happy", tmp_path / "other"
    touch(root / "own", "1.jpg")
    touch(other / "deep", "2.jpg")
    touch(other, "3.jpg")
    touch(tmp_path / "in" / "sad", "4.jpg")
    (root / "a").symlink_to(root / "own")  # listed by its own name
    (root / "b").symlink_to(other / "deep")
    (root / "c").symlink_to(other)  # its folder deep is listed as b
    (root / "d").symlink_to(other)
    (root / "self").symlink_to(root)
    (root / "up").symlink_to(tmp_path / "in")  # would bring in the other classes
    (other / "deep" / "back").symlink_to(other)
    (root / "gone").symlink_to(tmp_path / "gone")
    assert list_images(root) == ["b/2.jpg", "c/3.jpg", "own/1.jpg"]
    (tmp_path / "link").symlink_to(root)  # a class folder may be a link itself
    assert list_images(tmp_path / "link") == list_images(root)


def test_pictures_without_a_reader_are_named_and_cost_no_other_its_key(tmp_path):
    touch(tmp_path / "fear", "1.CR2", "1.jpg", "2.heic", "2.jpg")
    listing = read_folder(tmp_path, validation=0)
    assert listing.table["key"].tolist() == ["train/FEAR/1", "train/FEAR/2"]
    assert listing.table["path"].tolist() == ["fear/1.jpg", "fear/2.jpg"]
    assert [(row["path"], row["reason"]) for row in listing.left_out] == [
        ("fear/1.CR2", "unreadable"),
        ("fear/2.heic", "unreadable"),
    ]
    assert listing.left_out[1]["detail"] == "Pillow does not read .heic files: convert it to JPEG or PNG"
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "fear" / name).unlink()
    with pytest.raises(ValueError, match=r"none of 2 images can be used: fear/1.CR2: Pillow does not read .cr2 files"):
        read_folder(tmp_path)


def test_release_names_pictures_without_a_reader(tmp_path):
    touch(release(tmp_path) / TRAIN / "FEAR", "7.heic")
    assert [row["path"] for row in read_release(tmp_path).left_out] == [f"{TRAIN}/FEAR/7.heic"]


def test_keys_are_text_of_one_line_and_paths_are_the_files(tmp_path):
    touch(tmp_path / "fear", "a\rb.jpg", os.fsdecode(b"caf\xe9.jpg"), "ä.jpg")
    table = read_folder(tmp_path, validation=0).table
    assert sorted(table["key"]) == ["train/FEAR/'a\\rb'", "train/FEAR/'caf\\udce9'", "train/FEAR/ä"]
    assert all((tmp_path / path).is_file() for path in table["path"])


def write_csv(tmp_path, text):
    file = tmp_path / "faces.csv"
    file.write_text(text)
    return file


def test_csv_columns_and_unknown_values(tmp_path):
    text = "path,expression,split,subject\na/1.jpg,Happy,train,anna\n/abs/2.jpg,sad,val,ben\n"
    text += "3.jpg,,test,\n4.jpg,bored,train,\n5.jpg,neutral,train,c\n"
    listing = read_csv(write_csv(tmp_path, text))
    left_out = listing.left_out
    assert listing.table.values.tolist() == [
        ["train/HAPPINESS/1", "train", "HAPPINESS", "anna", "a/1.jpg"],
        ["validation/SADNESS/2", "validation", "SADNESS", "ben", "/abs/2.jpg"],
        ["test/3", "test", "", "", "3.jpg"],
        ["extra/NEUTRAL/5", "extra", "NEUTRAL", "c", "5.jpg"],
    ]
    assert [(row["path"], row["reason"]) for row in left_out] == [("4.jpg", "unknown_class")]
    assert "bored" in left_out[0]["detail"]


def test_csv_keys_of_its_own_are_kept(tmp_path):
    rows = "".join(f"{i}.jpg,fear,train/{i}\n" for i in range(10))
    listing = read_csv(write_csv(tmp_path, "path,expression,key\n" + rows))
    assert listing.table["key"].tolist() == [f"train/{i}" for i in range(10)]
    assert listing.table["split"].value_counts().to_dict() == {"train": 8, "validation": 2}
    with pytest.raises(ValueError, match="repeats"):
        read_csv(write_csv(tmp_path, "path,expression,key\na.jpg,fear,k\nb.jpg,fear,k\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,expresion\n1.jpg,fear\n", "rename 'expresion' to 'expression'"),
        ("image,expression\n1.jpg,fear\n", "column 'path'.*found expression, image"),
        ("path,expression\n1.jpg,3\n", "code '3'"),
        ("path,expression\n1.jpg,hapy\n", "none of its 1 rows.*did you mean 'happy'"),
        ("path,expression,split\n1.jpg,fear,trian\n", "'trian'"),
    ],
)
def test_csv_ends_at(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_csv(write_csv(tmp_path, text))


def test_csv_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match="path and expression"):
        read_csv(tmp_path / "absent.csv")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n", "path,expression\na.jpg,fear\n".encode("utf-16")])
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "faces.csv").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"Expected a CSV file.* but .*faces\.csv is (empty|in another encoding|in UTF-16)"
    ):
        read_csv(tmp_path / "faces.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,expression\na.jpg,fear,\n", r"2 cells in each line of .*faces\.csv, but line 2 has 3"),
        ("path,expression\na, b.jpg,fear\n", r"line 2 has 3: put a cell with a comma in quotes"),
        ("path,expression,split\na.jpg,fear\n", r"line 2 has 2"),
        (
            "path;expression\na.jpg;fear\n",
            r"commas between the cells of .*faces\.csv, but its first line has semicolons",
        ),
        ("path,path,expression\na.jpg,b.jpg,fear\n", r"each column of .*faces\.csv once, but 'path' repeats"),
        ('path,expression\n"a.jpg,fear\n', r"line 2 of .*faces\.csv is none"),
        ("path,expression\ncaf\udce9.jpg,fear\n", r"line 2 of .*faces\.csv is in another encoding"),
    ],
)
def test_a_table_whose_cells_would_shift_is_refused_by_line(tmp_path, text, message):
    file = tmp_path / "faces.csv"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        read_csv(file)


def test_commas_at_the_end_of_all_lines_and_a_byte_order_mark_cost_nothing(tmp_path):
    file = tmp_path / "faces.csv"
    file.write_bytes('path,expression,\na.jpg,fear,\n"b, c.jpg",sad,\n'.encode("utf-8-sig"))
    assert read_csv(file, split="train").table["path"].tolist() == ["a.jpg", "b, c.jpg"]


LISTS = {
    "commas at the end": "image,expression,\n1.jpg,3,\n0.jpg,0,\n",
    "no endings": "image,expression\n1,3\n0,0\n",
    "names and blanks": "image, expression\r\n1.jpg, happy\r\n0.jpg, ANGRER\r\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_the_releases_list_is_read_as_it_is_meant(tmp_path, text):
    root = write_release(tmp_path / "release", rendered=False)
    (root / TEST / "list.csv").write_bytes(text.encode())
    table = read_release(root).table.query("split == 'test'")
    assert table[["key", "expression", "path"]].to_numpy().tolist() == [
        ["test/1", "HAPPINESS", f"{TEST}/1.jpg"],
        ["test/0", "ANGER", f"{TEST}/0.jpg"],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image;expression\n1.jpg;3\n", r"commas between the cells of .*list\.csv"),
        ("image,expression\n1.jpg,3\n".encode("utf-16"), r"list\.csv is in UTF-16"),
        ("image,expression\n1.jpg,3,\n", r"list\.csv, but line 2 has 3"),
        ("image,expression\n1.jpg,9\n", r"list\.csv, line 2: Expected the name of an expression, but got '9'"),
        ("image,expression\n1.jpg,3\n1.jpg,3\n", r"each image of .*list\.csv once, but line 3 has '1\.jpg'"),
        (
            "image,expression\na.jpg,3\nb.jpg,3\n",
            r"list\.csv to list images of its folder, such as 0\.jpg, but got a\.jpg",
        ),
    ],
)
def test_a_list_that_would_cost_labels_in_silence_is_refused(tmp_path, content, message):
    root = write_release(tmp_path / "release", rendered=False)
    (root / TEST / "list.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        read_release(root)
