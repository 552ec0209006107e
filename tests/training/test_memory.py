"""A step in less memory against the plain one: loss, gradients and buffers in float64."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lsdkit.common.seeds import global_draws, torch_generator
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import loss_total
from lsdkit.recipes import FACE_GRADIENTS, GRADIENTS, MIXES, SMOKE, Member
from lsdkit.training.member import MemberTask, train_member
from lsdkit.training.memory import less_memory, pieces, split_into

B = 6


def batch(side, dtype=torch.float64):
    generator = torch_generator(0, "batch")
    views = torch.rand(2, B, 3, side, side, generator=generator, dtype=dtype)
    landmarks = 2 * torch.rand(B, 68, 2, generator=generator, dtype=dtype) - 1
    landmarks[2] = math.nan
    return *views, torch.tensor([0, 3, 4, 4, 2, 5]), landmarks


def step(network, member, how):
    """Loss, gradients, state after it, and bytes kept for backward: of a copy, from the same random numbers."""
    network, kept = copy.deepcopy(network).train(), {}
    dtype = next(network.parameters()).dtype
    weights = torch.tensor([0.9, 0.9, 0.8, 0.7, 0.4, 0.9], dtype=dtype)
    options = {"lam": 0.3, "partner": torch.tensor([3, 0, 5, 1, 4, 2]), "member": member, "class_weights": weights}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    kept_as = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with kept_as, global_draws(torch_generator(0, "step")), less_memory(network, how):
        loss, _ = loss_total(network, *batch(member.recipe.image_size, dtype), **options)
    torch.rand(3)  # another state of the generator than that of the first time
    loss.backward()
    gradients = {name: tensor.grad for name, tensor in network.named_parameters() if tensor.grad is not None}
    return loss.detach(), gradients, network.state_dict(), sum(kept.values())


def build(recipe, mix="mixaugment", appearance="vggface2"):
    member = Member(recipe=recipe, mix=mix, appearance=appearance)
    return member, MultiTask.build(member, torch_generator(0, "weights")).double()


RESNET = replace(SMOKE, emotion="vggface2_resnet50", appearances=(("vggface2", "dan_resnet18"),))
PRE_TRAINED = replace(  # drops features out, and has frozen parts with batch norm
    FACE_GRADIENTS, image_size=48, frozen=(("face_gradients", 1), ("tf_efficientnet_lite0", 2))
)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize(
    ("recipe", "appearance"),
    [(RESNET, "vggface2"), (SMOKE, "mobilevitv2"), (SMOKE, "none"), (GRADIENTS, "dino"), (PRE_TRAINED, "mobilevitv2")],
    ids=["resnets", "mobilevitv2", "single-task", "gradients", "frozen"],
)
def test_recomputing_is_the_plain_step(recipe, appearance, mix):
    member, network = build(recipe, mix, appearance)
    loss, gradients, state, kept = step(network, member, "plain")
    again, others, after, less = step(network, member, "recompute")
    assert abs(loss - again) < 1e-10
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        assert (gradient - others[name]).abs().max() < 1e-10, name
    for name, tensor in state.items():
        assert tensor.equal(after[name]), name
    assert any(name.endswith("num_batches_tracked") and tensor > 0 for name, tensor in after.items())
    assert less < kept


def test_splitting_is_the_loss_of_the_whole_batch():
    """Written out: the backbone over two parts, all else over the six faces."""
    member, network = build(SMOKE)
    loss, gradients, state, less = step(network, member, "split_2")

    class Halves(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.graph = backbone.graph
            self.normalise = backbone.normalise

        def forward(self, x):
            return torch.cat([self.graph(self.normalise(x[:3])), self.graph(self.normalise(x[3:]))])

    written_out = copy.deepcopy(network)
    for branch in (written_out.emotion, written_out.appearance):
        branch.backbone = Halves(branch.backbone)
    expected, theirs, after, kept = step(written_out, member, "plain")
    assert abs(loss - expected) < 1e-10
    for name, gradient in theirs.items():
        assert (gradient - gradients[name]).abs().max() < 1e-10, name
    for name, tensor in after.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-12)
    assert less < kept
    plain, *_ = step(network, member, "plain")
    assert abs(loss - plain) > 1e-4  # batch norm of three faces is not that of six
    assert state["emotion.backbone.graph.bn1.num_batches_tracked"] == 4  # two parts of two passes
    assert state["shared.1.num_batches_tracked"] == 2


def test_splitting_without_batch_norm_in_the_backbone_is_the_plain_step():
    recipe = replace(SMOKE, emotion="dlib_face", appearances=(("vggface2", "dlib_face"),))
    member, network = build(recipe)
    loss, gradients, state, _ = step(network, member, "plain")
    again, others, after, _ = step(network, member, "split_8")  # of six faces: three parts, each of two
    assert abs(loss - again) < 1e-10
    for name, gradient in gradients.items():
        assert (gradient - others[name]).abs().max() < 1e-10, name
    for name, tensor in state.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-12)


def test_bf16_is_recomputed_in_bf16():
    member, network = build(replace(SMOKE, precision="bf16"))
    network = network.float()
    loss, gradients, *_ = step(network, member, "plain")
    again, others, *_ = step(network, member, "recompute")
    assert loss.equal(again)
    for name, gradient in gradients.items():
        assert gradient.equal(others[name]), name


def test_what_is_computed_again():
    _, network = build(RESNET)
    assert pieces(network, "plain") == []
    assert len(pieces(network, "recompute")) == 16 + 8  # the blocks of ResNet50 and ResNet18
    assert pieces(network, "split_2") == [network.emotion.backbone, network.appearance.backbone]
    assert [split_into(how) for how in ("plain", "recompute", "split_2", "split_8")] == [1, 1, 2, 8]


def test_the_network_is_left_as_it_was():
    _, network = build(SMOKE)
    for how in ("recompute", "split_4"):
        with less_memory(network, how):
            assert all("forward" in vars(module) for module in pieces(network, how))
        assert not any("forward" in vars(module) for module in network.modules())
    own = network.emotion.backbone.forward
    network.emotion.backbone.forward = own  # as a compiled one would lie there
    with less_memory(network, "split_4"):
        assert network.emotion.backbone.forward is not own
    assert vars(network.emotion.backbone)["forward"] is own


def test_a_run_that_recomputes_ends_with_the_same_weights(tiny_store, tmp_path):
    """Bit for bit, the mean of weights too; and a split one ends with others."""
    hashes = {}
    for how in ("plain", "recompute", "split_2"):
        member = Member(recipe=replace(SMOKE, averaging=0.9, memory=how), epochs=1)
        hashes[how] = train_member(member, tiny_store, tmp_path / how, device="cpu", progress=False).weights_sha256
    assert hashes["plain"] == hashes["recompute"] != hashes["split_2"]


def test_a_step_of_training_keeps_less(tiny_store):
    kept = {}
    for how in ("plain", "recompute", "split_4"):
        task, sizes = MemberTask(Member(recipe=replace(SMOKE, memory=how)), tiny_store, torch.device("cpu")), {}

        def keep(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            task.step(task.batches(0)[0], 0, 0)
        kept[how] = sum(sizes.values())
    assert kept["split_4"] < kept["recompute"] < kept["plain"]
