"""Votes over the predictions of runs: which faces belong together, who is refused, and scores with several seeds."""

import numpy as np
import pytest

from lsdkit.ensembles import votes
from lsdkit.ensembles.rules import ENSEMBLES, select_members
from lsdkit.recipes import Member
from lsdkit.training.predictions import prediction_table, probabilities_of
from lsdkit.training.runs import list_runs
from tests.fake_runs import STRONG, WEAK, leave_matrix, make_run, write_table


def random_stack(members=3, count=7, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(6), (members, count))


def leave_predictions(folder, order, stack, expression="FEAR", checksums=None, recipe="smoke"):
    keys = [f"k{i}" for i in order]
    table = prediction_table(keys, ["validation"] * len(keys), np.full(len(keys), 2), stack[order])
    write_table(folder / "predictions.csv", table.assign(expression=expression))
    return make_run(folder, Member.of(recipe), checksums=checksums or {"images.npy": "1"})


def test_vote_runs_pairs_faces_by_key(tmp_path):
    stack = random_stack(2)
    runs = [
        leave_predictions(tmp_path / "a", np.arange(7), stack[0]),
        leave_predictions(tmp_path / "b", np.arange(7)[::-1], stack[1]),
    ]
    vote = votes.vote_runs(runs)
    assert list(vote["key"]) == [f"k{i}" for i in range(7)]
    assert set(vote["expression"]) == {"FEAR"}
    np.testing.assert_allclose(probabilities_of(vote), stack.mean(0), atol=1e-8)


def test_runs_of_one_folder_name_are_two_runs(tmp_path):
    stack = random_stack(2, count=60)
    folders = [tmp_path / name / "same" for name in "ab"]
    runs = [leave_predictions(folder, np.arange(60), one) for folder, one in zip(folders, stack, strict=True)]
    alone = [votes.score_members([run])["value"].item() for run in runs]
    voted = votes.score_ensembles(runs).iloc[-1]
    assert voted["mean_of_members"] == pytest.approx(np.mean(alone))
    assert alone[0] != alone[1]


def test_vote_runs_refuses_what_does_not_fit(tmp_path):
    stack = random_stack(1)[0]
    run = leave_predictions(tmp_path / "a", np.arange(7), stack)
    cases = {
        "but got 6 and 7 faces": leave_predictions(tmp_path / "fewer", np.arange(6), stack),
        "agree": leave_predictions(tmp_path / "relabelled", np.arange(7), stack, expression="ANGER"),
        "different data": leave_predictions(tmp_path / "other", np.arange(7), stack, checksums={"images.npy": "2"}),
        "same faces .*but got 8 and 7 faces": leave_predictions(tmp_path / "twice", np.array([*range(7), 0]), stack),
        "in one way, but got logits and prob": leave_predictions(
            tmp_path / "way", np.arange(7), stack, recipe="authors"
        ),
    }
    for words, other in cases.items():
        with pytest.raises(ValueError, match=words):
            votes.vote_runs([run, other])
    with pytest.raises(ValueError, match="at least one run"):
        votes.vote_runs([])
    with pytest.raises(FileNotFoundError, match=r"predictions\.csv"):
        votes.vote_runs([run, make_run(tmp_path / "nowhere", run.member)])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("seeds")
    leave_matrix(root, lambda cell, seed: 0.5 + 0.03 * seed, count=60, cells=STRONG + WEAK, strong=(1,), weak=(0, 1, 2))
    return list_runs(root)


def test_each_rule_and_seed_has_a_row_and_the_vote_of_all_is_last(runs):
    table = votes.score_ensembles(runs)
    assert table["name"].tolist() == [
        *(f"{ensemble.name}, seed {seed}" for ensemble in ENSEMBLES.values() for seed in (0, 1, 2)),
        votes.ALL_MEMBERS,
    ]
    assert table["members"].tolist() == [*np.repeat([5, 17, 7, 10, 12], 3), len(runs)]
    assert (table["group"] == "ensemble").all()
    assert table[["value", "low", "high", "mean_of_members"]].notna().all(axis=None)
    selection = select_members(runs, "mu_mobilevit_weak")[2]
    row = table.set_index("name").loc["MU MobileViTv2 Weak, seed 2"]
    faces, stack = votes.read_stack(selection.runs, "validation")
    answers = stack.mean(0).argmax(1)
    assert row["value"] == pytest.approx(votes.metrics.macro_f1(votes.labels_of(faces), answers))
    assert row["mean_of_members"] == pytest.approx(np.mean([run.val_macro_f1 for run in selection.runs]))


def test_one_seed_needs_no_mention(runs):
    one = [run for run in runs if run.member.seed == 1]
    table = votes.score_ensembles(one)
    assert table["name"].tolist() == [*(ensemble.name for ensemble in ENSEMBLES.values()), votes.ALL_MEMBERS]
    assert table["members"].tolist() == [5, 17, 7, 10, 12, 38]


def test_a_cell_with_two_runs_leaves_its_rules_without_a_vote(runs, tmp_path):
    one = [run for run in runs if run.member.seed == 1]
    again = next(run for run in one if run.member.appearance == "mobilevitv2" and run.member.mix == "mixup")
    table = votes.score_ensembles([*one, again]).set_index("name")
    row = table.loc["MU MobileViTv2 Weak"]
    assert (row["members"], row["group"]) == (0, "ensemble, incomplete")
    assert again.name in row["missing"][0]
    assert np.isnan(row["value"])
    assert votes.describe_score(row) == "nothing to vote"
    assert table.loc[votes.ALL_MEMBERS, "members"] == 39


def test_names_tell_the_seed_where_it_is_not_the_first(runs):
    names = [votes.name_run(run) for run in runs]
    assert len(set(names)) == len(names)
    assert "Mix-up, dino, bag 2, seed 1" in names
    assert "Mix-up, dino, bag 2" in names
    assert "Mix-aug, dino, whole set, seed 1, no basic aug" in names
