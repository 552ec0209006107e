"""The rule, the verdicts on matrices whose truth is known, and the intervals against slow resampling."""

import re
from pathlib import Path

import numpy as np
import pytest

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import release
from lsdkit.ensembles.rules import BEST_STRONG, WEAK_APPEARANCES, Cell, strong_cells, weak_cells
from lsdkit.method import metrics
from lsdkit.reproduce.claims import (
    Pair,
    _read,
    combine_verdicts,
    judge,
    judge_all,
    list_differences,
    paper_score,
    read_paper,
    tabulate_claims,
)
from lsdkit.reproduce.formats import format_claims
from lsdkit.reproduce.scores import Estimate, Matrix, _weigh_seeds, describe_seeds, mean_of, read_matrix
from lsdkit.training.predictions import labels_of, probabilities_of
from tests.fake_runs import STRONG, WEAK, faces, leave_matrix

SPREAD = np.linspace(-0.01, 0.01, 101)


def estimate(value: float, seeds=(0,)) -> Estimate:
    return Estimate(value, {"faces": value + SPREAD}, dict.fromkeys(seeds, value), (len(seeds), len(seeds)))


def test_the_rule_for_one_difference():
    assert judge(estimate(0.02)) == "holds"
    assert judge(estimate(-0.02)) == "does not"
    assert judge(estimate(0.005)) == judge(estimate(-0.005)) == judge(estimate(0.0)) == "not decided"
    assert judge(None) == "not run"
    edge = Estimate(0.0, {"faces": np.zeros(9)}, {0: 0.0}, (1, 1))  # two runs of the same answers
    assert judge(edge) == "not decided"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["holds", "holds"], "holds"),
        (["holds", "does not"], "does not"),
        (["not decided", "does not", "not run"], "does not"),
        (["not decided", "not run"], "not run"),
        (["holds", "not decided"], "not decided"),
        (["holds"], "holds"),
    ],
)
def test_the_rule_for_several(parts, expected):
    assert combine_verdicts(parts) == combine_verdicts(parts[::-1]) == expected


def test_estimates_are_combined_draw_by_draw():
    one, two = estimate(0.6, (0, 1)), estimate(0.4, (1, 2))
    both = mean_of([one, two])
    assert both.value == pytest.approx(0.5)
    np.testing.assert_allclose(both.draws["faces"], 0.5 + SPREAD)
    assert both.per_seed == {1: pytest.approx(0.5)}
    minus = one - two
    np.testing.assert_allclose(minus.draws["faces"], 0.2)  # the same resamples: what both share cancels
    assert minus.interval() == pytest.approx((0.2, 0.2))
    assert mean_of([one, None]) is None
    assert (Pair(1.0, None) - Pair(0.5, one)).ours is (Pair(1.0, one) - Pair(0.5, None)).ours is None
    pair = Pair(1.0, one) - Pair(0.5, two)
    assert (pair.paper, pair.ours.value) == pytest.approx((0.5, 0.2))
    assert (one - 0.5).value == pytest.approx(0.1)
    assert np.isnan(one.interval("subjects")).all()
    assert np.isnan(estimate(0.1).spread)
    assert Estimate(0.5, {}, {0: 0.4, 1: 0.6}, (2, 2)).spread == pytest.approx(np.std([0.4, 0.6], ddof=1))


@pytest.mark.parametrize("values", [[0.4, 0.7], [0.1, 0.2, 0.6], [0.3, 0.35, 0.5, 0.9, 0.2]])
def test_seeds_spread_as_the_mean_of_that_many(values):
    weights = _weigh_seeds(range(len(values)), 20000)
    np.testing.assert_allclose(weights.sum(1), 1)
    means = weights @ np.array(values)
    assert means.mean() == pytest.approx(np.mean(values), abs=0.01)
    assert means.std() == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=0.05)
    np.testing.assert_array_equal(_weigh_seeds([4], 3), np.ones((3, 1)))


def test_the_paper_on_its_own_numbers(tmp_path):
    """All that the paper says of its tables holds on the numbers that it prints."""
    leave_matrix(tmp_path, lambda cell, seed: 0.5, count=24, cells=WEAK[:1])
    table = tabulate_claims(read_matrix(tmp_path, resamples=20)).set_index("claim")
    ours = ["i", "i.1", "i.2"]  # like for like, which the paper does not look at
    assert table["paper_verdict"].drop(ours).eq("holds").all()
    assert table.loc[ours, "paper_verdict"].tolist() == ["does not", "holds", "does not"]
    differences = {
        "a": 0.25,
        "b.1": 0.94,
        "b.2": 0.74,
        "c.1": 3.17,
        "c.2": 3.71,
        "d.4": 0.17,
        "e.2": 0.76,
        "f": 0.45,
        "i.1": 1.195,
        "i.2": -1.47,
    }
    for name, value in differences.items():
        assert table.loc[name, "paper_difference"] == pytest.approx(value, abs=0.006), name
    assert table.loc["g.2", "paper_difference"] == pytest.approx(70.57 - 69.91)
    assert {*table.index.str[0]} == {*list_differences(read_matrix(tmp_path, resamples=20))}  # found by their letters
    assert np.isnan(paper_score("table2", "test", mix="mixup"))
    parts = [name for name in table.index if "." in name]
    assert (table.loc[[*parts, "a", "f"], "verdict"] == "not run").all()
    assert table.loc["h", "verdict"] == "not testable"


