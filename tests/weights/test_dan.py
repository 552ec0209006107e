"""The official DAN from a checkpoint, against an implementation written here."""

import pytest
import torch
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.weights.dan import DAN, ROWS, from_official, rows_to_ours
from lsdkit.weights.published import parse, tensors
from tests.weightfiles import dan_state, write_dan


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


@pytest.mark.parametrize(
    ("file", "rows", "classes", "message"),
    [
        ("rafdb_epoch21.pth", 8, "auto", "rows as the name of .* says, rafdb, but it has 8"),
        ("affecnet8_epoch5.pth", 7, "auto", "rows as the name of .* says, affectnet8, but it has 7"),
        ("affecnet7_epoch6.pth", 8, "auto", "affectnet7, but it has 8"),
        ("affecnet7_epoch6.pth", 7, "rafdb", "a file of rafdb, but the name of .* says affectnet7"),
        ("rafdb_epoch21.pth", 7, "affectnet7", "a file of affectnet7, but the name of .* says rafdb"),
    ],
)
def test_rows_that_contradict_the_files_name_are_refused(tmp_path, file, rows, classes, message):
    torch.save({"model_state_dict": dan_state(rows)}, tmp_path / file)
    with pytest.raises(ValueError, match=message):
        from_official(tmp_path / file, classes)
    if classes != "auto":
        with pytest.raises(ValueError, match=message):
            tensors(parse(f"dan_{classes}@{tmp_path / file}")[0])


def test_a_set_of_other_rows_is_refused_as_a_source(tmp_path):
    torch.save({"model_state_dict": dan_state(8)}, tmp_path / "mine.pth")
    with pytest.raises(ValueError, match=r"Expected 7 classes for dan_rafdb, but .*mine\.pth has 8"):
        tensors(parse(f"dan_rafdb@{tmp_path / 'mine.pth'}")[0])
