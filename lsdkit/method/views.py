"""The two views of a batch of faces, made on the device: a fresh draw for each image.

Emotion view (paper sections 2.2 and 3.2, their union): horizontal flip, affine, erasing, colour jitter.
Appearance view: colour jitter alone, so that its landmarks stay true; it is never moved and never mixed.

Every draw is made on the CPU from the generator that is handed in, then moved: all devices see the same.
The operations are torchvision's (https://docs.pytorch.org/vision/stable/transforms.html) in batched form; only the
affine differs, bilinear here as one resampling together with the flip. Outside the image and erased is black.

On a CPU a batch is made in blocks of images that stay in a core's cache, each by one thread; no bit depends on them.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lsdkit.common.threads import share_out
from lsdkit.recipes import Recipe

FLIP, AFFINE, ERASE = 0.5, 0.7, 0.5  # probabilities
DEGREES, SHIFT, SCALE = 20.0, 0.2, (0.8, 1.0)  # rotation either way; share of the side; factor
ERASE_AREA, ERASE_RATIO = (0.02, 0.33), (0.3, 3.3)  # share of the image; height / width
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.5, 0.5, 0.5, 0.5  # factors 1 +- this; hue shift +- this many turns
BLOCK = 2**18  # numbers of the images that one thread makes at a time: a megabyte
LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision rounds it


class Jitter(NamedTuple):
    """One colour draw for each of B images, on the CPU."""

    factors: Tensor  # (B, 4): brightness, contrast, saturation, hue
    order: Tensor  # (B, 4): which of the four comes first, second, ...

    def of(self, rows: slice) -> "Jitter":
        """That of these images."""
        return Jitter(self.factors[rows], self.order[rows])


def to_float(images: Tensor, size: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, H, W, 3) as stored -> float32 (B, 3, size, size) in [0, 1] on the device, antialiased where resized.

    Raises `ValueError` for another type or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"Expected `images` to be uint8 (B, H, W, 3), but got {images.dtype} {tuple(images.shape)}")

    def convert(rows: slice) -> Tensor:
        x = images[rows].permute(0, 3, 1, 2)
        if x.shape[2:] != (size, size):  # in bytes on the CPU: several times faster there, the same for every device
            x = F.interpolate(x.cpu(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        return x.to(device).contiguous().float().div_(255)

    return _by_blocks(convert, torch.empty(1, device=device).expand(len(images), 3, size, size))


def _by_blocks(make: Callable[[slice], Tensor], like: Tensor) -> Tensor:
    """Images such as `like` (B, 3, S, S), those of a slice by `make`: on a CPU by blocks, elsewhere all at once."""
    if like.device.type != "cpu":
        return make(slice(None))
    made = torch.empty_like(like, memory_format=torch.contiguous_format)

    def fill(rows: slice) -> None:
        made[rows] = make(rows)

    share_out(fill, len(made), max(1, BLOCK // made.shape[1:].numel()))
    return made


def views(x: Tensor, generator: torch.Generator, *, basic: bool, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """(emotion view, appearance view) of faces (B, 3, S, S) in [0, 1]; both like `x`, which is left as it was."""
    shared = draw_jitter(len(x), generator, recipe.aug_strength) if recipe.shared_jitter else None
    emotion = emotion_view(x, generator, basic=basic, recipe=recipe, draw=shared)
    return emotion, appearance_view(x, generator, basic=basic, recipe=recipe, draw=shared)


def emotion_view(
    x: Tensor, generator: torch.Generator, *, basic: bool, recipe: Recipe, draw: Jitter | None = None
) -> Tensor:
    """Flip, affine, jitter and erasing of faces (B, 3, S, S) in [0, 1].

    `basic` off leaves nothing of them, or all but the jitter, as `recipe.basic_aug_off` says. `draw`: a colour draw
    to use instead of an own one.
    """
    if not basic and recipe.basic_aug_off == "nothing_left":
        return x.clone()
    draws = len(x) if recipe.draws == "per_image" else 1
    strength = recipe.aug_strength
    theta, boxes = draw_geometry(draws, generator, strength), draw_boxes(draws, x.shape[2], generator, strength)
    colours = (draw or draw_jitter(len(x), generator, strength)) if basic else None

    def make(rows: slice) -> Tensor:
        moved, hidden = (each if draws == 1 else each[rows] for each in (theta, boxes))
        part = resample(x[rows], moved)
        return erase_(jitter_(part, colours.of(rows)) if colours else part, hidden)

    return _by_blocks(make, x)


def appearance_view(
    x: Tensor, generator: torch.Generator, *, basic: bool, recipe: Recipe, draw: Jitter | None = None
) -> Tensor:
    """Colour jitter of faces (B, 3, S, S) in [0, 1]: nothing moves. Only where `recipe.basic_aug_off` removes the
    jitter does `basic` off reach this view: the faces as they are."""
    if not basic and recipe.basic_aug_off == "jitter_removed":
        return x.clone()
    colours = draw or draw_jitter(len(x), generator, recipe.aug_strength)
    return _by_blocks(lambda rows: jitter_(x[rows].clone(), colours.of(rows)), x)


# Geometry


def draw_geometry(batch: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Flip and affine as one map from output to input positions in [-1, 1]: (B, 2, 3).

    `strength` in 0..1 shortens the ranges of angle, scale and shift.
    """
    flip, move, turn, scale, right, down = torch.rand(6, batch, generator=generator)
    move = move < AFFINE
    angle = torch.where(move, strength * math.radians(DEGREES) * (2 * turn - 1), 0)
    scale = torch.where(move, 1 - strength * (1 - SCALE[0] - (SCALE[1] - SCALE[0]) * scale), 1)
    shift = strength * 2 * SHIFT * (2 * torch.stack([right, down]) - 1)  # (2, B); the side is 2 long
    return geometry(flip < FLIP, angle, scale, torch.where(move, shift, 0).T)


