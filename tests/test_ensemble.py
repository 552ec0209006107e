from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lsdkit import results
from lsdkit.ensemble import SELECTION_RULES, bag_rows, soft_vote, vote_runs
from lsdkit.recipes import SMOKE, Member

PAPER_TABLE = {  # F1 on the validation set: Table 2, and Table 3's means
    ("mixaugment", "vggface2", True): 67.30,
    ("mixaugment", "vggface2", False): 68.66,
    ("mixaugment", "dino", True): 69.58,
    ("mixaugment", "dino", False): 69.30,
    ("mixup", "vggface2", True): 69.51,
    ("mixup", "vggface2", False): 67.28,
    ("mixup", "dino", True): 70.57,
    ("mixup", "dino", False): 66.46,
}
PAPER_WEAK = {
    ("mixaugment", "vggface2"): 70.08,
    ("mixaugment", "dino"): 69.19,
    ("mixaugment", "mobilevitv2"): 69.66,
    ("mixup", "vggface2"): 68.72,
    ("mixup", "dino"): 68.42,
    ("mixup", "mobilevitv2"): 70.46,
}


def paper_runs() -> pd.DataFrame:
    rows = [(*cell, 0, f1) for cell, f1 in PAPER_TABLE.items()]
    rows += [(*cell, True, bag, f1 + bag - 3) for cell, f1 in PAPER_WEAK.items() for bag in range(1, 6)]
    table = pd.DataFrame(rows, columns=["mix", "appearance", "basic_aug", "bag", "val_macro_f1"])
    table["run"] = [f"{r.mix}-{r.appearance}-{int(r.basic_aug)}-{r.bag}" for r in table.itertuples()]
    return table.sample(frac=1, random_state=0)


def weak(mix, appearance):
    return {f"{mix}-{appearance}-1-{bag}" for bag in range(1, 6)}


MU_STRONG = {"mixup-dino-1-0", "mixup-vggface2-1-0"}
MA_STRONG = {"mixaugment-dino-1-0", "mixaugment-dino-0-0"}
EXPECTED = {
    "MU MobileViTv2 Weak": weak("mixup", "mobilevitv2"),
    "MU Strong & MU Weak": MU_STRONG.union(*(weak("mixup", name) for name in ("vggface2", "dino", "mobilevitv2"))),
    "MA Strong & MA Best Weak": MA_STRONG | weak("mixaugment", "vggface2"),
    "MU & MA Best Weak": weak("mixup", "mobilevitv2") | weak("mixaugment", "vggface2"),
    "Best Strong & MA VGG Weak & MU MobileViTv2 Weak": {"mixup-dino-1-0", "mixaugment-dino-1-0"}
    | weak("mixaugment", "vggface2")
    | weak("mixup", "mobilevitv2"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_rules_on_the_papers_own_results(name):
    selection = SELECTION_RULES[name](paper_runs())
    assert selection.name == name
    assert set(selection.runs) == EXPECTED[name]
    assert len(selection.runs) == len(EXPECTED[name])
    assert selection.complete


def test_all_members_is_our_own_line():
    assert len(SELECTION_RULES["All members"](paper_runs()).runs) == 38
    assert list(SELECTION_RULES) == [*EXPECTED, "All members"]


def test_rules_follow_the_table_and_not_a_list():
    runs = paper_runs()
    runs.loc[(runs["mix"] == "mixaugment") & (runs["appearance"] == "dino") & (runs["bag"] > 0), "val_macro_f1"] += 9
    assert weak("mixaugment", "dino") <= set(SELECTION_RULES["MA Strong & MA Best Weak"](runs).runs)
    extra = runs[runs["run"] == "mixup-dino-1-0"].assign(appearance="mobilevitv2", run="extra", val_macro_f1=99)
    strong = SELECTION_RULES["MU Strong & MU Weak"](pd.concat([runs, extra]))
    assert "extra" not in strong.runs  # the paper had no strong mobilevitv2


@pytest.mark.parametrize("name", EXPECTED)
def test_missing_cells_are_said_in_words(name):
    runs = paper_runs()
    few = SELECTION_RULES[name](runs[runs["bag"].isin([0, 1])])
    assert few.runs
    assert not few.complete
    assert any("weak, bag 3" in words for words in few.missing)
    none = SELECTION_RULES[name](runs.iloc[:0])
    assert none.runs == ()
    assert none.missing
    assert not none.complete


def test_two_runs_of_a_cell_are_refused():
    runs = paper_runs()
    twice = pd.concat([runs, runs[runs["run"] == "mixup-mobilevitv2-1-2"].assign(run="again")])
    with pytest.raises(ValueError, match=r"Expected one run of .*again"):
        SELECTION_RULES["MU MobileViTv2 Weak"](twice)


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


def leave_predictions(folder, order, stack, expression="FEAR", checksums=None):
    keys = [f"k{i}" for i in order]
    table = results.prediction_table(keys, ["validation"] * len(keys), np.full(len(keys), 2), stack[order])
    results.write_table(folder / "predictions.csv", table.assign(expression=expression))
    if checksums:
        results.write_result(folder, {"store": {"checksums": checksums}})


def test_vote_runs_pairs_faces_by_key(tmp_path):
    stack = votes(2)
    leave_predictions(tmp_path / "a", np.arange(7), stack[0])
    leave_predictions(tmp_path / "b", np.arange(7)[::-1], stack[1])
    vote = vote_runs([tmp_path / "a", tmp_path / "b"])
    assert list(vote["key"]) == [f"k{i}" for i in range(7)]
    assert set(vote["expression"]) == {"FEAR"}
    np.testing.assert_allclose(results.probabilities_of(vote), stack.mean(0), atol=1e-8)


def test_vote_runs_refuses_what_does_not_fit(tmp_path):
    stack = votes(1)[0]
    same = {"images.npy": "1"}
    leave_predictions(tmp_path / "a", np.arange(7), stack, checksums=same)
    leave_predictions(tmp_path / "fewer", np.arange(6), stack)
    leave_predictions(tmp_path / "relabelled", np.arange(7), stack, expression="ANGER")
    leave_predictions(tmp_path / "other", np.arange(7), stack, checksums={"images.npy": "2"})
    leave_predictions(tmp_path / "twice", np.array([*range(7), 0]), stack)
    cases = {"fewer": "same faces", "twice": "same faces", "relabelled": "agree", "other": "different data"}
    for name, words in cases.items():
        with pytest.raises(ValueError, match=words):
            vote_runs([tmp_path / "a", tmp_path / name])
    with pytest.raises(ValueError, match="at least one run"):
        vote_runs([])
    with pytest.raises(FileNotFoundError, match=r"predictions\.csv"):
        vote_runs([tmp_path / "nowhere"])


LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(6), (183, 152, 109, 733, 1446, 150)))


