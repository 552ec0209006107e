"""The rule, the verdicts on matrices whose truth is known, and what one seed decides."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import release
from lsdkit.ensembles.rules import BEST_STRONG, ENSEMBLES, WEAK_APPEARANCES, Cell, strong_cells, weak_cells
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
from lsdkit.reproduce.scores import Estimate, Matrix, Replicates, describe_seeds, mean_of, read_matrix
from lsdkit.training.predictions import prediction_table
from lsdkit.training.runs import list_runs
from tests.fake_runs import STRONG, WEAK, answers, faces, leave_matrix

MIXES = ("mixaugment", "mixup")
SPREAD = np.linspace(-0.01, 0.01, 101)


def estimate(value: float, seeds=(0,), variance: float = 0.0) -> Estimate:
    """Of seeds that are alike; `variance`: what unseen ones are taken to have."""
    draws = np.repeat(value + SPREAD[:, None], len(seeds), axis=1)
    part = Replicates(np.full(len(seeds), value), {"faces": draws})
    return Estimate({tuple(seeds): part}, (len(seeds), len(seeds)), {"faces": (variance, 30)} if variance else {})


def test_the_rule_for_one_difference():
    assert judge(estimate(0.02)) == "holds"
    assert judge(estimate(-0.02)) == "does not"
    assert judge(estimate(0.005)) == judge(estimate(-0.005)) == judge(estimate(0.0)) == "not decided"
    assert judge(None) == "not run"
    assert judge(estimate(0.5) - estimate(0.5)) == "not decided"  # two runs of the same answers


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


def test_one_seed_decides_where_the_difference_exceeds_what_seeds_do():
    """Half-widths of .0095 for the faces, and 2.04 times .01 for seeds whose standard deviation is .01."""
    assert judge(estimate(0.02)) == judge(estimate(0.03, variance=1e-4)) == "holds"
    assert judge(estimate(0.02, variance=1e-4)) == judge(estimate(-0.02, variance=1e-4)) == "not decided"
    assert judge(estimate(-0.03, variance=1e-4)) == "does not"
    assert estimate(0.02, variance=1e-4).interval() == estimate(0.02).interval()  # tables 2 to 4: of these networks
    mean = mean_of([estimate(0.02, variance=1e-4)] * 4)  # of networks that share their seed: no less than one
    assert mean.unseen["faces"] == (pytest.approx(1e-4), 30)
    assert (mean - estimate(0.0, (0, 1))).unseen == mean.unseen
    assert (mean - mean).unseen["faces"] == (pytest.approx(2e-4), 30)


def test_pairs_of_the_paper_and_ours():
    one = estimate(0.6, (0, 1))
    assert (Pair(1.0, None) - Pair(0.5, one)).ours is (Pair(1.0, one) - Pair(0.5, None)).ours is None
    pair = Pair(1.0, one) - Pair(0.5, estimate(0.4, (1, 2)))
    assert (pair.paper, pair.ours.value) == pytest.approx((0.5, 0.2))


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
        "j.1": 0.38,
        "j.5": 2.04,
        "k.3": 0.5,
        "l.1": 35.87 - 35.84,
        "l.2": 35.84 - 34.93,
        "l.3": 34.93 - 33.74,
        "l.4": 70.39 - 69.91,
        "l.5": 34.96 - 33.74,
    }
    for name, value in differences.items():
        assert table.loc[name, "paper_difference"] == pytest.approx(value, abs=0.006), name
    assert table.loc["g.2", "paper_difference"] == pytest.approx(70.57 - 69.91)
    assert {*table.index.str[0]} == {*list_differences(read_matrix(tmp_path, resamples=20))}  # found by their letters
    assert np.isnan(paper_score("table2", "test", mix="mixup"))
    parts = [name for name in table.index if "." in name]
    assert (table.loc[[*parts, "a", "f", "j", "k", "l"], "verdict"] == "not run").all()
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
    expected |= {"j.1": "holds", "j": "not decided", "k": "does not", "l": "not run"}
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
    assert sizes == {"a": 1, "b": 2, "c": 2, "d": 4, "e": 3, "f": 1, "g": 2, "h": 5, "i": 2, "j": 5, "k": 4, "l": 5}
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
    assert table.loc["d.1", "seeds"] == "1 to 2"  # weak members of two seeds vote with strong ones of one
    assert text["d.1"] == "holds (one seed)"
    assert text["d"].endswith("(one seed)")
    assert text["l"] == "not run"


def test_what_decides_a_statement():
    pairs = [Pair(1, estimate(-0.02)), Pair(1, estimate(-0.03, (0, 1))), Pair(1, estimate(0.02))]
    whole, deciding = judge_all(pairs)
    assert (whole, deciding) == ("does not", [pairs[1].ours])  # it fails without the one of one seed
    whole, deciding = judge_all([pairs[2], Pair(1, estimate(0.03, (0, 1)))])
    assert whole == "holds"
    assert describe_seeds(deciding) == "1 to 2"
    assert judge_all([pairs[2], Pair(1, None)]) == ("not run", [])


def test_what_the_claims_quote_is_printed():
    """Every two-decimal number of claims.csv is one of the paper's tables, or a mean or difference of them."""
    stated = _read("claims.csv").set_index("claim")
    printed = {*read_paper()["percent"]}
    for letter in "abdefghjkl":
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


