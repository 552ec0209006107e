"""What the faces explorer sends is what the store holds; what it saves is what `lsdkit prepare` takes."""

import io

import numpy as np
import pandas as pd
import pytest

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import plausible
from lsdkit.data import shapes
from lsdkit.data.preparing import prepare_folder
from lsdkit.data.store import SPLITS
from lsdkit.explore.faces import LANDMARKS, Faces
from lsdkit.training.predictions import prediction_table
from tests.small_release import photo


@pytest.fixture(scope="module")
def faces(tiny_store) -> Faces:
    return Faces(tiny_store)


def test_columns_are_the_stores(faces, tiny_store):
    said, (labels, splits, states, subjects, found, distance, certain) = faces.answer("start", {})
    table = tiny_store.faces
    assert labels.tolist() == tiny_store.labels.tolist()
    assert [SPLITS[code] for code in splits] == table["split"].tolist()
    assert [said["subjects"][code] for code in subjects] == table["subject"].tolist()
    assert [said["found"][code] for code in found] == table["landmarks"].tolist()
    np.testing.assert_allclose(distance, shapes.distances(tiny_store.landmarks), rtol=1e-6)
    assert np.isnan(certain).all()
    assert not said["sure"]
    (missing,) = np.flatnonzero(states == LANDMARKS.index("missing"))
    assert tiny_store.keys[missing] == "train/FEAR/0"
    implausible = ~plausible(tiny_store.landmarks)
    implausible[missing] = False
    assert np.flatnonzero(states == LANDMARKS.index("implausible")).tolist() == np.flatnonzero(implausible).tolist()


def test_a_shape_far_from_the_mean_is_told_from_an_implausible_one(tiny_store, monkeypatch):
    face = np.random.default_rng(0).uniform(-0.6, 0.6, (68, 2))
    face[36:42], face[42:48], face[48:] = (-0.3, -0.3), (0.3, -0.3), (0, 0.4)
    points = face + np.random.default_rng(1).normal(0, 0.005, (len(tiny_store), 68, 2))
    points[3, :36] *= (-1, 1)
    points[5] = -points[5]
    monkeypatch.setattr(tiny_store, "landmarks", points)
    states = Faces(tiny_store).judge_landmarks()
    assert {LANDMARKS[state]: np.flatnonzero(states == state).tolist() for state in (2, 3)} == {
        "implausible": [5],
        "far from the mean shape": [3],
    }
    assert (states == 0).sum() == len(states) - 2


def test_thumbnails_and_a_face_with_its_record(faces, tiny_store):
    said, (pictures, points) = faces.answer("thumbnails", {"rows": [7, 2]})
    np.testing.assert_array_equal(pictures, tiny_store.images[[7, 2]])
    np.testing.assert_array_equal(points, tiny_store.landmarks[[7, 2]])
    assert said["size"] == 40
    said, (picture, _) = faces.answer("face", {"row": 7})
    np.testing.assert_array_equal(picture[0], tiny_store.images[7])
    record = dict(said["record"])
    assert record["key"] == tiny_store.keys[7]
    assert record["found"] == "given"
    assert float(record["distance to the mean shape"]) == pytest.approx(faces.distance[7], abs=6e-4)


def test_predictions_are_matched_by_key(tiny_store):
    rows = tiny_store.rows("validation")[::-1]
    stack = np.random.default_rng(0).dirichlet(np.ones(6), len(rows))
    names = [tiny_store.keys[row] for row in rows]
    table = prediction_table(names, ["validation"] * len(rows), tiny_store.labels[rows], stack)
    faces = Faces(tiny_store, table)
    certain = faces.answer("start", {})[1][-1]
    np.testing.assert_allclose(certain[1, rows], stack.max(1), rtol=1e-6)
    np.testing.assert_allclose(certain[0, rows], stack[np.arange(len(rows)), tiny_store.labels[rows]], rtol=1e-6)
    assert np.isnan(np.delete(certain, rows, axis=1)).all()
    said = dict(faces.describe(int(rows[0])))["predicted"]
    assert said == f"{EXPRESSIONS[stack[0].argmax()].lower()} {stack[0].max():.2f}"
    with pytest.raises(ValueError, match="none of 24 keys is one of its"):
        Faces(tiny_store, table.assign(key=[f"other {number}" for number in range(len(table))]))


def test_what_it_saves_is_left_out(tmp_path):
    for number in range(12):
        photo(tmp_path / "in" / ("happy" if number % 2 else "sad") / f"a, {number}.jpg", number, (60, 30 + number))
    whole = prepare_folder(tmp_path / "in", tmp_path / "whole", progress=False, jobs=1)
    faces = Faces(whole)
    sides = faces.answer("originals", {"start": 2, "count": 100})[1][0]
    assert sides.tolist() == [30 + int(path.split()[-1][:-4]) for path in whole.faces["path"][2:]]
    assert dict(faces.describe(3))["original"] == f"60 x {sides[1]:.0f} pixels"
    text = faces.answer("list", {"rows": [3, 8], "reason": 'not "sad", bored'})[0]["text"]
    (tmp_path / "list.csv").write_text(text)
    assert pd.read_csv(io.StringIO(text))["key"].tolist() == [whole.keys[3], whole.keys[8]]
    part = prepare_folder(tmp_path / "in", tmp_path / "part", leave_out=tmp_path / "list.csv", progress=False, jobs=1)
    assert part.keys == [key for key in whole.keys if key not in (whole.keys[3], whole.keys[8])]
    assert part.left_out["detail"].tolist() == ['list.csv: not "sad", bored'] * 2


def test_originals_that_are_gone_are_not_known(tiny_store, monkeypatch):
    monkeypatch.setitem(tiny_store.manifest, "source", "/nowhere/at/all")
    faces = Faces(tiny_store)
    assert not faces.answer("start", {})[0]["originals"]
    assert np.isnan(faces.answer("originals", {"start": 0, "count": 3})[1][0]).all()
    assert "original" not in dict(faces.describe(0))


def test_the_still_shows_faces(faces):
    assert len(faces.still().axes[0].images) == 24
