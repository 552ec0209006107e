"""Scores with unanswered photographs against scikit-learn, and their bootstrap against plain loops."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from lsdkit.photoscores import FOUR, NONE, answers, described, resampled, scores, summary, tally


@pytest.fixture
def drawn():
    """Labels, answers of six and of four, and subjects of 300 photographs, a fifth of which have no answer."""
    generator = np.random.default_rng(0)
    labels = generator.choice(6, 300, p=[0.2, 0.1, 0.02, 0.3, 0.2, 0.18])
    probabilities = generator.dirichlet(np.ones(6), 300) + 0.3 * np.eye(6)[labels]
    probabilities[generator.random(300) < 0.2] = np.nan
    return labels, *answers(probabilities), generator.integers(0, 40, 300)


def test_answers_are_the_likeliest_of_six_and_of_four():
    six, four = answers([[0.1, 0.5, 0.1, 0.2, 0.05, 0.05], [np.nan] * 6, [0, 0, 0.2, 0, 0, 0.8]])
    assert six.tolist() == [1, NONE, 5]
    assert four.tolist() == [3, NONE, 5]
    assert FOUR == (0, 3, 4, 5)


def test_scores_are_scikit_learns_with_a_seventh_answer_that_is_never_true(drawn):
    labels, six, four, _ = drawn
    found = scores(tally(labels, six, four))
    options = {"average": None, "zero_division": 0}
    np.testing.assert_allclose(found["f1"], f1_score(labels, six, labels=range(6), **options))
    assert found["macro_f1_6"] == pytest.approx(found["f1"].mean())
    chosen = np.isin(labels, FOUR)
    np.testing.assert_allclose(
        found["macro_f1_4"], f1_score(labels[chosen], four[chosen], labels=FOUR, average="macro", zero_division=0)
    )
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(labels, six)
    assert found["balanced_accuracy"] == pytest.approx(expected)


def test_an_unanswered_photograph_lowers_its_own_class_alone(drawn):
    labels, six, four, _ = drawn
    row = np.flatnonzero((six == labels) & (labels == 3))[0]
    before = scores(tally(labels, six, four))
    six[row] = four[row] = NONE
    after = scores(tally(labels, six, four))
    assert after["f1"][3] < before["f1"][3]
    np.testing.assert_array_equal(np.delete(after["f1"], 3), np.delete(before["f1"], 3))


def test_an_absent_class_scores_zero_and_leaves_balanced_accuracy_alone():
    labels = np.array([0, 1, 3, 4, 5])
    found = scores(tally(labels, labels, labels.clip(0) * (labels != 1)))
    assert found["macro_f1_6"] == pytest.approx(5 / 6)
    assert found["balanced_accuracy"] == 1


def test_resamples_are_those_of_a_plain_loop_over_units(drawn):
    labels, six, four, subjects = drawn
    tallies = resampled(labels, six, four, groups=subjects, resamples=50)
    assert tallies.shape == (50, 6, 7, 7)
    per_subject = np.stack([tally(*(part[subjects == one] for part in (labels, six, four))) for one in set(subjects)])
    sizes = per_subject.sum((1, 2, 3))
    assert not (tallies.sum((1, 2, 3)) == len(labels)).all()  # subjects differ in size, and are drawn whole
    assert sizes.min() * 40 <= tallies.sum((1, 2, 3)).min()
    images = resampled(labels, six, four, resamples=4000)
    assert (images.sum((1, 2, 3)) == len(labels)).all()
    np.testing.assert_allclose(images.mean(0), tally(labels, six, four), atol=1)
    slow = np.random.default_rng(1)
    loop = []
    for _ in range(400):
        rows = slow.integers(0, len(labels), len(labels))
        loop.append(scores(tally(labels[rows], six[rows], four[rows]))["macro_f1_6"])
    fast = scores(images)["macro_f1_6"]
    assert np.std(loop) == pytest.approx(fast.std(), rel=0.15)
    assert np.mean(loop) == pytest.approx(fast.mean(), abs=0.005)


def test_models_over_the_same_photographs_share_their_resamples(drawn):
    labels, six, four, _ = drawn
    other = np.where(six == NONE, NONE, 0)
    first, second = (resampled(labels, one, four, resamples=20).sum((2, 3)) for one in (six, other))
    np.testing.assert_array_equal(first, second)  # how many photographs of each class were drawn


def test_described_and_summary_are_plain_and_hold_their_values(drawn):
    labels, six, four, subjects = drawn
    counts = tally(labels, six, four)
    draws = {"images": resampled(labels, six, four), "subjects": resampled(labels, six, four, groups=subjects)}
    text = described(counts, draws)
    for unit in draws:
        low, high = text["intervals"][unit]["macro_f1_6"]
        assert low < text["macro_f1_6"] < high
    assert text["f1"]["FEAR"] <= text["intervals"]["images"]["f1"]["FEAR"][1]
    two = summary(np.stack([counts, counts]), {"images": np.stack([draws["images"]] * 2)})
    assert two["macro_f1_6"]["mean"] == pytest.approx(text["macro_f1_6"])
    assert two["macro_f1_6"]["sd"] == 0
    assert two["macro_f1_6"]["intervals"]["images"] == pytest.approx(text["intervals"]["images"]["macro_f1_6"])
    assert summary(counts[None], {})["macro_f1_4"]["sd"] is None


@pytest.mark.parametrize("wrong", [([6], [0], [0]), ([0], [7], [0]), ([0, 1], [0], [0]), ([], [], [])])
def test_answers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="Expected"):
        tally(*map(np.array, wrong))
