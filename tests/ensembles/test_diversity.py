"""Pairs of members beside scikit-learn's numbers, one pair at a time."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score

from lsdkit.ensembles.diversity import GROUPS, describe_pairs, tabulate_pairs
from lsdkit.method import metrics
from tests.fake_runs import answers, faces

LABELS = faces(300)[1]
STACK = np.stack([answers(LABELS, right, seed) for seed, right in enumerate((0.8, 0.5, 0.6))])


def test_every_pair_is_what_scikit_learn_says():
    table = tabulate_pairs(LABELS, STACK, [False, True, True])
    given = STACK.argmax(2)
    f1 = [f1_score(LABELS, one, average="macro") for one in given]
    assert list(zip(table["first"], table["second"], strict=True)) == list(combinations(range(3), 2))
    for row in table.itertuples():
        assert row.kappa == pytest.approx(cohen_kappa_score(given[row.first], given[row.second]))
        assert row.mean == pytest.approx((f1[row.first] + f1[row.second]) / 2)
        voted = f1_score(LABELS, (STACK[row.first] + STACK[row.second]).argmax(1), average="macro")
        assert row.gain == pytest.approx(voted - max(f1[row.first], f1[row.second]))
    assert table["group"].tolist() == [GROUPS[1], GROUPS[1], GROUPS[2]]


def test_members_are_scored_at_once_as_one_by_one():
    expected = [f1_score(LABELS, one, average="macro", labels=range(6), zero_division=0) for one in STACK.argmax(2)]
    assert metrics.score_answers(LABELS, STACK.argmax(2)) == pytest.approx(expected)


def test_a_vote_of_two_by_logits():
    table = tabulate_pairs(LABELS, STACK[:2], [True, True], "logits")
    voted = f1_score(LABELS, (STACK[0] * STACK[1]).argmax(1), average="macro")
    assert table["gain"][0] == pytest.approx(voted - metrics.score_answers(LABELS, STACK.argmax(2))[:2].max())


def test_the_sentence_counts():
    table = pd.DataFrame({"kappa": [0.1, 0.2, 0.8, 0.9], "gain": [0.04, 0.02, 0.01, -0.03]})
    assert describe_pairs(table) == (
        "The vote of two is above the better one in 3 of 4 pairs: 100% of the 2 that are less alike (mean gain "
        "+0.030), 50% of the 2 that are more alike (-0.010)."
    )
    assert "equally alike" in describe_pairs(table[:1])
