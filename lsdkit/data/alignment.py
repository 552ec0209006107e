"""Photographs to crops: find the face, turn and scale it to fixed eye and mouth positions, cut out the square.

The open set's renders take the same positions (`TARGETS`), so that rendered and photographed faces line up.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lsdkit.common.landmarks import anchor_points, complete, denormalise, normalise
from lsdkit.data.annotators import Annotator, Dlib
from lsdkit.data.pictures import LeftOut

# Shares of the square: the two eye centres, the mouth centre.
TARGETS = np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.635]])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) matrix of the rotation, scale and shift that brings `source` (n, 2) nearest to `target` in least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, without
    reflections. In the plane it has a closed form over complex numbers.
    """
    p, q = (points @ np.array([1, 1j]) for points in (source, target))
    spread = np.sum(np.abs(p - p.mean()) ** 2)
    if not spread > 0:
        raise ValueError("Expected points that differ, but all of `source` are one point, or unknown")
    a = np.sum((p - p.mean()).conj() * (q - q.mean())) / spread
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: Image.Image, points: np.ndarray, size: int) -> tuple[Image.Image, np.ndarray]:
    """Crop of `size` x `size` with eyes and mouth at `TARGETS`, and the landmarks in [-1, 1] of it.

    `points` (68, 2) are pixel positions of `image`; single ones may be NaN. Area outside the photograph repeats its
    border. A strong reduction is made in steps of whole numbers first, so that the crop is antialiased.
    """
    points = np.asarray(points, dtype=float)
    known = complete(points)
    matrix = similarity(anchor_points(known), TARGETS * size - 0.5)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    crop_points = points @ matrix[:, :2].T + matrix[:, 2]
    step = max(1, int(1 / scale))
    if step > 1:
        image = image.reduce(step)
        known = (known + 0.5) / step - 0.5
        matrix = similarity(anchor_points(known), TARGETS * size - 0.5)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    pixels = _warp(np.asarray(image, dtype=np.float32), inverse, size)
    return Image.fromarray(pixels), normalise(crop_points, size, size)


def _warp(pixels: np.ndarray, inverse: np.ndarray, size: int) -> np.ndarray:
    """Bilinear sampling at the positions that `inverse` gives the crop's pixels; the border is repeated."""
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1)  # (S, S, 2) x, y
    where = grid @ inverse[:2, :2].T + inverse[:2, 2]
    limit = np.array([pixels.shape[1] - 1, pixels.shape[0] - 1])
    where = np.clip(where, 0, limit)
    low = np.minimum(where.astype(int), np.maximum(limit - 1, 0))
    high = np.minimum(low + 1, limit)
    x, y = np.moveaxis(where - low, -1, 0)[..., None]
    top = pixels[low[..., 1], low[..., 0]] * (1 - x) + pixels[low[..., 1], high[..., 0]] * x
    bottom = pixels[high[..., 1], low[..., 0]] * (1 - x) + pixels[high[..., 1], high[..., 0]] * x
    return np.clip(np.rint(top * (1 - y) + bottom * y), 0, 255).astype(np.uint8)


@dataclass
class Crop:
    """A `transform` of `lsdkit.data.writer.write_store`: photograph in, aligned crop and landmarks out.

    `known` landmarks (key -> (68, 2) in [-1, 1] of the photograph) are used where given ("given"); the annotator looks
    for the other faces, and its status says how each was found. Without a face the image is left out as "no_face".
    """

    size: int
    known: dict[str, np.ndarray] = field(default_factory=dict)
    annotator: Annotator = field(default_factory=Dlib)

    def __call__(self, image: Image.Image, key: str) -> tuple[Image.Image, np.ndarray, str]:
        if key in self.known:
            points, status = denormalise(self.known[key], *image.size), "given"
        else:
            points, status = self.annotator(image)
            if points is None:
                raise LeftOut("no_face", f"{status} in {image.width} x {image.height} pixels")
        try:
            crop, points = align(image, points, self.size)
        except ValueError as error:  # a row of a table whose points are one point
            raise LeftOut("no_face", f"landmarks that make no face: {error}") from error
        return crop, points, status


@dataclass
class Annotate:
    """A `transform` that leaves the image as it is and adds landmarks: `known` ones, else the annotator's.

    A face that it does not find stays, without any ("missing: ..." and why).
    """

    known: dict[str, np.ndarray] = field(default_factory=dict)
    annotator: Annotator = field(default_factory=Dlib)

    def __call__(self, image: Image.Image, key: str) -> tuple[Image.Image, np.ndarray | None, str]:
        if key in self.known:
            return image, self.known[key], "given"
        points, status = self.annotator(image)
        if points is None:
            return image, None, f"missing: {status}"
        return image, normalise(points, *image.size), status
