"""The mean of weights and the statistics measured for it: against plain loops, and resumed bit for bit."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from lsdkit.common.seeds import torch_generator
from lsdkit.method import backbones
from lsdkit.method.network import MultiTask
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints
from lsdkit.training import member as training
from lsdkit.training.averaging import measure_statistics, running_mean
from lsdkit.training.member import MEASURED, MemberTask
from lsdkit.training.runs import read_run

ROOT = Path(__file__).parents[2]
CHANGES = {
    "emotion": "narrow",
    "image_size": 16,
    "batch_size": 6,
    "features": 16,
    "head_features": 8,
    "shared": (16, 8),
    "averaging": 0.9,
    "statistics": "measured",
    "frozen": (("narrow", 3),),
    "landmark_start": "mean",
}
MEMBER = Member(recipe=replace(SMOKE, **CHANGES), mix="mixup", appearance="dino")
PER_EPOCH = 8  # steps: the 48 faces that tiny_store has to train on

# One training in a process of its own, killed inside its N-th pass through L_Total; those that measure count as well.
SCRIPT = """
import json, os, signal, sys
import torch
from lsdkit.training import member as training
from lsdkit.data.store import Store
from lsdkit.recipes import Member, Recipe

store, run, number, spec = *sys.argv[1:3], int(sys.argv[3]), json.loads(sys.argv[4])
torch.set_num_threads(1)
calls, step_loss = [], training.step_loss

def killing(*arguments, **options):
    calls.append(1)
    if len(calls) == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return step_loss(*arguments, **options)

def frozen(value):
    return tuple(map(frozen, value)) if isinstance(value, list) else value

training.step_loss = killing
recipe = Recipe(**{name: frozen(value) for name, value in spec.pop("recipe").items()})
member = Member(**spec, recipe=recipe)
training.train_member(member, Store.open(store), run, device="cpu", progress=False, checkpoint_every=0.0)
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference(tiny_store, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return training.train_member(MEMBER, tiny_store, folder, device="cpu", progress=False)


def norms_of(network):
    return {name: each for name, each in network.named_modules() if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d)}


def inputs_of(network, run):
    """What each batch norm that measures takes in one pass, and how often: (B, C, ...) tensors by name."""
    found = {name: [] for name, norm in norms_of(network).items() if norm.training}
    hooks = [
        norms_of(network)[name].register_forward_pre_hook(lambda _, taken, name=name: found[name].append(taken[0]))
        for name in found
    ]
    run()
    for hook in hooks:
        hook.remove()
    return found


def plain_statistics(batches):
    """Mean and unbiased variance of each channel of each batch, and the means of these over the batches."""
    means, variances = [], []
    for batch in batches:
        channels = batch.detach().double().transpose(0, 1).flatten(1)  # (C, B h w)
        means.append(torch.stack([sum(row) / len(row) for row in channels]))
        squares = [((row - mean) ** 2).sum() / (len(row) - 1) for row, mean in zip(channels, means[-1], strict=True)]
        variances.append(torch.stack(squares))
    return sum(means) / len(means), sum(variances) / len(variances)


def test_statistics_are_the_plain_means_over_the_passes():
    network = nn.Sequential(backbones.create("narrow", frozen=3), nn.Flatten(), nn.Linear(96, 4), nn.BatchNorm1d(4))
    network[3].momentum = 0.3
    with torch.no_grad():
        network[0].graph.bn1.running_mean.fill_(0.2)
    frozen = {name: value.clone() for name, value in network[0].graph[:3].state_dict().items()}
    parameters = {name: value.clone() for name, value in network.named_parameters()}
    draws = torch_generator(0, "faces")
    faces = [torch.rand(size, 3, 16, 16, generator=draws) for size in (4, 4, 3)]
    network.train()
    network(faces[0] + 1)  # what it held before is forgotten
    taken = [inputs_of(network, lambda batch=batch: network(batch)) for batch in faces]
    momenta = {name: norm.momentum for name, norm in norms_of(network).items()}
    network.eval()
    measure_statistics(network, (lambda batch=batch: network(batch) for batch in faces))
    assert len(taken[0]) == len(norms_of(network)) - 1
    for name in taken[0]:
        mean, variance = plain_statistics([batch for each in taken for batch in each[name]])
        norm = norms_of(network)[name]
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-5)
        assert norm.num_batches_tracked == 3
    assert {name: norm.momentum for name, norm in norms_of(network).items()} == momenta
    assert momenta["3"] == 0.3
    assert all(value.equal(frozen[name]) for name, value in network[0].graph[:3].state_dict().items())
    assert all(value.equal(parameters[name]) and value.grad is None for name, value in network.named_parameters())


