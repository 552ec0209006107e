"""dlib's face-recognition graph against a forward pass written from its description."""

import pytest
import torch

from lsdkit.method.recognition import BLOCKS, TRUNK, make_graph

STAGES = (32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256)
HALVED = (4, 8, 11, 14)  # blocks, from 1


def naive(state, x, blocks):
    """Windows and einsum; (B, 3, S, S) -> (B, C, h, w), and whether a smaller map had to be filled anywhere."""

    def conv(y, name, stride, padding):
        weight = state[f"{name}.weight"]
        side = weight.shape[2]
        wide = y.new_zeros(*y.shape[:2], y.shape[2] + 2 * padding, y.shape[3] + 2 * padding)
        wide[:, :, padding : padding + y.shape[2], padding : padding + y.shape[3]] = y
        windows = wide.unfold(2, side, stride).unfold(3, side, stride)
        return torch.einsum("bchwij,ocij->bohw", windows, weight) + state[f"{name}.bias"].view(1, -1, 1, 1)

    def affine(y, name):
        return y * state[f"{name}.gain"].view(1, -1, 1, 1) + state[f"{name}.offset"].view(1, -1, 1, 1)

    filled = False
    y = affine(conv(x, "stem.conv", 2, 0), "stem.affine").clamp(min=0)
    y = y.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    for number in range(1, blocks + 1):
        halve, at, before = number in HALVED, f"block{number}", y
        y = affine(conv(before, f"{at}.conv1", 2 if halve else 1, 0 if halve else 1), f"{at}.affine1").clamp(min=0)
        y = affine(conv(y, f"{at}.conv2", 1, 1), f"{at}.affine2")
        if halve:
            h, w = before.shape[2] // 2, before.shape[3] // 2
            corners = [before[:, :, i : 2 * h : 2, j : 2 * w : 2] for i in (0, 1) for j in (0, 1)]
            before = sum(corners) / 4
        total = y.new_zeros(len(y), y.shape[1], max(y.shape[2], before.shape[2]), max(y.shape[3], before.shape[3]))
        for part in (y, before):  # what is beyond a map or its channels counts as zeros
            total[:, : part.shape[1], : part.shape[2], : part.shape[3]] += part
        filled |= y.shape[2:] != before.shape[2:]
        y = total.clamp(min=0)
    return y, filled


def random_graph(blocks):
    graph, channels = make_graph(blocks)
    generator = torch.Generator().manual_seed(0)
    graph.double()
    with torch.no_grad():
        for name, value in graph.named_parameters():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=torch.float64) / value[0].numel() ** 0.5)
            if name.endswith("gain"):
                value.abs_()
    return graph, channels


@pytest.mark.parametrize(
    ("side", "blocks", "map_side", "filled"),
    [
        (118, TRUNK, 6, False),  # what the backbone takes
        (112, TRUNK, 6, True),  # a map of 26 is halved to 13 and to 12
        (118, 14, 1, True),
        (150, 14, 2, True),  # what dlib describes
    ],
)
def test_the_graph_against_a_slow_one(side, blocks, map_side, filled):
    graph, channels = random_graph(blocks)
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 0.5
    with torch.no_grad():
        ours = graph(x)
        reference, was_filled = naive(graph.state_dict(), x, blocks)
    assert channels == STAGES[blocks - 1]
    assert ours.shape == reference.shape == (2, channels, map_side, map_side)
    assert was_filled == filled
    assert reference.abs().max() > 0.1
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9 * reference.abs().max().item())


def test_a_picture_that_is_not_square():
    graph, _ = random_graph(5)
    x = torch.rand(1, 3, 70, 93, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        reference, _ = naive(graph.state_dict(), x, 5)
        torch.testing.assert_close(graph(x), reference)


def test_layers_and_channels():
    graph, _ = make_graph(len(BLOCKS))
    convolutions = [each for each in graph.modules() if isinstance(each, torch.nn.Conv2d)]
    assert len(convolutions) == 29
    assert tuple(map(abs, BLOCKS)) == STAGES
    assert tuple(number for number, channels in enumerate(BLOCKS, start=1) if channels < 0) == HALVED
    assert [name for name, _ in make_graph(2)[0].named_children()] == ["stem", "block1", "block2"]
