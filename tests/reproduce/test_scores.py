"""The estimate: how it is combined, its interval against a formula written out, and what seeds without deviation do."""

import numpy as np
import pytest
from scipy import stats

from lsdkit.ensembles.rules import strong_cells, weak_cells
from lsdkit.method import metrics
from lsdkit.reproduce.scores import Estimate, Replicates, mean_of, pool_seeds, read_matrix
from lsdkit.training.predictions import labels_of, probabilities_of
from tests.fake_runs import STRONG, WEAK, leave_matrix


def drawn(seed: int, number: int, deviation: float, noise: float = 0.01, resamples: int = 400) -> Replicates:
    """Scores of seeds that differ by `deviation` and, with the faces, by `noise`; all of them move with the faces."""
    generator = np.random.default_rng(seed)
    points = 0.6 + deviation * generator.standard_normal(number) + noise * generator.standard_normal(number)
    faces = 0.01 * generator.standard_normal((resamples, 1)) + noise * generator.standard_normal((resamples, number))
    return Replicates(points, {"faces": points + faces})


def of_seeds(part: Replicates, *seeds: int) -> Estimate:
    return Estimate({seeds: part}, (len(seeds), len(seeds)), {})


def naive_interval(parts: list[Replicates]) -> tuple[float, float]:
    """Half-widths of the percentiles, to which the seeds' excess is added, times t / z of the degrees of freedom."""
    value, means, variance_of_seeds, excess, squares = 0.0, 0.0, 0.0, 0.0, 0.0
    for part in parts:
        number = len(part.points)
        value, means = value + part.points.mean(), means + part.draws["faces"].mean(1)
        if number > 1:
            of_points = sum((x - part.points.mean()) ** 2 for x in part.points) / (number - 1)
            chance = []
            for draw in part.draws["faces"] - part.points:
                chance.append(sum((x - draw.mean()) ** 2 for x in draw) / (number - 1))
            if of_points > np.mean(chance):
                variance_of_seeds += of_points / number
                excess += (of_points - np.mean(chance)) / number
                squares += (of_points / number) ** 2 / (number - 1)
    ends = np.quantile(means, [0.025, 0.975])
    if not excess:
        return tuple(ends)
    freedom = variance_of_seeds * (means.var() + excess) / squares
    t, z = stats.t.ppf(0.975, freedom), stats.norm.ppf(0.975)
    low, high = (t * np.sqrt(((end - value) / z) ** 2 + excess) for end in ends)
    return value - low, value + high


@pytest.mark.parametrize("deviation", [0.0, 0.01, 0.05])
@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_the_interval_against_the_formula(number, deviation):
    for seed in range(8):
        part = drawn(seed, number, deviation)
        estimate = of_seeds(part, *range(number))
        assert estimate.value == pytest.approx(part.points.mean())
        assert estimate.interval() == pytest.approx(naive_interval([part]), abs=1e-9)
        other = drawn(100 + seed, 4, deviation)
        both = estimate - of_seeds(other, 7, 8, 9, 10)  # no seed in common: two independent parts
        assert both.interval() == pytest.approx(naive_interval([part, other * -1]), abs=1e-9)
        assert both.per_seed == {}


def test_seeds_without_deviation_leave_the_faces_interval():
    """Width over that of the bootstrap of the mean: 1 in more than half of all cases, never below."""
    ratios = []
    for seed in range(200):
        part = drawn(seed, 5, deviation=0.0)
        low, high = of_seeds(part, *range(5)).interval()
        ratios.append((high - low) / np.diff(metrics.interval(part.draws["faces"].mean(1))).item())
    assert np.median(ratios) == pytest.approx(1, abs=1e-9)
    assert min(ratios) > 1 - 1e-9
    assert np.mean(ratios) < 1.25


