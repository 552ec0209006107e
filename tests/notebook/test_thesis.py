"""Single-task against multi-task: who is trained, and that what is said of them is what they answer."""

from dataclasses import replace

import numpy as np
import pytest

from lsdkit.method import metrics
from lsdkit.notebook import thesis
from lsdkit.recipes import SMOKE, Member
from tests.fake_runs import answers, faces, leave, make_run

KEYS, LABELS = faces(300)
SPLITS = ["validation"] * 150 + ["test"] * 150


def leave_one(folder, member, right):
    given = answers(LABELS, right, member.seed)
    test_f1 = metrics.macro_f1(LABELS[150:], given[150:].argmax(1))
    return leave(make_run(folder, member, metrics={"test_macro_f1": test_f1}), KEYS, SPLITS, LABELS, given)


def leave_pairs(folder, right):
    """Six runs, the share of right answers of each task and seed by `right`(task, seed)."""
    return {
        task: [leave_one(folder / member.name, member, right(task, seed)) for seed, member in enumerate(own)]
        for task, own in thesis.list_members(Member.of("smoke")).items()
    }


def test_pairs_differ_in_the_appearance_branch_alone():
    members = thesis.list_members(Member.of("smoke", mix="mixup", bag=2, seed=7))
    for single, multi in zip(*members.values(), strict=True):
        assert (single.appearance, multi.appearance) == ("none", "vggface2")
        assert replace(single, appearance="vggface2") == multi
    assert [each.seed for each in members["multi-task"]] == [0, 1, 2]
    assert {each.appearance for each in thesis.list_members(Member.of("smoke", appearance="dino"))["multi-task"]} == {
        "dino"
    }
    assert thesis.list_members(Member.of("smoke", appearance="none", mix="mixup", bag=2)) == members


def test_the_difference_is_paired_by_seed(tmp_path):
    runs = leave_pairs(tmp_path, lambda task, seed: 0.5 + 0.2 * (task == thesis.MULTI) + 0.05 * seed)
    gain, told = thesis.compare_tasks(runs)["test"]
    gains = np.subtract(*([run.test_macro_f1 for run in runs[task]] for task in (thesis.MULTI, thesis.SINGLE)))
    assert gain.each == pytest.approx(tuple(gains))
    assert (gain.faces, gain.unit) == (150, "faces and seeds")
    assert 0 < gain.low < gain.value < gain.high
    assert "3 multi-task members above the single-task ones" in told
    assert f"{gains.mean():+.3f}" in told


def test_the_same_answers_are_no_difference(tmp_path):
    gain, told = thesis.compare_tasks(leave_pairs(tmp_path, lambda task, seed: 0.6))["validation"]
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)
    assert "are not told apart" in told
    assert "the same answer to 100.0% of the faces" in told


def test_pairs_are_trained_and_work_that_is_done_is_not_counted(tiny_store, tmp_path, monkeypatch):
    member = Member.of(replace(SMOKE, steps_per_epoch=1), epochs=1)
    said = []
    assert "6 of 6 trainings" in thesis.describe_work(tmp_path, member, 90)
    pairs = {task: own[:1] for task, own in thesis.list_members(member).items()}
    monkeypatch.setattr(thesis, "list_members", lambda member: pairs)
    runs = thesis.train_pairs(tmp_path, member, tiny_store, device="cpu", tell=said.append)
    assert said == ["single-task, seed 0", "multi-task, seed 0"]
    assert [run.member.appearance for own in runs.values() for run in own] == ["none", "vggface2"]
    assert "0 of 2 trainings" in thesis.describe_work(tmp_path, member, 90)
    assert thesis.share_of_landmarks(runs["single-task"]) == 0
    last = runs["multi-task"][0].read_history().iloc[-1]
    assert thesis.share_of_landmarks(runs["multi-task"]) == last["landmarks"] / last["loss"] > 0
    assert {split: gain.unit for split, (gain, _) in thesis.compare_tasks(runs).items()} == {
        "validation": "faces",
        "test": "faces",
    }
