import math
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

from lsdkit.common.files import write_json
from lsdkit.recipes import AUTHORS, BAGS, MIXES, PAPER, RECIPES, SMOKE, Member, Recipe, find_recipe
from lsdkit.training.ownership import find_finished, identify
from lsdkit.training.runs import Run, read_run, write_run

AUTHORS_DIFFERS = {
    *("name", "weight_decay", "lr_decay", "class_weights", "basic_aug_off", "draws", "shared_jitter"),
    *("normalisation", "head_log_softmax", "partition", "partition_passes", "affinity", "dino_key", "vote"),
    *("shared_statistics", "weights"),
}


def test_table_1_of_the_paper():
    assert (PAPER.batch_size, PAPER.epochs, PAPER.heads, PAPER.alpha) == (128, 12, 4, 0.1)
    assert (PAPER.learning_rate, PAPER.image_size, PAPER.bag_fraction, BAGS) == (1e-4, 224, 0.2, 5)
    assert MIXES == ("mixup", "mixaugment")


def test_authors_differs_from_paper_only_where_it_says_so():
    different = {field.name for field in fields(Recipe) if getattr(PAPER, field.name) != getattr(AUTHORS, field.name)}
    assert different == AUTHORS_DIFFERS


def test_names():
    assert all(find_recipe(name).name == name for name in RECIPES)
    with pytest.raises(ValueError, match="'paper', 'authors', 'workshop'"):
        find_recipe("papre")
    names = {
        Member(recipe=PAPER, mix=mix, appearance=appearance, basic_aug=basic, bag=bag, seed=seed, epochs=epochs).name
        for mix in MIXES
        for appearance in ("vggface2", "dino")
        for basic in (True, False)
        for bag in (0, 1)
        for seed in (0, 1)
        for epochs in (0, 3)
    }
    assert len(names) == 2**6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("image_size", value) for value in (0, 15, 1025)),
        *((name, 0) for name in ("features", "head_features", "heads", "epochs", "learning_rate", "alpha")),
        ("batch_size", 1),
        ("alpha", float("nan")),
        ("learning_rate", -1e-4),
        *(("bag_fraction", value) for value in (0, 1.1)),
        *(("lr_decay", value) for value in (0, 1.1)),
        *((name, "strange") for name in ("class_weights", "basic_aug_off", "draws", "normalisation", "partition")),
        *((name, value) for name in ("label_smoothing", "averaging") for value in (-0.1, 1)),
        *((name, -1) for name in ("classes", "steps_per_epoch")),
        ("classes", 9),
        ("sampling", "strange"),
        *((name, "strange") for name in ("partition_passes", "affinity", "dino_key", "vote", "precision")),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(ValueError, match=f"Expected `{name}`"):
        replace(PAPER, **{name: value})


NUMBERS = ("learning_rate", "weight_decay", "lr_decay", "averaging", "alpha", "bag_fraction", "label_smoothing")
WHOLE = ("image_size", "classes", "features", "head_features", "heads", "batch_size", "epochs", "steps_per_epoch")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *((name, value, "a finite number") for name in NUMBERS for value in (math.inf, -math.inf, math.nan, "1", True)),
        *((name, value, "a whole number") for name in WHOLE for value in (32.5, 32.0, math.inf, math.nan, "32", True)),
        *((name, 1, "True or False") for name in ("bag_replacement", "shared_jitter", "head_log_softmax")),
        *(("shared", value, "two whole numbers") for value in ((8.5, 4), (8, 0), (8,), (8, 4, 2), (8, math.inf))),
    ],
)
def test_a_setting_of_another_kind_is_named_with_what_was_given(name, value, words):
    with pytest.raises(ValueError, match=re.escape(f"Expected `{name}` to be {words}")) as caught:
        replace(PAPER, **{name: value})
    assert f"but got {value!r}" in str(caught.value)


def test_every_number_of_a_recipe_is_checked():
    kinds = {each.name: type(each.default) for each in fields(Recipe)}
    for name, kind in kinds.items():
        if kind in (int, float, bool):
            with pytest.raises(ValueError, match=f"Expected `{name}`"):
                replace(PAPER, **{name: math.nan})


