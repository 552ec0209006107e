"""Photographs: none vanishes, people are told apart where something says who they are, and colour goes."""

from itertools import compress

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.data import preparing
from lsdkit.data.decoding import LeftOut
from lsdkit.photographs.collection import check_names, find_subjects, prepare_photographs


class HalfFound:
    """In place of the search for faces: pictures of an odd width have none."""

    def __init__(self, size):
        self.size = size

    def __call__(self, image, key):
        if image.width % 2:
            raise LeftOut("no_face", "odd")
        points = np.random.default_rng(image.width).uniform(-0.5, 0.5, (68, 2))
        return image.resize((self.size, self.size)), points, "found"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten photographs a class but two of fear, three of an odd width each (one of fear); a broken one of sadness."""
    monkeypatch.setattr(preparing, "_transform", lambda landmarks, given, crop, size: HalfFound(size))
    generator = np.random.default_rng(0)
    for index, name in enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(2 if name == "fear" else 10):
            width = 21 if number in (1, 4, 7) else 20
            pixels = generator.integers(0, 256, (20, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / name / f"Some_One{(index + number) % 8}_{number:04}.png")
    (tmp_path / "in" / "sadness" / "Some_One9_0001.jpg").write_bytes(b"no picture")
    return tmp_path / "in"


QUIET = {"jobs": 1, "progress": False, "pixels": 16}


def test_every_photograph_of_the_six_is_counted(folder, tmp_path):
    photographs = prepare_photographs(folder, tmp_path / "out", **QUIET)
    counts = photographs.count()
    assert counts["ANGER"] == {"given": 10, "found": 7}
    assert counts["FEAR"] == {"given": 2, "found": 1}
    assert counts["SADNESS"] == {"given": 11, "found": 7}
    assert len(photographs.labels) == sum(each["given"] for each in counts.values()) == 53
    assert photographs.lost == {"no_face": 16, "unreadable": 1}
    assert photographs.how == {"found": 36}
    rows, store = photographs.rows[photographs.has_face], photographs.store
    assert (store.labels[rows] == photographs.labels[photographs.has_face]).all()
    assert [store.keys[row] for row in rows] == list(compress(photographs.keys, photographs.has_face))
    assert store.path == tmp_path / "out"
    assert len(set(photographs.subjects)) == 9
    assert photographs.people is photographs.subjects
    assert photographs.subjects_from == "files named NAME_NUMBER"


def test_a_table_may_say_who_they_are(folder, tmp_path):
    paths = sorted(folder.glob("anger/*.png")) + sorted(folder.glob("fear/*.png"))
    table = pd.DataFrame({"path": paths, "expression": [path.parent.name for path in paths]})
    table["subject"] = ["a", "b", "c", "c"] * 3
    table.to_csv(tmp_path / "photos.csv", index=False)
    photographs = prepare_photographs(tmp_path / "photos.csv", tmp_path / "out", **QUIET)
    assert photographs.count()["ANGER"] == {"given": 10, "found": 7}
    assert sorted(set(photographs.subjects)) == ["a", "b", "c"]
    assert photographs.subjects_from == "the column subject"
    assert photographs.store.path == tmp_path / "out"


def test_names_that_are_no_persons_are_not_taken_for_some():
    def subjects(*paths):
        return find_subjects(pd.DataFrame({"key": [f"key-{path}" for path in paths], "subject": "", "path": paths}))

    people = [f"x/Ann_Lee{number}_0001.jpg" for number in range(8)]
    assert subjects(*people, "x/Ann_Lee0_0002.jpg", "x/photo.jpg")[0].tolist() == [
        *(f"Ann_Lee{number}" for number in range(8)),
        "Ann_Lee0",
        "key-x/photo.jpg",
    ]
    assert subjects(*(f"x/image_{number}.jpg" for number in range(9)))[0] is None
    assert subjects(*(f"x/{number:05}.jpg" for number in range(9))) == (None, "not known")
    assert subjects(*people[:3], "x/a.jpg", "x/b.jpg", "x/c.jpg", "x/d.jpg")[0] is None


def test_a_folder_without_the_six_expressions_is_refused(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (folder / "neutral").rename(tmp_path / "other" / "neutral")
    with pytest.raises(ValueError, match="photographs of ANGER"):
        prepare_photographs(tmp_path / "other", tmp_path / "out", **QUIET)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["films", "Films"], "2 are called 'films'"),
        (["a/b"], "'a/b'"),
        (["a\nb"], "letters, digits"),
        ([".hidden"], "begins with a letter"),
        (["ends."], "letters, digits"),
        (["$x_1$"], "letters, digits"),
        (["x" * 41], "at most 40"),
        ([""], "name it as in"),
        (["Rendered"], "none of the benchmark's own"),
        ([], "at least one"),
    ],
)
def test_names_fit_for_tables_and_files(names, words):
    with pytest.raises(ValueError, match="Expected") as error:
        check_names(names)
    assert words in str(error.value)


def test_names_of_many_languages_are_taken():
    check_names(["Gesichter 48 px", "表情", "web-48_a.b+c", "A"])
