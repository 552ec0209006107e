"""Bags: how they are drawn, and what they are a function of; the soft vote against a slow loop."""

from dataclasses import replace

import numpy as np
import pytest

from lsdkit.method.bagging import draw_bag, soft_vote
from lsdkit.recipes import SMOKE, Member

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(6), (183, 152, 109, 733, 1446, 150)))


@pytest.mark.parametrize("options", [{}, {"bag_disjoint": True}, {"bag_replacement": True}, {"bag_fraction": 0.5}])
def test_bags_are_stratified_and_of_the_fraction(options):
    recipe = replace(SMOKE, **options)
    for bag in range(1, 6):
        rows = draw_bag(LABELS, bag, 0, recipe)
        drawn, whole = np.bincount(LABELS[rows], minlength=6), np.bincount(LABELS)
        assert (np.abs(drawn - recipe.bag_fraction * whole) <= 1).all()
        assert (np.diff(rows) >= 0).all()
        assert (len(np.unique(rows)) == len(rows)) is not recipe.bag_replacement
        np.testing.assert_array_equal(rows, draw_bag(LABELS, bag, 0, recipe))
        assert not np.array_equal(rows, draw_bag(LABELS, bag, 1, recipe))


def test_bags_differ_and_disjoint_ones_share_no_face():
    bags = [set(draw_bag(LABELS, bag, 0, SMOKE)) for bag in range(1, 6)]
    assert all(0 < len(a & b) < len(a) for i, a in enumerate(bags) for b in bags[:i])
    apart = [set(draw_bag(LABELS, bag, 0, replace(SMOKE, bag_disjoint=True))) for bag in range(1, 6)]
    assert set().union(*apart) == set(range(len(LABELS)))
    assert sum(map(len, apart)) == len(LABELS)


def test_bag_edges():
    strange = np.array([0, -1, 6, 7, 5, 5])
    np.testing.assert_array_equal(draw_bag(strange, 0, 0, SMOKE), [0, 4, 5])
    few = draw_bag(strange, 1, 0, SMOKE)
    np.testing.assert_array_equal(np.sort(strange[few]), [0, 5])  # one face at least of each class that is there
    assert len(draw_bag(np.array([-1, 6]), 1, 0, SMOKE)) == 0
    with pytest.raises(ValueError, match="disjoint bags"):
        draw_bag(strange, 1, 0, replace(SMOKE, bag_disjoint=True))
    with pytest.raises(ValueError, match="BAG"):
        draw_bag(strange, 6, 0, SMOKE)


def test_a_bag_does_not_depend_on_what_else_is_varied():
    members = [Member(recipe=SMOKE, mix=mix, bag=3, seed=2) for mix in ("mixup", "mixaugment")]
    first, second = (draw_bag(LABELS, m.bag, m.seed, m.recipe) for m in members)
    np.testing.assert_array_equal(first, second)


def votes(members=3, faces=7, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(6), (members, faces))


def test_soft_vote_against_a_slow_loop():
    stack = votes()
    mean, logits = soft_vote(stack), soft_vote(stack, "logits")
    shifts = np.random.default_rng(1).normal(size=(3, 7))  # the constants of each face that a softmax loses
    for b in range(7):
        summed = [sum(np.log(stack[m, b, k]) + shifts[m, b] for m in range(3)) for k in range(6)]
        total = sum(np.exp(value - max(summed)) for value in summed)
        for k in range(6):
            assert mean[b, k] == pytest.approx(sum(stack[m, b, k] for m in range(3)) / 3)
            assert logits[b, k] == pytest.approx(np.exp(summed[k] - max(summed)) / total)
    for result in (mean, logits):
        np.testing.assert_allclose(result.sum(1), 1)
        np.testing.assert_allclose(soft_vote(stack[::-1], "logits" if result is logits else "probabilities"), result)


def test_soft_vote_edges():
    one = votes(1)
    np.testing.assert_allclose(soft_vote(one), one[0])
    np.testing.assert_allclose(soft_vote(one, "logits"), one[0], atol=1e-12)
    certain = soft_vote([[[1.0, 0.0]], [[0.0, 1.0]]], "logits")  # two certain members that contradict each other
    assert np.isfinite(certain).all()
    for bad in (np.zeros((0, 3, 6)), np.ones((2, 6)), [[[2.0, -1.0]]], [[[3.0, 1.0]]], [[[np.nan, 1.0]]]):
        with pytest.raises(ValueError, match="Expected `probabilities`"):
            soft_vote(bad)
    with pytest.raises(ValueError, match="vote"):
        soft_vote(one, "majority")
