"""Annotators behind one interface: a photograph in, its 68 points and how they came about out.

An annotator is called as `annotator(image)` with a PIL image in RGB and returns an `Annotation`; it never makes points
up. It can be pickled: `lsdkit prepare` calls it in several processes. Landmarks that files hold (DECA's, tables) are
looked up by key instead, before any annotator is asked (`lsdkit.data.preparing`).
"""

import importlib.util
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from lsdkit.data import detection, shapes

VERSION = 2  # raised where a change here or in `detection` finds other points: stores made so are made again
LARGEST = 1000  # pixels, longer side of what face-alignment is shown: its detector's cost grows with the area


class Annotation(NamedTuple):
    """points: (68, 2) in pixel positions of the image, or None. status: how they were found, or why there are none."""

    points: np.ndarray | None
    status: str


Annotator = Callable[[Image.Image], Annotation]  # of an image in RGB


@dataclass(frozen=True)
class Dlib:
    """dlib's detectors and predictor, offline; see `lsdkit.data.detection` for its attempts and their order."""

    attempts: tuple[detection.Attempt, ...] = detection.ATTEMPTS

    def __call__(self, image: Image.Image) -> Annotation:
        face = detection.find_face(image, self.attempts)
        return Annotation(None, "no face found") if face is None else Annotation(face.points, face.status)


@dataclass(frozen=True)
class FaceAlignment:
    """The package face-alignment (extra `face-alignment`), whose detector DECA uses; weights come at the first use.

    Source: Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV 2017,
    https://github.com/1adrianb/face-alignment. Points lie in pixels of the image it is given.
    """

    device: str = ""  # "" = cuda where there is one, else cpu

    def __call__(self, image: Image.Image) -> Annotation:
        factor = min(1.0, LARGEST / max(image.size))
        shown = image.resize([max(1, round(side * factor)) for side in image.size]) if factor < 1 else image
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No faces were detected")  # an outcome, told by the status
            faces = face_alignment_model(self.device).get_landmarks_from_image(np.array(shown.convert("RGB")))
        faces = [np.asarray(face, dtype=float)[:, :2] for face in (faces if faces is not None else ())]
        if not faces:
            return Annotation(None, "no face found")
        points = (max(faces, key=lambda face: np.prod(np.ptp(face, axis=0))) + 0.5) / factor - 0.5
        if not shapes.distances_to(detection.load_mean_shape(), points[None])[0] <= detection.STRANGE:
            return Annotation(None, "implausible shape")
        several = f", largest of {len(faces)}" if len(faces) > 1 else ""
        return Annotation(points, f"face-alignment{several}")


NAMES = {"dlib": Dlib, "face-alignment": FaceAlignment}


def choose_annotator(name: str) -> Annotator:
    """The annotator of a name, ready for use.

    Raises `ValueError` for another name, where its package is not installed, or where its weights cannot be had.
    """
    if name not in NAMES:
        raise ValueError(f"Expected an annotator to be {' or '.join(NAMES)}, but got {name!r}")
    if name == "dlib":
        detection.dlib_models()
    else:
        face_alignment_model("")
    return NAMES[name]()


@cache
def face_alignment_model(device: str) -> object:
    """`face_alignment.FaceAlignment` for 2-D landmarks.

    Raises `ValueError` where the package is not installed, or where its weights are neither in torch's cache nor to
    be downloaded.
    """
    if importlib.util.find_spec("face_alignment") is None:
        raise ValueError(
            "The annotator face-alignment is not installed: pip install 'lsdkit[face-alignment]'; or take --landmarks "
            "dlib, which works offline"
        )
    import face_alignment  # an optional extra, so not at the head of the file
    import torch

    kinds = face_alignment.LandmarksType
    kind = kinds.TWO_D if hasattr(kinds, "TWO_D") else kinds._2D  # up to 1.3.4
    options = {"device": device or ("cuda" if torch.cuda.is_available() else "cpu"), "flip_input": False}
    if "compile" in inspect.signature(face_alignment.FaceAlignment.__init__).parameters:
        options["compile"] = False  # minutes at each start for what a store needs once
    try:
        return face_alignment.FaceAlignment(kind, **options)
    except OSError as error:  # URLError among them: no network, or no such file
        cache = torch.hub.get_dir()
        raise ValueError(
            f"face-alignment downloads its weights at the first use, and could not ({error}). Run it once where there "
            f"is a network and copy {cache}/checkpoints here, or take --landmarks dlib, which works offline"
        ) from error
