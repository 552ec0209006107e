"""Attention heads and their fusion, against implementations written here."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.method.attention import CrossAttentionHead, adapters, fuse

D, INNER = 32, 8


def naive_conv(x, weight, bias):
    """'Same' convolution as a sum over shifted copies."""
    height, width = weight.shape[2:]
    padded = F.pad(x, (width // 2, width // 2, height // 2, height // 2))
    out = bias.view(1, -1, 1, 1)
    for i in range(height):
        for j in range(width):
            window = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
            out = out + torch.einsum("bchw,oc->bohw", window, weight[:, :, i, j])
    return out


def naive_norm(x, norm):
    """Batch norm in train mode: over everything but the channels."""
    dims = [d for d in range(x.ndim) if d != 1]
    shape = (1, -1, *[1] * (x.ndim - 2))
    mean, var = x.mean(dims, keepdim=True), x.var(dims, keepdim=True, unbiased=False)
    return (x - mean) / (var + 1e-5).sqrt() * norm.weight.view(shape) + norm.bias.view(shape)


def naive_head(head, x):
    sa, ca = head.sa, head.ca.attention
    y = naive_norm(naive_conv(x, sa.conv1x1[0].weight, sa.conv1x1[0].bias), sa.conv1x1[1])
    maps = [naive_norm(naive_conv(y, c[0].weight, c[0].bias), c[1]) for c in (sa.conv_3x3, sa.conv_1x3, sa.conv_3x1)]
    attention = sum(maps).clamp(min=0).sum(dim=1)  # (B, h, w)
    pooled = torch.einsum("bchw,bhw->bc", x, attention) / (x.shape[2] * x.shape[3])
    hidden = naive_norm(pooled @ ca[0].weight.T + ca[0].bias, ca[1]).clamp(min=0)
    gate = 1 / (1 + torch.exp(-(hidden @ ca[3].weight.T + ca[3].bias)))
    return pooled * gate


def randomised(module):
    """Weights far from their start, so that no term of the check is near zero."""
    generator = torch_generator(0, "weights")
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module.double()


def test_a_head_is_what_it_says():
    head = randomised(CrossAttentionHead(D, INNER)).train()
    x = torch.randn(4, D, 3, 5, generator=torch_generator(0, "x"), dtype=torch.float64)
    ours, reference = head(x), naive_head(head, x)
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)
    parameters = list(head.parameters())
    for a, b in zip(
        torch.autograd.grad(ours.sum(), parameters), torch.autograd.grad(reference.sum(), parameters), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_names_and_shapes_are_the_official_ones():
    shapes = {key: tuple(value.shape) for key, value in CrossAttentionHead(512, 256).named_parameters()}
    assert {key: shape for key, shape in shapes.items() if len(shape) > 1} == {
        "sa.conv1x1.0.weight": (256, 512, 1, 1),
        "sa.conv_3x3.0.weight": (512, 256, 3, 3),
        "sa.conv_1x3.0.weight": (512, 256, 1, 3),
        "sa.conv_3x1.0.weight": (512, 256, 3, 1),
        "ca.attention.0.weight": (32, 512),
        "ca.attention.3.weight": (512, 32),
    }
    assert {key for key in shapes if key.startswith("sa.conv_3x3")} == {
        f"sa.conv_3x3.{part}" for part in ("0.weight", "0.bias", "1.weight", "1.bias")
    }


def test_start():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = CrossAttentionHead(128, 64)
    convolution, linear = head.sa.conv_3x3[0], head.ca.attention[0]
    assert convolution.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert convolution.bias.eq(0).all()
    assert linear.bias.eq(0).all()


def test_fusion():
    heads = torch.randn(2, 4, 5, generator=torch_generator(0, "heads"), dtype=torch.float64)
    reference = torch.zeros(2, 5, dtype=torch.float64)
    for b in range(2):
        for d in range(5):
            total = sum(torch.exp(heads[b, m, d]) for m in range(4))
            reference[b, d] = sum(torch.log(torch.exp(heads[b, m, d]) / total) for m in range(4))
    torch.testing.assert_close(fuse(heads), reference)
    torch.testing.assert_close(fuse(heads, log_softmax=False), heads.sum(dim=1))
    assert fuse(heads[:, :1]).equal(heads[:, 0])


@pytest.mark.parametrize(
    ("channels", "features", "widths"),
    [(2048, 512, [1024, 512]), (1024, 512, [512]), (96, 128, [128]), (512, 512, []), (192, 64, [96, 64])],
)
def test_adapters_reach_the_features(channels, features, widths):
    layers = adapters(channels, features)
    assert [layer[0].out_channels for layer in layers] == widths
    assert layers(torch.rand(2, channels, 2, 2)).shape == (2, features, 2, 2)
    assert all(isinstance(layer[2], nn.ReLU) for layer in layers)
