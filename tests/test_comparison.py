"""Several seeds in a folder: the rules choose seed by seed."""

import pytest

from lsdkit import comparison, results
from tests.fake_runs import STRONG, WEAK, leave_matrix


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds")
    leave_matrix(root, lambda cell, seed: 0.5 + 0.03 * seed, count=60, cells=STRONG + WEAK, strong=(1,), weak=(0, 1, 2))
    return results.list_runs(root)


def test_strong_runs_serve_the_seeds_that_have_none(runs):
    found = comparison.by_seed(runs)
    assert list(found) == [0, 1, 2]
    for seed, part in found.items():
        assert set(part.loc[part["bag"] > 0, "seed"]) == {seed}
        assert set(part.loc[part["bag"] == 0, "seed"]) == {1}
        assert len(part) == 38
    own = runs.assign(seed=runs["seed"].where(runs["bag"] > 0, 2))
    assert set(comparison.by_seed(own)[2].query("bag == 0")["seed"]) == {2}
    assert list(comparison.by_seed(runs[runs["bag"] == 0])) == [1]
    assert comparison.by_seed(runs.iloc[:0]) == {}
    assert list(comparison.by_seed(runs[runs["bag"] > 0])) == [0, 1, 2]


def test_rules_select_where_there_are_several_seeds(runs):
    chosen = {each.name: each for each in comparison.selections(runs)}
    assert [len(each.runs) for each in chosen.values()] == [5, 17, 7, 10, 12, len(runs)]
    assert all(each.complete for each in chosen.values())
    seeds = runs.set_index("run")["seed"]
    assert set(seeds[list(chosen["MU MobileViTv2 Weak"].runs)]) == {0}
    table = comparison.score_ensembles(runs)
    assert table["value"].notna().all()
    assert comparison.selections(runs.iloc[:0])[0].runs == ()


def test_names_tell_the_seed_where_it_is_not_the_first(runs):
    names = [comparison.short_name(run) for _, run in runs.iterrows()]
    assert len(set(names)) == len(names)
    assert "Mix-up, dino, bag 2, seed 1" in names
    assert "Mix-up, dino, bag 2" in names
