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

import torch
from torch import Tensor
from torch.nn import functional as F

from lsdkit.common.threads import share_out
from lsdkit.method.colours import Jitter, draw_jitter, jitter_
from lsdkit.recipes import Recipe

FLIP, AFFINE, ERASE = 0.5, 0.7, 0.5  # probabilities
DEGREES, SHIFT, SCALE = 20.0, 0.2, (0.8, 1.0)  # rotation either way; share of the side; factor
ERASE_AREA, ERASE_RATIO = (0.02, 0.33), (0.3, 3.3)  # share of the image; height / width
BLOCK = 2**18  # numbers of the images that one thread makes at a time: a megabyte


def to_float(images: Tensor, size: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 (B, H, W, 3) as stored -> float32 (B, 3, size, size) in [0, 1] on the device, antialiased where resized.

    Raises `ValueError` for another type or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"Expected `images` to be uint8 (B, H, W, 3), but got {images.dtype} {tuple(images.shape)}")

    def convert(rows: slice, out: Tensor) -> None:
        x = images[rows].permute(0, 3, 1, 2)
        if x.shape[2:] != (size, size):  # in bytes on the CPU: several times faster there, the same for every device
            x = F.interpolate(x.cpu(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        torch.div(x.to(device), 255, out=out)

    return _by_blocks(convert, torch.empty(1, device=device).expand(len(images), 3, size, size))


def _by_blocks(fill: Callable[[slice, Tensor], object], like: Tensor) -> Tensor:
    """Images such as `like` (B, 3, S, S), where `fill` writes those of a slice: on a CPU by blocks, elsewhere all at
    once."""
    made = torch.empty_like(like, memory_format=torch.contiguous_format)
    if like.device.type == "cpu":
        share_out(lambda rows: fill(rows, made[rows]), len(made), max(1, BLOCK // made.shape[1:].numel()))
    else:
        fill(slice(None), made)
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

    def fill(rows: slice, out: Tensor) -> None:
        moved, hidden = (each if draws == 1 else each[rows] for each in (theta, boxes))
        out.copy_(resample(x[rows], moved))
        erase_(jitter_(out, colours.of(rows)) if colours else out, hidden)

    return _by_blocks(fill, x)


def appearance_view(
    x: Tensor, generator: torch.Generator, *, basic: bool, recipe: Recipe, draw: Jitter | None = None
) -> Tensor:
    """Colour jitter of faces (B, 3, S, S) in [0, 1]: nothing moves. Only where `recipe.basic_aug_off` removes the
    jitter does `basic` off reach this view: the faces as they are."""
    if not basic and recipe.basic_aug_off == "jitter_removed":
        return x.clone()
    colours = draw or draw_jitter(len(x), generator, recipe.aug_strength)
    return _by_blocks(lambda rows, out: jitter_(out.copy_(x[rows]), colours.of(rows)), x)


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
