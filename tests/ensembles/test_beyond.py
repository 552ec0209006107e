"""Votes beyond the paper beside independent searches, and that the test faces choose nothing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from lsdkit.ensembles import beyond
from lsdkit.ensembles.calibration import log_loss
from lsdkit.ensembles.votes import read_stack
from lsdkit.method import metrics
from lsdkit.recipes import Member
from tests.fake_runs import answers, faces, leave, make_run

KEYS, LABELS = faces(240)
STACK = np.stack([answers(LABELS, right, seed) for seed, right in enumerate((0.5, 0.7, 0.6, 0.3))])


def search_greedily(labels, stack, rounds):
    """The same search in plain words: every member is tried in every round."""
    bag, best = [], (-1.0, 0)
    for number in range(rounds):
        scored = []
        for member in range(len(stack)):
            vote = np.mean([stack[one] for one in [*bag, member]], axis=0)
            scored.append((metrics.macro_f1(labels, vote.argmax(1)), -log_loss(labels, vote)))
        bag.append(max(range(len(stack)), key=lambda member: scored[member]))
        if scored[bag[-1]][0] > best[0] + 1e-12:
            best = scored[bag[-1]][0], number + 1
    return bag[: best[1]]


def test_greedy_selection_is_the_search_in_plain_words():
    chosen = beyond.select_greedily(LABELS, STACK, rounds=8)
    assert chosen == search_greedily(LABELS, STACK, rounds=8)
    scores = [metrics.macro_f1(LABELS, member.argmax(1)) for member in STACK]
    assert chosen[0] == int(np.argmax(scores))
    assert metrics.macro_f1(LABELS, STACK[chosen].mean(0).argmax(1)) >= max(scores)


def test_weights_are_those_of_a_general_optimiser():
    found = beyond.fit_weights(LABELS, STACK)

    def loss(weights):
        return log_loss(LABELS, beyond.weigh_vote(STACK, weights))

    limits = {"bounds": [(0, 1)] * 4, "constraints": {"type": "eq", "fun": lambda weights: weights.sum() - 1}}
    best = minimize(loss, np.full(4, 0.25), method="SLSQP", options={"ftol": 1e-12}, **limits)
    np.testing.assert_allclose(found, best.x, atol=2e-3)
    assert loss(found) <= best.fun + 1e-7
    assert found.sum() == pytest.approx(1)


def test_equal_weights_are_the_plain_vote():
    np.testing.assert_allclose(beyond.weigh_vote(STACK, np.ones(4)), STACK.mean(0))


@pytest.fixture
def runs(tmp_path):
    """Four runs with validation and test predictions, on whose test faces the first is always right."""
    splits = ["validation"] * 120 + ["test"] * 120
    members = [Member.of("smoke", bag=bag) for bag in (1, 2, 3, 4)]
    return [
        leave(make_run(tmp_path / member.name, member), KEYS, splits, LABELS, stack)
        for member, stack in zip(members, STACK, strict=True)
    ]


def test_votes_are_chosen_on_validation_and_judged_on_test(runs):
    table = beyond.compare_votes(runs)
    assert list(table.index)[:2] == [beyond.PLAIN, "best member"]
    validation, test = (read_stack(runs, split)[1] for split in ("validation", "test"))
    truth = {"validation": LABELS[:120], "test": LABELS[120:]}
    greedy = beyond.select_greedily(truth["validation"], validation)
    for split, stack in (("validation", validation), ("test", test)):
        assert table.loc["greedy selection", split] == metrics.macro_f1(truth[split], stack[greedy].mean(0).argmax(1))
        assert table.loc[beyond.PLAIN, split] == metrics.macro_f1(truth[split], stack.mean(0).argmax(1))
    gain = metrics.bootstrap_difference(truth["test"], test[greedy].mean(0).argmax(1), test.mean(0).argmax(1))
    assert table.loc["greedy selection", ["above", "low", "high"]].tolist() == list(gain.values())
    assert table.loc["plain vote, calibrated", "above"] == table.loc[beyond.PLAIN, "above"] == 0
    assert table.loc["plain vote, calibrated", "ece"] != table.loc[beyond.PLAIN, "ece"]
    said = beyond.describe_votes(table)
    assert f"the plain vote reads {table.loc[beyond.PLAIN, 'test']:.3f}" in said


def test_flip_averaging_votes_with_both_answers(runs):
    other = np.stack([answers(LABELS, 0.05, seed) for seed in range(10, 14)])  # nearly always wrong
    turned = {key: other[:, place] for place, key in enumerate(KEYS)}
    table = beyond.compare_votes(runs, ask_mirrored=lambda keys: np.stack([turned[key] for key in keys], axis=1))
    assert table.drop(index=beyond.MIRRORED).equals(beyond.compare_votes(runs))
    for split, part in (("validation", slice(0, 120)), ("test", slice(120, None))):
        both = np.concatenate([STACK[:, part], other[:, part]]).mean(0)
        assert table.loc[beyond.MIRRORED, split] == metrics.macro_f1(LABELS[part], both.argmax(1))
    assert table.loc[beyond.MIRRORED, "above"] < 0


def test_subjects_are_resampled_where_all_are_known(runs):
    people = {key: f"subject {number // 20}" for number, key in enumerate(KEYS)}
    faces_alone, by_people = beyond.compare_votes(runs), beyond.compare_votes(runs, people)
    assert by_people["above"].tolist() == faces_alone["above"].tolist()
    assert by_people["low"].tolist() != faces_alone["low"].tolist()
    partly = beyond.compare_votes(runs, dict.fromkeys(KEYS, ""))
    assert partly.equals(faces_alone)


def test_without_test_labels_nothing_is_judged(tmp_path):
    splits = ["validation"] * 240
    members = [Member.of("smoke", bag=bag) for bag in (1, 2)]
    runs = [
        leave(make_run(tmp_path / member.name, member), KEYS, splits, LABELS, stack)
        for member, stack in zip(members, STACK, strict=False)
    ]
    table = beyond.compare_votes(runs)
    assert table["test"].isna().all()
    assert "nothing judges these votes" in beyond.describe_votes(table)


def test_recipes_that_vote_by_logits_have_their_own_plain_vote(tmp_path):
    logits = replace(Member.of("smoke").recipe, vote="logits")
    runs = [
        leave(make_run(tmp_path / f"{bag}", Member.of(logits, bag=bag)), KEYS, ["validation"] * 240, LABELS, stack)
        for bag, stack in zip((1, 2), STACK, strict=False)
    ]
    product = STACK[0] * STACK[1]
    expected = metrics.macro_f1(LABELS, product.argmax(1))
    assert beyond.compare_votes(runs).loc[beyond.PLAIN, "validation"] == expected
