"""Who is on a photograph, and splits that keep people apart."""

import re
from pathlib import Path

import numpy as np
import pytest

from lsdkit.data.readers import read_csv, read_folder
from lsdkit.data.subjects import NAME_NUMBER, draw_people, name_subjects
from tests.small_release import photo

CLASSES = ("happy", "sad", "fear")


def test_name_number_is_the_stem_before_its_last_number():
    stem = re.compile(r"(.*[^\W\d].*?)_\d+")  # read on the stem alone
    paths = ["a/ann_1.jpg", "a/x.y_20.png", "b_7/5.jpg", "a/_1.jpg", "12_3.jpg", "a/Ann_Lee0_0002.jpg", "a/é_ü_09.webp"]
    matches = [stem.fullmatch(Path(path).stem) for path in paths]
    assert name_subjects(paths, NAME_NUMBER) == [match[1] if match else "" for match in matches]


@pytest.mark.parametrize("pattern", ["(", "nobody", "(a)(b)"])
def test_a_pattern_without_its_one_group_is_refused(pattern):
    with pytest.raises(ValueError, match="one group is the person"):
        name_subjects(["a.jpg"], pattern)


@pytest.mark.parametrize("seed", range(5))
def test_whole_people_are_drawn_near_the_share_of_each_expression(seed):
    generator = np.random.default_rng(seed)
    subjects = generator.choice([f"p{i}" for i in range(40)], 800)
    expressions = generator.choice(CLASSES, 800, p=(0.6, 0.3, 0.1))
    rows = draw_people(expressions, subjects, 0.2, seed)
    assert not set(subjects[rows]) & set(np.delete(subjects, rows))
    shares = [(expressions[rows] == name).sum() / (expressions == name).sum() for name in CLASSES]
    np.testing.assert_allclose(shares, 0.2, atol=0.05)
    assert rows.tolist() == draw_people(expressions, subjects, 0.2, seed).tolist()
    assert rows.tolist() != draw_people(expressions, subjects, 0.2, seed + 100).tolist()


def test_an_expression_is_never_taken_whole_and_nobody_known_is_a_person_each():
    rows = draw_people(["fear"] * 4 + ["sad"] * 40, ["anna"] * 4 + [""] * 40, 0.2, 0)
    assert (rows >= 4).all()
    assert len(rows) == 8


def test_one_person_cannot_be_kept_apart():
    with pytest.raises(ValueError, match="got 1, too few"):
        draw_people(["fear", "sad"], ["anna", "anna"], 0.2, 0)


def own_folder(root: Path) -> Path:
    for number, name in enumerate(CLASSES):
        for person in range(10):
            for shot in range(2):
                photo(root / name / f"p{person}_{shot}.jpg", 100 * number + 2 * person + shot)
    return root


def test_a_folder_keeps_people_apart_when_told(tmp_path):
    root = own_folder(tmp_path / "in")
    table = read_folder(root, subjects=NAME_NUMBER).table
    assert table["subject"].nunique() == 10
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert (table["split"] == "validation").mean() == pytest.approx(0.2, abs=0.01)
    assert all(key.startswith(split) for key, split in zip(table["key"], table["split"], strict=True))
    before = read_folder(root).table
    assert set(before["subject"]) == {""}
    assert before.groupby(before["path"].str.extract(r"(p\d)")[0])["split"].nunique().max() == 2


def test_subjects_that_name_nobody_end_the_reading(tmp_path):
    with pytest.raises(ValueError, match=r"find people in paths such as 'fear/p0_0\.jpg', but none"):
        read_folder(own_folder(tmp_path / "in"), subjects=r"(x)\.jpg")


def test_a_table_that_names_people_keeps_them_apart(tmp_path):
    lines = [f"{name}/{i}.jpg,{name},p{i % 10}" for name in CLASSES for i in range(40)]
    (tmp_path / "faces.csv").write_text("path,expression,subject\n" + "\n".join(lines))
    table = read_csv(tmp_path / "faces.csv").table
    assert (table.groupby("subject")["split"].nunique() == 1).all()
    assert (table["split"] == "validation").mean() == pytest.approx(0.2, abs=0.01)
