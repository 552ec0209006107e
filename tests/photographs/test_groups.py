"""Scores by group against scikit-learn and plain loops, and groups too small to be scored."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, recall_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator
from lsdkit.photographs.groups import LEAST, LEAST_OF_CLASS, score_groups
from lsdkit.photographs.traits import MEASURES, TRAITS

SIZE = next(trait for trait in TRAITS if trait.name == "size")


@pytest.fixture
def drawn():
    """Measures, labels, answers of two seeds and subjects of 400 photographs; the small faces are answered badly."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 6, 400)
    measures = pd.DataFrame({name: np.full(400, 5.0) for name in MEASURES})
    measures["size"] = np.where(np.arange(400) < 160, 20.0, 50.0)
    measures.loc[390:, "size"] = 100.0  # too few of them
    measures.loc[385:389, "size"] = np.nan
    right = generator.random((2, 400)) < np.where(np.arange(400) < 160, 0.3, 0.8)
    answers = np.where(right, labels, generator.integers(0, 6, (2, 400)))
    return measures, labels, answers, generator.integers(0, 50, 400)


def test_a_group_has_the_scores_of_its_photographs(drawn):
    measures, labels, answers, subjects = drawn
    score = score_groups(measures, labels, answers, subjects=subjects, resamples=200)["size"]["32 to 64 px"]
    chosen = (measures["size"] == 50).to_numpy()
    assert score["photographs"] == chosen.sum()
    assert score["expressions"] == list(EXPRESSIONS)
    options = {"labels": range(6), "average": "macro", "zero_division": 0}
    for name, function in (("macro_f1", f1_score), ("recall", recall_score)):
        expected = np.mean([function(labels[chosen], each[chosen], **options) for each in answers])
        assert score[name]["value"] == pytest.approx(expected)
        low, high = score[name]["interval"]
        assert low < score[name]["value"] < high
    others = ~chosen & measures["size"].notna().to_numpy()
    expected = score["recall"]["value"] - np.mean(
        [recall_score(labels[others], each[others], **options) for each in answers]
    )
    assert score["difference"]["value"] == pytest.approx(expected)


def test_a_failing_group_shows_and_a_small_one_has_no_score(drawn):
    measures, labels, answers, subjects = drawn
    scores = score_groups(measures, labels, answers, subjects=subjects, resamples=200)
    assert scores["size"]["below 32 px"]["difference"]["interval"][1] < 0
    assert scores["size"]["64 px and more"] == {"photographs": 10}
    assert sum(each["photographs"] for each in scores["size"].values()) == 395
    everybody = scores["pose"]["below 10 degrees"]
    assert everybody["photographs"] == 400
    assert everybody["difference"] is None  # there are no others
    assert scores["pose"]["20 degrees and more"] == {"photographs": 0}


def test_rare_expressions_do_not_count(drawn):
    measures, labels, answers, _ = drawn
    small = (measures["size"] == 20).to_numpy()
    labels = np.where(small & (labels == 2), 3, labels)
    labels[: LEAST_OF_CLASS - 1] = 2  # of fear one too few
    score = score_groups(measures, labels, answers, resamples=50)["size"]["below 32 px"]
    assert score["expressions"] == [name for name in EXPRESSIONS if name != "FEAR"]
    asked = [0, 1, 3, 4, 5]
    expected = np.mean([f1_score(labels[small], each[small], labels=asked, average="macro") for each in answers])
    assert score["macro_f1"]["value"] == pytest.approx(expected)
    few = small & (np.cumsum(small) >= LEAST)
    measures.loc[few, "size"] = np.nan
    assert score_groups(measures, labels, answers, resamples=5)["size"]["below 32 px"] == {"photographs": LEAST - 1}


def test_intervals_are_those_of_a_plain_loop_over_people(drawn):
    measures, labels, answers, subjects = drawn
    known = measures["size"].notna().to_numpy()
    score = score_groups(measures, labels, answers, subjects=subjects, resamples=60, purpose="loop")["size"]
    people = list(dict.fromkeys(subjects[known].tolist()))
    chances = np.full(len(people), 1 / len(people))
    place = (measures["size"] == 50).to_numpy()
    differences = []
    for draw in numpy_generator(0, "loop").multinomial(len(people), chances, size=60):
        times = dict(zip(people, draw, strict=True))
        rows = [row for row in np.flatnonzero(known) for _ in range(times[subjects[row]])]
        here, there = ([row for row in rows if place[row] == side] for side in (True, False))
        recalls = [
            np.mean([recall_score(labels[part], each[part], average="macro") for each in answers])
            for part in (here, there)
        ]
        differences.append(recalls[0] - recalls[1])
    assert score["32 to 64 px"]["difference"]["interval"] == pytest.approx(np.quantile(differences, [0.025, 0.975]))
