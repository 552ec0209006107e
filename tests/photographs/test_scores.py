"""Scores with unanswered photographs against scikit-learn, and their bootstrap against plain loops."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from lsdkit.common.seeds import numpy_generator
from lsdkit.photographs.scores import (
    NONE,
    QUESTIONS,
    SCORES,
    Tally,
    choose_answers,
    describe_scores,
    score_counts,
    score_seeds,
    summarise_collections,
    summarise_seeds,
    tally_answers,
)


@pytest.fixture
def drawn():
    """Labels, answers (3, 300) and subjects of 300 photographs, a fifth of which have no answer."""
    generator = np.random.default_rng(0)
    labels = generator.choice(6, 300, p=[0.2, 0.1, 0.02, 0.3, 0.2, 0.18])
    probabilities = generator.dirichlet(np.ones(6), 300) + 0.3 * np.eye(6)[labels]
    probabilities[generator.random(300) < 0.2] = np.nan
    return labels, choose_answers(probabilities), generator.integers(0, 40, 300)


def count(labels, answers):
    return tally_answers(labels, answers, resamples=1).counts


def test_answers_are_the_likeliest_of_six_of_five_and_of_four():
    six, five, four = choose_answers([[0.1, 0.3, 0.35, 0.2, 0.05, 0], [np.nan] * 6, [0, 0, 0.2, 0, 0, 0.8]])
    assert six.tolist() == [2, NONE, 5]
    assert five.tolist() == [1, NONE, 5]
    assert four.tolist() == [3, NONE, 5]
    assert QUESTIONS["macro_f1_5"] == (0, 1, 3, 4, 5)
    assert QUESTIONS["macro_f1_4"] == (0, 3, 4, 5)


def test_scores_are_scikit_learns_with_a_seventh_answer_that_is_never_true(drawn):
    labels, answers, _ = drawn
    scores = score_counts(count(labels, answers))
    np.testing.assert_allclose(scores["f1"], f1_score(labels, answers[0], labels=range(6), average=None))
    assert scores["macro_f1_6"] == pytest.approx(scores["f1"].mean())
    for (name, asked), answered in zip(QUESTIONS.items(), answers, strict=True):
        chosen = np.isin(labels, asked)
        expected = f1_score(labels[chosen], answered[chosen], labels=asked, average="macro", zero_division=0)
        assert scores[name] == pytest.approx(expected)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = balanced_accuracy_score(labels, answers[0])
    assert scores["balanced_accuracy"] == pytest.approx(expected)


def test_an_unanswered_photograph_lowers_its_own_class_alone(drawn):
    labels, answers, _ = drawn
    row = np.flatnonzero((answers[0] == labels) & (labels == 3))[0]
    before = score_counts(count(labels, answers))
    answers[:, row] = NONE
    after = score_counts(count(labels, answers))
    assert after["f1"][3] < before["f1"][3]
    np.testing.assert_array_equal(np.delete(after["f1"], 3), np.delete(before["f1"], 3))


def test_an_absent_class_scores_zero_and_leaves_balanced_accuracy_alone():
    labels = np.array([0, 1, 3, 4, 5])
    scores = score_counts(count(labels, np.stack([labels, labels, labels * (labels != 1)])))
    assert scores["macro_f1_6"] == pytest.approx(5 / 6)
    assert scores["macro_f1_5"] == scores["balanced_accuracy"] == 1


def test_the_confusion_has_no_column_for_no_answer(drawn):
    labels, answers, _ = drawn
    confusion = tally_answers(labels, answers, resamples=1).confusion
    assert confusion.shape == (6, 6)
    assert confusion.sum() == (answers[0] != NONE).sum()
    assert np.diagonal(confusion).tolist() == [((answers[0] == k) & (labels == k)).sum() for k in range(6)]


def test_resamples_are_those_of_a_plain_loop_over_units(drawn):
    labels, answers, subjects = drawn
    draws = tally_answers(labels, answers, subjects=subjects, resamples=50).draws["subjects"]
    assert draws.shape == (50, 3, 6, 7)
    people = list(dict.fromkeys(subjects.tolist()))  # in the order of the first photograph
    by_person = np.stack([count(labels[subjects == one], answers[:, subjects == one]) for one in people])
    chances = np.full(len(people), 1 / len(people))
    times = numpy_generator(0, "photographs").multinomial(len(people), chances, size=50)
    np.testing.assert_array_equal(draws, np.tensordot(times, by_person, axes=1))
    assert not (draws.sum((2, 3)) == len(labels)).all()  # subjects differ in size, and are drawn whole
    images = tally_answers(labels, answers, resamples=4000).draws["images"]
    assert (images.sum((2, 3)) == len(labels)).all()
    np.testing.assert_allclose(images.mean(0), count(labels, answers), atol=1)
    slow = np.random.default_rng(1)
    loop = []
    for _ in range(400):
        rows = slow.integers(0, len(labels), len(labels))
        loop.append(score_counts(count(labels[rows], answers[:, rows]))["macro_f1_6"])
    fast = score_counts(images)["macro_f1_6"]
    assert np.std(loop) == pytest.approx(fast.std(), rel=0.15)
    assert np.mean(loop) == pytest.approx(fast.mean(), abs=0.005)


def test_models_over_the_same_photographs_share_their_resamples(drawn):
    labels, answers, subjects = drawn
    other = np.where(answers == NONE, NONE, 0)
    options = {"subjects": subjects, "resamples": 20}
    tallies = (tally_answers(labels, one, **options) for one in (answers, other))
    first, second = (tally.draws["subjects"].sum(3) for tally in tallies)
    np.testing.assert_array_equal(first, second)  # how many photographs of each class were drawn
    apart = tally_answers(labels, answers, purpose="another collection", **options).draws["subjects"].sum(3)
    assert (first != apart).any()


def test_scores_in_json_are_plain_and_hold_their_values(drawn):
    labels, answers, subjects = drawn
    tally = tally_answers(labels, answers, subjects=subjects)
    value = describe_scores(tally)
    assert list(value["intervals"]) == ["images", "subjects"]
    for unit in tally.draws:
        low, high = value["intervals"][unit]["macro_f1_6"]
        assert low < value["macro_f1_6"] < high
    assert value["f1"]["FEAR"] <= value["intervals"]["images"]["f1"]["FEAR"][1]
    two = summarise_seeds([tally, tally])
    assert two["macro_f1_6"]["mean"] == pytest.approx(value["macro_f1_6"])
    assert two["macro_f1_6"]["sd"] == 0
    assert two["macro_f1_6"]["intervals"]["images"] == pytest.approx(value["intervals"]["images"]["macro_f1_6"])
    assert summarise_seeds([Tally(tally.counts, {})])["macro_f1_4"]["sd"] is None


def test_seeds_are_averaged_in_each_resample(drawn):
    labels, answers, _ = drawn
    tallies = [tally_answers(labels, one, resamples=30) for one in (answers, np.tile(labels, (3, 1)))]
    scores, draws = score_seeds(tallies)
    assert scores["macro_f1_6"].shape == (2,)
    each = [score_counts(tally.draws["images"])["macro_f1_6"] for tally in tallies]
    np.testing.assert_allclose(draws["images"]["macro_f1_6"], np.mean(each, axis=0))


def test_the_mean_over_collections_draws_people_within_each(drawn):
    labels, answers, subjects = drawn
    few = slice(0, 120)
    known = [tally_answers(labels, one, subjects=subjects, purpose="first") for one in (answers, answers[::-1])]
    unknown = [tally_answers(labels[few], one[:, few], purpose="second") for one in (answers, answers[::-1])]
    mean = summarise_collections({"first": known, "second": unknown})
    parts = [summarise_seeds(each) for each in (known, unknown)]
    for name in SCORES:
        assert mean[name]["mean"] == pytest.approx(np.mean([part[name]["mean"] for part in parts]))
        by_seed = [
            np.mean([score_counts(each.counts)[name] for each in pair]) for pair in zip(known, unknown, strict=True)
        ]
        assert mean[name]["sd"] == pytest.approx(np.std(by_seed, ddof=1))
    assert set(mean["macro_f1_6"]["intervals"]) == {"images", "subjects"}
    widths = [
        np.ptp(part["macro_f1_6"]["intervals"][unit]) for part, unit in zip(parts, ("subjects", "images"), strict=True)
    ]
    expected = np.hypot(*widths) / 2  # of the mean of two that are drawn independently
    assert np.ptp(mean["macro_f1_6"]["intervals"]["subjects"]) == pytest.approx(expected, rel=0.1)
    alone = summarise_collections({"first": known})
    assert alone == parts[0]


@pytest.mark.parametrize(
    ("labels", "answers"),
    [([6], [[0], [0], [0]]), ([0], [[7], [0], [0]]), ([0, 1], [[0], [0], [0]]), ([], [[], [], []]), ([0], [[0], [0]])],
)
def test_answers_out_of_range_are_refused(labels, answers):
    with pytest.raises(ValueError, match="Expected"):
        tally_answers(np.array(labels), np.array(answers))
