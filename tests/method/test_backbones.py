"""Backbones: shapes, preprocessing, and the Caffe graph against a forward pass written here."""

from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.method import backbones
from lsdkit.method.network import MultiTask
from lsdkit.recipes import PAPER, SMOKE, Member

BGR_MEAN = (91.4953, 103.8827, 131.0912)
DLIB_MEAN = (122.782, 117.001, 104.298)  # RGB


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
        ("tf_efficientnet_lite0", 64, 1280, 2),
        ("dlib_face", 112, 128, 6),
        ("dlib_face", 48, 128, 6),  # its window has a size of its own
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


@pytest.mark.parametrize(
    "name", ["vggface2_resnet50", "resnet50", "narrow", "narrow_caffe", "mobilevitv2_200", "dlib_face"]
)
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


def test_known_pixels_of_dlibs_input():
    """RGB of 0-255 less the mean, in 256ths, by hand."""
    x = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.4, 0.6]]).view(2, 3, 1, 1)
    y = backbones.create("dlib_face").normalise(x).view(2, 3)
    expected = [[255 - 122.782, 0 - 117.001, 0 - 104.298], [51 - 122.782, 102 - 117.001, 153 - 104.298]]
    torch.testing.assert_close(y, torch.tensor(expected) / 256)


# The window of a face


def resized(x, side):
    """(B, C, S, S) -> (B, C, side, side): each pixel the mean of those around its centre, nearer ones counting more."""
    scale = x.shape[-1] / side
    reach = max(scale, 1)
    weights = torch.zeros(side, x.shape[-1], dtype=x.dtype)
    for i in range(side):
        for j in range(x.shape[-1]):
            weights[i, j] = max(0, 1 - abs(j + 0.5 - (i + 0.5) * scale) / reach)
    weights = weights / weights.sum(1, keepdim=True)
    return weights @ x @ weights.T


@pytest.mark.parametrize(("size", "left", "top", "side"), [(112, 11, 13, 90), (48, 5, 6, 38), (300, 30, 36, 240)])
def test_dlib_sees_its_window_of_an_aligned_face(size, left, top, side):
    """Smaller and larger than the 118 px that it takes."""
    backbone, x = backbones.create("dlib_face"), image(size, 1).double()
    assert backbone.aligned
    window = x[:, :, top : top + side, left : left + side]
    assert window.shape[2:] == (side, side)
    torch.testing.assert_close(backbone.look(x), resized(window, 118))
    backbone.aligned = False
    torch.testing.assert_close(backbone.look(x), resized(x, 118))
    assert backbones.create("narrow").look(x) is x


def test_what_lies_outside_the_window_changes_nothing():
    backbone, x = backbones.create("dlib_face").eval(), image(112, 1)
    other = x.clone()
    other[:, :, :13] = other[:, :, 103:] = 0
    other[..., :11] = other[..., 101:] = 0
    with torch.no_grad():
        assert backbone(x).equal(backbone(other))
        expected = backbone.graph((255 * backbone.look(x) - torch.tensor(DLIB_MEAN).view(1, 3, 1, 1)) / 256)
        torch.testing.assert_close(backbone(x), expected, rtol=1e-3, atol=1e-5)
        backbones.mark_aligned(backbone, False)
        assert not backbone(x).equal(backbone(other))


def test_both_branches_are_told_how_faces_are_cut():
    recipe = replace(SMOKE, emotion="dlib_face", appearances=(("vggface2", "dlib_face"),))
    network = MultiTask.build(Member(recipe=recipe), torch_generator(0, "x"))
    found = [network.emotion.backbone, network.appearance.backbone]
    for aligned in (False, True):
        backbones.mark_aligned(network, aligned)
        assert [backbone.aligned for backbone in found] == [aligned] * 2


# Parts that are not trained


