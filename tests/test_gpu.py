"""Training on a CUDA device: the same draws and losses as on the CPU, and runs that either one reads."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import step_loss
from lsdkit.method.views import to_float, views
from lsdkit.recipes import SMOKE, Member, find_recipe
from lsdkit.training import evaluation
from lsdkit.training import member as training

pytestmark = pytest.mark.gpu
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def batch(store, number=24):
    rows = store.rows("train")[:number]
    return [
        torch.from_numpy(np.ascontiguousarray(part[rows])) for part in (store.images, store.labels, store.landmarks)
    ]


@pytest.mark.parametrize("name", ["smoke", "gradients"])
def test_views_are_those_of_the_cpu(tiny_store, name):
    recipe, (images, *_) = find_recipe(name), batch(tiny_store)
    here, there = (
        views(to_float(images, 32, device), torch_generator(0, "views"), basic=True, recipe=recipe)
        for device in (CPU, CUDA)
    )
    for ours, theirs in zip(here, there, strict=True):
        assert theirs.is_cuda
        torch.testing.assert_close(theirs.cpu(), ours, atol=2e-4, rtol=0)


@pytest.mark.parametrize("mix", ["mixup", "mixaugment"])
def test_losses_and_gradients_are_those_of_the_cpu(tiny_store, mix, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    member, losses, gradients = Member(recipe=SMOKE, mix=mix), [], []
    network = MultiTask.build(member, torch_generator(0, "init")).train()
    for device in (CPU, CUDA):
        ours = copy.deepcopy(network).to(device)
        options = {"member": member, "generator": torch_generator(0, "step"), "device": device}
        loss, _ = step_loss(ours, *batch(tiny_store), **options)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in ours.parameters() if p.grad is not None]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999


def test_dropout_draws_from_the_generator_of_the_step(tiny_store, monkeypatch):
    monkeypatch.setattr("lsdkit.method.objective.draw_lambda", lambda *_: 0.7)
    monkeypatch.setattr("lsdkit.method.objective.draw_partner", lambda count, _: torch.arange(count).roll(1))
    monkeypatch.setattr("lsdkit.method.objective.views", lambda x, *_, **__: (x, x))
    member = Member(recipe=find_recipe("gradients"))
    network = MultiTask.build(member, torch_generator(0, "init")).train().to(CUDA)
    before = torch.get_rng_state(), torch.cuda.get_rng_state()

    def loss(seed):
        options = {"member": member, "generator": torch_generator(seed, "step"), "device": CUDA}
        return step_loss(copy.deepcopy(network), *batch(tiny_store), **options)[0].item()

    assert loss(0) == pytest.approx(loss(0), rel=1e-6)
    assert loss(0) != pytest.approx(loss(1), rel=1e-3)
    assert torch.get_rng_state().equal(before[0])
    assert torch.cuda.get_rng_state().equal(before[1])


def test_a_run_of_the_gpu_is_read_on_the_cpu(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    member = Member(recipe=replace(SMOKE, averaging=0.9), mix="mixaugment")
    run = training.train_member(member, tiny_store, tmp_path / "run", device="auto", progress=False)
    assert run.device.startswith("cuda")
    rows = tiny_store.rows("test")
    logits = [
        evaluation.predict_logits(evaluation.load_network(tmp_path / "run", device), tiny_store, rows, member, device)
        for device in (CPU, CUDA)
    ]
    assert np.ptp(logits[0]) > 0.05
    np.testing.assert_allclose(logits[0], logits[1], atol=5e-3)