def test_a_whole_number_serves_where_any_number_does():
    recipe = replace(PAPER, weight_decay=0, alpha=1, lr_decay=1)
    assert (recipe.weight_decay, recipe.alpha, recipe.lr_decay) == (0, 1, 1)


def test_disjoint_bags_must_fit():
    assert replace(PAPER, bag_disjoint=True).bag_fraction == 0.2
    for options in ({"bag_fraction": 0.3}, {"bag_replacement": True}):
        with pytest.raises(ValueError, match="Disjoint bags need"):
            replace(PAPER, bag_disjoint=True, **options)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("mix", "cutmix", "'mixup', 'mixaugment'"),
        ("bag", 6, "0, 1, 2, 3, 4, 5"),
        ("bag", -1, "0, 1, 2, 3, 4, 5"),
        ("basic_aug", "yes", "True, False"),
        ("seed", -1, "SEED"),
        ("seed", 1.5, "SEED"),
        ("seed", True, "SEED"),
        ("epochs", -2, "EPOCHS"),
    ],
)
def test_a_wrong_member_lists_what_is_valid(name, value, words):
    with pytest.raises(ValueError, match=words):
        Member(recipe=PAPER, **{name: value})


def test_names_tell_settings_and_weights_that_are_not_the_recipes():
    changed = replace(PAPER, label_smoothing=0.1).with_source("emotion", "runs/pre/2-expw/")
    name = Member(recipe=changed, bag=2).name
    assert name == "paper-mixaugment-vggface2-basic-bag2-seed0-label_smoothing_0.1-emotion_2_expw"
    assert (
        Member(recipe=PAPER.with_source("dino", "random")).name == Member(recipe=PAPER).name
    )  # its member has no dino
    assert "dino_random" in Member(recipe=PAPER.with_source("dino", "random"), appearance="dino").name


def test_weights_of_an_unknown_role_are_refused():
    with pytest.raises(ValueError, match="'emotion', 'vggface2', 'dino', 'mobilevitv2'"):
        PAPER.with_source("emotoin", "vggface2_ft")


def test_both_are_frozen():
    with pytest.raises(FrozenInstanceError):
        PAPER.epochs = 3
    with pytest.raises(FrozenInstanceError):
        Member(recipe=PAPER).bag = 1


CHANGES = {
    "image_size": 112,
    "emotion": "narrow",
    "appearances": (("vggface2", "narrow"), ("dino", "narrow"), ("mobilevitv2", "narrow")),
    "weights": (("emotion", "x.pt"),),
    "classes": 8,
    "sampling": "balanced",
    "label_smoothing": 0.1,
    "averaging": 0.9,
    "steps_per_epoch": 3,
    "features": 8,
    "head_features": 8,
    "heads": 2,
    "shared": (8, 4),
    "batch_size": 2,
    "epochs": 3,
    "learning_rate": 1e-3,
    "alpha": 0.2,
    "bag_fraction": 0.1,
    "bag_replacement": True,
    "bag_disjoint": True,
    "precision": "bf16",
    "aug_strength": 0.5,
    "frozen": (("narrow", 1),),
    "landmark_start": "mean",
    "weak_epochs": 3,
    "statistics": "measured",
    "memory": "recompute",
    **{name: getattr(AUTHORS, name) for name in AUTHORS_DIFFERS},
}

MEAN = {"averaging", "statistics"}  # of the mean of weights, changed together


def test_the_hash_sees_every_setting():
    settings = {field.name for field in fields(Recipe) if field.compare}
    assert set(CHANGES) == settings, "a new setting: add a changed value here"
    members = [Member(recipe=PAPER)]
    members += [Member(recipe=replace(PAPER, **{name: value})) for name, value in CHANGES.items() if name not in MEAN]
    members += [Member(recipe=replace(PAPER, averaging=0.9, statistics=value)) for value in ("averaged", "measured")]
    varied = {"mix": "mixup", "appearance": "dino", "basic_aug": False, "bag": 1, "seed": 1, "epochs": 3}
    members += [Member(recipe=PAPER, **{name: value}) for name, value in varied.items()]
    assert len({member.spec_hash() for member in members}) == len(members)


