"""Colour jitter against torchvision's operations image by image, in torch and in compiled loops."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lsdkit.common.seeds import torch_generator
from lsdkit.method import colours


def faces(batch=8, size=32, seed=0):
    return torch.rand(batch, 3, size, size, generator=torch_generator(seed, "faces"))


def edge_colours():
    """Greys, ties, primaries, secondaries, black and white, and colours between them: (1, 3, 6, 36)."""
    levels = torch.tensor([0.0, 0.2, 0.5, 0.5, 0.9, 1.0])
    return torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 6, 36)


@pytest.mark.parametrize(
    ("ours", "reference", "low", "high"),
    [
        (colours.brightness, tv.adjust_brightness, 0.5, 1.5),
        (colours.contrast, tv.adjust_contrast, 0.5, 1.5),
        (colours.saturation, tv.adjust_saturation, 0.5, 1.5),
        (colours.hue, tv.adjust_hue, -0.5, 0.5),
    ],
)
def test_colour_operations_are_torchvisions(ours, reference, low, high):
    for x in (faces(), edge_colours().expand(8, -1, -1, -1)):
        factors = torch.linspace(low, high, len(x))
        expected = torch.stack([reference(image, factor.item()) for image, factor in zip(x, factors, strict=True)])
        torch.testing.assert_close(ours(x.clone(), factors.view(-1, 1, 1, 1)), expected, atol=2e-6, rtol=0)


def test_hue_keeps_each_pixels_range_and_comes_back():
    x = faces()
    turned = colours.hue(x.clone(), torch.full((8, 1, 1, 1), 0.3))
    torch.testing.assert_close(turned.amax(1), x.amax(1))
    torch.testing.assert_close(turned.amin(1), x.amin(1))
    assert not turned.allclose(x, atol=0.1)
    torch.testing.assert_close(colours.hue(turned, torch.full((8, 1, 1, 1), -0.3)), x, atol=1e-5, rtol=0)


def test_jitter_takes_each_image_in_its_own_order():
    x, draw = faces(), colours.draw_jitter(8, torch_generator(0, "jitter"))
    operations = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    expected = []
    for image, factors, order in zip(x, draw.factors, draw.order, strict=True):
        for number in order.tolist():
            image = operations[number](image, factors[number].item())
        expected.append(image)
    assert len({tuple(order.tolist()) for order in draw.order}) > 1
    torch.testing.assert_close(colours.jitter_(x.clone(), draw), torch.stack(expected), atol=1e-5, rtol=0)


def test_compiled_loops_give_what_torch_gives():
    """Odd sizes, greys, ties and every order; torch takes what does not lie image by image in memory."""
    x = torch.cat([faces(24, 37), edge_colours().expand(24, -1, -1, -1).repeat(1, 1, 7, 2)[:, :, :37, :37]])
    draw = colours.draw_jitter(len(x), torch_generator(0, "jitter"))
    by_torch = colours.jitter_(x.to(memory_format=torch.channels_last), draw)
    assert not by_torch.is_contiguous()
    assert not by_torch.allclose(x, atol=0.05)
    compiled, by_torch = colours.jitter_(x.clone(), draw), by_torch.contiguous()
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        assert compiled.equal(by_torch)
    torch.testing.assert_close(compiled, by_torch, atol=1e-5, rtol=0)


def test_a_draw_of_other_images_is_refused_and_no_image_is_no_fault():
    draw = colours.draw_jitter(1, torch_generator(0, "jitter"))
    with pytest.raises(ValueError, match="a colour draw of 8 images"):
        colours.jitter_(faces(), draw)
    none = faces()[:0]
    assert colours.jitter_(none, draw.of(slice(0))).shape == none.shape


def test_jitter_draws_stay_in_their_ranges():
    draw = colours.draw_jitter(2000, torch_generator(0, "jitter"))
    low, high = torch.tensor([0.5, 0.5, 0.5, -0.5]), torch.tensor([1.5, 1.5, 1.5, 0.5])
    assert (draw.factors >= low).all()
    assert (draw.factors <= high).all()
    torch.testing.assert_close(draw.factors.std(dim=0), torch.full((4,), 1 / math.sqrt(12)), atol=0.02, rtol=0)
    assert len(draw.order.unique(dim=0)) == 24
    assert draw.order.sort(dim=1).values.equal(torch.arange(4).expand(2000, 4))