@pytest.mark.parametrize(("number", "deviation"), [(3, 0.0), (3, 0.02), (3, 0.1), (5, 0.0), (5, 0.02), (5, 0.1)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(number, deviation):
    """Of normal scores; `benchmarks/statistics/intervals.py` measures it on answers to faces."""
    held = []
    for seed in range(500):
        part, moved = drawn(seed, number, deviation, resamples=200), np.random.default_rng(10_000 + seed)
        points = part.points + 0.01 * moved.standard_normal()  # the faces that were scored are one draw as well
        low, high = of_seeds(
            Replicates(points, {"faces": part.draws["faces"] - part.points + points}), *range(number)
        ).interval()
        held.append(low <= 0.6 <= high)
    assert 0.91 < np.mean(held) < 0.985


def test_cells_of_the_same_seeds_are_combined_seed_by_seed():
    first, second = drawn(0, 3, 0.05), drawn(1, 3, 0.05)
    shared = of_seeds(first + second, 0, 1, 2) - of_seeds(first, 0, 1, 2)  # a run that stands on both sides
    assert shared.interval() == pytest.approx(of_seeds(second, 0, 1, 2).interval())
    assert shared.per_seed == pytest.approx(dict(enumerate(second.points)))
    assert shared.spread == pytest.approx(np.std(second.points, ddof=1))
    mean = mean_of([of_seeds(first, 0, 1, 2), of_seeds(second, 0, 1, 2)])
    np.testing.assert_allclose(mean.resampled(), (first.draws["faces"] + second.draws["faces"]).mean(1) / 2)
    assert mean_of([mean, None]) is None


def test_cells_of_other_seeds_stay_apart():
    one, two = of_seeds(drawn(0, 2, 0.05), 0, 1), of_seeds(drawn(1, 3, 0.05), 1, 2, 3)
    both = one - two
    assert both.value == pytest.approx(one.value - two.value)
    assert both.per_seed == {1: pytest.approx(one.per_seed[1] - two.per_seed[1])}
    assert both.seeds == (2, 3)
    assert np.isnan(both.spread)
    moved = both - 0.25
    assert moved.value == pytest.approx(both.value - 0.25)
    assert moved.per_seed[1] == pytest.approx(both.per_seed[1] - 0.25)
    assert moved.interval() == pytest.approx(np.subtract(both.interval(), 0.25))
    assert np.isnan(both.interval("subjects")).all()
    assert both.unit == "faces"


def test_the_spread_of_cells_with_several_seeds_is_pooled():
    cells = [drawn(0, 3, 0.05), drawn(1, 5, 0.05), drawn(2, 1, 0.05)]
    beyond = [
        np.var(cell.points, ddof=1) - np.mean([np.var(one - cell.points, ddof=1) for one in cell.draws["faces"]])
        for cell in cells[:2]
    ]
    variance, freedom = pool_seeds(cells)["faces"]
    assert (variance, freedom) == (pytest.approx((2 * beyond[0] + 4 * beyond[1]) / 6), 6)
    assert pool_seeds(cells[2:]) == {}
    alike = Replicates(np.full(3, 0.5), {"faces": 0.5 + 0.01 * np.random.default_rng(0).standard_normal((50, 3))})
    assert pool_seeds([alike])["faces"] == (0.0, 2)  # chance on the faces explains more
    alone = Estimate({(0,): cells[2]}, (1, 1), pool_seeds(cells))
    half = stats.t.ppf(0.975, 6 * (cells[2].draws["faces"].var() + variance) / variance)
    half *= np.sqrt(
        ((np.quantile(cells[2].draws["faces"], 0.975) - alone.value) / stats.norm.ppf(0.975)) ** 2 + variance
    )
    assert alone.interval(unseen=True)[1] == pytest.approx(alone.value + half)


def slow_scores(runs, resamples: int) -> tuple[dict, dict]:
    """Macro F1 of each run of (mix, bag, seed): on all faces, and in resamples, scored anew on the faces drawn."""
    tables = {(run.member.mix, run.member.bag, run.member.seed): run.read_predictions() for run in runs}
    labels = labels_of(next(iter(tables.values())))
    answers = {cell: probabilities_of(table).argmax(1) for cell, table in tables.items()}
    rows = np.random.default_rng(5).integers(0, len(labels), (resamples, len(labels)))

    def score(own, at=slice(None)):
        return metrics.f1_from_confusion(np.bincount(labels[at] * 6 + own[at], minlength=36).reshape(6, 6)).mean()

    whole = {cell: score(own) for cell, own in answers.items()}
    return whole, {cell: np.array([score(own, at) for at in rows]) for cell, own in answers.items()}


def test_a_difference_agrees_with_slow_resampling(tmp_path):
    cells = [cell for cell in WEAK if cell[1] == "dino"]
    leave_matrix(
        tmp_path,
        lambda cell, seed: 0.5 + (0.1 * seed if cell[0] == "mixup" else 0),
        count=150,
        cells=cells,
        weak=(0, 1),
    )
    matrix = read_matrix(tmp_path)
    estimates = [mean_of(matrix.score_cells(weak_cells(mix, "dino"))) for mix in ("mixaugment", "mixup")]
    fast = estimates[0] - estimates[1]
    points, draws = slow_scores(matrix.runs, 600)

    def statistic(scores):
        return np.stack(
            [sum(scores["mixaugment", b, s] - scores["mixup", b, s] for b in range(1, 6)) / 5 for s in (0, 1)], -1
        )

    slow = Replicates(statistic(points), {"faces": statistic(draws)})
    np.testing.assert_allclose(fast.parts[0, 1].points, slow.points)
    assert fast.resampled().std() == pytest.approx(slow.draws["faces"].mean(1).std(), rel=0.15)
    np.testing.assert_allclose(fast.interval(), naive_interval([slow]), rtol=0.1)


def test_voters_of_one_seed_are_counted(tmp_path):
    """Weak members of two seeds vote with strong ones of one; where strong ones have two seeds as well, with those."""
    leave_matrix(tmp_path, lambda cell, seed: 0.5, count=60, cells=STRONG + WEAK, weak=(0, 1))
    matrix = read_matrix(tmp_path, resamples=20)
    seeds = {name: matrix.score_ensemble(name).seeds for name in matrix.chosen}
    assert seeds.pop("best_strong") == (1, 1)
    assert seeds.pop("mu_mobilevit_weak") == seeds.pop("mu_ma_best_weak") == (2, 2)
    assert set(seeds.values()) == {(1, 2)}
    assert matrix.score_cells(strong_cells("mixup"))[0].unseen == matrix.unseen
    assert matrix.score_ensemble("mu_mobilevit_weak").unseen == {}
    leave_matrix(tmp_path, lambda cell, seed: 0.5, count=60, cells=STRONG, strong=(1,))
    matrix = read_matrix(tmp_path, resamples=20)
    assert {matrix.score_ensemble(name).seeds for name in matrix.chosen} == {(2, 2)}