def test_the_baseline_is_tested_on_the_release_alone(tmp_path):
    counts = dict(zip(EXPRESSIONS, release.VALIDATION_COUNTS, strict=True))
    leave_matrix(tmp_path, share, count=60, cells=STRONG + WEAK, kind="synthetic", counts={"validation": counts})
    matrix = read_matrix(tmp_path, resamples=50)
    assert matrix.is_release
    table = tabulate_claims(matrix).set_index("claim")
    assert len([name for name in table.index if name.startswith("h.")]) == 5
    assert table.loc["h.3", "ours"] == pytest.approx(100 * matrix.score_ensemble("ma_strong_ma_best_weak").value - 50)
    assert table.loc["h.3", "paper_difference"] == pytest.approx(21.82)


def test_one_seed_is_judged_by_the_spread_of_the_cells_that_have_several(tmp_path):
    """Strong Mix-aug above Mix-up by .1 on one seed, which weak members of wide spread make undecided."""

    def right(cell, seed):
        return (0.7 if cell[0] == "mixaugment" else 0.6) if not cell[3] else 0.5

    leave_matrix(tmp_path / "alone", right, count=500, cells=STRONG + WEAK[:5])
    alone = tabulate_claims(read_matrix(tmp_path / "alone", resamples=300)).set_index("claim")
    assert alone.loc["a", "verdict"] == "holds"  # of these networks: no cell has a second seed
    assert format_claims(alone.reset_index()).set_index("Claim").loc["a", "Verdict"] == "holds (one seed)"

    leave_matrix(tmp_path / "calm", right, count=500, cells=STRONG + WEAK[:5], weak=(0, 1, 2))
    calm = tabulate_claims(read_matrix(tmp_path / "calm", resamples=300)).set_index("claim")
    assert calm.loc["a", "verdict"] == "holds"

    wild = tmp_path / "wild"
    leave_matrix(wild, right, count=500, cells=STRONG)
    leave_matrix(wild, lambda cell, seed: (0.3, 0.5, 0.7)[seed], count=500, cells=WEAK[:5], weak=(0, 1, 2))
    matrix = read_matrix(wild, resamples=300)
    assert matrix.unseen["faces"][0] == pytest.approx(np.var([0.41, 0.58, 0.75], ddof=1), rel=0.25)
    table = tabulate_claims(matrix).set_index("claim")
    assert table.loc["a", "ours"] == alone.loc["a", "ours"]
    assert table.loc["a", "low"] < 0 < table.loc["a", "high"]
    assert table.loc["a", "verdict"] == "not decided"
    assert format_claims(table.reset_index()).set_index("Claim").loc["a", "Verdict"] == "not decided (one seed)"


