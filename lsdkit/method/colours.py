"""Colour jitter of both views (paper section 2.2): brightness, contrast, saturation, hue, each image in its own order.

The operations are torchvision's (https://docs.pytorch.org/vision/stable/transforms.html) on a batch, with a factor for
each image. On a CPU float32 images are taken pixel by pixel instead, by the compiled loops of `lsdkit.method.pixels`:
torch would spend most of the time between its many small operations.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.5, 0.5, 0.5, 0.5  # factors 1 +- this; hue shift +- this many turns
LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision rounds it


class Jitter(NamedTuple):
    """One colour draw for each of B images, on the CPU."""

    factors: Tensor  # (B, 4): brightness, contrast, saturation, hue
    order: Tensor  # (B, 4): which of the four comes first, second, ...

    def of(self, rows: slice) -> "Jitter":
        """That of these images."""
        return Jitter(self.factors[rows], self.order[rows])


def draw_jitter(batch: int, generator: torch.Generator, strength: float = 1.0) -> Jitter:
    """Factors and order of the four colour operations for each image; `strength` in 0..1 narrows the factors."""
    spread = strength * torch.tensor([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]) + spread * (2 * torch.rand(batch, 4, generator=generator) - 1)
    return Jitter(factors, torch.rand(batch, 4, generator=generator).argsort(dim=1))


def jitter_(x: Tensor, draw: Jitter) -> Tensor:
    """Apply the four operations to images (B, 3, S, S) in [0, 1], each image in its own order; in place.

    Raises `ValueError` for a draw of another number of images.
    """
    shapes = {tuple(part.shape) for part in draw}
    if shapes != {(len(x), 4)}:
        raise ValueError(f"Expected a colour draw of {len(x)} images, (B, 4), but got {', '.join(map(str, shapes))}")
    if x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous():
        return _jitter_by_pixel_(x, draw)
    operations = (brightness, contrast, saturation, hue)
    for step in draw.order.T:  # (B,)
        for number, operation in enumerate(operations):
            rows = (step == number).nonzero().squeeze(1)
            if len(rows):
                factors = draw.factors[rows, number].to(x.device).view(-1, 1, 1, 1)
                rows = rows.to(x.device)
                x.index_copy_(0, rows, operation(x.index_select(0, rows), factors))
    return x


def _jitter_by_pixel_(x: Tensor, draw: Jitter) -> Tensor:
    """`jitter_` by the compiled loops; contrast needs a mean over the image as the operations before it left it."""
    from lsdkit.method import pixels  # numba, which takes half a second, loads here

    images = x.flatten(2).numpy()  # (B, 3, S * S)
    draws = draw.factors.numpy(), draw.order.numpy(), shift_hue(draw.factors[:, 3]).numpy(), np.float32(LUMA)
    pixels.before_contrast(images, *draws)
    means = grey(x.mean(dim=(2, 3), keepdim=True)).flatten()
    pixels.from_contrast_on(images, *draws, means.numpy())
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
    shift = shift_hue(turns.flatten())[:, :, None, None]  # (B, 3, 1, 1)
    value = torch.addcmul(hc, shift, c).abs_().sub_(c, alpha=3).abs_().sub_(c).clamp_(min=0)  # (B, 3, S, S)
    return torch.minimum(value, c, out=value).add_(low)


def shift_hue(turns: Tensor) -> Tensor:
    """How far each channel's own hue lies from a hue that is turned, in sixths of a turn: (B,) -> (B, 3), -3 to 3."""
    own = torch.tensor([0.0, 2.0, 4.0], device=turns.device)  # red, green, blue
    return (6 * turns[:, None] - own + 3).remainder(6) - 3
