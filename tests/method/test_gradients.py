"""Fixed histograms and the projection after them against naive loops, and what the maps are a function of."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from lsdkit.common.seeds import torch_generator
from lsdkit.method import backbones
from lsdkit.method.gradients import RIDGE, OrientedGradients, Projection


def naive(image: np.ndarray) -> np.ndarray:
    """(3, S, S) -> (36, 8, 8), one pixel, cell and block at a time."""
    grey = np.sqrt(image.mean(0))
    side = len(grey)
    cells = np.zeros((9, 9, 9))
    for row in range(side):
        for column in range(side):
            across = grey[row, min(column + 1, side - 1)] - grey[row, max(column - 1, 0)]
            down = grey[min(row + 1, side - 1), column] - grey[max(row - 1, 0), column]
            place = (math.atan2(down, across) % math.pi) / math.pi * 9 - 0.5
            low, share = math.floor(place) % 9, place - math.floor(place)
            cell = row * 9 // side, column * 9 // side
            cells[low, *cell] += (1 - share) * math.hypot(across, down)
            cells[(low + 1) % 9, *cell] += share * math.hypot(across, down)
    cells /= (side // 9) ** 2
    blocks = np.zeros((36, 8, 8))
    for row in range(8):
        for column in range(8):
            block = np.concatenate([cells[:, row + i, column + j] for i in (0, 1) for j in (0, 1)])
            block = np.minimum(block / max(np.linalg.norm(block), 1e-2), 0.2)
            blocks[:, row, column] = block / max(np.linalg.norm(block), 1e-3)
    return blocks


@pytest.mark.parametrize("side", [18, 72])
def test_histograms_are_those_of_a_naive_loop(side):
    images = torch.rand(2, 3, side, side, generator=torch_generator(0), dtype=torch.float32)
    blocks = OrientedGradients()(images)
    assert blocks.shape == (2, 36, 8, 8)
    for image, histograms in zip(images.numpy(), blocks.numpy(), strict=True):
        np.testing.assert_allclose(histograms, naive(image.astype(float)), atol=2e-5)


def test_brightness_and_colour_say_nothing():
    image = torch.rand(1, 3, 64, 64, generator=torch_generator(1)) * 0.5
    histograms = OrientedGradients()(image)
    torch.testing.assert_close(OrientedGradients()(1.7 * image), histograms, atol=1e-4, rtol=0)
    grey = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close(OrientedGradients()(grey), histograms, atol=1e-5, rtol=0)


def test_an_even_picture_is_no_direction():
    assert OrientedGradients()(torch.full((1, 3, 32, 32), 0.3)).abs().max() == 0


def test_too_small_a_picture_is_refused():
    with pytest.raises(ValueError, match="at least 9 pixels"):
        OrientedGradients()(torch.zeros(1, 3, 8, 8))


def test_the_backbone_keeps_places_apart():
    network = backbones.create("gradients").eval()
    image = torch.rand(1, 3, 64, 64, generator=torch_generator(2))
    y = network(image)
    assert y.shape == (1, network.channels, 3, 3)
    assert (network(image.flip(2)) != y.flip(2)).any()  # no convolution: each place has weights of its own


@pytest.mark.parametrize("sides", [(6,), (6, 8)])
def test_the_projection_is_a_product_of_two_matrices(sides):
    maps = [torch.rand(4, 5 + side, side, side, generator=torch_generator(side)) for side in sides]
    projection = Projection(*((x.shape[1], x.shape[2]) for x in maps)).eval()
    y = projection(*maps)
    assert y.shape == (4, 96, 3, 3)
    scale = math.sqrt(1 + 1e-5)  # of batch norm as it starts
    features = np.concatenate([x.numpy().reshape(4, -1) for x in maps], 1).astype(float) / scale
    narrow, widen = (layer.weight.detach().numpy().astype(float) for layer in (projection.narrow, projection.widen))
    assert narrow.shape == (64, features.shape[1])
    expected = np.maximum(features @ narrow.T @ widen.T / scale, 0).reshape(4, 96, 3, 3)
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)


def test_fixed_directions_are_those_of_ridge_regressions():
    generator = torch_generator(5)
    labels = torch.arange(40) % 6
    maps = [torch.rand(40, channels, 3, 3, generator=generator) * scale for channels, scale in ((4, 1), (7, 30))]
    projection = Projection((4, 3), (7, 3), fixed=True)
    assert not projection.narrow.weight.requires_grad
    projection.fit(*maps, labels=labels)
    found = projection.narrow.weight.numpy()
    assert found.shape == (18, 99)
    features = []
    for x in maps:  # standardised by channel
        x = x.numpy().astype(float)
        z = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
        features.append(z.reshape(40, -1))
    for row, chosen in ((0, slice(0, 36)), (6, slice(36, 99)), (12, slice(0, 99))):
        z = np.concatenate(features, 1)[:, chosen]
        ridge = Ridge(alpha=RIDGE * z.shape[1]).fit(z, np.eye(6)[labels])
        expected = np.zeros((6, 99))
        expected[:, chosen] = ridge.coef_ / np.linalg.norm(ridge.coef_, axis=1, keepdims=True)
        np.testing.assert_allclose(found[row : row + 6], expected, atol=1e-5)


def test_face_and_histograms_each_take_their_part_of_the_crop():
    backbone = backbones.create("face_gradients", frozen=1).eval()
    x = torch.rand(2, 3, 112, 112, generator=torch_generator(3))
    face, histograms = backbone.graph.face, backbone.graph.histograms
    assert face(x).shape == (2, 128, 8, 8)
    assert histograms(x).shape == (2, 36, 8, 8)
    inner = torch.nn.functional.interpolate(x[:, :, 31:98, 22:89], (72, 72), mode="bilinear", antialias=True)
    torch.testing.assert_close(histograms(x), OrientedGradients()(inner))
    torch.testing.assert_close(backbone(x), backbone.graph.projection(face(x), histograms(x)))


def test_the_face_network_beside_the_histograms_is_not_trained():
    backbone = backbones.create("face_gradients", frozen=1).train()
    x = torch.rand(2, 3, 112, 112, generator=torch_generator(4))
    backbone(x).square().sum().backward()
    assert all(parameter.grad is None for parameter in backbone.graph.face.parameters())
    assert backbone.graph.projection.narrow.weight.grad is None
    assert backbone.graph.projection.widen.weight.grad.abs().sum() > 0
    assert backbone.find("dlib_face") is backbone.graph.face.graph
    assert backbone.find("narrow") is None
