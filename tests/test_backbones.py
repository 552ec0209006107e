"""Backbones: shapes, preprocessing, the Caffe graph, and weight files with every key accounted for."""

import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from lsdkit import backbones, weights

BGR_MEAN = (91.4953, 103.8827, 131.0912)


def image(size, batch=2):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "channels", "side"),
    [
        ("narrow", 48, 96, 3),
        ("narrow_caffe", 48, 96, 3),
        ("narrow_caffe", 64, 96, 4),
        ("resnet50", 64, 2048, 2),
        ("vggface2_resnet50", 64, 2048, 2),
        ("mobilevitv2_050", 64, 256, 2),
        ("mobilevitv2_050", 48, 256, 2),
        ("resnet10t", 64, 512, 2),
        ("vit_tiny_patch16_224", 224, 192, 14),  # tokens, folded back into a map
        ("swin_tiny_patch4_window7_224", 224, 768, 7),  # channels last
    ],
)
def test_feature_maps(name, size, channels, side):
    backbone = backbones.create(name).eval()
    with torch.no_grad():
        y = backbone(image(size, 1))
    assert backbone.channels == channels
    assert y.shape == (1, channels, side, side)
    assert y.isfinite().all()


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"narrow_caffe.*'mobilevit_v2_050'.*Close: mobilevitv2_050"):
        backbones.create("mobilevit_v2_050")


def test_names_hold_ours_and_timms():
    assert {"vggface2_resnet50", "resnet50", "narrow", "narrow_caffe", "mobilevitv2_200"} <= set(backbones.names())


def test_caffe_preprocessing_is_bgr_less_the_mean():
    x = image(8)
    y = backbones.create("narrow_caffe").normalise(x)
    for channel in range(3):
        torch.testing.assert_close(y[:, channel], 255 * x[:, 2 - channel] - BGR_MEAN[channel])


def test_torchvision_preprocessing_is_imagenets():
    x = image(8)
    reference = torchvision.transforms.functional.normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(backbones.create("narrow").normalise(x), reference)


def test_timm_preprocessing_is_the_models_own():
    x = image(8)
    torch.testing.assert_close(backbones.create("mobilevitv2_050").normalise(x), x)  # mean 0, std 1
    vit = backbones.create("vit_tiny_patch16_224").normalise(x)
    torch.testing.assert_close(vit, (x - 0.5) / 0.5)


def test_imagenet_normalisation_overrides_the_backbones():
    x = image(8)
    ours = backbones.create("narrow_caffe", normalisation="imagenet").normalise(x)
    torch.testing.assert_close(ours, backbones.create("narrow").normalise(x))


def test_vggface2_strides_in_the_first_1x1_and_pools_rounding_up():
    graph = backbones.create("vggface2_resnet50").graph
    for stage, stride in ((graph.layer1, 1), (graph.layer2, 2), (graph.layer3, 2), (graph.layer4, 2)):
        assert stage[0].conv1.stride == (stride, stride)
        assert stage[0].conv2.stride == (1, 1)
        assert stage[0].downsample[0].stride == (stride, stride)
    with torch.no_grad():
        stem = graph.maxpool(graph.conv1(torch.rand(1, 3, 224, 224)))
    assert stem.shape[2:] == (56, 56)
    assert graph.maxpool.padding == 0
    plain = backbones.create("resnet50").graph
    assert plain.layer2[0].conv1.stride == (1, 1)
    assert plain.layer2[0].conv2.stride == (2, 2)


def test_resnet50_is_torchvisions():
    network = torchvision.models.resnet50(weights=None).eval()
    backbone = backbones.create("resnet50", normalisation="imagenet").eval()
    backbone.graph.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("fc.")})
    x = image(64, 1)
    with torch.no_grad():
        pooled = backbone(x).mean(dim=(2, 3))
        torch.testing.assert_close(network.fc(pooled), network(backbone.normalise(x)))


# Weight files


@pytest.fixture
def state():
    return {key: torch.rand_like(value.float()) for key, value in backbones.create("narrow").graph.state_dict().items()}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_weights_come_from_a_file(tmp_path, state, suffix):
    file = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    graph = backbones.create("narrow", str(file)).graph
    assert graph.state_dict()["layer3.0.conv1.weight"].equal(state["layer3.0.conv1.weight"])


def test_timm_weights_fit_by_timms_own_names(tmp_path):
    import timm

    model = timm.create_model("resnet10t")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    backbone = backbones.create("resnet10t", str(tmp_path / "weights.pth"))
    assert backbone.graph.model.layer1[0].conv1.weight.equal(model.layer1[0].conv1.weight)


def test_every_key_is_reported(tmp_path, state):
    del state["layer1.0.bn1.bias"]
    state["layer1.0.bn1.weight"] = torch.rand(3)
    state["fc.weight"] = torch.rand(2, 2)
    torch.save(state, tmp_path / "weights.pt")
    graph = backbones.create("narrow").graph
    report = weights.load_weights(graph, tmp_path / "weights.pt")
    assert report.missing == ["layer1.0.bn1.bias"]
    assert report.reshaped == ["layer1.0.bn1.weight"]
    assert report.unexpected == ["fc.weight"]
    assert set(report.loaded) == set(graph.state_dict()) - {"layer1.0.bn1.bias", "layer1.0.bn1.weight"}
    assert str(report) == f"{len(report.loaded)} loaded, 1 missing, 1 unexpected, 1 reshaped"


@pytest.mark.parametrize(("key", "expected"), [("teacher", 2.0), ("student", 1.0)])
def test_dino_checkpoints(tmp_path, state, key, expected):
    wrapped = {
        name: {f"{prefix}{k}": torch.full_like(v, fill) for k, v in state.items()}
        for name, prefix, fill in (("student", "module.backbone.", 1.0), ("teacher", "backbone.", 2.0))
    }
    torch.save({**wrapped, "epoch": 3}, tmp_path / "dino.pth")
    graph = backbones.create("narrow", str(tmp_path / "dino.pth"), dino_key=key).graph
    assert graph.conv1.weight.eq(expected).all()


def test_prefixes_are_stripped_at_the_start_only(tmp_path):
    torch.save({"state_dict": {"head.module.weight": torch.ones(1)}}, tmp_path / "w.pt")
    assert list(weights.read_tensors(tmp_path / "w.pt")) == ["head.module.weight"]


def test_another_architectures_file_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="another architecture"):
        backbones.create("narrow", str(tmp_path / "w.pt"))


class Malicious:
    def __reduce__(self):
        return (print, ("run",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"weight": Malicious()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="refused"):
        weights.read_tensors(tmp_path / "w.pt")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({}))
    with pytest.raises(ValueError, match="safetensors"):
        weights.read_tensors(tmp_path / "w.pkl")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_cut_file_is_named(tmp_path, state, suffix):
    file = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="whole weight file"):
        weights.read_tensors(file)


def test_an_absent_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is none"):
        weights.read_tensors(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="dictionary of tensors"):
        weights.read_tensors(tmp_path / "list.pt")


def test_tensors_that_stay_random_are_told(tmp_path, state):
    path = tmp_path / "part.pt"
    torch.save({key: value for key, value in state.items() if key != "bn1.weight"}, path)
    with pytest.warns(UserWarning, match=r"1 tensors stay random, such as bn1\.weight"):
        backbones.create("narrow", str(path))
