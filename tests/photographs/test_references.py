"""Reference lines: nobody is in two folds, and nothing is answered by a model that saw it."""

import numpy as np
import pandas as pd
import pytest

from lsdkit.photographs import references
from lsdkit.photographs.collection import Collection, Photographs
from lsdkit.photographs.references import answer_all, answer_within, draw_folds
from lsdkit.photographs.regressions import fit_predict
from lsdkit.photographs.views import Faces


@pytest.fixture
def faces(tiny_store, tmp_path):
    return Faces(tiny_store, tmp_path, {"inner": (0.0, 0.0, 1.0), "whole": (0.0, 0.0, 1.0)})


def test_folds_keep_people_together_and_spread_expressions():
    generator = np.random.default_rng(0)
    people = generator.integers(0, 90, 300)
    labels = generator.choice(6, 300, p=[0.3, 0.2, 0.02, 0.2, 0.2, 0.08])
    place = draw_folds(labels, people, 5)
    assert sorted(set(place)) == [0, 1, 2, 3, 4]
    assert all(len(set(place[people == one])) == 1 for one in people)
    counts = np.array([np.bincount(labels[place == fold], minlength=6) for fold in range(5)])
    assert (np.ptp(counts[:, [0, 1, 3, 4]], axis=0) <= 8).all()
    np.testing.assert_array_equal(place, draw_folds(labels, people, 5))
    assert (place != draw_folds(labels, people, 5, seed=1)).any()
    alone = draw_folds(labels, np.arange(300), 5)
    assert np.bincount(alone).tolist() == [60] * 5


def test_too_few_people_or_photographs_are_refused():
    with pytest.raises(ValueError, match="at least 5 people, one a fold, but got 3"):
        draw_folds(np.arange(9) % 2, np.arange(9) % 3, 5)
    with pytest.raises(ValueError, match="n_splits"):
        draw_folds(np.arange(8) % 4, np.arange(8), 5)


def test_each_photograph_is_answered_by_models_that_saw_nobody_on_it(faces, monkeypatch):
    rows = faces.store.rows("train")
    people, calls = np.arange(len(rows)) // 2, []

    def fit_all(names, train, trained, tests):
        asked = tests["fold"][1]
        calls.append((trained, asked))
        return {name: ({"fold": np.eye(6)[faces.store.labels[asked]]}, 0.0) for name in names}

    monkeypatch.setattr(references, "fit_all", fit_all)
    answers = answer_within(["hog", "face"], faces, rows, people, 4)
    assert list(answers) == ["hog", "face"]
    assert answers["face"].argmax(1).tolist() == faces.store.labels[rows].tolist()
    assert len(calls) == 4
    assert sorted(np.concatenate([asked for _, asked in calls])) == rows.tolist()
    who = dict(zip(rows, people, strict=True))
    for trained, asked in calls:
        assert not {who[row] for row in trained} & {who[row] for row in asked}
        assert len(trained) + len(asked) == len(rows)


def collection(name, faces, rows):
    photographs = Photographs(
        store=faces.store,
        keys=[faces.store.keys[row] for row in rows],
        labels=faces.store.labels[rows],
        rows=rows,
        subjects=None,
        subjects_from="not known",
        lost={},
        how={},
    )
    return Collection(name, name, photographs, faces, pd.DataFrame())


def test_every_collection_is_read_by_each_other_and_by_itself(faces):
    rows, few = faces.store.rows("train"), faces.store.rows("test")
    collections = {"large": collection("large", faces, rows), "small": collection("small", faces, few)}
    answers, left_out = answer_all(["hog", "landmarks"], collections, 2)
    assert left_out == {}
    assert set(answers) == {
        (trained_on, name, model)
        for trained_on, name in (
            ("large", "small"),
            ("small", "large"),
            ("large, 2-fold by person", "large"),
            ("small, 2-fold by person", "small"),
        )
        for model in ("hog", "landmarks")
    }
    expected = fit_predict("landmarks", faces, rows, {"small": (faces, few)})["small"]
    np.testing.assert_array_equal(answers["large", "small", "landmarks"], expected)
    people = np.array([faces.store.keys[row] for row in few])
    expected = answer_within(["hog"], faces, few, people, 2)["hog"]
    np.testing.assert_array_equal(answers["small, 2-fold by person", "small", "hog"], expected)


def test_what_cannot_be_learned_from_is_named(faces):
    rows = faces.store.rows("train")
    angry = rows[faces.store.labels[rows] == 0]
    collections = {"all": collection("all", faces, rows), "angry": collection("angry", faces, angry)}
    answers, left_out = answer_all(["hog"], collections, 2)
    assert ("all", "angry", "hog") in answers
    assert list(left_out) == ["angry", "angry, 2-fold by person"]
    assert all("two expressions" in why for why in left_out.values())
