"""What a network is shown of an aligned crop: a window of it, in colour or without."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from PIL import Image

from lsdkit.data.release import SIDE


@dataclass(frozen=True)
class View:
    """A window of the aligned crop, with or without colour; the default is the whole crop as it is.

    pixels: side of the crop. window: left, top and side in its pixels; () is all of it. grey: each pixel's luma (ITU-R
    601, by Pillow) in all channels. Raises `ValueError` for a window that does not lie in the crop.

    >>> View(112, (22, 31, 67), grey=True).show(np.zeros((2, 112, 112, 3), np.uint8)).shape
    (2, 67, 67, 3)
    """

    pixels: int = SIDE
    window: tuple[int, ...] = ()
    grey: bool = False

    def __post_init__(self):
        object.__setattr__(self, "window", tuple(self.window) or (0, 0, self.pixels))
        left, top, side = self.window
        if min(left, top) < 0 or side < 1 or max(left, top) + side > self.pixels:
            raise ValueError(
                f"Expected a window (left, top, side) inside a crop of {self.pixels} pixels, but got {self.window}"
            )

    @classmethod
    def read(cls, value: Mapping) -> Self:
        """The view that `describe` told of; `ValueError` for what is none."""
        try:
            return cls(int(value["pixels"]), tuple(map(int, value["window"])), bool(value["grey"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"Expected a view (pixels, window, grey), but got {value!r}") from error

    def describe(self) -> dict:
        """As plain JSON values."""
        return asdict(self) | {"window": list(self.window)}

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off."""
        return self.window == (0, 0, self.pixels)

    @property
    def plain(self) -> bool:
        """Whether it is the whole crop in colour."""
        return self.whole and not self.grey

    def then(self, window: tuple[int, int, int], grey: bool) -> Self:
        """The view of the crop that a second one, in pixels of what this one shows, makes of it."""
        left, top, side = window
        return type(self)(self.pixels, (self.window[0] + left, self.window[1] + top, side), self.grey or grey)

    def show(self, faces: np.ndarray) -> np.ndarray:
        """What a network is shown of faces: uint8 (B, S, S, 3) -> (B, s, s, 3).

        Faces of the crop's side are cut. Those of the window's side were cut before; where the view is the whole crop,
        those of any side are taken. Raises `ValueError` for faces of another side.
        """
        left, top, side = self.window
        given = faces.shape[1]
        if not self.whole and given == self.pixels:
            faces = faces[:, top : top + side, left : left + side]
        elif not self.whole and given != side:
            raise ValueError(
                f"Expected whole aligned crops of {self.pixels} pixels, or the part of {side} pixels that the network "
                f"learned from, but got faces of {given}: store photographs with --crop --size {self.pixels}"
            )
        return np.stack([_without_colour(face) for face in faces]) if self.grey and len(faces) else faces


def _without_colour(face: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(face)).convert("L").convert("RGB"))