def geometry(flip: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """theta (B, 2, 3) that flips, then turns clockwise by `angle` (radians), scales and shifts (B, 2) in [-1, 1]."""
    cos, sin = angle.cos() / scale, angle.sin() / scale
    inverse = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)  # (B, 2, 2)
    theta = torch.cat([inverse, -inverse @ shift.unsqueeze(-1)], dim=2)
    theta[:, 0] *= torch.where(flip, -1.0, 1.0).unsqueeze(-1)
    return theta


def resample(x: Tensor, theta: Tensor) -> Tensor:
    """Read `x` (B, 3, S, S) at the positions theta (B or 1, 2, 3) gives, bilinearly, black outside."""
    pixels = (2 * torch.arange(x.shape[2], device=x.device) + 1).to(x) / x.shape[2] - 1  # centres in [-1, 1]
    column, row, shift = theta.to(x).expand(len(x), -1, -1).unsqueeze(1).unbind(3)  # each (B, 1, 2)
    grid = x.new_empty(len(x), x.shape[2], x.shape[2], 2)  # (B, row, column, (x, y)); affine_grid is slow on a CPU
    for axis in (0, 1):
        across, down = column[..., axis] * pixels, row[..., axis] * pixels + shift[..., axis]  # each (B, S)
        torch.add(across.unsqueeze(1), down.unsqueeze(2), out=grid[..., axis])
    return F.grid_sample(x, grid, align_corners=False)


# Erasing