@pytest.mark.parametrize("options", [{}, {"bag_disjoint": True}, {"bag_replacement": True}, {"bag_fraction": 0.5}])
def test_bags_are_stratified_and_of_the_fraction(options):
    recipe = replace(SMOKE, **options)
    for bag in range(1, 6):
        rows = bag_rows(LABELS, bag, 0, recipe)
        drawn, whole = np.bincount(LABELS[rows], minlength=6), np.bincount(LABELS)
        assert (np.abs(drawn - recipe.bag_fraction * whole) <= 1).all()
        assert (np.diff(rows) >= 0).all()
        assert (len(np.unique(rows)) == len(rows)) is not recipe.bag_replacement
        np.testing.assert_array_equal(rows, bag_rows(LABELS, bag, 0, recipe))
        assert not np.array_equal(rows, bag_rows(LABELS, bag, 1, recipe))


def test_bags_differ_and_disjoint_ones_share_no_face():
    bags = [set(bag_rows(LABELS, bag, 0, SMOKE)) for bag in range(1, 6)]
    assert all(0 < len(a & b) < len(a) for i, a in enumerate(bags) for b in bags[:i])
    apart = [set(bag_rows(LABELS, bag, 0, replace(SMOKE, bag_disjoint=True))) for bag in range(1, 6)]
    assert set().union(*apart) == set(range(len(LABELS)))
    assert sum(map(len, apart)) == len(LABELS)


def test_bag_edges():
    strange = np.array([0, -1, 6, 7, 5, 5])
    np.testing.assert_array_equal(bag_rows(strange, 0, 0, SMOKE), [0, 4, 5])
    few = bag_rows(strange, 1, 0, SMOKE)
    np.testing.assert_array_equal(np.sort(strange[few]), [0, 5])  # one face at least of each class that is there
    assert len(bag_rows(np.array([-1, 6]), 1, 0, SMOKE)) == 0
    with pytest.raises(ValueError, match="disjoint bags"):
        bag_rows(strange, 1, 0, replace(SMOKE, bag_disjoint=True))
    with pytest.raises(ValueError, match="BAG"):
        bag_rows(strange, 6, 0, SMOKE)


def test_a_bag_does_not_depend_on_what_else_is_varied():
    members = [Member(recipe=SMOKE, mix=mix, bag=3, seed=2) for mix in ("mixup", "mixaugment")]
    first, second = (bag_rows(LABELS, m.bag, m.seed, m.recipe) for m in members)
    np.testing.assert_array_equal(first, second)
