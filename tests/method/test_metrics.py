import time

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator
from lsdkit.method import metrics


def drawn(seed: int, size: int, classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, size)
    guesses = generator.integers(0, classes, size)
    return labels, np.where(generator.random(size) < 0.5, labels, guesses)


@pytest.mark.parametrize("classes", [1, 2, 4, 6])
def test_macro_f1_pins_six_classes(classes):
    labels, predicted = drawn(classes, 80, classes)
    expected = f1_score(labels, predicted, labels=range(6), average="macro", zero_division=0)
    assert metrics.macro_f1(labels, predicted) == expected
    by_hand = []
    for k in range(6):
        hits = ((labels == k) & (predicted == k)).sum()
        wrong = ((labels == k) ^ (predicted == k)).sum()
        by_hand.append(2 * hits / (2 * hits + wrong) if hits + wrong else 0.0)
    np.testing.assert_allclose(metrics.f1_per_class(labels, predicted), by_hand, rtol=1e-12)
    np.testing.assert_allclose(metrics.f1_from_confusion(metrics.confusion(labels, predicted)), by_hand, rtol=1e-12)
    if classes < 6:
        dropped = f1_score(labels, predicted, average="macro")
        assert metrics.macro_f1(labels, predicted) < dropped  # an absent class lowers the mean, it does not drop out


def test_confusion_rows_are_true_classes():
    counts = metrics.confusion([0, 0, 5], [0, 3, 5])
    assert (counts[0, 0], counts[0, 3], counts[5, 5], counts.sum()) == (1, 1, 1, 3)


def test_balanced_accuracy_is_sklearns():
    labels, predicted = drawn(3, 200)
    assert metrics.balanced_accuracy(labels, predicted) == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert metrics.balanced_accuracy([0, 0, 1], [0, 2, 1]) == pytest.approx(0.75)  # over the two classes present


@pytest.mark.parametrize(("labels", "predicted"), [([6], [0]), ([-1], [0]), ([0], [6]), ([0, 1], [0]), ([], [])])
def test_labels_outside_the_six_are_refused(labels, predicted):
    with pytest.raises(ValueError, match="Expected"):
        metrics.macro_f1(labels, predicted)


def test_bootstrap_agrees_with_drawing_indices():
    labels, predicted = drawn(0, 300)
    table = metrics.bootstrap_f1(labels, predicted, resamples=4000)
    generator = np.random.default_rng(1)
    scores = []
    for _ in range(700):
        rows = generator.integers(0, 300, 300)
        f1 = f1_score(labels[rows], predicted[rows], labels=range(6), average=None, zero_division=0)
        scores.append([f1.mean(), *f1])
    low, high = np.quantile(scores, [0.025, 0.975], axis=0)
    assert list(table.index) == ["macro_f1", *EXPRESSIONS]
    np.testing.assert_allclose(table["low"], low, atol=0.02)
    np.testing.assert_allclose(table["high"], high, atol=0.02)
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    assert table.loc["macro_f1", "value"] == pytest.approx(metrics.macro_f1(labels, predicted))


def test_bootstrap_is_seeded_and_fast():
    labels, predicted = drawn(0, 600)
    start = time.perf_counter()
    first = metrics.bootstrap_f1(labels, predicted, resamples=2000, seed=4)
    assert time.perf_counter() - start < 0.5
    assert first.equals(metrics.bootstrap_f1(labels, predicted, resamples=2000, seed=4))
    assert not first.equals(metrics.bootstrap_f1(labels, predicted, resamples=2000, seed=5))


def test_groups_widen_the_interval_of_dependent_faces():
    labels, predicted = drawn(2, 60)
    labels, predicted, groups = np.tile(labels, 10), np.tile(predicted, 10), np.tile(np.arange(60), 10)
    faces = metrics.bootstrap_f1(labels, predicted).loc["macro_f1"]
    subjects = metrics.bootstrap_f1(labels, predicted, groups=groups).loc["macro_f1"]
    ratio = (subjects["high"] - subjects["low"]) / (faces["high"] - faces["low"])
    assert 2.5 < ratio < 4  # ten copies of each face: sqrt(10) = 3.2
    own = metrics.bootstrap_f1(labels, predicted, groups=np.arange(600)).loc["macro_f1"]
    np.testing.assert_allclose(own, faces, atol=0.01)
    with pytest.raises(ValueError, match="group"):
        metrics.bootstrap_f1(labels, predicted, groups=groups[1:])


@pytest.mark.parametrize("groups", [[0.0, 1.0, np.nan, np.nan], ["a", "b", None, None], [0.0, 1.0, np.nan, None]])
def test_a_missing_group_is_named(groups):
    labels = np.array([0, 1, 2, 3])
    calls = (
        lambda: metrics.bootstrap_f1(labels, labels, groups=groups),
        lambda: metrics.bootstrap_scores(labels, [labels], groups=np.array(groups, dtype=object)),
        lambda: metrics.resample_counts([labels], 6, groups=groups),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"a group for each of the 4 faces, but 2 have none .* first face 2"):
            call()


