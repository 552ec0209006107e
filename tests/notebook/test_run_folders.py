"""Which folders notebooks write into and read: what is named is meant, and a choice rests on no clock."""

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lsdkit.common.files import write_text
from lsdkit.notebook import runs as folders
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.openset import preparing
from lsdkit.recipes import Member
from lsdkit.training import member as training
from lsdkit.training.runs import Run, write_run
from tests.fake_runs import make_run

STRONG = member_from_parameters("smoke")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def trained(monkeypatch) -> list[tuple[str, Path]]:
    """Replaces training by the writing of a result, and records what was asked for."""
    asked = []

    def train(member, store, folder, *, device):
        asked.append((member.name, folder))
        write_run(make_run(folder, member))

    monkeypatch.setattr(preparing, "open_or_render", lambda data_dir, recipe: None)
    monkeypatch.setattr(training, "train_member", train)
    return asked


def finish(folder: Path, score: float, member: Member = STRONG, pixels: str = "1") -> None:
    """A finished run; the later one is written, the older its file is."""
    store = {"path": "/nowhere", "checksums": {"images.npy": pixels}}
    write_run(make_run(folder, member, metrics={"val_macro_f1": score}, store=store))
    finish.clock -= 100
    os.utime(folder / "result.json", (finish.clock, finish.clock))


finish.clock = 10**9


@pytest.mark.parametrize(("steps", "faces"), [(0, [100, 200]), (4, [64, 128]), (9, [100, 200])])
def test_a_curve_counts_the_faces_seen(tmp_path, steps, faces):
    member = Member(recipe=replace(STRONG.recipe, steps_per_epoch=steps))
    counts = {"trained_on": {"FEAR": 60, "ANGER": 40}}
    pd.DataFrame({"epoch": [1, 2]}).to_csv(tmp_path / "history.csv", index=False)
    run = Run(folder=tmp_path, member=member, kind="rendered", store="", checksums={}, counts=counts)
    assert folders.read_curve(run)["faces"].tolist() == faces


def test_a_default_folder_carries_the_name_of_the_store(root):
    assert folders.choose_folder("", "01", "", "smoke") == root / "runs/01-open-smoke"
    assert folders.choose_folder("", "01", "", "demo") == root / "runs/01-open"
    assert folders.choose_folder("", "01", "data/mine/", "demo") == root / "runs/01-mine"
    assert folders.choose_folder("", "01", root / "photographs", "demo") == root / "runs/01-photographs"
    assert folders.choose_folder("elsewhere/x", "01", "data/mine", "demo") == root / "elsewhere/x"
    assert folders.choose_folder(root / "y", "01", "", "demo") == root / "y"


def test_the_best_run_of_the_largest_ensemble_is_taken_whatever_the_clock(root, trained):
    for folder, scores in {"large": (0.1, 0.4, 0.2), "small": (0.8, 0.9), "alike": (0.1, 0.3, 0.2)}.items():
        for number, score in enumerate(scores):
            finish(root / "runs" / folder / f"run{number}", score)
    finish(root / "runs/single", 0.95)
    run, why = folders.find_run("", "", "smoke")
    assert run.folder == root / "runs/large/run1"
    assert why == (
        'RUN_DIR is "": large, of 3 ensembles in runs/ the one with most runs (3; alike 3, small 2); '
        "of its runs run1, the one of the best validation macro F1 (0.400)"
    )
    runs, why = folders.find_ensemble("", "", "smoke")
    assert [run.name for run in runs] == ["run0", "run1", "run2"]
    assert why.startswith('RUN_DIR is "": large, of 3')
    assert trained == []


def test_of_single_runs_the_best_is_taken(root, trained):
    for name, score in (("a", 0.3), ("b", 0.4), ("c", 0.1)):
        finish(root / "runs" / name, score)
    run, why = folders.find_run("", "", "smoke")
    assert run.name == "b"
    assert "single runs in runs/" in why
    assert trained == []


