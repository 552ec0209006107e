"""Trainings with DINO: killed at any step and resumed, their folder, what they start from, and who starts from them."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, fields, replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lsdkit.cli import main
from lsdkit.recipes import Member
from lsdkit.selfsupervision import pretraining, probes
from lsdkit.selfsupervision.pretraining import pretrain_dino
from lsdkit.selfsupervision.settings import DinoSettings
from lsdkit.selfsupervision.task import DinoTask
from lsdkit.training.member import train_member

SMALL = DinoSettings(
    image_size=32, local_size=16, local_crops=2, prototypes=16, hidden=16, bottleneck=8, batch_size=16, epochs=2,
    probe_every=2, teacher_temperature=0.03,
)  # fmt: skip
QUICK = {"device": "cpu", "progress": False}
FILES = {"backbone.json", "backbone.safetensors", "history.csv", "member.json", ".lock"}


@pytest.fixture(autouse=True)
def collapse_is_no_matter_here(monkeypatch):
    monkeypatch.setattr(pretraining, "list_collapses", lambda history: {})


@pytest.fixture(scope="module")
def whole(tiny_store, tmp_path_factory):
    """A training that nothing disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "list_collapses", lambda history: {})
        return pretrain_dino([tiny_store.path], tmp_path_factory.mktemp("dino") / "whole", SMALL, **QUICK)


def bits(folder) -> tuple:
    history = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    return (folder / "backbone.safetensors").read_bytes(), history.to_csv()


