"""The two-branch network: shapes, shared weights, deterministic start, inference without the appearance branch."""

from dataclasses import replace

import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.method.network import MultiTask
from lsdkit.recipes import RECIPES, Member, find_recipe

SMOKE = find_recipe("smoke")


def build(recipe=SMOKE, seed=0, **options):
    return MultiTask.build(Member(recipe=recipe, **options), torch_generator(seed, "weights"))


def faces(size=32, batch=3):
    return torch.rand(batch, 3, size, size, generator=torch_generator(0, "faces"))


@pytest.mark.parametrize("appearance", ["vggface2", "dino", "mobilevitv2", "resnet10t"])
@pytest.mark.parametrize("recipe", [SMOKE, find_recipe("demo"), find_recipe("workshop")])
def test_shapes(recipe, appearance):
    network = build(recipe, appearance=appearance)
    x = faces(recipe.image_size)
    out = network.forward_emotion(x)
    assert out.logits.shape == (3, 6)
    assert out.features.shape == (3, recipe.features)
    assert out.heads.shape == (3, recipe.heads, recipe.features)
    assert network.forward_landmarks(x).shape == (3, 68, 2)


def test_paper_graph():
    """At 64 px, so that it stays fast: the global averages take any size."""
    network = build(find_recipe("paper"), appearance="dino").eval()
    assert [layer[0].out_channels for layer in network.emotion.adapters] == [1024, 512]
    assert network.appearance.adapter[0].in_channels == 2048
    assert [tuple(network.shared[i].weight.shape) for i in (0, 2)] == [(256, 512), (128, 256)]
    assert network.emotion.backbone.bgr
    assert not network.appearance.backbone.bgr
    with torch.no_grad():
        assert network(faces(64, 1)).shape == (1, 6)
        assert network.forward_landmarks(faces(64, 1)).shape == (1, 68, 2)


def test_map_is_large_enough_for_spatial_attention():
    for recipe in RECIPES.values():
        if recipe.emotion.startswith("narrow") and recipe.name != "smoke":
            network = build(recipe)
            side = network.emotion.backbone(faces(recipe.image_size)).shape[-1]
            assert side >= 3, recipe.name


def test_same_generator_same_weights():
    first, second, other = build(), build(), build(seed=1)
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert a.equal(b), name
    changed = [not a.equal(b) for a, b in zip(first.parameters(), other.parameters(), strict=True) if a.ndim > 1]
    assert all(changed)


def test_building_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    build()
    assert torch.random.get_rng_state().equal(before)


def test_the_shared_layers_are_one_and_get_gradients_from_both_branches():
    network = build()
    weight = network.shared[0].weight
    emotion = torch.autograd.grad(network.forward_emotion(faces()).logits.square().sum(), weight)[0]
    points = torch.autograd.grad(network.forward_landmarks(faces()).square().sum(), weight)[0]
    assert emotion.abs().sum() > 0
    assert points.abs().sum() > 0


def test_shared_statistics_is_about_running_averages_only():
    """Either way one set of weights and the same training outputs; only the statistics that inference uses differ."""
    apart, mixed = build(), build(replace(SMOKE, shared_statistics=True))
    for network in (apart, mixed):
        assert network.shared_appearance[0].weight is network.shared[0].weight
        assert network.shared_appearance[1].bias is network.shared[1].bias
    for forward in ("forward_emotion", "forward_landmarks"):
        first, second = (getattr(network, forward)(faces()) for network in (apart, mixed))
        assert torch.equal(first[0], second[0])
    with torch.no_grad():
        emotion_alone = build()
        emotion_alone.forward_emotion(faces())
    for layer in (1, 3):
        expected = emotion_alone.shared[layer].running_mean
        torch.testing.assert_close(apart.shared[layer].running_mean, expected)
        assert not torch.allclose(mixed.shared[layer].running_mean, expected)


