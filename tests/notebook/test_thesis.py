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


def leave_pairs(folder, right, labels=LABELS):
    """Six runs, the share of right answers of each task and seed by `right`(task, seed)."""
    return {
        task: [
            leave(
                make_run(folder / member.name, member), KEYS, SPLITS, labels, answers(LABELS, right(task, seed), seed)
            )
            for seed, member in enumerate(own)
        ]
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
    runs = leave_pairs(tmp_path, lambda task, seed: 0.5 + 0.2 * (task == "multi-task") + 0.05 * seed)
    found = thesis.compare_tasks(runs)
    assert (found.split, found.faces, found.unit) == ("test", 150, "faces")
    scores = {task: [run.read_predictions() for run in own] for task, own in runs.items()}
    f1 = {task: [score(table) for table in tables] for task, tables in scores.items()}
    gains = np.subtract(f1["multi-task"], f1["single-task"])
    assert found.seeds == pytest.approx(tuple(gains))
    assert found.value == pytest.approx(gains.mean())
    assert found.low < found.value < found.high
    assert found.low > 0
    assert f"{gains.mean():+.3f}" in str(found)
    assert "more than chance makes" in str(found)


def score(table):
    part = table[table["split"] == "test"]
    names = list(table.columns[3:])
    answers = part[names].to_numpy().argmax(1)
    return metrics.macro_f1([names.index(name) for name in part["expression"]], answers)


def test_the_same_answers_are_no_difference(tmp_path):
    found = thesis.compare_tasks(leave_pairs(tmp_path, lambda task, seed: 0.6))
    assert (found.value, found.low, found.high, found.alike) == (0, 0, 0, 1)
    assert "no difference that can be told" in str(found)
    by_people = thesis.compare_tasks(
        leave_pairs(tmp_path / "other", lambda task, seed: 0.5 + 0.1 * (task == "multi-task")),
        subjects={key: f"s{number % 7}" for number, key in enumerate(KEYS)},
    )
    assert by_people.unit == "subjects"


def test_without_test_labels_the_validation_faces_tell(tmp_path):
    unknown = np.where(np.array(SPLITS) == "test", -1, LABELS)
    found = thesis.compare_tasks(leave_pairs(tmp_path, lambda task, seed: 0.6, labels=unknown))
    assert found.split == "validation"


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
    assert thesis.share_of_landmarks(runs["single-task"][0]) == 0
    last = runs["multi-task"][0].read_history().iloc[-1]
    assert thesis.share_of_landmarks(runs["multi-task"][0]) == last["landmarks"] / last["loss"] > 0
    assert thesis.compare_tasks(runs).seeds