def test_paired_difference():
    labels, first = drawn(5, 400)
    second = first.copy()
    second[:40] = labels[:40]  # better on forty faces
    difference = metrics.bootstrap_difference(labels, second, first)
    assert difference["value"] == pytest.approx(metrics.macro_f1(labels, second) - metrics.macro_f1(labels, first))
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    assert metrics.bootstrap_difference(labels, first, first) == {"value": 0, "low": 0, "high": 0}
    unpaired = metrics.bootstrap_f1(labels, first).loc["macro_f1"]
    assert difference["high"] - difference["low"] < unpaired["high"] - unpaired["low"]


def slow_f1(labels, predicted):
    """Macro F1 by the formula, class by class."""
    total = 0.0
    for k in range(6):
        hits, wrong = ((labels == k) & (predicted == k)).sum(), ((labels == k) ^ (predicted == k)).sum()
        total += 2 * hits / (2 * hits + wrong) / 6 if hits + wrong else 0.0
    return total


def slow_scores(labels, stack, units, resamples, seed):
    """Macro F1 of each member over whole units drawn one by one, (R, M)."""
    generator, scores = np.random.default_rng(seed), []
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    for _ in range(resamples):
        rows = np.concatenate([members[i] for i in generator.integers(0, len(members), len(members))])
        scores.append([slow_f1(labels[rows], one[rows]) for one in stack])
    return np.array(scores)


@pytest.mark.parametrize("per_group", [1, 6])
def test_joint_bootstrap_agrees_with_drawing_units(per_group):
    labels, first = drawn(8, 240)
    stack = np.stack([first, np.where(np.arange(240) % 3, first, labels), drawn(9, 240)[1]])
    units = np.arange(240) // per_group
    groups = None if per_group == 1 else units
    fast = metrics.bootstrap_scores(labels, stack, groups=groups, resamples=4000)
    slow = slow_scores(labels, stack, units, 500, 0)
    assert fast.shape == (4000, 3)
    for combine in (lambda s: s, lambda s: s[:, 0] - s[:, 1], lambda s: s.mean(1)):  # also what pairs the members
        np.testing.assert_allclose(combine(fast).mean(0), combine(slow).mean(0), atol=0.006)
        np.testing.assert_allclose(combine(fast).std(0), combine(slow).std(0), rtol=0.15)
    np.testing.assert_allclose(np.corrcoef(fast.T), np.corrcoef(slow.T), atol=0.12)


def slow_counts(cells, size, units, times):
    """How often each cell occurs where each unit is taken as often as `times` says, (M, size)."""
    counts = np.zeros((len(cells), size))
    for member, row in enumerate(cells):
        for cell, unit in zip(row, units, strict=True):
            counts[member, cell] += times[unit]
    return counts


@pytest.mark.parametrize("grouped", [False, True])
def test_resample_counts_against_a_slow_loop(grouped):
    cells = np.random.default_rng(0).integers(0, 5, (3, 20))
    cells[:, 15:] = cells[:, :5]  # faces that nothing tells apart
    groups = np.array(list("abcdefghij"))[np.arange(20) % 7]
    counts = metrics.resample_counts(cells, 9, groups=groups if grouped else None, resamples=6, seed=3)
    assert counts.shape == (6, 3, 9)
    assert counts.dtype == np.float32
    assert (counts[..., 5:] == 0).all()
    if grouped:
        units, chances, draws = np.arange(20) % 7, np.full(7, 1 / 7), 7
    else:
        columns = sorted({tuple(column) for column in cells.T.tolist()})
        of_face = [columns.index(tuple(column)) for column in cells.T.tolist()]
        units, draws = [of_face.index(number) for number in range(len(columns))], 20  # the first face of each
        chances = np.bincount(of_face) / 20
        cells, units = cells[:, units], range(len(columns))
    times = numpy_generator(3, "bootstrap").multinomial(draws, chances, size=6)
    for resample, expected in zip(counts, times, strict=True):
        np.testing.assert_array_equal(resample, slow_counts(cells, 9, units, expected))


def test_resamples_are_a_function_of_seed_and_purpose():
    cells = np.random.default_rng(1).integers(0, 6, (1, 40))
    first = metrics.resample_counts(cells, 6, resamples=20)
    np.testing.assert_array_equal(first, metrics.resample_counts(cells, 6, resamples=20, purpose="bootstrap"))
    assert (first != metrics.resample_counts(cells, 6, resamples=20, seed=1)).any()
    assert (first != metrics.resample_counts(cells, 6, resamples=20, purpose="photographs")).any()
    np.testing.assert_array_equal(first[:9], metrics.resample_counts(cells, 6, resamples=9))


@pytest.mark.parametrize("cells", [[0, 1], [[0, 6]], [[-1, 0]], [[]]])
def test_cells_are_checked(cells):
    with pytest.raises(ValueError, match=r"Expected `cells` \(M, B\) in 0\.\.5"):
        metrics.resample_counts(cells, 6)