def leave_both_splits(root: Path, right) -> None:
    """The cells of Tables 2 and 3 with validation faces, and test faces of `right(cell, "test")`."""
    leave_matrix(root, lambda cell, seed: right(cell, "validation"), count=300, cells=STRONG + WEAK)
    keys, labels = [f"test{i}" for i in range(300)], faces(300, seed=1)[1]
    for number, run in enumerate(list_runs(root)):
        member, old = run.member, run.read_predictions()
        cell = (member.mix, member.appearance, int(member.basic_aug), member.bag)
        stack = answers(labels, right(cell, "test"), 1000 + number)
        new = prediction_table(keys, ["test"] * len(keys), labels, stack)
        pd.concat([old, new]).to_csv(run.folder / "predictions.csv", index=False)


def test_the_order_of_the_ensembles_on_both_splits(tmp_path):
    """l goes by the order of these runs on validation, whichever split the tables are of."""
    leave_both_splits(tmp_path, lambda cell, split: share(cell, 0) if split == "validation" else 0.4)
    matrices = {split: read_matrix(tmp_path, split, resamples=100) for split in ("validation", "test")}
    tables = {split: tabulate_claims(matrix).set_index("claim") for split, matrix in matrices.items()}
    parts, shown = [f"l.{number}" for number in range(1, 6)], ["statement", "ours", "low", "high", "verdict"]
    pd.testing.assert_frame_equal(tables["validation"].loc[parts, shown], tables["test"].loc[parts, shown])
    assert tables["test"].loc["l", "paper_verdict"] == "holds"
    validation, test = (
        {one: 100 * matrix.score_ensemble(one).value for one in ENSEMBLES} for matrix in matrices.values()
    )
    apart = "mu_strong_mu_weak"
    order = sorted({*ENSEMBLES} - {apart}, key=validation.get, reverse=True)
    papers = ["ma_strong_ma_best_weak", "best_strong_ma_vgg_mu_mobilevit", "mu_ma_best_weak", "mu_mobilevit_weak"]
    assert order != papers
    expected = [test[one] - test[two] for one, two in pairwise(order)]
    expected += [validation[order[-1]] - validation[apart], test[apart] - test[order[-1]]]
    np.testing.assert_allclose(tables["test"].loc[parts, "ours"].astype(float), expected)
    assert tables["test"].loc["l.4", "statement"] == "Validation: last minus MU Strong & MU Weak"


def test_one_order_on_both_splits_but_for_the_second(tmp_path):
    """Mix-up VGGFace2 and DINO vote in the second alone, and are good on test faces alone."""

    def right(cell, split):
        mix, name, _, bag = cell
        if mix == "mixaugment":
            return 0.5 if not bag or name == "vggface2" else 0.1
        if name == "mobilevitv2":
            return 0.17 if split == "validation" else 0.11
        return 0.0 if split == "validation" else 0.4

    leave_both_splits(tmp_path, right)
    table = tabulate_claims(read_matrix(tmp_path, resamples=200)).set_index("claim")
    assert table.loc["l", "verdict"] == "holds"


def test_weak_configurations_against_each_other_and_against_strong_ones(tmp_path):
    best = {("mixup", "mobilevitv2"): 0.8, ("mixaugment", "vggface2"): 0.7}
    leave_matrix(tmp_path, lambda c, seed: best.get(c[:2], 0.5) if c[3] else 0.5, count=500, cells=STRONG + WEAK)
    matrix = read_matrix(tmp_path, resamples=200)
    table = tabulate_claims(matrix).set_index("claim")
    assert table.loc[["j", "k"], "verdict"].tolist() == ["holds", "holds"]
    means = {
        (mix, name): mean.value
        for mix in MIXES
        for name, mean in zip(WEAK_APPEARANCES, weak_means(matrix, mix), strict=True)
    }
    for number, other in enumerate([c for c in means if c != ("mixup", "mobilevitv2")], 1):
        expected = 100 * (means["mixup", "mobilevitv2"] - means[other])
        assert table.loc[f"j.{number}", "ours"] == pytest.approx(expected)
    for number, cell in enumerate(strong_scores(matrix, "mixaugment"), 1):
        expected = 100 * (means["mixaugment", "vggface2"] - cell.value)
        assert table.loc[f"k.{number}", "ours"] == pytest.approx(expected)
    assert table.loc["k.2", "statement"] == "Mix-aug VGGFace2 weak minus strong VGGFace2, basic augmentation off"


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
