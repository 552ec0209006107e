"""Costs before a run: against counts by hand, and against a real step on the CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lsdkit.method.network import MultiTask
from lsdkit.method.objective import loss_total
from lsdkit.recipes import DEMO, MIXES, PAPER, SMOKE, Member
from lsdkit.training import cost as costs
from lsdkit.training.averaging import running_mean

APPEARANCES = ("vggface2", "dino", "mobilevitv2", "none")


def real_step(member: Member, size: int):
    """A real step's operations and bytes kept for backward, for each of its faces, with its network."""
    network, side = MultiTask(member.recipe, member.appearance).train(), member.recipe.image_size
    views = [torch.rand(size, 3, side, side) for _ in range(2)]
    labels, landmarks = torch.arange(size) % 6, torch.zeros(size, 68, 2)
    own, kept = {tensor.data_ptr() for tensor in network.parameters()}, {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    options = {"lam": 0.3, "partner": torch.arange(size).flip(0), "member": member}
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, _ = loss_total(network, *views, labels, landmarks, **options)
        loss.backward()
    return counter.get_total_flops() / size, sum(t.untyped_storage().nbytes() for t in kept.values()) / size, network


@pytest.mark.parametrize("appearance", APPEARANCES)
@pytest.mark.parametrize("mix", MIXES)
def test_a_cost_is_that_of_a_real_step(mix, appearance):
    member = Member(recipe=SMOKE, mix=mix, appearance=appearance)
    cost = costs.measure_cost(member)
    operations, kept, network = real_step(member, 4)
    assert cost.training == pytest.approx(operations, rel=1e-9)
    assert cost.activations / SMOKE.batch_size == pytest.approx(kept, rel=0.1)
    count = sum(tensor.numel() for tensor in network.parameters())
    assert cost.parameters.total == count
    optimiser = torch.optim.Adam(network.parameters())
    loss_total(
        network,
        *torch.rand(2, 4, 3, 32, 32),
        torch.arange(4),
        torch.zeros(4, 68, 2),
        lam=0.3,
        partner=torch.arange(4),
        member=member,
    )[0].backward()
    optimiser.step()
    held = [*network.parameters(), *network.buffers(), *(tensor.grad for tensor in network.parameters())]
    held += [state[name] for state in optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert cost.fixed == sum(tensor.nbytes for tensor in held)
    averaged = replace(member, recipe=replace(SMOKE, averaging=0.9))
    mean = running_mean(network, averaged.recipe.averaging).module
    assert costs.measure_cost(averaged).fixed == cost.fixed + sum(
        t.nbytes for t in (*mean.parameters(), *mean.buffers())
    )
    needed = MultiTask(SMOKE, "")
    assert cost.parameters.inference == sum(tensor.numel() for tensor in needed.parameters())


@pytest.mark.parametrize("mix", MIXES)
def test_frozen_parts_cost_no_backward(mix):
    """At 32 px: the first convolution's weights get no gradient, and the next one's input none."""
    member = Member(recipe=replace(SMOKE, frozen=(("narrow_caffe", 3),)), mix=mix)
    free, cost = costs.measure_cost(replace(member, recipe=SMOKE)), costs.measure_cost(member)
    passes = 3 if mix == "mixaugment" else 2  # one of them by the appearance branch
    spared = 2 * (16 * 16 * 24 * 3 * 5 * 5 + 8 * 8 * 24 * 24 * 3 * 3)
    assert cost.training == free.training - passes * spared
    assert (cost.inference, cost.parameters) == (free.inference, free.parameters)
    operations, kept, network = real_step(member, 4)
    assert cost.training == pytest.approx(operations, rel=1e-9)
    assert cost.activations / SMOKE.batch_size == pytest.approx(kept, rel=0.1)
    assert cost.activations < free.activations
    still = sum(each.numel() for each in network.parameters() if not each.requires_grad)
    assert still == 2 * (24 * 3 * 5 * 5 + 2 * 24)
    assert cost.fixed == free.fixed - 3 * 4 * still  # a gradient and Adam's two averages


@pytest.mark.parametrize("appearance", APPEARANCES)
def test_the_demos_cost_is_that_of_a_real_step(appearance):
    """Its dlib network is frozen as a whole: what the rest needs is all that backward takes."""
    member = Member(recipe=DEMO, mix="mixup", appearance=appearance)
    cost = costs.measure_cost(member)
    operations, kept, network = real_step(member, 2)
    assert cost.training == pytest.approx(operations, rel=1e-9)
    assert cost.activations / DEMO.batch_size == pytest.approx(kept, rel=0.1)
    assert cost.parameters.total == sum(each.numel() for each in network.parameters())
    free = costs.measure_cost(replace(member, recipe=replace(DEMO, frozen=DEMO.frozen[1:])))
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network.to("meta").emotion.backbone(torch.empty(1, 3, 112, 112))
    frozen = counter.get_total_flops() * (2 if appearance == "vggface2" else 1)
    assert 1.7 * frozen < free.training - cost.training < 2.1 * frozen  # backward takes twice what forward takes


def test_operations_of_the_papers_backbone_by_hand():
    """ResNet50 has 3.8 and 4.1 billion multiply-adds at 224 px (Caffe's and torchvision's strides; He et al. 2016)."""

    def by_hand(network: nn.Module) -> int:
        found = []

        def count(layer, _, output):
            if isinstance(layer, nn.Conv2d):
                found.append(output.numel() * layer.weight[0].numel())
            if isinstance(layer, nn.Linear):
                found.append(output.numel() * layer.in_features)

        hooks = [layer.register_forward_hook(count) for layer in network.modules()]
        with torch.device("meta"):
            network.eval()(torch.empty(1, 3, 224, 224))
        for hook in hooks:
            hook.remove()
        return 2 * sum(found)

    with torch.device("meta"):
        network = MultiTask(replace(PAPER, weights=()), "vggface2")
    cost = costs.measure_cost(Member(recipe=PAPER))
    assert cost.inference == by_hand(network)
    assert by_hand(network.emotion.backbone) / 2e9 == pytest.approx(3.85, abs=0.05)
    assert cost.parameters.appearance == pytest.approx(23.5e6 + 2048 * 512, rel=0.01)  # ResNet50 without its last layer
    assert 2.9 * cost.inference < costs.measure_cost(Member(recipe=PAPER, appearance="none", mix="mixup")).training


def test_steps_are_those_of_training():
    labels = np.repeat(np.arange(6), 11)
    assert costs.count_steps(Member(recipe=SMOKE), labels) == (66, 2 * 5, 2 * 66)
    assert costs.count_steps(Member(recipe=SMOKE, epochs=3), np.repeat(np.arange(5), 13)) == (
        65,
        3 * 4,
        3 * 64,
    )  # 1 dropped
    assert costs.count_steps(Member(recipe=SMOKE, bag=1), labels)[0] == 12
    assert costs.count_steps(Member(recipe=replace(SMOKE, steps_per_epoch=2)), labels) == (66, 4, 64)


def test_bf16_halves_what_is_kept():
    full, half = (costs.measure_cost(Member(recipe=replace(PAPER, precision=p))) for p in ("float32", "bf16"))
    assert half.training == full.training
    assert half.activations == pytest.approx(full.activations / 2 + 2 * full.parameters.total)


def test_longest_first_on_the_next_free_place():
    assert costs.estimate_end([1.0] * 7, 3) == 3
    assert costs.estimate_end([5, 1, 1, 1, 1, 1], 2) == 5
    assert costs.estimate_end([2.0], 6) == 2


@pytest.mark.parametrize("mix", MIXES)
def test_less_memory_costs_a_second_forward_of_the_backbones(mix):
    """Against ResNet50's operations by hand; what is kept falls, and least of all is needed where a batch is split."""
    costs_of = {
        how: costs.measure_cost(Member(recipe=replace(PAPER, memory=how), mix=mix))
        for how in ("plain", "recompute", "split_2", "split_4")
    }
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        MultiTask(PAPER, "vggface2").emotion.backbone(torch.empty(1, 3, 224, 224))
    passes = 3 if mix == "mixaugment" else 2
    plain = costs_of["plain"]
    for how in ("split_2", "split_4"):
        assert costs_of[how].training == plain.training + passes * counter.get_total_flops()
    assert 0.9 < (costs_of["recompute"].training - plain.training) / (passes * counter.get_total_flops()) < 1
    needed = [costs_of[how].activations for how in ("plain", "recompute", "split_2", "split_4")]
    assert needed == sorted(needed, reverse=True)
    assert all(cost.fixed == plain.fixed and cost.inference == plain.inference for cost in costs_of.values())
    assert costs_of["recompute"].memory < plain.memory / 2


def test_the_largest_piece_counts_with_what_is_kept():
    """A residual network's first blocks are the largest: what one keeps, measured in a real pass of it."""
    member = Member(recipe=replace(SMOKE, memory="recompute"), appearance="none", mix="mixup")
    network, kept = MultiTask(SMOKE, "none").train(), {}
    backbone = network.emotion.backbone
    own = {tensor.data_ptr() for tensor in network.parameters()}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    stem = torch.nn.Sequential(*list(backbone.graph.children())[:4])
    faces = stem(torch.rand(4, 3, 32, 32)).detach()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone.graph.layer1[0](faces)
    block = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 4
    _, everything, _ = real_step(replace(member, recipe=SMOKE), 4)
    cost = costs.measure_cost(member)
    assert block < cost.activations / SMOKE.batch_size < everything
    found = costs._pass(replace(member.recipe, batch_size=costs.PROBE), "")
    assert found.again == pytest.approx(block, rel=0.1)
