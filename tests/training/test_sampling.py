"""The order in which faces are seen: a function of seed, bag and epoch."""

from dataclasses import replace

import numpy as np

from lsdkit.recipes import SMOKE, Member
from lsdkit.training.sampling import batches

TINY = replace(SMOKE, name="tile", batch_size=6)
MEMBER = Member(recipe=TINY, mix="mixup", basic_aug=False)


def test_batches_are_a_shuffle_of_seed_bag_and_epoch():
    rows, labels = np.arange(100, 113), np.arange(13) % 6
    first = batches(MEMBER, rows, labels, 0)
    assert [len(part) for part in first] == [6, 6]  # thirteen faces: the last batch of one is left out
    assert [len(part) for part in batches(MEMBER, rows[:-2], labels[:-2], 0)] == [6, 5]
    assert len(set(np.concatenate(first))) == 12
    np.testing.assert_array_equal(first, batches(replace(MEMBER, mix="mixaugment"), rows, labels, 0))
    for other in (
        batches(MEMBER, rows, labels, 1),
        batches(replace(MEMBER, bag=1), rows, labels, 0),
        batches(replace(MEMBER, seed=1), rows, labels, 0),
    ):
        assert not np.array_equal(first, other)
    dropped = {int(np.setdiff1d(rows, np.concatenate(batches(MEMBER, rows, labels, epoch)))[0]) for epoch in range(20)}
    assert len(dropped) > 5  # not always the same face


def test_balanced_batches_show_every_class_equally_often():
    rows = np.arange(1000, 2200)
    labels = np.repeat([0, 1, 3, 5], [1000, 150, 40, 10])
    member = replace(MEMBER, recipe=replace(TINY, sampling="balanced"))
    drawn = np.concatenate([row for epoch in range(5) for row in batches(member, rows, labels, epoch)])
    counts = np.bincount(labels[drawn - 1000], minlength=6) / len(drawn)
    np.testing.assert_allclose(counts, [1 / 4, 1 / 4, 0, 1 / 4, 0, 1 / 4], atol=4 * (0.25 * 0.75 / len(drawn)) ** 0.5)
    assert len(drawn) == 5 * len(rows)
    again = np.concatenate([row for epoch in range(5) for row in batches(member, rows, labels, epoch)])
    np.testing.assert_array_equal(drawn, again)


def test_a_dry_run_keeps_the_first_steps():
    rows, labels = np.arange(60), np.arange(60) % 6
    short = replace(MEMBER, recipe=replace(TINY, steps_per_epoch=3))
    np.testing.assert_array_equal(batches(short, rows, labels, 1), batches(MEMBER, rows, labels, 1)[:3])