def test_one_bootstrap_serves_all():
    labels, first = drawn(10, 200)
    second = drawn(11, 200)[1]
    draws = metrics.bootstrap_scores(labels, [first, second], seed=3)
    difference = metrics.bootstrap_difference(labels, first, second, seed=3)
    expected = np.quantile(draws[:, 0] - draws[:, 1], [0.025, 0.975])
    np.testing.assert_allclose([difference["low"], difference["high"]], expected)
    alone = metrics.bootstrap_scores(labels, [first], seed=3)[:, 0]
    row = metrics.bootstrap_f1(labels, first, seed=3).loc["macro_f1"]
    np.testing.assert_allclose([row["low"], row["high"]], metrics.interval(alone))
    np.testing.assert_allclose(alone.std(), draws[:, 0].std(), rtol=0.08)  # other units, the same distribution


def test_seeds_beyond_chance_widen_an_interval():
    generator = np.random.default_rng(0)
    draws = 0.5 + 0.01 * generator.standard_normal((4000, 3))
    whole, noise = metrics.seed_variance(np.array([0.4, 0.5, 0.6]), draws)
    assert (whole, noise) == (pytest.approx(0.01), pytest.approx(0.01 + 1e-4, rel=0.05))  # points taken off: .1, 0, -.1
    mean = draws.mean(1)
    faces = metrics.interval(mean)
    assert metrics.interval_over_seeds(0.5, mean, []) == tuple(faces)
    assert metrics.interval_over_seeds(0.5, mean, [(0.001, 0.001, 2)]) == tuple(faces)  # no more than chance
    low, high = metrics.interval_over_seeds(0.5, mean, [(1.0, 0.0, 2)])  # seeds are all: t of two degrees of freedom
    assert (high - 0.5, 0.5 - low) == (pytest.approx(4.303, rel=1e-3), pytest.approx(4.303, rel=1e-3))
    two = metrics.interval_over_seeds(0.5, mean, [(1.0, 0.0, 2), (1.0, 0.0, 2)])  # two equal parts: of four
    assert two[1] - 0.5 == pytest.approx(2.776 * 2**0.5, rel=1e-3)
    apart = 1e-4 * mean + 0.5 * (1 - 1e-4)  # draws of seeds that go apart hold less than the seeds do
    low, high = metrics.interval_over_seeds(0.5, apart, [(1.0, 1 - 1e-9, 2)])
    spread = (apart.std() ** 2 + 1e-9) ** 0.5
    assert (high - low) / 2 <= 1.2 * 4.303 * spread  # t of no fewer than the seeds' two degrees of freedom
    low, high = metrics.interval_over_seeds(0.5, mean, [(1.0, 0.0, 2)])
    known = metrics.interval_over_seeds(0.5, mean, [(1.0, 0.0, 1e9)])
    assert known[1] - 0.5 == pytest.approx(1.960, rel=1e-3)
    assert np.diff(metrics.interval_over_seeds(0.5, mean, [(1.0, 0.0, 2)], level=0.5)).item() < high - low


def test_joint_bootstrap_does_not_depend_on_its_chunks(monkeypatch):
    labels, first = drawn(12, 90)
    stack, groups = [first, drawn(13, 90)[1]], np.arange(90) // 2
    whole = metrics.bootstrap_scores(labels, stack, groups=groups, resamples=50)
    monkeypatch.setattr(metrics, "CHUNK", 300)
    np.testing.assert_array_equal(metrics.bootstrap_scores(labels, stack, groups=groups, resamples=50), whole)


def test_joint_bootstrap_of_a_whole_matrix_is_fast():
    labels = drawn(0, 4670)[0]
    stack = np.stack([drawn(0, 4670)[1] if m == 0 else np.roll(labels, m) for m in range(40)])
    start = time.perf_counter()
    assert metrics.bootstrap_scores(labels, stack, resamples=200).shape == (200, 40)
    assert time.perf_counter() - start < 6


@pytest.mark.parametrize("options", [{"level": 1.0}, {"level": 0.0}, {"resamples": 0}])
def test_bootstrap_settings_are_checked(options):
    with pytest.raises(ValueError, match=r"Expected `(level|resamples)`"):
        metrics.bootstrap_f1([0, 1], [0, 1], **options)


def test_agreement_and_kappa():
    _, first = drawn(6, 100)
    _, second = drawn(7, 100)
    stack = np.stack([first, second, first])
    share, kappa = metrics.agreement(stack), metrics.kappa(stack)
    assert share[0, 1] == sum(a == b for a, b in zip(first, second, strict=True)) / 100
    assert share[0, 2] == kappa[0, 2] == 1
    np.testing.assert_array_equal(share, share.T)
    np.testing.assert_array_equal(kappa, kappa.T)
    assert kappa[0, 1] == pytest.approx(cohen_kappa_score(first, second))
    assert kappa[0, 1] < share[0, 1]
    assert (metrics.kappa(np.zeros((2, 5), int)) == 1).all()
