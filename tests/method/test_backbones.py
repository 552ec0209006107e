"""Backbones: shapes, preprocessing, and the Caffe graph against a forward pass written here."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from torch.nn import functional as F

from lsdkit.method import backbones
from lsdkit.recipes import PAPER, SMOKE

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
        ("dan_resnet18", 64, 512, 2),
        ("vggface2_resnet50", 64, 2048, 2),
        ("mobilevitv2_050", 64, 256, 2),
        ("mobilevitv2_050", 48, 256, 2),
        ("resnet10t", 64, 512, 2),
        ("resnet10t.c3_in1k", 64, 512, 2),  # with a tag
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


@pytest.mark.parametrize("name", ["vggface2_resnet50", "resnet50", "narrow", "narrow_caffe", "mobilevitv2_200"])
def test_ours_and_timms_are_known(name):
    backbones.check_name(name)


def test_the_backbone_of_timm_weights_is_the_tags():
    tag, name = "mobilenetv3_large_100.miil_in21k_ft_in1k", "mobilenetv3_large_100"

    def backbone(name, source):
        return backbones.backbone_for(
            replace(SMOKE, appearances=(("light", name),), weights=(("light", source),)), "light"
        )

    assert backbone(name, f"timm:{tag}@elsewhere.bin") == tag
    assert backbone(name, "") == backbone(name, "random") == name
    assert backbone(tag, f"timm:{tag}") == tag
    assert backbone("narrow", f"timm:{tag}") == "narrow"  # refused later, when they are loaded
    assert backbone(name, f"timm:{name}") == f"{name}.{timm.get_pretrained_cfg(name).tag}"
    with pytest.raises(ValueError, match=r"that timm has weights of, but got 'mobilenetv3_large_100\.none'; close: "):
        backbone(name, f"timm:{name}.none")


def test_the_backbone_of_a_role():
    assert backbones.backbone_for(PAPER, "emotion") == "vggface2_resnet50"
    assert backbones.backbone_for(PAPER, "dino") == "resnet50"
    assert backbones.backbone_for(SMOKE, "dino") == "narrow"
    assert backbones.backbone_for(SMOKE, "resnet10t") == "resnet10t"  # a backbone's own name
    own = SMOKE.with_source("emotion", "runs/before")
    assert backbones.backbone_for(own, "emotion") == "narrow_caffe"


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


def test_a_tag_decides_the_preprocessing():
    """One architecture, two published sets that were trained with different input."""
    tags = ("vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224.dino")
    for tag in tags:
        config = timm.get_pretrained_cfg(tag)
        assert backbones.preprocessing(tag) == {"mean": config.mean, "std": config.std}
    assert backbones.preprocessing(tags[0]) != backbones.preprocessing(tags[1])
    tagged = backbones.preprocessing("mobilevitv2_200.cvnets_in22k_ft_in1k")
    assert tagged == {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def test_an_unknown_tag_is_refused():
    with pytest.raises(ValueError, match=r"'mobilevitv2_200\.cvnets'.*Close: mobilevitv2_200\.cvnets_in1k"):
        backbones.create("mobilevitv2_200.cvnets")


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


def test_known_pixels_of_caffe_input():
    """Pure colours in 0-255, by hand: B, G, R less VGGFace2's mean of each."""
    colours = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.2, 0.4, 0.6]])
    y = backbones.create("vggface2_resnet50").normalise(colours.view(4, 3, 1, 1)).view(4, 3)
    expected = [
        [0 - 91.4953, 0 - 103.8827, 255 - 131.0912],
        [0 - 91.4953, 255 - 103.8827, 0 - 131.0912],
        [255 - 91.4953, 0 - 103.8827, 0 - 131.0912],
        [153 - 91.4953, 102 - 103.8827, 51 - 131.0912],
    ]
    torch.testing.assert_close(y, torch.tensor(expected))


def caffe_resnet50(state, x):
    """The Caffe ResNet50 in evaluation mode from its description: sliding windows and einsum, float64.

    x (B, 3, S, S): BGR, 0-255, less the mean. Strides are in each stage's first 1x1; pooling covers the last pixels.
    """

    def conv(y, name, stride=1):
        weight = state[f"{name}.weight"].double()
        size = weight.shape[2]
        padded = F.pad(y, (size // 2,) * 4)
        windows = padded.unfold(2, size, stride).unfold(3, size, stride)
        return torch.einsum("bchwij,ocij->bohw", windows, weight)

    def norm(y, name):
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, var = (state[f"{name}.{part}"].double().view(1, -1, 1, 1) for part in parts)
        return (y - mean) / (var + 1e-5).sqrt() * weight + bias

    y = norm(conv(x, "conv1", 2), "bn1").clamp(min=0)
    side = y.shape[2]
    out = -(-(side - 3) // 2) + 1  # rounded up
    windows = [[y[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].amax(dim=(2, 3)) for j in range(out)] for i in range(out)]
    y = torch.stack([torch.stack(row, dim=-1) for row in windows], dim=-2)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = norm(conv(y, f"{at}.conv1", stride), f"{at}.bn1").clamp(min=0)
            inner = norm(conv(inner, f"{at}.conv2"), f"{at}.bn2").clamp(min=0)
            inner = norm(conv(inner, f"{at}.conv3"), f"{at}.bn3")
            if block == 0:
                y = norm(conv(y, f"{at}.downsample.0", stride), f"{at}.downsample.1")
            y = (y + inner).clamp(min=0)
    return y


@pytest.mark.parametrize("side", [64, 75])
def test_vggface2_graph_is_caffes(side):
    """With random running statistics; 75 px leaves a pixel over at the pooling and at every stride."""
    backbone = backbones.create("vggface2_resnet50").double().eval()
    generator = torch.Generator().manual_seed(0)
    for key, value in backbone.graph.state_dict().items():
        if key.endswith(("running_mean", "running_var", "bias")):
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5 * key.endswith("var"))
    faces = image(side, 1).double()
    blue_first = 255 * faces[:, [2, 1, 0]] - torch.tensor(BGR_MEAN, dtype=torch.float64).view(1, 3, 1, 1)
    with torch.no_grad():
        ours, reference = backbone(faces), caffe_resnet50(backbone.graph.state_dict(), blue_first)
    assert ours.shape == reference.shape
    torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5 * reference.abs().max().item())


def test_resnet50_is_torchvisions():
    network = torchvision.models.resnet50(weights=None).eval()
    backbone = backbones.create("resnet50", normalisation="imagenet").eval()
    backbone.graph.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("fc.")})
    x = image(64, 1)
    with torch.no_grad():
        pooled = backbone(x).mean(dim=(2, 3))
        torch.testing.assert_close(network.fc(pooled), network(backbone.normalise(x)))
