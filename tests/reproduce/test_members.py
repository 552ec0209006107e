"""The cells of the paper's tables, and what a plan makes of them."""

import pytest

from lsdkit.notebook.grids import parse_grid
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


def list_own(text: str, **plan) -> list[Member]:
    return list_members(Plan(**{"recipe": "smoke", **plan, "rows": parse_grid(text)}))


def test_rows_take_the_place_of_the_cells_and_come_before_the_plan():
    members = list_own(
        "MIX=mixup,mixaugment SEED=0:5 SETTINGS='alpha=0.2 vote=logits','alpha=0.3'", settings="alpha=0.5"
    )
    assert len({member.name for member in members}) == len(members) == 20
    assert {(member.mix, member.seed) for member in members} == {
        (m, s) for m in ("mixup", "mixaugment") for s in range(5)
    }
    assert {member.recipe.alpha for member in members} == {0.2, 0.3}
    assert {(member.appearance, member.basic_aug, member.bag) for member in members} == {("vggface2", True, 0)}
    seeds = [(member.bag, member.seed) for member in list_own("BAG=0,3", seeds=(1, 2), weak_seeds=(7,))]
    assert seeds == [(0, 1), (0, 2), (3, 7)]
    assert {member.recipe.name for member in list_own("RECIPE=tiny,smoke")} == {"tiny", "smoke"}
    assert {member.epochs for member in list_own("EPOCHS=0,3", epochs=5)} == {2, 3}  # 0 is the recipe's own
    given = {"emotion_weights": "runs/one", "appearance_weights": "dino=runs/dino"}
    sources = [m.recipe.source(m.appearance) for m in list_own("APPEARANCE=dino,vggface2,none", **given)]
    assert sources == ["runs/dino", "random", "random"]
    assert {m.recipe.source("emotion") for m in list_own("EMOTION_WEIGHTS=runs/two", **given)} == {"runs/two"}


def test_every_row_has_all_parameters_of_the_notebook_so_that_its_defaults_decide_nothing():
    (entry,) = expand_plan(Plan(recipe="smoke", rows={"one": {"MIX": "mixup"}}), "cpu")
    names = {"RECIPE", "MIX", "APPEARANCE", "BASIC_AUG", "BAG", "SEED", "EPOCHS", "DEVICE", "DEVICES", "SETTINGS"}
    assert entry.parameters.keys() == names | {"EMOTION_WEIGHTS", "APPEARANCE_WEIGHTS"}
    assert (entry.parameters["DEVICE"], entry.table) == ("cpu", "own")


def test_a_wrong_row_is_named_and_no_member_comes_twice():
    rows = {"row 1 of f.csv": {"MIX": "mixup"}, "row 2 of f.csv": {"BAG": 6}}
    with pytest.raises(ValueError, match=r"^row 2 of f\.csv: Expected `BAG` .* but got 6"):
        list_members(Plan(recipe="smoke", rows=rows))
    with pytest.raises(ValueError, match=r"SETTINGS='alpha=0.1' and SETTINGS='' are the same member, smoke-mixaugment"):
        list_own("SETTINGS='','alpha=0.1'")
    with pytest.raises(ValueError, match=r"second and first are the same member"):
        list_members(Plan(recipe="smoke", seeds=(0, 1), rows={"first": {}, "second": {"SEED": 1}}))
    with pytest.raises(ValueError, match="would share a folder"):
        list_own("EMOTION_WEIGHTS=runs/a/one,runs/b/one")
