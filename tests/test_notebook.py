"""Parameters become members, folders are found, and missing runs are trained small."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lsdkit import notebook
from lsdkit.common.files import write_text
from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.notebook import find_compared, member_from_parameters, parse_settings
from lsdkit.openset import preparing
from lsdkit.recipes import PAPER, Member
from lsdkit.training import member as training
from lsdkit.training.runs import Run


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, Path]]:
    """Replaces training by the writing of an empty result, and records what was asked for."""
    asked = []

    def train(member, store, folder, *, device):
        asked.append((member.name, folder))
        write_text(folder / "result.json", "{}")

    monkeypatch.setattr(preparing, "open_or_render", lambda data_dir, recipe: None)
    monkeypatch.setattr(training, "train_member", train)
    return asked


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


@pytest.mark.parametrize(("steps", "faces"), [(0, [100, 200]), (4, [64, 128]), (9, [100, 200])])
def test_a_curve_counts_the_faces_seen(tmp_path, steps, faces):
    member = Member(recipe=replace(member_from_parameters("smoke").recipe, steps_per_epoch=steps))
    counts = {"trained_on": {"FEAR": 60, "ANGER": 40}}
    pd.DataFrame({"epoch": [1, 2]}).to_csv(tmp_path / "history.csv", index=False)
    run = Run(folder=tmp_path, member=member, kind="rendered", store="", checksums={}, counts=counts)
    assert notebook.read_curve(run)["faces"].tolist() == faces


def test_a_known_backbone_is_an_appearance():
    assert member_from_parameters("smoke", APPEARANCE="narrow").appearance == "narrow"


def test_a_wrong_value_needs_no_torch():
    code = (
        "import sys\nfrom lsdkit.notebook import member_from_parameters\n"
        "try:\n    member_from_parameters('smoke', MIX='cutmix')\nexcept ValueError:\n    print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def test_a_run_has_its_folder(root):
    member = member_from_parameters("smoke", BAG=2)
    assert notebook.choose_run_dir("", member) == root / "runs" / member.name
    assert notebook.choose_run_dir("elsewhere/x", member) == root / "elsewhere" / "x"
    assert notebook.choose_run_dir(root / "y", member) == root / "y"


def test_find_run_takes_the_newest(root, trained):
    for written, name in ((10, "runs/a"), (9, "runs/b/c"), (11, "runs/d")):
        write_text(root / name / "result.json", "{}")
        os.utime(root / name / "result.json", (written, written))
    assert notebook.find_run() == root / "runs/d"
    os.utime(root / "runs/b/c/result.json", (99, 99))
    assert notebook.find_run() == root / "runs/b/c"
    assert trained == []


def test_find_run_trains_where_there_is_none(root, trained):
    assert notebook.find_run() == root / "runs/smoke-mixaugment-vggface2-basic-bag0-seed0"
    assert notebook.find_run(root / "mine") == root / "mine"
    assert [folder for _, folder in trained] == [
        root / "runs/smoke-mixaugment-vggface2-basic-bag0-seed0",
        root / "mine",
    ]
    notebook.find_run(root / "mine")
    assert len(trained) == 2


def test_ensure_runs_trains_a_small_ensemble_once(root, trained):
    folder = notebook.ensure_runs(seed=3)
    assert folder == root / "runs" / "smoke-ensemble"
    assert len(trained) == len(notebook.SMALL_ENSEMBLE)
    assert all("seed3" in name for name, _ in trained)
    assert notebook.ensure_runs() == folder
    assert len(trained) == len(notebook.SMALL_ENSEMBLE)


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
