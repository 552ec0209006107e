"""Attention heads, and the whole DAN from an official checkpoint, against implementations written here."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lsdkit.dan import DAN, ROWS, CrossAttentionHead, adapters, from_official, fuse, rows_to_ours
from lsdkit.seeds import torch_generator
from tests.weightfiles import dan_state, write_dan

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


# The whole network


def naive_dan(state, x, heads=4):
    """DAN in evaluation mode from the state alone, in float64: sliding windows and einsum, no layer of torch."""
    state = {key: value.double() for key, value in state.items()}

    def conv(y, name, stride=1):
        weight = state[f"{name}.weight"]
        height, width = weight.shape[2:]
        padded = F.pad(y, (width // 2, width // 2, height // 2, height // 2))
        windows = padded.unfold(2, height, stride).unfold(3, width, stride)  # (B, C, h, w, i, j)
        out = torch.einsum("bchwij,ocij->bohw", windows, weight)
        return out + state[f"{name}.bias"].view(1, -1, 1, 1) if f"{name}.bias" in state else out

    def norm(y, name):
        weight, bias, mean, var = (state[f"{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var"))
        shape = (1, -1, *[1] * (y.ndim - 2))
        return (y - mean.view(shape)) / (var + 1e-5).sqrt().view(shape) * weight.view(shape) + bias.view(shape)

    def linear(y, name):
        return y @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    y = norm(conv(x.double(), "features.0", 2), "features.1").clamp(min=0)
    y = F.pad(y, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 2).unfold(3, 3, 2).amax(dim=(4, 5))
    for stage in range(4, 8):
        for block in range(2):
            at, stride = f"features.{stage}.{block}", 2 if stage > 4 and block == 0 else 1
            inner = norm(conv(y, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
            inner = norm(conv(inner, f"{at}.conv2"), f"{at}.bn2")
            if stride == 2:
                y = norm(conv(y, f"{at}.downsample.0", 2), f"{at}.downsample.1")
            y = (inner + y).clamp(min=0)
    vectors = []
    for head in range(heads):
        at = f"cat_head{head}"
        inner = norm(conv(y, f"{at}.sa.conv1x1.0"), f"{at}.sa.conv1x1.1")
        maps = [norm(conv(inner, f"{at}.sa.{c}.0"), f"{at}.sa.{c}.1") for c in ("conv_3x3", "conv_1x3", "conv_3x1")]
        pooled = (y * sum(maps).clamp(min=0).sum(dim=1, keepdim=True)).mean(dim=(2, 3))
        hidden = norm(linear(pooled, f"{at}.ca.attention.0"), f"{at}.ca.attention.1").clamp(min=0)
        vectors.append(pooled / (1 + torch.exp(-linear(hidden, f"{at}.ca.attention.3"))))
    stacked = torch.stack(vectors, dim=1)
    stacked = stacked - torch.logsumexp(stacked, dim=1, keepdim=True)
    return norm(linear(stacked.sum(dim=1), "fc"), "bn"), y, stacked


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An official checkpoint with eight classes: the state, and beside it what training left."""
    return write_dan(tmp_path_factory.mktemp("dan") / "affecnet8_epoch5_acc0.6209.pth", 8)


def test_parity_with_a_naive_implementation(checkpoint):
    network = from_official(checkpoint).double()
    x = torch.randn(2, 3, 96, 96, generator=torch_generator(0, "x"), dtype=torch.float64)
    with torch.no_grad():
        logits, feature_map, heads = network(x)
    expected_logits, expected_map, expected_heads = naive_dan(dan_state(8), x)
    assert logits.shape == (2, 8)
    assert feature_map.shape == (2, 512, 3, 3)
    assert heads.shape == (2, 4, 512)
    torch.testing.assert_close(feature_map, expected_map, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(heads, expected_heads, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, expected_logits[:, [6, 5, 4, 1, 2, 3, 0, 7]], rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        single = from_official(checkpoint)(x.float())
    for ours, reference in zip(
        single, (expected_logits[:, rows_to_ours("affectnet8")], feature_map, heads), strict=True
    ):
        scale = reference.abs().max()
        torch.testing.assert_close(ours.double() / scale, reference / scale, rtol=0, atol=1e-5)


def test_state_keys_are_the_official_ones(checkpoint):
    state = dan_state(8)
    network = from_official(checkpoint)
    assert {k: v.shape for k, v in network.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert set(network.report.loaded) == set(state)
    assert not network.report.missing + network.report.unexpected + network.report.reshaped
    assert not network.training


def test_rows_are_the_papers_facts():
    assert rows_to_ours("affectnet8")[:6] == [6, 5, 4, 1, 2, 3]
    assert rows_to_ours("affectnet7")[:6] == [6, 5, 4, 1, 2, 3]
    assert rows_to_ours("rafdb")[:6] == [5, 2, 1, 3, 4, 0]


@pytest.mark.parametrize(
    ("file", "classes", "meant"),
    [
        ("affecnet7_epoch6_acc0.6569.pth", "auto", "affectnet7"),
        ("rafdb_epoch21_acc0.897_bacc0.8275.pth", "auto", "rafdb"),
        ("mine.pth", "affectnet7", "affectnet7"),
        ("mine.pth", "rafdb", "rafdb"),
    ],
)
def test_seven_rows_are_told_apart(tmp_path, file, classes, meant):
    state = dan_state(7)
    torch.save({"model_state_dict": state}, tmp_path / file)
    network = from_official(tmp_path / file, classes)
    ours = ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE", "NEUTRAL")
    for row, name in enumerate(ours):
        official = ROWS[meant].index(name)
        assert network.fc.weight[row].equal(state["fc.weight"][official])
        assert network.bn.running_var[row].equal(state["bn.running_var"][official])


def test_what_the_rows_mean_is_not_guessed(tmp_path, checkpoint):
    torch.save({"model_state_dict": dan_state(7)}, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"mine\.pth has 7; say `classes`"):
        from_official(tmp_path / "mine.pth")
    with pytest.raises(ValueError, match="Expected 7 rows for rafdb"):
        from_official(checkpoint, "rafdb")
    with pytest.raises(ValueError, match="'auto' or one of affectnet8"):
        from_official(checkpoint, "fer2013")


def test_half_a_checkpoint_is_refused(tmp_path):
    state = dan_state(8)
    torch.save({k: v for k, v in state.items() if not k.startswith("fc")}, tmp_path / "no_fc.pth")
    with pytest.raises(ValueError, match="official DAN checkpoint"):
        from_official(tmp_path / "no_fc.pth")
    torch.save({k: v for k, v in state.items() if k != "cat_head3.ca.attention.0.weight"}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match=r"the whole DAN.*cat_head3\.ca\.attention\.0\.weight"):
        from_official(tmp_path / "part.pth")


def test_faces_are_normalised_as_in_its_training():
    network = DAN(6).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch_generator(0, "faces"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = ((x.movedim(1, -1) - mean) / std).movedim(-1, 1)
    with torch.no_grad():
        probabilities = network.probabilities(x)
        torch.testing.assert_close(probabilities, network(by_hand)[0].softmax(dim=1))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2))
