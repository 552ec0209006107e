"""The five ensembles on the paper's own results, and who is chosen from where there are several seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lsdkit.ensembles.rules import BEST_STRONG, ENSEMBLES, find_ensemble, group_by_seed, select_members
from lsdkit.recipes import Member
from lsdkit.training.runs import Run
from tests.fake_runs import make_run

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


def scored_run(mix: str, appearance: str, basic: bool, bag: int, f1: float, seed: int = 0, name: str = "") -> Run:
    member = Member.of("smoke", mix=mix, appearance=appearance, basic_aug=basic, bag=bag, seed=seed)
    name = name or f"{mix}-{appearance}-{int(basic)}-{bag}"
    return make_run(Path(name), member, metrics={"val_macro_f1": f1})


def paper_runs(strong_seeds=(0,), weak_seeds=(0,)) -> list[Run]:
    """The 38 runs in no order, and more of them with more seeds; names tell seeds above 0."""
    runs = [
        scored_run(*cell, 0, f1 - seed, seed, "" if not seed else f"{cell}{seed}")
        for cell, f1 in PAPER_TABLE.items()
        for seed in strong_seeds
    ]
    for (mix, appearance), f1 in PAPER_WEAK.items():
        for seed in weak_seeds:
            name = f"{mix}-{appearance}-1-{{}}" + (f"-seed{seed}" if seed else "")
            runs += [
                scored_run(mix, appearance, True, bag, f1 + bag - 3, seed, name.format(bag)) for bag in range(1, 6)
            ]
    return [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]


def weak(mix, appearance):
    return {f"{mix}-{appearance}-1-{bag}" for bag in range(1, 6)}


def names(runs) -> list[str]:
    return [run.name for run in runs]


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


def select(runs, name: str):
    """What an ensemble selects from runs of one seed."""
    ((_, selection),) = select_members(runs, find_ensemble(name).id).items()
    return selection


@pytest.mark.parametrize("name", EXPECTED)
def test_rules_on_the_papers_own_results(name):
    selection = select(paper_runs(), name)
    assert selection.name == name
    assert set(names(selection.runs)) == EXPECTED[name]
    assert len(selection.runs) == len(EXPECTED[name])
    assert selection.complete


def test_ensembles_are_found_by_id_and_by_name():
    assert [ensemble.name for ensemble in ENSEMBLES.values()] == list(EXPECTED)
    for id, ensemble in ENSEMBLES.items():
        assert find_ensemble(id) is find_ensemble(ensemble.name) is ensemble
    for text in ("MU", "All members", BEST_STRONG.id):
        with pytest.raises(ValueError, match=f"'all' or one of 'MU MobileViTv2 Weak'.*but got {text!r}"):
            find_ensemble(text)


def test_rules_follow_the_scores_and_not_a_list():
    better = [
        replace(run, metrics={"val_macro_f1": run.val_macro_f1 + 9})
        if (run.member.mix, run.member.appearance) == ("mixaugment", "dino") and run.member.bag
        else run
        for run in paper_runs()
    ]
    assert weak("mixaugment", "dino") <= set(names(select(better, "MA Strong & MA Best Weak").runs))
    extra = scored_run("mixup", "mobilevitv2", True, 0, 99, name="extra")
    assert "extra" not in names(select([*paper_runs(), extra], "MU Strong & MU Weak").runs)  # the paper had none


@pytest.mark.parametrize("name", EXPECTED)
def test_missing_cells_are_said_in_words(name):
    few = select([run for run in paper_runs() if run.member.bag in (0, 1)], name)
    assert few.runs
    assert not few.complete
    assert any("weak, bag 3" in words for words in few.missing)
    other = select([scored_run("mixup", "none", True, 1, 50)], name)  # not a run of any ensemble
    assert other.runs == ()
    assert other.missing
    assert not other.complete


def test_two_runs_of_a_cell_are_refused():
    again = scored_run("mixup", "mobilevitv2", True, 2, 60, name="again")
    with pytest.raises(ValueError, match=r"Expected one run of .*again"):
        select_members([*paper_runs(), again], "mu_mobilevit_weak")


def test_strong_runs_serve_the_seeds_that_have_none():
    runs = paper_runs(strong_seeds=(1, 2), weak_seeds=(0, 1, 2, 3))
    grouped = group_by_seed(runs)
    assert list(grouped) == [0, 1, 2, 3]
    for seed, strong in {0: 1, 1: 1, 2: 2, 3: 1}.items():
        assert {run.member.seed for run in grouped[seed] if run.member.bag} == {seed}
        assert {run.member.seed for run in grouped[seed] if not run.member.bag} == {strong}
        assert len(grouped[seed]) == 38
    assert list(group_by_seed([run for run in runs if not run.member.bag])) == [1, 2]
    assert list(group_by_seed([run for run in runs if run.member.bag])) == [0, 1, 2, 3]
    assert group_by_seed([]) == {}


def test_every_rule_chooses_seed_by_seed():
    runs = paper_runs(weak_seeds=(0, 1, 2))
    sizes = {"mu_mobilevit_weak": 5, "mu_strong_mu_weak": 17, "ma_strong_ma_best_weak": 7, "mu_ma_best_weak": 10}
    for id, size in {**sizes, "best_strong_ma_vgg_mu_mobilevit": 12}.items():
        selections = select_members(runs, id)
        assert list(selections) == [0, 1, 2]
        for seed, selection in selections.items():
            assert (len(selection.runs), selection.complete, selection.seed) == (size, True, seed)
            assert selection.name == f"{ENSEMBLES[id].name}, seed {seed}"
            assert {run.member.seed for run in selection.runs if run.member.bag} == {seed}
            assert {run.member.seed for run in selection.runs if not run.member.bag} <= {0}


def test_the_best_strong_run_is_chosen_where_all_eight_are():
    """Strong seeds 0 to 2 with weak seed 0: the strong runs of seed 0 stand for it, as in every ensemble."""
    runs = paper_runs(strong_seeds=(0, 1, 2))
    ((seed, selection),) = select_members(runs, BEST_STRONG.id).items()
    assert (seed, names(selection.runs), selection.complete) == (0, ["mixup-dino-1-0"], True)
    few = [run for run in runs if run.name != "mixup-vggface2-1-0"]
    assert not select_members(few, BEST_STRONG.id)[0].complete
    strong = select_members([run for run in runs if not run.member.bag], BEST_STRONG.id)
    assert [len(each.runs) for each in strong.values()] == [1, 1, 1]
