"""Whether a folder is of this training, where versions of lsdkit name other appearances in a recipe."""

from dataclasses import replace

import pytest

from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints
from lsdkit.training.identity import describe_change
from lsdkit.training.ownership import check_owner, claim_folder, identify

OLDER = replace(SMOKE, appearances=tuple(pair for pair in SMOKE.appearances if pair[0] != "dino"))


@pytest.mark.parametrize("change", [{"appearances": OLDER.appearances}, {"weights": (("dino", "dino_open"),)}])
def test_what_a_recipe_says_of_other_appearances_decides_nothing(tiny_store, tmp_path, change):
    recipe = replace(SMOKE, **change)
    older, newer = (identify(Member(recipe=each), tiny_store) for each in (recipe, SMOKE))
    assert older != newer
    assert describe_change(older, newer) == ""
    claim_folder(tmp_path, older)
    assert check_owner(tmp_path, newer)
    checkpoints.save(tmp_path, {"identity": older})
    assert checkpoints.load(tmp_path, newer)[0]["identity"] == older


@pytest.mark.parametrize("change", [{"seed": 1}, {"recipe": replace(SMOKE, weights=(("dino", "dino_open"),))}])
def test_what_a_member_has_decides(tiny_store, tmp_path, change):
    member = Member(recipe=SMOKE, appearance="dino")
    own, other = identify(member, tiny_store), identify(replace(member, **change), tiny_store)
    assert describe_change(own, other)
    claim_folder(tmp_path, own)
    with pytest.raises(ValueError, match=r"holds another training: .*; do this"):
        check_owner(tmp_path, other, "do this")


def test_identities_of_other_tasks_are_compared_as_they_are():
    assert describe_change({"settings": {"a": 1}}, {"settings": {"a": 1}}) == ""
    assert "settings.a is 1, not 2" in describe_change({"settings": {"a": 1}}, {"settings": {"a": 2}})
