"""Parameters become members, folders are found, and missing runs are trained small."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsdkit import experiment, headless, prepare, training
from lsdkit.experiment import member_from_parameters
from lsdkit.files import write_text
from lsdkit.paths import PACKAGE_PARENT


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

    monkeypatch.setattr(prepare, "open_or_render", lambda data_dir, recipe: None)
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


def test_a_known_backbone_is_an_appearance():
    assert member_from_parameters("smoke", APPEARANCE="narrow").appearance == "narrow"


def test_a_wrong_value_needs_no_torch():
    code = (
        "import sys\nfrom lsdkit.experiment import member_from_parameters\n"
        "try:\n    member_from_parameters('smoke', MIX='cutmix')\nexcept ValueError:\n    print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"


def test_run_dir_for(root):
    member = member_from_parameters("smoke", BAG=2)
    assert experiment.run_dir_for("", member) == root / "runs" / member.name
    assert experiment.run_dir_for("elsewhere/x", member) == root / "elsewhere" / "x"
    assert experiment.run_dir_for(root / "y", member) == root / "y"


def test_find_run_takes_the_newest(root, trained):
    for written, name in ((10, "runs/a"), (9, "runs/b/c"), (11, "runs/d")):
        write_text(root / name / "result.json", "{}")
        os.utime(root / name / "result.json", (written, written))
    assert experiment.find_run() == root / "runs/d"
    os.utime(root / "runs/b/c/result.json", (99, 99))
    assert experiment.find_run() == root / "runs/b/c"
    assert trained == []


def test_find_run_trains_where_there_is_none(root, trained):
    assert experiment.find_run() == root / "runs/smoke-mixaugment-vggface2-basic-bag0-seed0"
    assert experiment.find_run(root / "mine") == root / "mine"
    assert [folder for _, folder in trained] == [
        root / "runs/smoke-mixaugment-vggface2-basic-bag0-seed0",
        root / "mine",
    ]
    experiment.find_run(root / "mine")
    assert len(trained) == 2


def test_ensure_runs_trains_a_small_ensemble_once(root, trained):
    folder = experiment.ensure_runs(seed=3)
    assert folder == root / "runs" / "smoke-ensemble"
    assert len(trained) == len(experiment.SMALL_ENSEMBLE)
    assert all("seed3" in name for name, _ in trained)
    assert experiment.ensure_runs() == folder
    assert len(trained) == len(experiment.SMALL_ENSEMBLE)


def test_kind_is_told():
    assert "no photographs" in experiment.kind_sentence("rendered")


def test_unknown_parameters_are_refused():
    notebook = headless.notebook_path("03_train")
    experiment.check_parameters(notebook, {"MIX": "mixup", "BAG": 1})
    with pytest.raises(ValueError, match=r"DATA_DIR, RUN_DIR.*but got BAGS, MIXX"):
        experiment.check_parameters(notebook, {"MIXX": "mixup", "BAGS": 1, "SEED": 0})


def test_a_missing_notebook_is_named(root):
    with pytest.raises(FileNotFoundError, match="no notebooks at all"):
        headless.notebook_path("03_train")


def test_peak_memory_counts_processes_below(root):
    code = "import time; block = bytearray(80 * 2**20); print('ready', flush=True); time.sleep(60)"
    with headless.peak_memory(every=0.05) as peak:
        if not peak["bytes"]:
            pytest.skip("memory is measured on Linux only")
        before = peak["bytes"]
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        assert headless.resident_memory(os.getpid()) - before > 70 * 2**20
        child.kill()
        child.communicate()
    assert peak["bytes"] >= before


def test_the_faces_of_a_run_are_its_own(tiny_store):
    result = {"name": "a run", "store": {"path": str(tiny_store.path), "checksums": tiny_store.manifest["checksums"]}}
    assert experiment.store_of(result).keys == tiny_store.keys
    other = {**result, "store": {**result["store"], "checksums": {"images.npy": "another"}}}
    with pytest.raises(ValueError, match="a run was trained on"):
        experiment.store_of(other, tiny_store.path)


def test_every_job_is_checked_before_the_first_runs(tmp_path):
    notebook = headless.notebook_path("01_data_statistics")
    jobs = [
        headless.Job("good", notebook, tmp_path / "good.ipynb", {"RECIPE": "smoke"}),
        headless.Job("bad", notebook, tmp_path / "bad.ipynb", {"RECIPES": "smoke"}),
    ]
    with pytest.raises(ValueError, match="RECIPES"):
        headless.execute_all(jobs, 1, 1, lambda *_: pytest.fail("a notebook ran"))
    assert not list(tmp_path.iterdir())
