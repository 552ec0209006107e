"""Views against torchvision's operations image by image, and what a draw may and may not do."""

from dataclasses import replace

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lsdkit.common.seeds import torch_generator
from lsdkit.method import views as augment
from lsdkit.method.colours import draw_jitter
from lsdkit.recipes import find_recipe

SMOKE = find_recipe("smoke")
PER_BATCH = replace(SMOKE, draws="per_batch")


def faces(batch=8, size=32, seed=0):
    return torch.rand(batch, 3, size, size, generator=torch_generator(seed, "faces"))


def test_flip_and_affine_are_torchvisions():
    x = faces(4, 40).double()
    flip = torch.tensor([False, True, False, True])
    angle, scale = torch.tensor([15.0, -20.0, 0.0, 7.0]), torch.tensor([0.8, 1.0, 1.0, 0.9])
    pixels = torch.tensor([[4.0, -6.0], [0.0, 3.0], [0.0, 0.0], [-8.0, 8.0]])  # right, down
    expected = []
    for i in range(4):
        image = tv.hflip(x[i]) if flip[i] else x[i]
        options = {"angle": angle[i].item(), "scale": scale[i].item(), "translate": pixels[i].tolist()}
        expected.append(tv.affine(image, shear=[0.0, 0.0], interpolation=tv.InterpolationMode.BILINEAR, **options))
    theta = augment.geometry(flip, angle.double().deg2rad(), scale.double(), pixels.double() * 2 / 40)
    torch.testing.assert_close(augment.resample(x, theta), torch.stack(expected), atol=1e-6, rtol=0)


def test_geometry_draws_stay_in_their_ranges():
    theta = augment.draw_geometry(4000, torch_generator(0, "geometry"))
    scale = 1 / theta[:, :, :2].det().abs().sqrt()
    assert scale.min() >= 0.8 - 1e-5
    assert scale.max() <= 1 + 1e-5
    angle = torch.atan2(theta[:, 1, 0], theta[:, 1, 1]).rad2deg()
    assert 19 < angle.abs().max() <= 20 + 1e-3
    shift = -torch.linalg.solve(theta[:, :, :2], theta[:, :, 2])
    assert 0.39 < shift.abs().max() <= 0.4 + 1e-5  # of a side 2 long
    assert theta[:, :, :2].det().lt(0).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert angle.abs().gt(1e-4).float().mean().item() == pytest.approx(0.7, abs=0.04)


def test_strength_shortens_every_range_and_zero_leaves_only_the_flip():
    def draws(strength):
        theta = augment.draw_geometry(500, torch_generator(0, "geometry"), strength)
        boxes = augment.draw_boxes(500, 64, torch_generator(0, "boxes"), strength)
        return theta, boxes, draw_jitter(500, torch_generator(0, "jitter"), strength).factors

    full, none = draws(1.0), draws(0.0)
    identity = torch.eye(2, 3).expand(500, 2, 3)
    assert torch.equal(none[0].abs(), identity)
    assert torch.equal(none[2], torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(500, 4))
    half = draws(0.5)
    torch.testing.assert_close(half[2] - none[2], (full[2] - none[2]) / 2)
    shift = [torch.linalg.solve(theta[:, :, :2], theta[:, :, 2]) for theta in (half[0], full[0])]
    torch.testing.assert_close(shift[0], shift[1] / 2, atol=1e-6, rtol=1e-5)
    assert half[1][:, 2:].prod(1).max() < 0.2 * 64**2 < full[1][:, 2:].prod(1).max()


def test_boxes_stay_inside_and_have_the_drawn_size():
    boxes = augment.draw_boxes(4000, 64, torch_generator(0, "boxes"))
    erased = boxes[boxes[:, 2] > 0]
    assert len(erased) / 4000 == pytest.approx(0.5, abs=0.04)
    top, left, height, width = erased.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 64).all()
    assert (left + width <= 64).all()
    area = height * width / 64**2
    assert 0.01 < area.min() < 0.03
    assert 0.3 < area.max() < 0.35
    ratio = height / width
    assert ratio.min() < 0.4
    assert ratio.max() > 2.5


