"""The drawn network is the network: its shapes, its numbers, what is frozen, and what is shared."""

from dataclasses import replace

import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.figures.network import APPEARANCE, SHARED, architecture
from lsdkit.figures.style import png
from lsdkit.method.network import MultiTask
from lsdkit.notebook.architecture import outline
from lsdkit.recipes import DEMO, SMOKE, Member


def build(member: Member):
    network = MultiTask.build(member, torch_generator(0, "test"))
    return network, outline(network, member, torch.rand(2, 3, member.recipe.image_size, member.recipe.image_size))


def test_shapes_are_those_of_the_forward_pass():
    network, branches = build(Member.of("smoke"))
    faces = torch.rand(2, 3, 32, 32)
    network.eval()
    shapes = {part.name: part.shape for part in branches["emotion"]}
    assert shapes["picture"] == (3, 32, 32)
    assert shapes["backbone"] == tuple(network.emotion.backbone(faces).shape[1:])
    assert shapes["4 heads (MAN)"] == tuple(network.emotion(faces)[1].shape[1:]) == (4, 32)
    assert shapes["expression"] == tuple(network.forward_emotion(faces).logits.shape[1:]) == (6,)
    assert branches["appearance"][-1].shape == tuple(network.forward_landmarks(faces).shape[1:]) == (68, 2)


@pytest.mark.parametrize("recipe", [SMOKE, replace(SMOKE, shared_statistics=True), DEMO])
@pytest.mark.parametrize("appearance", ["vggface2", "mobilevitv2", "none"])
def test_every_number_is_counted_once(recipe, appearance):
    network, branches = build(Member.of(recipe, appearance=appearance))
    parts = [part for own in branches.values() for part in own]
    trained = sum(each.numel() for each in network.parameters() if each.requires_grad)
    frozen = sum(each.numel() for each in network.parameters() if not each.requires_grad)
    centres = network.affinity.centres.numel()  # of the loss, not of the network
    assert sum(part.trained for part in parts) == trained - centres
    assert sum(part.frozen for part in parts) == frozen
    assert ("appearance" in branches) == (appearance != "none")
    assert sum(part.shared for part in parts) == len(branches)


def test_the_network_is_left_as_it_was():
    network, _ = build(Member.of("smoke"))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_boxes_say_what_they_hold_and_frozen_ones_are_hatched():
    _, branches = build(Member.of("demo"))
    (ax,) = architecture(branches, "demo").axes
    said = [text.get_text() for text in ax.texts]
    for own in branches.values():
        for part in own:
            assert part.name in said
            assert " x ".join(map(str, part.shape)) in said
    hatched = [patch for patch in ax.patches if patch.get_hatch()]
    assert len(hatched) == sum(part.frozen > 0 for own in branches.values() for part in own) == 2
    assert "1.15M frozen" in said
    assert any("one set of weights" in text for text in said)


def test_a_single_task_network_has_one_branch_and_no_frame():
    _, branches = build(Member.of("smoke", appearance="none"))
    drawn = architecture(branches)
    said = [text.get_text() for text in drawn.axes[0].texts]
    assert not any("one set of weights" in text or "appearance" in text for text in said)
    assert APPEARANCE != SHARED
    assert png(drawn).startswith(b"\x89PNG")