def test_a_folder_tells_what_was_made(whole):
    assert {path.name for path in whole.folder.iterdir()} == FILES
    assert whole.faces == 48
    history = pd.read_csv(whole.folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history[["loss", "feature_deviation", "mean_entropy", "face_entropy"]].notna().all(axis=None)
    assert history["knn_macro_f1"].isna().tolist() == [True, False]
    assert history["temperature"].tolist() == pytest.approx([0.02, 0.022])
    assert whole.before.keys() == whole.after.keys() >= set(probes.PROBES)
    assert all(value is not None for value in whole.after.values())
    assert "EMOTION_WEIGHTS=" in str(whole)


def test_a_finished_training_is_kept_and_another_refused(whole, tiny_store):
    before = (whole.folder / "backbone.safetensors").stat().st_mtime_ns
    assert pretrain_dino([tiny_store.path], whole.folder, SMALL, **QUICK) == whole
    assert (whole.folder / "backbone.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"holds another training: .*seed is 0, not 1"):
        pretrain_dino([tiny_store.path], whole.folder, replace(SMALL, seed=1), **QUICK)


@pytest.mark.parametrize("killed", range(1, 7))  # 2 epochs of 3 steps
def test_killed_at_any_step_it_ends_with_the_same_bits(whole, tiny_store, tmp_path, monkeypatch, killed):
    step, made = DinoTask.step, []

    def failing(*arguments):
        made.append(1)
        if len(made) == killed:
            raise MemoryError
        return step(*arguments)

    monkeypatch.setattr(DinoTask, "step", failing)
    with pytest.raises(MemoryError):
        pretrain_dino([tiny_store.path], tmp_path, SMALL, checkpoint_every=0 if killed % 2 else 300, **QUICK)
    torch.randn(3)  # other draws in between change nothing
    pretrain_dino([tiny_store.path], tmp_path, SMALL, **QUICK)
    assert bits(tmp_path) == bits(whole.folder)
    assert len(made) == 7 if killed % 2 else len(made) in (6 + killed, 3 + killed)


SCRIPT = """
import os, signal, sys, torch
from lsdkit.selfsupervision.settings import DinoSettings
from lsdkit.selfsupervision.pretraining import pretrain_dino
from lsdkit.selfsupervision.task import DinoTask
torch.set_num_threads(int(sys.argv[3]))
step = DinoTask.step
def killing(task, batch, epoch, number):
    if (epoch, number) == (1, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(task, batch, epoch, number)
DinoTask.step = killing
settings = DinoSettings(**eval(sys.argv[4]))
pretrain_dino([sys.argv[1]], sys.argv[2], settings, device="cpu", progress=False, checkpoint_every=0)
"""


@pytest.mark.slow
def test_sigkill_loses_nothing(whole, tiny_store, tmp_path):
    given = [str(tiny_store.path), str(tmp_path), str(torch.get_num_threads()), repr(asdict(SMALL))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT, *given], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert "backbone.json" not in {path.name for path in tmp_path.iterdir()}
    pretrain_dino([tiny_store.path], tmp_path, SMALL, **QUICK)
    assert bits(tmp_path) == bits(whole.folder)


def test_prototypes_stay_in_the_first_epoch(tiny_store):
    task = DinoTask(SMALL, tiny_store, torch.device("cpu"))
    start = task.student.head.prototypes.detach().clone()
    for epoch, same in ((0, True), (1, False)):
        task.start_epoch(epoch)
        for number, batch in enumerate(task.batches(epoch)):
            task.step(batch, epoch, number)
        assert task.student.head.prototypes.equal(start) is same
    assert task.teacher.head.prototypes.grad is None


def test_schedules(tiny_store):
    settings = replace(SMALL, epochs=10, warmup_epochs=2, temperature_epochs=4, learning_rate=1e-3, momentum=0.99)
    settings = replace(settings, teacher_temperature_start=0.04, teacher_temperature=0.07)
    task = DinoTask(settings, tiny_store, torch.device("cpu"))
    rows = pd.DataFrame([task.schedule(epoch, step) for epoch in range(10) for step in range(3)])
    assert rows["lr"].iloc[:6].tolist() == pytest.approx([1e-3 * n / 6 for n in range(1, 7)])
    assert rows["lr"].iloc[-1] < 1e-5 + 1e-3 * np.pi**2 / 4 / 24**2
    assert rows["momentum"].iloc[[0, 15]].tolist() == pytest.approx([0.99, 0.995])
    assert rows["weight_decay"].iloc[[0, 15]].tolist() == pytest.approx([0.04, 0.22])
    assert rows["temperature"].iloc[::3].tolist() == pytest.approx([0.04, 0.0475, 0.055, 0.0625, *[0.07] * 6])


def test_labels_choose_nothing(whole, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setitem(vars(tiny_store), "labels", np.roll(tiny_store.labels, 7))
    monkeypatch.setattr(pretraining.Store, "open", lambda path: tiny_store)
    made = pretrain_dino([tiny_store.path], tmp_path, SMALL, **QUICK)
    assert bits(tmp_path)[0] == bits(whole.folder)[0]
    assert made.after["knn_macro_f1"] != whole.after["knn_macro_f1"]


def test_a_collapse_is_told(tiny_store, tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(probes, "CONSTANT", 2.0)
    with pytest.warns(UserWarning, match="Collapse since epoch 1: constant features"):
        made = pretrain_dino([tiny_store.path], tmp_path, SMALL, **QUICK)
    assert any("constant features" in note for note in made.notes)


def member(**options) -> Member:
    recipe = replace(Member.of("smoke").recipe, emotion="narrow", appearances=(("dino", "narrow"), ("x", "gradients")))
    return Member.of(recipe, epochs=1, **{"appearance": "dino"} | options)


def test_a_member_trains_from_it(whole, tiny_store, tmp_path):
    source = str(whole.folder)
    run = train_member(member(emotion_weights=source, appearance_weights=source), tiny_store, tmp_path / "run", **QUICK)
    tensors = load_file(whole.folder / "backbone.safetensors")
    for role in ("emotion", "appearance"):
        report = run.started_from[role]
        assert report["source"] == source
        assert report["file"] == "backbone.safetensors"
        assert (report["loaded"], report["missing"], report["reshaped"]) == (len(tensors), 0, 0)
        assert run.weights_source(role) == "run whole"


def test_a_member_starts_with_its_very_tensors(whole):
    from lsdkit.common.seeds import torch_generator
    from lsdkit.method.network import MultiTask
    from lsdkit.training.starting import start_branches

    chosen = member(appearance_weights=str(whole.folder))
    network = MultiTask.build(chosen, torch_generator(0, "test"))
    start_branches(network, chosen.recipe, "dino")
    state = network.appearance.backbone.graph.state_dict()
    for name, tensor in load_file(whole.folder / "backbone.safetensors").items():
        assert state[name].equal(tensor)


def test_another_backbone_is_refused(whole, tiny_store, tmp_path):
    wrong = member(appearance="x", appearance_weights=str(whole.folder))
    with pytest.raises(ValueError, match=r"its backbone gradients, but .* belongs to narrow"):
        train_member(wrong, tiny_store, tmp_path / "run", **QUICK)


def test_it_starts_from_a_named_set(whole, tiny_store, tmp_path):
    task = DinoTask(replace(SMALL, weights=str(whole.folder)), tiny_store, torch.device("cpu"))
    for name, tensor in load_file(whole.folder / "backbone.safetensors").items():
        assert task.student.backbone.graph.state_dict()[name].equal(tensor)
        assert task.teacher.backbone.graph.state_dict()[name].equal(tensor)
    with pytest.raises(ValueError, match=r"Expected weights of the backbone gradients, but .* belongs to narrow"):
        DinoTask(replace(SMALL, weights=str(whole.folder), backbone="gradients"), tiny_store, torch.device("cpu"))


def test_wrong_things_end_before_any_work(tiny_store, tmp_path):
    for message, options in (
        ("Expected a backbone to be one of", {"backbone": "narow"}),
        ("fails at 8", {"backbone": "gradients", "local_size": 8}),
        ("Expected a source of weights", {"weights": "nothing"}),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain_dino([tiny_store.path], tmp_path / "out", replace(SMALL, **options), **QUICK)
    with pytest.raises(ValueError, match="at least one store"):
        pretrain_dino([], tmp_path / "out", SMALL, **QUICK)
    assert not {path.name for path in (tmp_path / "out").glob("*")} - {".lock"}


def test_the_command(tiny_store, tmp_path, capsys, monkeypatch):
    sizes = "--image-size 32 --local-size 16 --local-crops 2 --prototypes 16 --hidden 16 --bottleneck 8"
    given = ["pretrain", "dino", str(tiny_store.path), "--out", str(tmp_path / "out"), *sizes.split()]
    given += ["--epochs", "1", "--device", "cpu"]
    assert main([*given, "--batch-size", "16"]) == 0
    assert f"APPEARANCE_WEIGHTS={tmp_path / 'out'}" in capsys.readouterr().out
    assert main([*given, "--batch-size", "1"]) == 2
    assert "Expected `batch_size`" in capsys.readouterr().err
    monkeypatch.setenv("COLUMNS", "300")  # no word is broken
    assert main(["pretrain", "dino", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for each in fields(DinoSettings):
        assert f"{each.metadata['help']} (default {each.default})" in printed