def strong_scores(matrix: Matrix, mix: str) -> list:
    return matrix.score_cells(strong_cells(mix))


def weak_means(matrix: Matrix, mix: str) -> list:
    return [mean_of(matrix.score_cells(weak_cells(mix, name))) for name in WEAK_APPEARANCES]


def share(cell: tuple, seed: int) -> float:
    """Right answers: strong Mix-aug .8, strong Mix-up .7 with and .5 without basic augmentation; weak .5 and .65."""
    mix, _, basic, bag = cell
    if bag:
        return 0.5 if mix == "mixaugment" else 0.65
    return 0.8 if mix == "mixaugment" else (0.7 if basic else 0.5)


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("known")
    leave_matrix(root, share, count=500, cells=STRONG + WEAK, weak=(0, 1))
    return root


def test_verdicts_where_the_truth_is_known(known):
    matrix = read_matrix(known, resamples=500)
    table = tabulate_claims(matrix).set_index("claim")
    expected = {"a": "holds", "b": "does not", "b.1": "does not", "c": "holds", "c.1": "holds", "c.2": "holds"}
    expected |= {"d.1": "holds", "f": "does not", "g": "does not", "h": "not testable"}
    for name, words in expected.items():
        assert table.loc[name, "verdict"] == words, name
    assert table.loc["b.1", "ours"] == pytest.approx(
        100 * (mean_of(weak_means(matrix, "mixaugment")).value - mean_of(strong_scores(matrix, "mixaugment")).value)
    )
    assert table.loc["b.1", "seeds"] == "1 to 2"
    assert table.loc["f", "seeds"] == "2"
    assert (table["unit"].dropna() == "faces").all()
    assert set(table.index) >= {"a", "b", "c", "d", "e", "f", "g", "h", "d.4", "e.3"}
    sizes = {letter: len(pairs) for letter, pairs in list_differences(matrix).items()}
    assert sizes == {"a": 1, "b": 2, "c": 2, "d": 4, "e": 3, "f": 1, "g": 2, "h": 5, "i": 2}
    assert "h.1" not in table.index


def test_the_best_strong_member_is_the_best_of_the_eight(known):
    matrix = read_matrix(known, resamples=20)
    best = matrix.score_ensemble(BEST_STRONG.id)
    assert best.value == pytest.approx(max(run.val_macro_f1 for run in matrix.runs if not run.member.bag))
    assert set(best.per_seed) == {0, 1}  # the strong seed serves both
    assert best.seeds == (1, 1)


def test_the_best_strong_member_is_chosen_among_all_eight(tmp_path):
    """Of a second seed that is half trained nothing is chosen."""
    leave_matrix(tmp_path, share, count=60, cells=STRONG)
    leave_matrix(tmp_path, lambda cell, seed: 0.99, count=60, cells=STRONG[:3], strong=(1,))
    matrix = read_matrix(tmp_path, resamples=20)
    assert set(matrix.score_ensemble(BEST_STRONG.id).per_seed) == {0}
    few = tmp_path / "few"
    leave_matrix(few, share, count=60, cells=STRONG[:7])
    assert read_matrix(few, resamples=20).score_ensemble(BEST_STRONG.id) is None


def test_seeds_of_a_statement_are_those_that_decide_it(known):
    """b fails by both its differences, whose strong side has one seed; d by differences of several seeds."""
    table = tabulate_claims(read_matrix(known, resamples=500)).set_index("claim")
    assert table.loc[["b", "b.1", "c"], "seeds"].tolist() == ["1 to 2", "1 to 2", "1"]
    assert table.loc["f", "seeds"] == "2"
    assert not isinstance(table.loc["h", "seeds"], str)
    text = format_claims(table.reset_index()).set_index("Claim")["Verdict"]
    assert text["b"] == text["b.1"] == "does not (one seed)"
    assert text["c"] == "holds (one seed)"
    assert text["f"] == "does not"
    assert text["h"] == "not testable"


def test_what_decides_a_statement():
    pairs = [Pair(1, estimate(-0.02)), Pair(1, estimate(-0.03, (0, 1))), Pair(1, estimate(0.02))]
    whole, deciding = judge_all(pairs, "faces")
    assert (whole, deciding) == ("does not", [pairs[1].ours])  # it fails without the one of one seed
    whole, deciding = judge_all([pairs[2], Pair(1, estimate(0.03, (0, 1)))], "faces")
    assert whole == "holds"
    assert describe_seeds(deciding) == "1 to 2"
    assert judge_all([pairs[2], Pair(1, None)], "faces") == ("not run", [])