def test_a_network_without_batch_norm_is_left_as_it_is():
    network, calls = nn.Linear(2, 2), []
    measure_statistics(network, [lambda: calls.append(1)] * 2)
    assert len(calls) == 2


def test_momenta_come_back_where_a_pass_fails():
    network = nn.Sequential(nn.BatchNorm1d(4, momentum=0.3), nn.BatchNorm1d(4))

    def stop():
        raise SystemExit

    with pytest.raises(SystemExit):
        measure_statistics(network, [lambda: network(torch.rand(3, 4)), stop])
    assert [norm.momentum for norm in network] == [0.3, 0.1]


def test_a_mean_of_a_frozen_backbone_is_the_backbone():
    network = MultiTask.build(MEMBER, torch_generator(0, "x"))
    mean = running_mean(network, 0.9)
    copy = mean.module.emotion.backbone
    assert copy.frozen[0] is copy.graph.conv1
    assert copy.frozen[0] is not network.emotion.backbone.frozen[0]
    mean.module.train()
    assert not mean.module.emotion.backbone.graph.bn1.training
    with torch.no_grad():
        network.landmarks.bias.add_(1)
    for _ in range(3):
        mean.update_parameters(network)
    theirs = mean.module.emotion.backbone.graph[:3].state_dict()
    assert all(value.equal(theirs[name]) for name, value in network.emotion.backbone.graph[:3].state_dict().items())


def test_a_member_measures_over_its_first_batches(tiny_store, monkeypatch):
    """Every pass of these through L_Total, by the mean of weights; and its weights stay."""
    task = MemberTask(MEMBER, tiny_store, torch.device("cpu"))
    task.start_epoch(0)
    for step, batch in enumerate(task.batches(0)[:2]):
        task.step(batch, 0, step)
    parameters = {name: value.clone() for name, value in task.mean.module.named_parameters()}
    trained = {name: value.clone() for name, value in task.network.state_dict().items()}
    seen, loss = [], MemberTask._loss

    def follow(task, network, batch, *draw):
        answer = []
        network_inputs = inputs_of(network, lambda: answer.append(loss(task, network, batch, *draw)))
        seen.append((network is task.mean.module, batch.tolist(), network_inputs))
        return answer[0]

    monkeypatch.setattr(MemberTask, "_loss", follow)
    task.score(lambda: None)
    assert all(own for own, _, _ in seen)
    assert [rows for _, rows, _ in seen] == [batch.tolist() for batch in task.batches(0)[:MEASURED]]
    for name, norm in norms_of(task.mean.module).items():
        batches = [batch for _, _, taken in seen for batch in taken.get(name, [])]
        if not batches:
            assert name.endswith("graph.bn1")
            continue
        mean, variance = plain_statistics(batches)
        torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-3, atol=1e-4)
    assert all(value.equal(parameters[name]) for name, value in task.mean.module.named_parameters())
    assert all(value.equal(trained[name]) for name, value in task.network.state_dict().items())
    scored = task.scored_state()
    task.score(lambda: None)  # the same draws again
    assert all(value.equal(scored[name]) for name, value in task.scored_state().items())


