"""Photographs to crops: find the face, turn and scale it to fixed eye and mouth positions, cut out the square.

The open set's renders take the same positions (`TARGETS`), so that rendered and photographed faces line up.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lsdkit.decode import LeftOut
from lsdkit.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE, annotate, denormalise, normalise

# Shares of the square: the two eye centres, the mouth centre.
TARGETS = np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.635]])
LARGEST, SMALLEST = 1000, 400  # pixels, longer side of what is searched: others are shrunk, or enlarged in a later try
MARGIN = 0.3  # of the longer side, added around in the later tries: the detector misses faces that fill their image
ANGLES = (15, -15, 30, -30, 45, -45)  # degrees tried where an upright search finds nothing
LEVEL = 10  # degrees: a face that leans more is annotated again on the levelled image, which dlib reads better


def find_face(image: Image.Image) -> tuple[np.ndarray, str] | None:
    """Landmarks (68, 2) of the largest face, in pixel positions of the image, and how it was found; None without one.

    Tried in turn: the image as it is ("found"), doubled where it is small ("upsampled"), enlarged to `SMALLEST` with a
    margin that repeats its border ("enlarged"), and that turned by `ANGLES` ("rotated"). A find with eyes or mouth
    outside the image, or that is not found again on the levelled image, is dropped.
    """
    longest = max(image.size)
    scale = min(1.0, LARGEST / longest)
    large = max(scale, SMALLEST / longest)
    tries = [("found", scale, 0.0, (0,), 0)]
    tries += [("upsampled", scale, 0.0, (0,), 1)] if longest <= SMALLEST else []
    tries += [("enlarged", large, MARGIN, (0,), 0), ("rotated", large, MARGIN, ANGLES, 0)]
    for how, factor, margin, angles, upsample in tries:
        canvas, pad = _canvas(image, factor, margin)
        for angle in angles:
            points = _annotate_turned(canvas, angle, upsample)
            if points is None:
                continue
            roll = np.rad2deg(np.arctan2(*(points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0))[::-1]))
            if abs(roll - angle) > LEVEL:
                points = _annotate_turned(canvas, roll, upsample)
                if points is None:
                    continue
            points = (points - pad + 0.5) / factor - 0.5
            where = anchors(points)
            if (where >= 0).all() and (where < np.array(image.size)).all():
                return points, how
    return None


def _canvas(image: Image.Image, scale: float, margin: float) -> tuple[Image.Image, int]:
    """The image scaled, and a margin that repeats its border; with the margin's width in pixels."""
    if scale != 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    pad = round(margin * max(image.size))
    return (
        Image.fromarray(np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="edge")) if pad else image
    ), pad


def _annotate_turned(canvas: Image.Image, angle: float, upsample: int) -> np.ndarray | None:
    """dlib's landmarks on the canvas turned counter-clockwise by `angle` degrees, in positions of the unturned one."""
    points = annotate(np.asarray(canvas.rotate(angle, Image.Resampling.BILINEAR) if angle else canvas), upsample)
    if points is None:
        return None
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    centre = (np.array(canvas.size) - 1) / 2
    return (points - centre) @ np.array([[c, s], [-s, c]]) + centre


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(2, 3) matrix of the rotation, scale and shift that brings `source` (n, 2) nearest to `target` in least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, without
    reflections. In the plane it has a closed form over complex numbers.
    """
    p, q = (points @ np.array([1, 1j]) for points in (source, target))
    spread = np.sum(np.abs(p - p.mean()) ** 2)
    if spread == 0:
        raise ValueError("Expected points that differ, but all of `source` are one point")
    a = np.sum((p - p.mean()).conj() * (q - q.mean())) / spread
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def anchors(points: np.ndarray) -> np.ndarray:
    """(3, 2): the centres of the two eyes and of the mouth of (68, 2) landmarks."""
    return np.stack([points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, MOUTH)])


def align(image: Image.Image, points: np.ndarray, size: int) -> tuple[Image.Image, np.ndarray]:
    """Crop of `size` x `size` with eyes and mouth at `TARGETS`, and the landmarks in [-1, 1] of it.

    `points` (68, 2) are pixel positions of `image`. Area outside the photograph repeats its border. A strong
    reduction is made in steps of whole numbers first, so that the crop is antialiased.
    """
    points = np.asarray(points, dtype=float)
    matrix = similarity(anchors(points), TARGETS * size - 0.5)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    crop_points = points @ matrix[:, :2].T + matrix[:, 2]
    step = max(1, int(1 / scale))
    if step > 1:
        image = image.reduce(step)
        points = (points + 0.5) / step - 0.5
        matrix = similarity(anchors(points), TARGETS * size - 0.5)
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
    """A `transform` of `lsdkit.store.write_store`: photograph in, aligned crop and landmarks out.

    `known` landmarks (key -> (68, 2) in [-1, 1] of the photograph) are used where given; other faces are searched
    with dlib. Without a face the image is left out as "no_face".
    """

    size: int
    known: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, image: Image.Image, key: str) -> tuple[Image.Image, np.ndarray, str]:
        if key in self.known:
            points, how = denormalise(self.known[key], *image.size), "given"
        else:
            found = find_face(image)
            if found is None:
                raise LeftOut("no_face", f"no face found in {image.width} x {image.height} pixels")
            points, how = found
        try:
            crop, points = align(image, points, self.size)
        except ValueError as error:  # a row of a table whose points are one point
            raise LeftOut("no_face", f"landmarks that make no face: {error}") from error
        return crop, points, how


@dataclass
class Annotate:
    """A `transform` that leaves the image as it is and adds dlib's landmarks; a face that is not found has none."""

    known: dict[str, np.ndarray] = field(default_factory=dict)

    def __call__(self, image: Image.Image, key: str) -> tuple[Image.Image, np.ndarray | None, str]:
        if key in self.known:
            return image, self.known[key], "given"
        found = find_face(image)
        return (image, None, "missing") if found is None else (image, normalise(found[0], *image.size), found[1])
