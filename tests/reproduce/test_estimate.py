"""What a sweep would cost, in words: exact numbers, assumed rates, measured times."""

from dataclasses import replace

import pytest

from lsdkit.recipes import AUTHORS, MIXES, PAPER, SMOKE, WORKSHOP, Member
from lsdkit.reproduce import estimate
from lsdkit.reproduce.members import Entry
from lsdkit.training import cost as costs
from lsdkit.training.member import train_member


def describe(members: list[Member], faces: estimate.Faces, on: str = "T4", runs=()) -> str:
    entries = [Entry(member, {}, "table3" if member.bag else "table2") for member in members]
    return estimate.describe_plan(entries, faces, on=on, runs=runs)


def paper_plan(**options) -> str:
    members = [Member(recipe=replace(PAPER, **options), mix=mix, bag=bag) for mix in MIXES for bag in (0, 1)]
    return describe(members, estimate.count_faces(PAPER), on="6 x RTX 3090")


def test_the_plan_of_the_paper_needs_neither_data_nor_weights():
    text = paper_plan()
    assert "277,251 training, 4,670 validation and 106,120 test faces" in text
    assert "12 epochs over 277,251 faces, 26,004 steps" in text  # 12 x ceil(277251 / 128) = 12 x 2167
    assert "12 epochs over 55,450 faces, 5,208 steps" in text
    for word in ("RUNS (exact)", "PARAMETERS (exact)", "OPERATIONS (computed", "assumed: 20% to 45% of 35.6 TFLOP/s"):
        assert word in text
    assert "DOES NOT FIT" in text
    assert "bf16" in text.rpartition("What helps")[2]
    for option in ("recompute", "split_4"):
        assert option in text.rpartition("What helps")[2]
        less = paper_plan(memory=option)
        assert f"memory {option}: parameters" in less
        assert "fits in the 24 GiB" in less
        assert "DOES NOT FIT" not in less
    assert "DOES NOT FIT" not in paper_plan(precision="bf16")
    assert "measured" not in text


def test_the_hours_are_operations_over_rates():
    member = Member(recipe=PAPER)
    cost = costs.measure_cost(member)
    text = describe([member], estimate.count_faces(PAPER), on="A100")
    operations = 12 * 277251 * cost.training + (13 * 4670 + 106120) * cost.inference
    low, high = (operations / (share * 19.5e12) / 3600 for share in (0.45, 0.2))
    assert f"HOURS on 1 x A100, each with a run of its own: {low:.1f} to {high:.1f} h" in text


@pytest.mark.slow
def test_finished_runs_of_the_same_recipe_supply_their_times(tiny_store, tmp_path):
    member = Member(recipe=SMOKE)
    run = train_member(member, tiny_store, tmp_path / "run", device="cpu", progress=False)
    faces = estimate.count_faces(SMOKE, str(tiny_store.path))
    assert (len(faces.labels), faces.validation, faces.test) == (48, 24, 12)
    members = [Member(recipe=SMOKE, seed=seed) for seed in range(100)]
    text = describe(members, faces, runs=[run])
    minutes = 100 * run.seconds / 60
    assert "as 1 finished runs of this recipe took (measured on cpu" in text
    assert f": {minutes:.1f} min of training" in text
    assert "measured for 1 of 1 pairs" in text
    assert "do not reach that share" in text
    other = [replace(each, recipe=replace(SMOKE, alpha=0.2)) for each in members]
    assert "finished runs" not in describe(other, faces, runs=[run])


def test_recipes_that_differ_are_told_apart_where_the_cost_does():
    recipes = [replace(SMOKE, alpha=alpha, batch_size=batch) for alpha in (0.1, 0.2) for batch in (8, 16)]
    members = [Member(recipe=recipe, mix="mixup") for recipe in recipes]
    text = describe(members, estimate.count_faces(SMOKE))
    memory = text.partition("MEMORY")[2].partition("HOURS")[0]
    assert "batch 8 or 16, float32" in memory
    assert [memory.count(f"batch_size={batch} ") for batch in (8, 16)] == [1, 1]
    assert "alpha" not in text
    both = describe([Member(recipe=SMOKE), Member(recipe=PAPER)], estimate.count_faces(SMOKE))
    assert "2 runs of the recipe smoke or paper" in both
    assert "RECIPE=paper" in both
    assert "of 2 to 12 epochs" in both


def test_the_card_is_checked():
    assert estimate.parse_machine("rtx 4090") == (1, estimate.read_cards()["RTX 4090"])
    assert estimate.parse_machine("8xH100")[0] == 8
    for wrong in ("6 x P100", "0 x T4", ""):
        with pytest.raises(ValueError, match=r"such as '6 x RTX 3090'.*RTX 3090, RTX 4090"):
            estimate.parse_machine(wrong)
    for card in estimate.read_cards().values():
        assert card.source
        assert card.bf16 == 0 or card.bf16 > card.float32
    half = Member(recipe=replace(SMOKE, precision="bf16"))
    assert "has no bf16" in describe([half], estimate.count_faces(SMOKE))


def test_faces_are_the_recipes_where_no_store_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    assert estimate.count_faces(PAPER).what == estimate.count_faces(AUTHORS).what == "the LSD release"
    sizes = {}
    for recipe in (WORKSHOP, SMOKE, replace(PAPER, data="open_small")):
        faces = estimate.count_faces(recipe)
        assert faces.what == "the open set, which will be rendered first"
        sizes[recipe.name] = len(faces.labels), faces.validation, faces.test
    assert sizes == {"workshop": (2773, 600, 600), "smoke": (277, 60, 60), "paper": (277, 60, 60)}