def test_erasing_blackens_the_box_and_nothing_else():
    x = faces(3).clamp(min=0.1)
    boxes = torch.tensor([[2, 3, 5, 7], [0, 0, 0, 9], [30, 0, 2, 32]])
    expected = x.clone()
    for image, (top, left, height, width) in zip(expected, boxes.tolist(), strict=True):
        image[:, top : top + height, left : left + width] = 0
    assert augment.erase_(x.clone(), boxes).equal(expected)


def test_to_float():
    images = torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8, generator=torch_generator(0, "images"))
    same = augment.to_float(images, 20)
    assert same.equal(images.permute(0, 3, 1, 2) / 255)
    reference = tv.resize(images.permute(0, 3, 1, 2) / 255, [10, 10], antialias=True)
    torch.testing.assert_close(augment.to_float(images, 10), reference, atol=1.01 / 255, rtol=0)  # to a whole level
    with pytest.raises(ValueError, match="uint8"):
        augment.to_float(images.float(), 10)
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\)"):
        augment.to_float(images.permute(0, 3, 1, 2), 10)


# The two views


def views(x, seed=0, basic=True, recipe=SMOKE):
    return augment.views(x, torch_generator(seed, "views"), basic=basic, recipe=recipe)


def test_same_generator_same_bits_and_input_untouched():
    x = faces()
    before = x.clone()
    for first, second, other in zip(views(x), views(x), views(x, seed=1), strict=True):
        assert first.equal(second)
        assert not first.equal(other)
        assert first.shape == x.shape
        assert first.min() >= 0
        assert first.max() <= 1
    assert x.equal(before)


@pytest.mark.parametrize("recipe", [SMOKE, PER_BATCH])
@pytest.mark.parametrize("basic", [True, False])
def test_no_bit_depends_on_blocks_or_threads(monkeypatch, recipe, basic):
    recipe = replace(recipe, basic_aug_off="jitter_removed")
    images = torch.randint(0, 256, (10, 24, 24, 3), dtype=torch.uint8, generator=torch_generator(0, "images"))
    threads, made = torch.get_num_threads(), []
    try:
        for block, number in ((2**30, 1), (2**30, 2), (3 * 32 * 32 * 3, 1), (3 * 32 * 32 * 3, 2), (1, 2)):
            monkeypatch.setattr(augment, "BLOCK", block)  # all at once, three at a time, one at a time
            torch.set_num_threads(number)
            x = augment.to_float(images, 32)
            made.append((x, *views(x, basic=basic, recipe=recipe)))
    finally:
        torch.set_num_threads(threads)
    for others in made[1:]:
        assert all(first.equal(other) for first, other in zip(made[0], others, strict=True))


def gradient_image(size=32):
    """Grey levels tell the position: a view that moves shows it. (1, 3, S, S)"""
    ramp = torch.linspace(0.2, 0.6, size)
    return (ramp.view(1, -1) + ramp.view(-1, 1) * 0.5).expand(1, 3, size, size)


def test_appearance_view_never_moves():
    x = gradient_image().repeat(64, 1, 1, 1)
    view = views(x)[1]
    assert not view.allclose(x)
    grey = view.mean(dim=1)
    assert (grey.diff(dim=1) >= -1e-5).all()  # a change of colours keeps the order of grey levels, clipped or not
    assert (grey.diff(dim=2) >= -1e-5).all()


def test_draws_differ_between_the_images_of_a_batch():
    x = faces(1).repeat(16, 1, 1, 1)
    for view in views(x):
        flat = view.flatten(1)
        assert len(flat.unique(dim=0)) > 8


@pytest.mark.parametrize(("recipe", "distinct"), [(SMOKE, True), (PER_BATCH, False)])
def test_geometry_and_boxes_are_drawn_per_image_or_per_batch(recipe, distinct):
    """With the jitter removed, equal images stay equal exactly where one draw serves the batch."""
    recipe = replace(recipe, basic_aug_off="jitter_removed")
    x = faces(1).repeat(16, 1, 1, 1)
    results = [views(x, seed, basic=False, recipe=recipe)[0].flatten(1) for seed in range(6)]
    assert any(len(flat.unique(dim=0)) > 1 for flat in results) == distinct
    assert any(not flat.equal(x.flatten(1)) for flat in results)