def test_the_hash_is_the_same_in_another_process():
    member = Member(recipe=PAPER, bag=3)
    text = "from lsdkit.recipes import *; print(Member(recipe=PAPER, bag=3, epochs=12).spec_hash())"
    root = Path(__file__).parents[1]
    other = subprocess.run([sys.executable, "-c", text], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == member.spec_hash()  # the recipe's epochs, written out, are the same training


def test_the_data_that_a_recipe_stands_for_is_no_part_of_what_is_trained():
    assert Member(recipe=replace(SMOKE, data="open")).spec_hash() == Member(recipe=SMOKE).spec_hash()
    assert "data" not in Member(recipe=SMOKE).spec()["recipe"]
    assert {recipe.name for recipe in RECIPES.values() if recipe.data == "release"} == {"paper", "authors"}


def test_members_are_built_from_names_and_sources():
    member = Member.of("smoke", mix="mixup", appearance="resnet50", emotion_weights="runs/one", seed=2)
    assert (member.recipe.name, member.mix, member.seed, member.basic_aug) == ("smoke", "mixup", 2, True)
    assert member.recipe.appearance_backbone("resnet50") == "resnet50"
    assert member.recipe.source("emotion") == "runs/one"
    assert Member.of(SMOKE) == Member(recipe=SMOKE)
    with pytest.raises(ValueError, match="no APPEARANCE_WEIGHTS"):
        Member.of("smoke", appearance="none", appearance_weights="dino_resnet50")


EARLIER = {  # the settings of a member of `smoke` as versions before the fields of LATER wrote them
    "recipe": {
        "name": "smoke",
        "image_size": 32,
        "emotion": "narrow_caffe",
        "classes": 6,
        "weights": [],
        "appearances": [["vggface2", "narrow_caffe"], ["dino", "narrow"], ["mobilevitv2", "mobilevitv2_050"]],
        "features": 32,
        "head_features": 16,
        "heads": 4,
        "shared": [32, 16],
        "batch_size": 16,
        "epochs": 2,
        "steps_per_epoch": 0,
        "learning_rate": 0.005,
        "weight_decay": 0.0001,
        "lr_decay": 0.9,
        "averaging": 0.0,
        "alpha": 0.1,
        "bag_fraction": 0.2,
        "bag_replacement": False,
        "bag_disjoint": False,
        "class_weights": "none",
        "sampling": "shuffled",
        "label_smoothing": 0.0,
        "aug_strength": 0.2,
        "basic_aug_off": "nothing_left",
        "draws": "per_image",
        "shared_jitter": False,
        "normalisation": "backbone",
        "head_log_softmax": True,
        "partition": "mean_log",
        "partition_passes": "one",
        "affinity": "soft",
        "shared_statistics": False,
        "dino_key": "teacher",
        "vote": "probabilities",
        "precision": "float32",
    },
    "mix": "mixaugment",
    "appearance": "vggface2",
    "basic_aug": True,
    "bag": 0,
    "seed": 0,
    "epochs": 2,
}
LATER = {"frozen", "landmark_start", "memory", "statistics", "weak_epochs"}


def test_fields_that_came_later_leave_earlier_hashes_as_they_were():
    assert {each.name for each in fields(Recipe) if "later" in each.metadata} == LATER
    member = Member(recipe=SMOKE)
    assert member.spec() == EARLIER
    assert member.spec_hash() == "71259dbe1ab7"
    for name in LATER:
        plain = replace(SMOKE, averaging=0.9 if name in MEAN else 0.0)
        changed = Member(recipe=replace(plain, **{name: CHANGES[name]}))
        assert set(changed.spec()["recipe"]) == {*EARLIER["recipe"], name}
        assert changed.spec_hash() != Member(recipe=plain).spec_hash()


def test_a_run_of_an_earlier_version_is_still_this_members(tmp_path, tiny_store):
    member = Member(recipe=SMOKE)
    result = {
        "format": 1,
        "member": EARLIER,
        "spec_hash": "71259dbe1ab7",
        "kind": "rendered",
        "best_epoch": 1,
        "metrics": {"val_macro_f1": 0.5},
        "counts": {},
        "seconds": 1.0,
        "weights_sha256": "0",
        "store": {"path": str(tiny_store.path), "checksums": {}},
    }
    write_json(tmp_path / "result.json", result)
    write_json(tmp_path / "member.json", identify(member, tiny_store) | {"member": EARLIER})
    run = read_run(tmp_path)
    assert run.member == member
    assert run.member.spec_hash() == run.spec_hash
    assert find_finished(tmp_path, identify(member, tiny_store)) == run
    with pytest.raises(ValueError, match="holds another training"):
        find_finished(tmp_path, identify(Member(recipe=replace(SMOKE, landmark_start="mean")), tiny_store))


@pytest.mark.parametrize("recipe", [RECIPES["demo"], RECIPES["workshop"], RECIPES["tiny"]])
def test_settings_that_came_later_are_written_and_read_again(tmp_path, recipe):
    member = Member(recipe=recipe, bag=1)
    write_run(Run(folder=tmp_path, member=member, kind="rendered", store="", checksums={}))
    again = read_run(tmp_path).member
    assert replace(again, recipe=replace(again.recipe, data=recipe.data)) == member
    assert again.spec_hash() == member.spec_hash()


@pytest.mark.parametrize("name", ["demo", "workshop"])
def test_weak_members_have_epochs_of_their_own(name):
    recipe = RECIPES[name]
    assert recipe.weak_epochs == 2 * recipe.epochs
    for bag in range(BAGS + 1):
        member, usual = Member(recipe=recipe, bag=bag), recipe.weak_epochs if bag else recipe.epochs
        assert member.epochs == usual
        assert member.name == f"{name}-mixaugment-vggface2-basic-bag{bag}-seed0"
        assert Member(recipe=recipe, bag=bag, epochs=usual) == member
        other = Member(recipe=recipe, bag=bag, epochs=9)
        assert (other.epochs, other.name) == (9, f"{member.name}-epochs9")
    plain = replace(recipe, weak_epochs=0)
    assert {Member(recipe=plain, bag=bag).epochs for bag in range(BAGS + 1)} == {recipe.epochs}


@pytest.mark.parametrize("value", [(("narrow", -1),), (("narrow", 1.0),), (("narrow", True),), (("narrow", "1"),)])
def test_wrong_numbers_of_frozen_parts_are_named(value):
    with pytest.raises(ValueError, match="Expected `frozen` parts of narrow of at least 0, a whole number, but got "):
        replace(PAPER, frozen=value)


@pytest.mark.parametrize(
    ("name", "value"), [("landmark_start", "x"), ("statistics", "x"), ("memory", "split_3"), ("weak_epochs", -1)]
)
def test_wrong_settings_that_came_later_are_named(name, value):
    with pytest.raises(ValueError, match=f"Expected `{name}`"):
        replace(PAPER, **{name: value})


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({"epochs": 5}, "epochs_5"),
        ({"weak_epochs": 3}, "weak_epochs_3"),
        ({"emotion": "mobilevitv2_050", "alpha": 0.4}, "emotion_mobilevitv2_050-alpha_0.4"),
    ],
)
def test_a_name_tells_every_setting_and_every_start(changes, ending):
    recipe = replace(find_recipe("demo"), **changes)
    member = Member(recipe=recipe)
    assert member.name == f"demo-mixaugment-vggface2-basic-bag0-seed0-{ending}"
    other = replace(member, recipe=recipe.with_source("emotion", "random"), epochs=7)
    assert other.name == f"demo-mixaugment-vggface2-basic-bag0-seed0-epochs7-{ending}-emotion_random"