def test_shared_layers_have_no_activation():
    network = build().eval()
    x = torch.randn(4, SMOKE.features)
    zero = network.shared(torch.zeros(1, SMOKE.features))
    torch.testing.assert_close(network.shared(2 * x) - zero, 2 * (network.shared(x) - zero), atol=1e-4, rtol=1e-4)


def normalised(x, eps=1e-5):
    """Batch norm of a fresh layer in training: each column less its mean, over its (biased) standard deviation."""
    columns = [(column - column.mean()) / (((column - column.mean()) ** 2).mean() + eps).sqrt() for column in x.T]
    return torch.stack(columns, dim=1)


def test_the_expression_head_is_a_linear_layer_and_its_batch_norm():
    network = build().double().train()
    vector = torch.randn(8, SMOKE.shared[-1], generator=torch_generator(0, "vectors"), dtype=torch.float64)
    linear = network.expression[0]
    plain = torch.stack([linear.weight @ row + linear.bias for row in vector])
    torch.testing.assert_close(network.expression(vector), normalised(plain))
    assert not torch.allclose(normalised(plain), plain, atol=0.1)
    logits = network.forward_emotion(faces(batch=8).double()).logits
    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)
    spread = logits.var(dim=0, unbiased=False)
    assert ((spread > 0.5) & (spread < 1)).all()  # below 1 by the epsilon


def test_each_branch_averages_over_positions():
    """Features x' and the appearance vector are means of the adapters' maps, 1x1 conv, batch norm, ReLU written out."""
    recipe = replace(SMOKE, image_size=96)  # maps of 3 x 3 and more, so that mean and largest differ
    network, x = build(recipe).double().train(), faces(96, 4).double()

    def adapted(layers, y):
        for layer in layers:
            flat = y.movedim(1, 3).reshape(-1, y.shape[1]) @ layer[0].weight.flatten(1).T  # (B h w, D)
            flat = normalised(flat).clamp(min=0)
            y = flat.reshape(len(y), *y.shape[2:], -1).movedim(3, 1)
        return y

    branches = {
        "emotion": (network.emotion.backbone, network.emotion.adapters, network.emotion(x)[0]),
        "appearance": (network.appearance.backbone, [network.appearance.adapter], network.appearance(x)),
    }
    for name, (backbone, layers, vector) in branches.items():
        y = adapted(layers, backbone(x))
        assert y.shape[2] * y.shape[3] >= 9, name
        torch.testing.assert_close(vector, y.flatten(2).sum(dim=2) / (y.shape[2] * y.shape[3]))
        assert (vector - y.amax(dim=(2, 3))).abs().mean() > 0.1, name


def test_inference_does_not_touch_the_appearance_branch():
    network = build().eval()
    network.appearance.register_forward_pre_hook(lambda *_: pytest.fail("the appearance branch ran"))
    before = network(faces())
    for parameter in network.appearance.parameters():
        parameter.data.fill_(float("nan"))
    assert network(faces()).equal(before)


def test_emotion_state_is_all_that_inference_needs():
    whole = build().eval()
    state = whole.emotion_state()
    assert not any(key.startswith(("appearance", "landmarks", "affinity")) for key in state)
    part = MultiTask(SMOKE).eval()
    part.load_state_dict(state, strict=True)
    assert part(faces()).equal(whole(faces()))


def test_recipe_settings_reach_the_network():
    plain = build(replace(SMOKE, head_log_softmax=False))
    plain.load_state_dict(build().state_dict())
    assert not plain.eval()(faces()).allclose(build().eval()(faces()))
    imagenet = build(replace(SMOKE, normalisation="imagenet"))
    assert not imagenet.emotion.backbone.bgr
    assert len(build(replace(SMOKE, heads=2)).emotion.heads) == 2


def test_unknown_appearance_backbone_fails():
    with pytest.raises(ValueError, match="narrow_caffe"):
        build(appearance="vgg_face_3")
