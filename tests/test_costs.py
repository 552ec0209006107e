"""Costs before a run: against counts by hand, and against a real step on the CPU."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lsdkit import costs, estimate, results
from lsdkit.averaging import running_mean
from lsdkit.multitask import MultiTask
from lsdkit.objective import batch_loss
from lsdkit.recipes import MIXES, PAPER, SMOKE, Member
from lsdkit.training import train_member

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
            loss, _ = batch_loss(network, *views, labels, landmarks, **options)
        loss.backward()
    return counter.get_total_flops() / size, sum(t.untyped_storage().nbytes() for t in kept.values()) / size, network


@pytest.mark.parametrize("appearance", APPEARANCES)
@pytest.mark.parametrize("mix", MIXES)
def test_a_cost_is_that_of_a_real_step(mix, appearance):
    member = Member(recipe=SMOKE, mix=mix, appearance=appearance)
    cost = costs.cost(member)
    operations, kept, network = real_step(member, 4)
    assert cost.training == pytest.approx(operations, rel=1e-9)
    assert cost.activations / SMOKE.batch_size == pytest.approx(kept, rel=0.1)
    count = sum(tensor.numel() for tensor in network.parameters())
    assert cost.parameters.total == count
    optimiser = torch.optim.Adam(network.parameters())
    batch_loss(
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
    assert costs.cost(averaged).fixed == cost.fixed + sum(t.nbytes for t in (*mean.parameters(), *mean.buffers()))
    needed = MultiTask(SMOKE, "")
    assert cost.parameters.inference == sum(tensor.numel() for tensor in needed.parameters())


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
    cost = costs.cost(Member(recipe=PAPER))
    assert cost.inference == by_hand(network)
    assert by_hand(network.emotion.backbone) / 2e9 == pytest.approx(3.85, abs=0.05)
    assert cost.parameters.appearance == pytest.approx(23.5e6 + 2048 * 512, rel=0.01)  # ResNet50 without its last layer
    assert 2.9 * cost.inference < costs.cost(Member(recipe=PAPER, appearance="none", mix="mixup")).training


def test_steps_are_those_of_training():
    labels = np.repeat(np.arange(6), 11)
    assert costs.steps(Member(recipe=SMOKE), labels) == (66, 2 * 5, 2 * 66)
    assert costs.steps(Member(recipe=SMOKE, epochs=3), np.repeat(np.arange(5), 13)) == (65, 3 * 4, 3 * 64)  # 1 dropped
    assert costs.steps(Member(recipe=SMOKE, bag=1), labels)[0] == 12
    assert costs.steps(Member(recipe=replace(SMOKE, steps_per_epoch=2)), labels) == (66, 4, 64)


def test_bf16_halves_what_is_kept():
    full, half = (costs.cost(Member(recipe=replace(PAPER, precision=p))) for p in ("float32", "bf16"))
    assert half.training == full.training
    assert half.activations == pytest.approx(full.activations / 2 + 2 * full.parameters.total)


def test_longest_first_on_the_next_free_place():
    assert costs.longest([1.0] * 7, 3) == 3
    assert costs.longest([5, 1, 1, 1, 1, 1], 2) == 5
    assert costs.longest([2.0], 6) == 2


def paper_plan(**options) -> str:
    members = [Member(recipe=replace(PAPER, **options), mix=mix, bag=bag) for mix in MIXES for bag in (0, 1)]
    none = pd.DataFrame(columns=list(results.RUN_COLUMNS))
    return estimate.plan(members, ["table2", "table3"] * 2, estimate.faces_of(PAPER), on="6 x RTX 3090", runs=none)


def test_the_plan_of_the_paper_needs_neither_data_nor_weights():
    text = paper_plan()
    assert "277,251 training, 4,670 validation and 106,120 test faces" in text
    assert "12 epochs over 277,251 faces, 26,004 steps" in text  # 12 x ceil(277251 / 128) = 12 x 2167
    assert "12 epochs over 55,450 faces, 5,208 steps" in text
    for word in ("RUNS (exact)", "PARAMETERS (exact)", "OPERATIONS (computed", "assumed: 20% to 45% of 35.6 TFLOP/s"):
        assert word in text
    assert "DOES NOT FIT" in text
    assert "bf16" in text.rpartition("What helps")[2]
    assert "DOES NOT FIT" not in paper_plan(precision="bf16")
    assert "measured" not in text


def test_the_hours_are_operations_over_rates():
    member = Member(recipe=PAPER)
    cost = costs.cost(member)
    none = pd.DataFrame(columns=list(results.RUN_COLUMNS))
    text = estimate.plan([member], ["table2"], estimate.faces_of(PAPER), on="A100", runs=none)
    operations = 12 * 277251 * cost.training + (13 * 4670 + 106120) * cost.inference
    low, high = (operations / (share * 19.5e12) / 3600 for share in (0.45, 0.2))
    assert f"HOURS on 1 x A100, each with a run of its own: {low:.1f} to {high:.1f} h" in text


def test_finished_runs_of_the_same_recipe_supply_their_times(tiny_store, tmp_path):
    member = Member(recipe=SMOKE)
    result = train_member(member, tiny_store, tmp_path / "run", device="cpu", progress=False)
    faces, options = estimate.faces_of(SMOKE, str(tiny_store.path)), {"on": "T4"}
    assert (len(faces.labels), faces.validation, faces.test) == (48, 24, 12)
    members = [Member(recipe=SMOKE, seed=seed) for seed in range(100)]
    runs = results.list_runs(tmp_path)
    text = estimate.plan(members, ["table2"] * 100, faces, runs=runs, **options)
    minutes = 100 * result["seconds"] / 60
    assert "as 1 finished runs of this recipe took (measured on cpu" in text
    assert f": {minutes:.1f} min of training" in text
    assert "measured for 1 of 1 pairs" in text
    assert "do not reach that share" in text
    other = [replace(each, recipe=replace(SMOKE, alpha=0.2)) for each in members]
    assert "finished runs" not in estimate.plan(other, ["table2"] * 100, faces, runs=runs, **options)


def test_the_card_is_checked():
    assert estimate.machine("rtx 4090") == (1, estimate.cards()["RTX 4090"])
    assert estimate.machine("8xH100")[0] == 8
    for wrong in ("6 x P100", "0 x T4", ""):
        with pytest.raises(ValueError, match=r"such as '6 x RTX 3090'.*RTX 3090, RTX 4090"):
            estimate.machine(wrong)
    for card in estimate.cards().values():
        assert card.source
        assert card.bf16 == 0 or card.bf16 > card.float32
    assert "has no bf16" in estimate.plan(
        [Member(recipe=replace(SMOKE, precision="bf16"))],
        ["table2"],
        estimate.faces_of(SMOKE),
        on="T4",
        runs=pd.DataFrame(columns=list(results.RUN_COLUMNS)),
    )