def draw_boxes(batch: int, side: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Boxes to erase, int64 (B, 4): top, left, height, width in pixels; empty where nothing is.

    `strength` in 0..1 shortens the range of areas. As torchvision: of ten tries of area and ratio the first whose box
    is smaller than the image.
    """
    whether, top, left = torch.rand(3, batch, generator=generator)
    area, ratio = torch.rand(2, batch, 10, generator=generator)
    area = side**2 * (ERASE_AREA[0] + strength * (ERASE_AREA[1] - ERASE_AREA[0]) * area)
    low, high = map(math.log, ERASE_RATIO)
    ratio = (low + (high - low) * ratio).exp()
    sizes = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], dim=2).round().long()  # (B, 10, 2)
    fits = (sizes < side).all(dim=2)
    height, width = sizes[torch.arange(batch), fits.long().argmax(dim=1)].T
    height = torch.where((whether < ERASE) & fits.any(dim=1), height, 0)
    place = [(where * (side - size + 1)).long() for where, size in ((top, height), (left, width))]
    return torch.stack([*place, height, width], dim=1)


def erase_(x: Tensor, boxes: Tensor) -> Tensor:
    """Blacken one box (top, left, height, width), (B or 1, 4), of each image (B, 3, S, S); in place."""
    top, left, height, width = boxes.to(x.device).T.unsqueeze(-1)  # each (B, 1)
    pixels = torch.arange(x.shape[2], device=x.device)
    rows = (pixels >= top) & (pixels < top + height)  # (B, S)
    columns = (pixels >= left) & (pixels < left + width)
    return x.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0)


# Colour


def draw_jitter(batch: int, generator: torch.Generator, strength: float = 1.0) -> Jitter:
    """Factors and order of the four colour operations for each image; `strength` in 0..1 narrows the factors."""
    spread = strength * torch.tensor([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]) + spread * (2 * torch.rand(batch, 4, generator=generator) - 1)
    return Jitter(factors, torch.rand(batch, 4, generator=generator).argsort(dim=1))


def jitter_(x: Tensor, draw: Jitter) -> Tensor:
    """Apply the four operations to images (B, 3, S, S) in [0, 1], each image in its own order; in place."""
    operations = (brightness, contrast, saturation, hue)
    for step in draw.order.T:  # (B,)
        for number, operation in enumerate(operations):
            rows = (step == number).nonzero().squeeze(1)
            if len(rows):
                factors = draw.factors[rows, number].to(x.device).view(-1, 1, 1, 1)
                rows = rows.to(x.device)
                x.index_copy_(0, rows, operation(x.index_select(0, rows), factors))
    return x


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Scale: images (B, 3, S, S) in [0, 1], factors (B, 1, 1, 1)."""
    return (x * factor).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of each image; shapes as `brightness`."""
    return torch.lerp(grey(x.mean(dim=(2, 3), keepdim=True)), x, factor).clamp_(0, 1)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Blend with each pixel's grey; shapes as `brightness`."""
    return torch.lerp(grey(x), x, factor).clamp_(0, 1)


def grey(x: Tensor) -> Tensor:
    """Luma (B, 1, S, S) of RGB (B, 3, S, S)."""
    red, green, blue = x.split(1, dim=1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def hue(x: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue by -0.5 to 0.5 turns (B, 1, 1, 1); a pixel's largest and smallest value stay.

    The same as a way through HSV, without branches or divisions. With c = high - low and hues in sixths of a turn from
    red, a pixel's hue times c is h c = +-(c + green + blue - red - low), negative where blue exceeds green. A channel
    whose own hue lies d sixths from h has the value low + clamp(2 - d, 0, 1) c; for |h - own| <= 6 the distance
    around the circle gives 2 - d = ||h - own| - 3| - 1.
    """
    red, green, blue = x.split(1, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    c = high - low
    hc = (c + green).add_(blue).sub_(red).sub_(low).copysign_(green - blue)
    own = torch.tensor([0.0, 2.0, 4.0], device=x.device).view(1, 3, 1, 1)  # red, green, blue
    shift = (6 * turns - own + 3).remainder(6) - 3  # (B, 3, 1, 1), to within half a turn
    value = torch.addcmul(hc, shift, c).abs_().sub_(c, alpha=3).abs_().sub_(c).clamp_(min=0)  # (B, 3, S, S)
    return torch.minimum(value, c, out=value).add_(low)