def kept_for_backward(module, x):
    """What a pass of a module keeps for backward, and its answer."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = module(x)
    return kept, y


def test_frozen_parts_get_no_gradient_and_keep_their_statistics():
    backbone = backbones.create("narrow", frozen=3).train()
    assert [name for name, _ in backbone.graph.named_children()][:3] == ["conv1", "bn1", "relu"]
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    for _ in range(2):
        backbone(image(48)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        still = name.startswith(("graph.conv1.", "graph.bn1."))
        assert parameter.requires_grad == (not still), name
        assert (parameter.grad is None) == still, name
    for name, buffer in backbone.named_buffers():
        if "running" in name or "num_batches" in name:
            assert buffer.equal(before[name]) == name.startswith("graph.bn1."), name
    assert not backbone.graph.bn1.training
    assert backbone.graph.layer1[0].bn1.training
    assert backbone.eval().train().training
    assert not backbone.graph.bn1.training


def test_frozen_parts_see_with_their_running_statistics():
    backbone = backbones.create("narrow", frozen=3).train()
    backbone.graph.bn1.running_mean.fill_(0.3)
    x = backbone.graph.conv1(backbone.normalise(image(32)))
    expected = ((x - 0.3) / (1 + 1e-5) ** 0.5).clamp(min=0)
    torch.testing.assert_close(backbone.graph[:3](backbone.normalise(image(32))), expected)


@pytest.mark.parametrize(
    ("name", "size", "most"), [("narrow", 48, 7), ("dlib_face", 112, 11), ("mobilevitv2_050", 48, 0)]
)
@pytest.mark.parametrize("frozen", [1, 3])
def test_nothing_of_frozen_parts_is_kept_for_backward(name, size, most, frozen):
    backbone = backbones.create(name, frozen=min(frozen, most) or 1).train()
    parts = list(getattr(backbone.graph, "model", backbone.graph).children())
    y = backbone.normalise(backbone.look(image(size)))
    assert len(backbone.frozen) == (min(frozen, most) or 1)
    for part in parts[: len(backbone.frozen)]:
        kept, y = kept_for_backward(part, y)
        assert kept == []
        assert not y.requires_grad
    if most:  # a sequence of parts: a pass through all keeps what one through the rest keeps
        rest = torch.nn.Sequential(*parts[len(backbone.frozen) :])
        kept, whole = kept_for_backward(rest, y), kept_for_backward(backbone, image(size))
        assert [tensor.shape for tensor in whole[0]] == [tensor.shape for tensor in kept[0]]
        everything, _ = kept_for_backward(backbones.create(name).train(), image(size))
        assert len(everything) > len(whole[0])


def test_a_wholly_frozen_backbone_keeps_nothing():
    backbone = backbones.create("dlib_face", frozen=11).train()
    kept, y = kept_for_backward(backbone, image(112))
    assert kept == []
    assert not y.requires_grad
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(("name", "most"), [("narrow", 7), ("dlib_face", 11)])
def test_more_frozen_parts_than_there_are_is_refused(name, most):
    assert len(backbones.create(name, frozen=most).frozen) == most
    with pytest.raises(ValueError, match=f"at most {most} `frozen` parts of this backbone, but got {most + 1}"):
        backbones.create(name, frozen=most + 1)


def test_a_recipes_frozen_parts_reach_its_backbones():
    recipe = replace(SMOKE, frozen=(("narrow", 3), ("mobilevitv2_050", 1), ("narrow_caffe", 0)))
    tag = "timm:mobilevitv2_050.cvnets_in1k"
    for each, role, parts in (
        *((recipe, "emotion", 0), (recipe, "vggface2", 0), (recipe, "dino", 3), (recipe, "mobilevitv2", 1)),
        *((recipe.with_source("mobilevitv2", tag), "mobilevitv2", 1), (SMOKE, "dino", 0)),
        (recipe, "resnet10t", 0),  # a backbone that the recipe says nothing of
    ):
        backbone = backbones.create_for(each, role)
        assert len(backbone.frozen) == parts, role
        assert any(not parameter.requires_grad for parameter in backbone.parameters()) == bool(parts), role
    assert not backbones.create_for(recipe, "dino").graph.bn1.training  # before its first call of `train`, too
    network = MultiTask.build(Member(recipe=recipe, appearance="dino"), torch_generator(0, "x")).train()
    assert not network.appearance.backbone.graph.bn1.training
    assert network.emotion.backbone.graph.bn1.training
