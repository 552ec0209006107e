"""Image files to pixels: every mode and orientation, and what is no image."""

import io

import numpy as np
import pytest
from PIL import Image

from lsdkit.data.decoding import LeftOut, decode


def test_decode_modes_and_orientation():
    def encoded(image, kind="PNG", **options):
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        return stream.getvalue()

    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (np.asarray(decode(encoded(Image.fromarray(grey)))) == grey[..., None]).all()
    deep = grey.astype(np.uint16) * 257
    assert (np.asarray(decode(encoded(Image.fromarray(deep)))) == grey[..., None]).all()
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 20, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    upright = decode(encoded(colour, exif=exif))
    assert (np.asarray(upright) == np.rot90(np.asarray(colour), -1)).all()
    palette = colour.convert("RGBA").quantize()
    assert decode(encoded(palette)).mode == "RGB"
    with pytest.raises(LeftOut, match="unreadable"):
        decode(b"GIF89a")
