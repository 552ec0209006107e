"""The cells of the paper's tables, and what a plan makes of them."""

import pytest

from lsdkit.recipes import Member
from lsdkit.reproduce.members import Plan, expand_plan, list_cells


def list_members(plan: Plan) -> list[Member]:
    return [entry.member for entry in expand_plan(plan)]


def test_the_cells_are_the_papers():
    assert len({cell for _, cell in list_cells()}) == len(list_cells()) == 42
    strong, weak, extra = ([cell for _, cell in list_cells(name)] for name in ("table2", "table3", "extra"))
    assert [len(part) for part in (strong, weak, extra)] == [8, 30, 4]
    assert {cell.bag for cell in strong + extra} == {0}
    assert {cell.appearance for cell in strong} == {"vggface2", "dino"}
    assert all(cell.basic_aug for cell in weak)
    pairs = {(cell.mix, cell.appearance) for cell in weak}
    assert len(pairs) == 6
    assert {(*pair, bag) for pair in pairs for bag in range(1, 6)} == {(c.mix, c.appearance, c.bag) for c in weak}
    assert {cell.appearance for cell in extra} == {"mobilevitv2"}
    assert [table for table, _ in list_cells("table3,table2")] == ["table2"] * 8 + ["table3"] * 30
    with pytest.raises(ValueError, match=r"'extra', 'all', but got 'table4'"):
        list_cells("table2,table4")


def test_members_take_the_seeds_of_their_strength():
    plan = Plan(recipe="smoke", seeds=(3,), weak_seeds=(0, 1, 2), settings="label_smoothing=0.1", epochs=1)
    members = list_members(plan)
    assert len(members) == 12 + 90
    assert len({member.name for member in members}) == len(members)
    assert {member.seed for member in members if member.bag == 0} == {3}
    assert {member.seed for member in members if member.bag} == {0, 1, 2}
    assert all(member.recipe.label_smoothing == 0.1 and member.epochs == 1 for member in members)
    assert {member.seed for member in list_members(Plan(members="table3", recipe="smoke", seeds=(1, 2)))} == {1, 2}
    other = list_members(Plan(members="extra", recipe="smoke", emotion_weights="runs/one"))[0]
    assert other.recipe.source("emotion") == "runs/one"
    twice = list_members(Plan(members="table2", recipe="smoke", seeds=(0, 0)))
    assert len(twice) == 8  # a seed that is said twice is one
    with pytest.raises(ValueError, match="at least one seed"):
        list_members(Plan(recipe="smoke", seeds=()))
    with pytest.raises(ValueError, match="but got 'alfa=1'"):
        list_members(Plan(recipe="smoke", settings="alfa=1"))


def test_appearances_may_have_weights_of_their_own():
    plan = Plan(members="table2", recipe="smoke", appearance_weights="dino=runs/dino")
    sources = {member.appearance: member.recipe.source(member.appearance) for member in list_members(plan)}
    assert sources == {"dino": "runs/dino", "vggface2": "random"}
    for text, words in (("dinno=runs/dino", "'dino'"), ("dino", "dino=SOURCE")):
        with pytest.raises(ValueError, match=words):
            list_members(Plan(recipe="smoke", appearance_weights=text))
