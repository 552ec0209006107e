"""Parameters are those that were declared, and become members."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.notebook.parameters import (
    check_names,
    check_parameters,
    find_compared,
    member_from_parameters,
    parse_settings,
)
from lsdkit.recipes import PAPER, Member


def test_every_parameter_arrives():
    member = member_from_parameters("workshop", "mixup", "dino", False, 3, 7, 2, "cpu")
    assert (member.recipe.name, member.mix, member.appearance) == ("workshop", "mixup", "dino")
    assert (member.basic_aug, member.bag, member.seed, member.epochs) == (False, 3, 7, 2)
    assert member_from_parameters("smoke").epochs == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"RECIPE": "papers"}, "'workshop'"),
        ({"MIX": "cutmix"}, "'mixup', 'mixaugment'"),
        ({"APPEARANCE": "resnet5000"}, "'vggface2', 'dino', 'mobilevitv2'.*narrow_caffe.*timm"),
        ({"BASIC_AUG": "yes"}, "True, False"),
        ({"BAG": 6}, "0, 1, 2, 3, 4, 5"),
        ({"SEED": -1}, "at least 0"),
        ({"EPOCHS": 1.5}, "whole number"),
        ({"DEVICE": "gpu"}, "'auto', 'cpu', 'cuda'"),
    ],
)
def test_a_wrong_value_fails_with_the_valid_ones(change, says):
    with pytest.raises(ValueError, match=says):
        member_from_parameters(**{"RECIPE": "smoke", **change})


def test_the_compared_member_differs_in_its_recipe_alone():
    changed = {"EPOCHS": 1, "EMOTION_WEIGHTS": "random", "SETTINGS": "label_smoothing=0.1"}
    member = member_from_parameters("demo", "mixup", "narrow", False, 3, 7, **changed)
    asked = {"mix": "mixup", "appearance": "narrow", "basic_aug": False, "bag": 3, "seed": 7}
    assert find_compared(member, "small") == Member.of("small", **asked)
    assert find_compared(member, "demo") == Member.of("demo", **asked)  # what the changes do
    assert find_compared(member, "") is None


def test_nothing_but_another_recipe_is_compared():
    with pytest.raises(ValueError, match=r"`COMPARE` to be one of '', 'paper'.*'small'.*but got 'smal'"):
        find_compared(member_from_parameters("smoke"), "smal")
    with pytest.raises(ValueError, match="another recipe than RECIPE smoke, but smoke has the same"):
        find_compared(member_from_parameters("smoke", EPOCHS=2), "smoke")


def test_a_known_backbone_is_an_appearance():
    assert member_from_parameters("smoke", APPEARANCE="narrow").appearance == "narrow"


def test_a_wrong_value_needs_no_torch():
    code = (
        "import sys\nfrom lsdkit.notebook.parameters import member_from_parameters\n"
        "try:\n    member_from_parameters('smoke', MIX='cutmix')\nexcept ValueError:\n    print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def test_settings_are_parsed_by_their_type():
    changed = replace(
        PAPER, **parse_settings("label_smoothing=0.1 sampling=balanced  bag_disjoint=True epochs=3 weight_decay=0")
    )
    assert changed == replace(
        PAPER, label_smoothing=0.1, sampling="balanced", bag_disjoint=True, epochs=3, weight_decay=0.0
    )
    assert parse_settings("") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label_smoothin=0.1", "label_smoothing"),
        ("label_smoothing", "name=value"),
        ("label_smoothing=", "name=value"),
        ("name=x", "name=value"),
        ("weights=x", "name=value"),
        ("label_smoothing=much", "type float"),
        ("bag_disjoint=1", "type bool"),
        ("epochs=2.5", "type int"),
        ("sampling=upside", "'shuffled', 'balanced'"),
    ],
)
def test_a_wrong_setting_in_words_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        replace(PAPER, **parse_settings(text))


DECLARED = 'RUN_DIR: str = ""  # a folder\nBAG: int = 0  # a bag\nBASIC_AUG: bool = True  # or not'


def run_cells(*cells: str) -> dict:
    """What a kernel holds after these cells."""
    scope = {"In": [""]}
    for cell in cells:
        scope["In"].append(cell)
        exec(cell, scope)
    return scope


@pytest.mark.parametrize(
    ("injected", "says"),
    [
        ("BAGG = 1", r"this notebook \(RUN_DIR, BAG, BASIC_AUG\), but got BAGG: did you mean BAG\?"),
        ("bag = 1", "got bag: did you mean BAG"),
        ("BAG = 1\nWHATEVER = 1", "got WHATEVER$"),
        ("RUN_DIR = 7", "`RUN_DIR` to be text, but got 7: with papermill say -r RUN_DIR"),
        ("RUN_DIR = None", "`RUN_DIR` to be text, but got None"),
        ('BAG = "1"', "`BAG` to be a whole number, but got '1': with papermill say -p BAG"),
        ("BAG = 1.5", "`BAG` to be a whole number, but got 1.5"),
        ("BAG = True", "`BAG` to be a whole number, but got True"),
        ("BASIC_AUG = 1", "`BASIC_AUG` to be True or False, but got 1"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_is_right(injected, says):
    with pytest.raises(ValueError, match=says):
        check_parameters(run_cells(DECLARED, f"# Parameters\n{injected}\n"))


def test_right_parameters_pass_whatever_later_cells_bind():
    right = '# Parameters\nRUN_DIR = "runs/x"\nBAG = 2\n'
    scope = run_cells(DECLARED, right, "from lsdkit.common.expressions import EXPRESSIONS\nALPHA = 0.1", "N: int = 3")
    check_parameters(scope)
    check_parameters(run_cells(DECLARED))
    scope["In"].append("!not python")
    check_parameters(scope)


def test_a_cell_of_parameters_that_is_run_again_forgets_what_was_injected():
    scope = run_cells(DECLARED, "# Parameters\nBAGG = 1", DECLARED)
    check_parameters(scope)
    with pytest.raises(ValueError, match="BAGG"):
        check_parameters(run_cells(DECLARED, DECLARED, "# Parameters\nBAGG = 1"))


def test_names_are_those_of_a_notebook():
    check_names(["BAG"], ["BAG"])
    with pytest.raises(ValueError, match=r"of 03.ipynb \(BAG\), but got BAGS: did you mean BAG"):
        check_names({"BAGS": 1}, ["BAG"], "03.ipynb")