@pytest.mark.parametrize("statistics", ["averaged", "measured"])
def test_statistics_are_measured_where_a_recipe_says_so(tiny_store, monkeypatch, statistics):
    calls = []
    monkeypatch.setattr(training, "measure_statistics", lambda network, passes: calls.append(network))
    member = replace(MEMBER, recipe=replace(MEMBER.recipe, statistics=statistics))
    task = MemberTask(member, tiny_store, torch.device("cpu"))
    task.score(lambda: None)
    assert calls == ([task.mean.module] if statistics == "measured" else [])


def same_run(run, reference):
    """Weights, scores, history (less the seconds) and predictions agree bit for bit."""
    assert run.weights_sha256 == reference.weights_sha256
    assert run.metrics == reference.metrics
    histories = [each.read_history().drop(columns="seconds") for each in (run, reference)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    predictions = [(each.folder / "predictions.csv").read_bytes() for each in (run, reference)]
    assert predictions[0] == predictions[1]


@pytest.mark.parametrize(
    ("at", "stands"),
    [
        (3, (0, 3)),
        (PER_EPOCH + 2, (0, PER_EPOCH)),  # while statistics are measured
        (PER_EPOCH + MEASURED + 5, (1, 5)),
    ],
)
def test_stopped_inside_an_epoch_and_run_again(reference, tiny_store, tmp_path, monkeypatch, at, stands):
    step_loss, calls = training.step_loss, []

    def stopping(*arguments, **options):
        calls.append(1)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_loss(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(training, "step_loss", stopping)
        with pytest.raises(SystemExit):
            training.train_member(MEMBER, tiny_store, tmp_path, device="cpu", progress=False)
    progress = checkpoints.read(tmp_path / checkpoints.NEWEST)["progress"]
    assert (progress["epoch"], progress["step"]) == stands
    same_run(training.train_member(MEMBER, tiny_store, tmp_path, device="cpu", progress=False), reference)


@pytest.mark.slow
def test_killed_inside_an_epoch_and_run_again(reference, tiny_store, tmp_path):
    """By SIGKILL: inside a step, then while the statistics after it are measured."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for number, stands in ((5, (0, 4)), (PER_EPOCH - 4 + 3, (0, PER_EPOCH))):
        arguments = [str(tiny_store.path), str(tmp_path), str(number), json.dumps(MEMBER.spec())]
        command = [sys.executable, "-W", "error", "-c", SCRIPT, *arguments]
        killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        state, damaged = checkpoints.load(tmp_path, json.loads((tmp_path / "member.json").read_text()))
        assert damaged == []
        assert (state["progress"]["epoch"], state["progress"]["step"]) == stands
    same_run(training.train_member(MEMBER, tiny_store, tmp_path, device="cpu", progress=False), reference)


def test_the_measured_statistics_are_kept(reference, tiny_store, tmp_path):
    """With the same weights: averaging decides them, and measuring only batch norm's buffers."""
    averaged = replace(MEMBER, recipe=replace(MEMBER.recipe, statistics="averaged"), epochs=1)
    measured = replace(MEMBER, epochs=1)
    states = {}
    for member in (averaged, measured):
        folder = tmp_path / member.recipe.statistics
        training.train_member(member, tiny_store, folder, device="cpu", progress=False)
        states[member.recipe.statistics] = checkpoints.read_weights(folder)["state"]
    first, second = states.values()
    differ = {name for name, value in first.items() if not value.equal(second[name])}
    assert differ
    assert {name.rpartition(".")[2] for name in differ} <= {"running_mean", "running_var", "num_batches_tracked"}
    assert not any(name.endswith("graph.bn1.running_mean") for name in differ)  # of the frozen part
    assert read_run(reference.folder).member == MEMBER


def test_statistics_are_measured_for_a_mean_of_weights_alone(tiny_store):
    member = Member(recipe=replace(SMOKE, statistics="measured"))
    with pytest.raises(ValueError, match="`averaging` above 0 with `statistics` measured, but got 0: add statistics="):
        MemberTask(member, tiny_store, torch.device("cpu"))
