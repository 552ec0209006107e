"""Pairs of runs: their difference and its interval, against the same by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.notebook import pairs
from lsdkit.training.predictions import prediction_table

KEYS = [f"face {number}" for number in range(120)]


class Finished:
    """What `compare_pairs` reads of a run: predictions that are right for a share of the faces."""

    folder, checksums = "a folder", {"images": "x"}

    def __init__(self, share: float, seed: int):
        generator = np.random.default_rng(seed)
        self.labels = np.arange(len(KEYS)) % 6
        wrong = generator.random(len(KEYS)) > share
        self.answers = np.where(wrong, generator.integers(0, 6, len(KEYS)), self.labels)

    def read_predictions(self) -> pd.DataFrame:
        return prediction_table(KEYS, ["test"] * len(KEYS), self.labels, np.eye(6)[self.answers])


def test_the_value_is_the_mean_difference_of_the_pairs():
    first, second = [Finished(0.9, 1), Finished(0.8, 2)], [Finished(0.5, 3), Finished(0.6, 4)]
    found = pairs.compare_pairs(first, second, "test")
    by_hand = [
        f1_score(a.labels, a.answers, average="macro") - f1_score(b.labels, b.answers, average="macro")
        for a, b in zip(first, second, strict=True)
    ]
    assert found.each == pytest.approx(by_hand)
    assert found.value == found["value"] == pytest.approx(np.mean(by_hand))
    assert 0 < found.low < found.value < found.high
    assert (found.split, found.faces, found.unit) == ("test", 120, "faces")


def test_the_same_runs_differ_by_nothing():
    runs = [Finished(0.7, 1), Finished(0.6, 2)]
    found = pairs.compare_pairs(runs, runs, "test")
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_subjects_are_resampled_where_all_are_known():
    first, second = [Finished(0.9, 1)], [Finished(0.6, 3)]
    subjects = {key: f"subject {number % 10}" for number, key in enumerate(KEYS)}
    assert pairs.compare_pairs(first, second, "test", subjects).unit == "subjects"
    assert pairs.compare_pairs(first, second, "test", {**subjects, KEYS[0]: ""}).unit == "faces"


def test_seeds_that_differ_widen_the_interval():
    first, second = [Finished(0.95, 1), Finished(0.6, 2), Finished(0.9, 5)], [Finished(0.6, seed) for seed in (3, 4, 6)]
    narrow, wide = (pairs.compare_pairs(first, second, "test", seeds=seeds) for seeds in (False, True))
    assert wide.low < narrow.low < wide.value == narrow.value < narrow.high < wide.high
    assert (narrow.unit, wide.unit) == ("faces", "faces and seeds")
    assert pairs.compare_pairs(first[:1], second[:1], "test", seeds=True).unit == "faces"  # one seed tells nothing


def test_pairs_have_two_sides():
    with pytest.raises(ValueError, match="1 first and 2 second"):
        pairs.compare_pairs([Finished(0.9, 1)], [Finished(0.9, 1)] * 2, "test")


def test_people_in_words(tiny_store):
    assert pairs.describe_people(tiny_store, "validation") == "people trained on"
    assert set(tiny_store.faces["subject"][tiny_store.rows("test")]) < set(tiny_store.faces["subject"])
    faces = tiny_store.faces.copy()
    faces.loc[tiny_store.rows("test"), "subject"] = ["new", *["subject-0"] * (2 * len(EXPRESSIONS) - 1)]
    store = type(tiny_store)(tiny_store.path, tiny_store.manifest, faces, tiny_store.images, tiny_store.landmarks)
    assert pairs.describe_people(store, "test") == "1 of 2 people trained on"
    faces.loc[tiny_store.rows("test"), "subject"] = "new"
    assert pairs.describe_people(store, "test") == "people never trained on"
    faces["subject"] = ""
    assert pairs.describe_people(store, "test") == ""
