"""Confident learning by its rule, beside cleanlab's."""

import numpy as np
import pytest

from lsdkit.data.audit.mislabelled import rank_label_errors


def draw(seed: int, wrong: float = 0.1, count: int = 400):
    """Labels of which a share is wrong, probabilities that lean to the truth, and which are wrong."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(6, count, p=(0.4, 0.2, 0.16, 0.12, 0.08, 0.04))
    stack = generator.dirichlet(np.ones(6), count) + 1.2 * np.eye(6)[truth] * generator.random((count, 1))
    flipped = generator.random(count) < wrong
    labels = np.where(flipped, (truth + generator.integers(1, 6, count)) % 6, truth)
    return labels, stack / stack.sum(1, keepdims=True), flipped


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_written_naively(seed):
    labels, stack, _ = draw(seed)
    thresholds = [np.mean([p[k] for p, label in zip(stack, labels, strict=True) if label == k]) for k in range(6)]
    expected = []
    for place, (p, label) in enumerate(zip(stack, labels, strict=True)):
        meant = [k for k in range(6) if p[k] >= thresholds[k]]
        if meant and max(meant, key=lambda k: p[k]) != label and p.argmax() != label:
            expected.append((p[label], place))
    assert rank_label_errors(labels, stack).tolist() == [place for _, place in sorted(expected)]


def test_wrong_labels_come_first():
    labels, stack, flipped = draw(7)
    ranked = rank_label_errors(labels, stack)
    assert flipped[ranked[:20]].mean() > 4 * flipped.mean()


@pytest.mark.parametrize("seed", range(5))
def test_as_cleanlab_says(seed):
    cleanlab = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed: nothing to compare with")
    labels, stack, _ = draw(seed)
    options = {"filter_by": "confident_learning", "return_indices_ranked_by": "self_confidence", "n_jobs": 1}
    theirs = cleanlab.find_label_issues(labels, stack, min_examples_per_class=0, **options)
    ours = rank_label_errors(labels, stack)
    # of a face that reaches several thresholds cleanlab takes the most probable class, whether it is one of them or not
    thresholds = np.array([stack[labels == k, k].mean() for k in range(6)])
    differ = set(ours) ^ set(theirs)
    assert len(differ) <= 0.05 * len(theirs)
    assert all(
        (stack[row] >= thresholds).sum() > 1 and stack[row].max() < thresholds[stack[row].argmax()] for row in differ
    )
    assert [row for row in ours if row not in differ] == [row for row in theirs if row not in differ]


def test_a_class_without_faces_and_no_doubt_at_all():
    assert rank_label_errors([0, 0, 1], np.eye(3)[[0, 0, 1]]).tolist() == []
    assert rank_label_errors(np.zeros(0, int), np.zeros((0, 3))).tolist() == []
