"""From linear light to a picture: exposure, colour cast, and the damage that a style's camera does."""

import io

import numpy as np
from PIL import Image, ImageFilter

from lsdkit.openset.appearance import Style


def develop(
    light: np.ndarray, mask: np.ndarray, brightness: float, style: Style, generator: np.random.Generator
) -> np.ndarray:
    """A picture (P, P, 3) uint8 RGB of linear light (P, P, 3); exposure aims half way at `brightness` over `mask`."""
    pixels = len(light)
    level = float((light.mean(-1) * mask).sum() / max(1e-6, mask.sum())) ** (1 / 2.2)
    gain = (brightness / max(level, 0.02)) ** (2.2 * 0.7)
    value = (1.0 - np.exp(-1.5 * gain * np.maximum(light, 0.0))) / (1.0 - np.exp(-1.5))  # soft shoulder
    picture = np.clip(value, 0.0, 1.0) ** (1 / 2.2)
    picture = picture * np.exp(generator.normal(0.0, 1.0, 3) * style.cast)
    picture = (picture - 0.45) * generator.uniform(*style.contrast) + 0.45
    if generator.random() < style.grey:
        picture = np.repeat(picture @ np.array([[0.299], [0.587], [0.114]]), 3, 2)
    if generator.random() < style.ends:
        picture = _end_early(picture, generator)
    picture = _coarsen(picture, style, pixels, generator)
    spread = generator.uniform(*style.noise)
    picture = picture + spread * generator.standard_normal(picture.shape, np.float32)
    image = Image.fromarray((np.clip(picture, 0.0, 1.0) * 255 + 0.5).astype(np.uint8))
    if style.jpeg and generator.random() < 0.7:
        image = Image.open(io.BytesIO(encode(np.asarray(image), int(generator.integers(*style.jpeg)))))
    return np.asarray(image.convert("RGB"))


def _end_early(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The picture as a crop that reaches beyond its photograph: some sides end early and repeat their last pixels."""
    cuts = np.where(generator.random(4) < 0.6, generator.uniform(0.0, 0.18, 4), 0.0)  # above, below, left, right
    cuts[:2] *= 0.7
    top, bottom, left, right = (cuts * len(picture)).astype(int)
    inner = picture[top : len(picture) - bottom, left : len(picture) - right]
    return np.pad(inner, ((top, bottom), (left, right), (0, 0)), mode="edge")


def _coarsen(picture: np.ndarray, style: Style, pixels: int, generator: np.random.Generator) -> np.ndarray:
    """Blur and loss of resolution, on 8-bit pictures because Pillow does both fast."""
    radius = generator.uniform(*style.blur) * pixels / 112
    kept = round(generator.uniform(*style.resolution) * pixels)
    if radius < 0.1 and kept >= pixels:
        return picture
    image = Image.fromarray((np.clip(picture, 0.0, 1.0) * 255 + 0.5).astype(np.uint8))
    if radius >= 0.1:
        image = image.filter(ImageFilter.GaussianBlur(radius))
    if kept < pixels:
        small = image.resize((kept, kept), Image.Resampling.BOX)
        image = small.resize((pixels, pixels), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32) / 255


def encode(picture: np.ndarray, quality: int = 88) -> bytes:
    """A picture as JPEG bytes."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