def test_no_ensemble_mixes_recipes_or_stores(root, trained):
    other = member_from_parameters("smoke", SETTINGS="label_smoothing=0.1")
    finish(root / "runs/starts/a", 0.9)
    finish(root / "runs/starts/b", 0.9, other)
    finish(root / "runs/stores/a", 0.9)
    finish(root / "runs/stores/b", 0.9, pixels="2")
    finish(root / "runs/fits/a", 0.1)
    finish(root / "runs/fits/b", 0.1, member_from_parameters("smoke", BAG=1))
    runs, why = folders.find_ensemble("", "", "smoke")
    assert {run.folder.parent.name for run in runs} == {"fits"}
    assert "fits, with 2 runs the only ensemble in runs/" in why


def test_a_store_has_its_own_runs(root, tiny_store):
    pixels = tiny_store.manifest["checksums"]["images.npy"]
    for name in ("a", "b", "c"):
        finish(root / "runs/others" / name, 0.9)
    for name in ("a", "b"):
        finish(root / "runs/own" / name, 0.1, pixels=pixels)
    run, _ = folders.find_run("", tiny_store.path, "smoke")
    assert run.folder == root / "runs/own/a"
    runs, _ = folders.find_ensemble("", tiny_store.path, "smoke")
    assert {run.folder.parent.name for run in runs} == {"own"}


def test_a_result_of_another_version_is_left_out_and_named(root):
    finish(root / "runs/a", 0.5)
    write_text(root / "runs/old/b/result.json", '{"format": 0}')
    run, why = folders.find_run("", "", "smoke")
    assert run.name == "a"
    assert "(left out, of another version: old/b)" in why


def test_a_named_folder_is_taken(root):
    for name, score in (("a", 0.3), ("b", 0.4)):
        finish(root / "mine" / name, score)
    assert folders.find_run("mine/a", "", "smoke") == (
        folders.read_run(root / "mine/a"),
        "a, as RUN_DIR says",
    )
    run, why = folders.find_run("mine", "", "smoke")
    assert run.name == "b"
    assert why.startswith("mine, as RUN_DIR says; of its runs b, the one of the best validation macro F1")
    runs, why = folders.find_ensemble("mine", "", "smoke")
    assert len(runs) == 2
    assert why == "mine, as RUN_DIR says"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("runs/dmeo", r"result.json\), but runs/dmeo does not exist: did you mean runs/demo\?"),
        ("empty", "but empty holds 0: RUN_DIR"),
    ],
)
def test_a_named_folder_without_runs_is_an_error_and_trains_nothing(root, trained, given, says):
    (root / "empty").mkdir()
    finish(root / "runs/demo/a", 0.3)
    for find in (folders.find_run, folders.find_ensemble):
        with pytest.raises(FileNotFoundError, match=says):
            find(given, "", "smoke")
    with pytest.raises(FileNotFoundError, match="runs/demo holds 1"):
        folders.find_ensemble("runs/demo", "", "smoke")
    assert trained == []


def test_without_runs_small_ones_are_trained_once(root, trained):
    run, why = folders.find_run("", "", "smoke")
    assert run.folder == root / "runs/smoke-mixaugment-vggface2-basic-bag0-seed0-open-smoke"
    assert 'RUN_DIR is "" and there was no run' in why
    assert folders.find_run("", "", "smoke")[0] == run
    assert len(trained) == 1


def test_a_small_ensemble_is_trained_once_and_goes_on(root, trained):
    runs, why = folders.find_ensemble("", "", "smoke", 3)
    assert {run.folder.parent for run in runs} == {root / "runs/smoke-ensemble-open-smoke"}
    assert len(runs) == len(trained) == len(folders.SMALL_ENSEMBLE)
    assert all("seed3" in name for name, _ in trained)
    assert 'RUN_DIR is "" and there was no ensemble' in why
    assert folders.find_ensemble("", "", "smoke", 3)[0] == runs
    assert len(trained) == len(folders.SMALL_ENSEMBLE)
    (runs[0].folder / "result.json").unlink()
    assert folders.find_ensemble("", "", "smoke", 3)[0] == runs


def test_a_wrong_value_is_refused_where_nothing_is_trained(root):
    finish(root / "runs/demo/a", 0.3)
    finish(root / "runs/demo/b", 0.3)
    for find in (folders.find_run, folders.find_ensemble):
        with pytest.raises(ValueError, match="'auto', 'cpu', 'cuda'"):
            find("", "", "smoke", DEVICE="gpu")
