"""Multi-crop (Caron et al. 2021, section 3.1; Caron et al. 2020, "SwAV"): two large views of a face and several small.

A crop is cut out of the stored bytes and resized there, antialiased, so that a small one shows real detail and every
device sees the same. Colours change as in BYOL (Grill et al. 2020, appendix B, table 6), which DINO follows.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from lsdkit.method.colours import Jitter, grey, jitter_
from lsdkit.selfsupervision.settings import DinoSettings

RATIO = (3 / 4, 4 / 3)  # height / width of a crop, log-uniform
LEAST = 0.05  # area of a local crop
FLIP, COLOUR, GREY = 0.5, 0.8, 0.2  # probabilities, of every crop
SPREAD = (0.4, 0.4, 0.2, 0.1)  # of brightness, contrast, saturation (factors) and hue (turns)
BLUR, SOLARISE = (1.0, 0.1, 0.5), (0.0, 0.2, 0.0)  # probabilities: first global, second global, each local crop
SIGMA = (0.1, 2.0)  # of the blur, pixels of an image of 224


def draw_crops(images: Tensor, settings: DinoSettings, generator: torch.Generator) -> list[Tensor]:
    """uint8 (B, H, W, 3) -> two global crops (B, 3, S, S) and `local_crops` small ones (B, 3, s, s), in [0, 1]."""
    x, crops = images.permute(0, 3, 1, 2).contiguous(), []
    for number in range(2 + settings.local_crops):
        large = number < 2
        area = (settings.crop_share, 1.0) if large else (LEAST, settings.crop_share)
        boxes = draw_boxes(len(x), x.shape[2:], area, generator)
        crop = cut(x, boxes, settings.image_size if large else settings.local_size)
        kind = min(number, 2)
        crops.append(change_colours(crop, generator, blur=BLUR[kind], solarise=SOLARISE[kind]))
    return crops


def draw_boxes(batch: int, size: tuple[int, int], area: tuple[float, float], generator: torch.Generator) -> Tensor:
    """int64 (B, 4): top, left, height, width of a random crop with a share of the image's area in `area`.

    A side longer than the image is cut to it.
    """
    share, ratio, top, left = torch.rand(4, batch, generator=generator)
    share = (area[0] + (area[1] - area[0]) * share) * size[0] * size[1]
    low, high = map(math.log, RATIO)
    ratio = (low + (high - low) * ratio).exp()
    height = (share * ratio).sqrt().round().clamp(1, size[0])
    width = (share / ratio).sqrt().round().clamp(1, size[1])
    place = (top * (size[0] - height + 1)).floor(), (left * (size[1] - width + 1)).floor()
    return torch.stack([*place, height, width], dim=1).long()


def cut(x: Tensor, boxes: Tensor, size: int) -> Tensor:
    """uint8 (B, 3, H, W), boxes (B, 4) -> float32 (B, 3, size, size) in [0, 1]."""
    parts = (
        F.interpolate(image[None, :, top : top + height, left : left + width], (size, size), mode="bilinear",
                      antialias=True, align_corners=False)
        for image, (top, left, height, width) in zip(x, boxes.tolist(), strict=True)
    )  # fmt: skip
    return torch.cat(list(parts)).float().div_(255)


def change_colours(x: Tensor, generator: torch.Generator, *, blur: float, solarise: float) -> Tensor:
    """Flip, jitter, grey, blur and solarise images (B, 3, S, S) in [0, 1], each with its own draws."""
    flip, colour, dull, soft, sun, sigma = torch.rand(6, len(x), generator=generator)
    spread = torch.tensor(SPREAD) * (colour < COLOUR)[:, None]  # (B, 4)
    factors = torch.tensor([1.0, 1.0, 1.0, 0.0]) + spread * (2 * torch.rand(len(x), 4, generator=generator) - 1)
    x = torch.where(_at(flip < FLIP), x.flip(3), x)
    x = jitter_(x, Jitter(factors, torch.rand(len(x), 4, generator=generator).argsort(dim=1)))
    x = torch.where(_at(dull < GREY), grey(x), x)
    sigma = (SIGMA[0] + (SIGMA[1] - SIGMA[0]) * sigma) * x.shape[3] / 224
    x = torch.where(_at(soft < blur), blur_images(x, sigma), x)
    return torch.where(_at(sun < solarise) & (x >= 0.5), 1 - x, x)


def blur_images(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (B, 3, S, S), each by its own sigma (B,) in pixels; edges are repeated."""
    radius = math.ceil(3 * float(sigma.max()))
    steps = torch.arange(-radius, radius + 1.0)
    kernel = (-0.5 * (steps / sigma[:, None]).square()).softmax(1).repeat_interleave(3, 0)  # (3B, 2R + 1)
    y = F.pad(x.flatten(0, 1)[None], (radius,) * 4, mode="replicate")  # (1, 3B, S + 2R, S + 2R)
    y = F.conv2d(y, kernel[:, None, None, :], groups=len(kernel))
    return F.conv2d(y, kernel[:, None, :, None], groups=len(kernel)).view_as(x)


def _at(whether: Tensor) -> Tensor:
    return whether.view(-1, 1, 1, 1)