def test_basic_off_leaves_nothing_or_removes_the_jitter():
    x = faces()
    emotion, appearance = views(x, basic=False)
    assert emotion.equal(x)
    assert not appearance.allclose(x, atol=0.05)
    grey = gradient_image().repeat(32, 1, 1, 1)
    kept = views(grey, basic=False, recipe=replace(SMOKE, basic_aug_off="jitter_removed"))[0]
    assert not kept.equal(grey)
    assert kept.max() <= grey.max() + 1e-5  # brighter than the input only a jitter makes it


@pytest.mark.parametrize("shared", [True, False])
def test_one_colour_draw_serves_both_views_where_shared(monkeypatch, shared):
    """With nothing moved and nothing erased the views are equal exactly where they share the jitter."""
    still = torch.eye(2, 3).expand(8, -1, -1)
    monkeypatch.setattr(augment, "draw_geometry", lambda *_: still)
    monkeypatch.setattr(augment, "draw_boxes", lambda *_: torch.zeros(8, 4, dtype=torch.long))
    emotion, appearance = views(faces(), recipe=replace(SMOKE, shared_jitter=shared))
    assert emotion.allclose(appearance, atol=1e-4) == shared
    assert not appearance.allclose(faces(), atol=0.05)


ORDERS = ("move colour erase", "move erase colour", "colour move erase")


def written_out(x, order, flip, angle, scale, pixels, jitter, boxes):
    """The emotion view face by face by torchvision's operations, in this order."""
    colours = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    views = []
    for i, image in enumerate(x):
        for operation in order.split():
            if operation == "move":
                image = tv.hflip(image) if flip[i] else image
                options = {"angle": angle[i], "scale": scale[i], "translate": pixels[i], "shear": [0.0, 0.0]}
                image = tv.affine(image, interpolation=tv.InterpolationMode.BILINEAR, **options)
            elif operation == "colour":
                for number in jitter.order[i].tolist():
                    image = colours[number](image, jitter.factors[i, number].item())
            else:
                top, left, height, width = boxes[i].tolist()
                image = tv.erase(image, top, left, height, width, torch.zeros(3, height, width))
        views.append(image)
    return torch.stack(views)


def test_the_emotion_view_is_moved_then_coloured_then_erased(monkeypatch):
    """In another order a border or a box is no longer black: contrast draws it to the mean."""
    x, flip = faces(4, 40), [True, False, True, False]
    angle, scale, pixels = (
        [15.0, -20.0, 10.0, 7.0],
        [0.8, 0.9, 1.0, 0.85],
        [[4.0, -6.0], [8.0, 3.0], [0.0, 7.0], [-8.0, 8.0]],
    )
    theta = augment.geometry(
        torch.tensor(flip), torch.tensor(angle).deg2rad(), torch.tensor(scale), torch.tensor(pixels) * 2 / 40
    )
    boxes = torch.tensor([[2, 3, 15, 17], [0, 0, 12, 9], [20, 5, 10, 32], [10, 10, 20, 20]])
    jitter = draw_jitter(4, torch_generator(0, "colours"))
    monkeypatch.setattr(augment, "draw_geometry", lambda *_: theta)
    monkeypatch.setattr(augment, "draw_boxes", lambda *_: boxes)
    monkeypatch.setattr(augment, "draw_jitter", lambda *_: jitter)
    view = views(x)[0]
    expected, *others = (written_out(x, order, flip, angle, scale, pixels, jitter, boxes) for order in ORDERS)
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)
    for order, other in zip(ORDERS[1:], others, strict=True):
        assert (view - other).abs().mean() > 0.01, order


def test_the_jitter_is_removed_from_both_views_where_it_is_what_off_removes():
    recipe = replace(SMOKE, basic_aug_off="jitter_removed")
    x = faces()
    emotion, appearance = views(x, basic=False, recipe=recipe)
    assert appearance.equal(x)
    assert appearance is not x
    assert not emotion.equal(x)
    assert not views(x, recipe=recipe)[1].allclose(x, atol=0.05)