def test_what_the_claims_quote_is_printed():
    """Every two-decimal number of claims.csv is one of the paper's tables, or a mean or difference of them."""
    stated = _read("claims.csv").set_index("claim")
    printed = {*read_paper()["percent"]}
    for letter in "abdefgh":
        for split in ("validation", "test"):
            quoted = re.findall(r"\d+\.\d\d", stated.loc[letter, split])
            assert quoted
            assert {*quoted} <= printed, (letter, split)


def test_test_faces_are_held_against_the_papers_test_numbers(tmp_path):
    leave_matrix(tmp_path, share, count=60, cells=STRONG + WEAK, split="test")
    table = tabulate_claims(read_matrix(tmp_path, "test", resamples=20)).set_index("claim")
    assert table.loc["d", "paper"] == "35.87 against 33.74, 34.96, 34.93 and 35.84 (Table 4)"
    assert table.loc["d.4", "paper_difference"] == pytest.approx(0.03)
    assert table.loc["d", "paper_verdict"] == "holds"
    assert table.loc["e.1", "paper_difference"] == pytest.approx(71.82 - 70.57)  # no test score of single members


def slow_draws(matrix: Matrix, statistic, resamples: int) -> np.ndarray:
    """The statistic in each resample of faces and of seeds, each run scored anew on the faces drawn."""
    tables = {}
    for run in matrix.runs:
        member = run.member
        tables[member.mix, member.appearance, member.basic_aug, member.bag, member.seed] = run.read_predictions()
    labels = labels_of(next(iter(tables.values())))
    answers = {cell: probabilities_of(table).argmax(1) for cell, table in tables.items()}
    generator, found = np.random.default_rng(5), []
    for _ in range(resamples):
        rows = generator.integers(0, len(labels), len(labels))
        scores = {
            cell: metrics.f1_from_confusion(_counts(labels[rows], one[rows])).mean() for cell, one in answers.items()
        }
        found.append(statistic(scores, generator.integers(0, 2, 2)))
    return np.array(found)


def _counts(labels, predicted):
    return np.bincount(labels * 6 + predicted, minlength=36).reshape(6, 6)


def test_intervals_agree_with_slow_resampling(tmp_path):
    cells = [cell for cell in WEAK if cell[1] == "dino"]
    leave_matrix(tmp_path, lambda cell, seed: 0.5 + 0.1 * seed, count=150, cells=cells, weak=(0, 1))
    matrix = read_matrix(tmp_path)
    estimates = [mean_of(matrix.score_cells(weak_cells(mix, "dino"))) for mix in ("mixaugment", "mixup")]
    fast = estimates[0] - estimates[1]

    def statistic(scores, seeds):
        by_seed = [
            np.mean(
                [scores["mixaugment", "dino", True, b, s] - scores["mixup", "dino", True, b, s] for b in range(1, 6)]
            )
            for s in (0, 1)
        ]
        mean = np.mean(by_seed)
        return mean + np.sqrt(2) * (np.mean([by_seed[s] for s in seeds]) - mean)

    slow = slow_draws(matrix, statistic, 600)
    assert fast.draws["faces"].std() == pytest.approx(slow.std(), rel=0.15)
    assert fast.draws["faces"].mean() == pytest.approx(slow.mean(), abs=0.003)
    np.testing.assert_allclose(fast.interval(), np.quantile(slow, [0.025, 0.975]), atol=0.012)


def test_the_baseline_is_tested_on_the_release_alone(tmp_path):
    counts = dict(zip(EXPRESSIONS, release.VALIDATION_COUNTS, strict=True))
    leave_matrix(tmp_path, share, count=60, cells=STRONG + WEAK, kind="synthetic", counts={"validation": counts})
    matrix = read_matrix(tmp_path, resamples=50)
    assert matrix.is_release
    table = tabulate_claims(matrix).set_index("claim")
    assert len([name for name in table.index if name.startswith("h.")]) == 5
    assert table.loc["h.3", "ours"] == pytest.approx(100 * matrix.score_ensemble("ma_strong_ma_best_weak").value - 50)
    assert table.loc["h.3", "paper_difference"] == pytest.approx(21.82)


def test_resamples_are_those_of_the_metric(tmp_path):
    found = leave_matrix(tmp_path, share, count=100, cells=STRONG[:1])
    matrix = read_matrix(tmp_path)
    labels = faces(100)[1]
    ((_, stack),) = found.items()
    scores = metrics.bootstrap_f1(labels, stack.argmax(1)).loc["macro_f1"]
    cell, other = matrix.score_cells([Cell("mixaugment", "vggface2", True, 0), Cell("mixup", "dino", True, 1)])
    assert cell.interval() == pytest.approx((scores["low"], scores["high"]))
    assert other is None
    assert matrix.score_ensemble("mu_mobilevit_weak") is None
