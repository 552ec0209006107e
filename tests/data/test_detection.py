"""The search for faces: its guard against false finds, its attempts; on photographs, where there are some."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lsdkit.common.landmarks import FLIP
from lsdkit.data import detection, shapes
from lsdkit.data.alignment import Annotate, Crop
from lsdkit.data.annotators import Dlib
from lsdkit.data.decoding import LeftOut
from lsdkit.data.detection import ATTEMPTS, Attempt, Face, find_face, find_faces, holds, load_mean_shape
from tests.schematic import face

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("LSDKIT_REAL_FACES", ROOT.parent / "shared" / "real_faces"))
needs_dlib = pytest.mark.skipif(importlib.util.find_spec("dlib") is None, reason="dlib-bin is not installed")
SIZE = (200, 160)


def pixels(scale: float = 50, x: float = 100, y: float = 80) -> np.ndarray:
    return face() * scale + [x, y]


def test_mean_shape_is_a_level_symmetric_preshape():
    mean = load_mean_shape()
    assert (mean.shape, abs(mean.sum()) < 1e-3) == ((68,), True)
    assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-4)
    assert abs(mean[42:48].mean().imag - mean[36:42].mean().imag) < 1e-3
    np.testing.assert_allclose(-mean[FLIP].conj(), mean, atol=0.02)


def test_the_guard_takes_a_face_and_refuses_what_is_none():
    assert holds(pixels(), 0.02, SIZE)
    assert not holds(pixels(), 0.2, SIZE)  # the two predictors disagree
    assert not holds(pixels(x=0), 0.02, SIZE)  # an eye lies outside
    assert not holds(pixels(y=150), 0.02, SIZE)
    assert not holds(pixels() * [1, -1] + [0, 160], 0.02, SIZE)  # the mouth above the eyes
    assert not holds(np.random.default_rng(0).permutation(pixels()), 0.02, SIZE)  # no shape of a face
    c, s = np.cos(1.2), np.sin(1.2)
    turned = (pixels() - [100, 80]) @ np.array([[c, s], [-s, c]]) + [100, 80]
    assert holds(turned, 0.02, SIZE)  # a face may lie on its side


def test_distance_to_a_mean_agrees_with_the_distance_to_their_own():
    points = np.stack([face() + np.random.default_rng(seed).normal(0, 0.05, (68, 2)) for seed in range(9)])
    mean = shapes.mean_shape(shapes.preshapes(points))
    np.testing.assert_allclose(shapes.distances_to(mean, points), shapes.distances(points))


def test_attempts_are_tried_in_order_and_the_first_find_wins(monkeypatch):
    asked = []

    def attempt(image: Image.Image, attempt: Attempt, most: int | None) -> list[Face]:
        asked.append(attempt.name)
        return [Face(pixels(), attempt.name, 2)] if attempt.name == "dlib network" else []

    monkeypatch.setattr(detection, "_attempt", attempt)
    monkeypatch.setattr(detection, "dlib_models", lambda: None)
    found = find_face(Image.new("RGB", (300, 300)))
    assert asked == [each.name for each in ATTEMPTS]
    assert found.status == "dlib network, largest of 2"
    asked.clear()
    find_face(Image.new("RGB", (900, 300)))
    assert "dlib, upsampled" not in asked  # only small photographs are


@pytest.fixture
def drawn(monkeypatch):
    """Stands in for dlib: boxes that a test puts into the list, and a schematic face wherever one is predicted.

    A box of an odd side holds no face: the two predictors disagree there.
    """
    boxes = []

    def predict(canvas, box, *, refine):
        x, y, side = box
        return face() * side / 3 + [x, y], 0.3 if side % 2 else 0.01

    monkeypatch.setattr(detection, "dlib_models", lambda: None)
    monkeypatch.setattr(detection, "find_boxes", lambda canvas, attempt: sorted(boxes, key=lambda box: -box[2]))
    monkeypatch.setattr(detection, "predict_points", predict)
    return boxes


def test_all_faces_are_found_each_once_and_the_largest_alone_as_before(drawn):
    image = Image.new("RGB", (500, 200))
    drawn += [(100, 100, 60), (300, 100, 90), (310, 104, 88), (200, 100, 71), (420, 100, 58)]
    found = find_faces(image)
    assert [each.points.mean(0).round().tolist() for each in found] == [
        (face() * side / 3 + [x, 100]).mean(0).round().tolist() for x, side in ((300, 90), (100, 60), (420, 58))
    ]
    assert {each.faces for each in found} == {5}
    np.testing.assert_array_equal(find_face(image).points, found[0].points)
    drawn.append((60, 100, 95))  # the largest is none: the next attempts look again, and see the same
    assert len(find_faces(image)) == 3
    assert find_face(image) is None
    drawn.clear()
    assert find_faces(image) == []


def test_a_box_follows_the_face_as_it_leans():
    level = Face(pixels(), "dlib").box
    np.testing.assert_allclose(level, detection.fit_box(pixels()))
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[c, -s], [s, c]])
    leaning = Face((pixels() - [100, 80]) @ turn.T + [100, 80], "dlib").box
    assert leaning[2] == pytest.approx(level[2])
    np.testing.assert_allclose(leaning[:2], turn @ (np.array(level[:2]) - [100, 80]) + [100, 80])


def test_a_point_of_a_turned_picture_is_brought_back():
    image = Image.new("L", (90, 60))
    image.putpixel((60, 20), 255)
    turned = np.asarray(image.rotate(30, Image.Resampling.BILINEAR), dtype=float)
    y, x = np.mgrid[:60, :90]
    seen = np.array([[(turned * x).sum(), (turned * y).sum()]]) / turned.sum()
    np.testing.assert_allclose(detection._turn_back(seen, image.size, 30), [[60, 20]], atol=0.1)


def test_the_box_asked_for_by_points_follows_them():
    x, y, side = detection.fit_box(pixels())
    np.testing.assert_allclose(
        detection.fit_box(pixels(100, 40, 30)), (40 + 2 * (x - 100), 30 + 2 * (y - 80), 2 * side)
    )
    corners = np.linalg.norm(pixels()[45] - pixels()[36])
    assert side == pytest.approx(corners / detection.ACROSS, rel=0.2)


@needs_dlib
def test_no_face_is_an_outcome():
    image, quick = Image.new("RGB", (90, 70), "grey"), Dlib(ATTEMPTS[:2])
    assert find_face(image, (ATTEMPTS[0], ATTEMPTS[-1])) is None
    with pytest.raises(LeftOut) as left:
        Crop(48, annotator=quick)(image, "a")
    assert (left.value.reason, left.value.detail) == ("no_face", "no face found in 90 x 70 pixels")
    assert Annotate(annotator=quick)(image, "a")[1:] == (None, "missing: no face found")


@needs_dlib
@pytest.mark.real_faces
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs in {REAL.name} (LSDKIT_REAL_FACES)")
def test_the_network_meets_the_first_detector_and_finds_what_it_misses():
    first, network = ATTEMPTS[:1], ATTEMPTS[-1:]
    image = Image.open(REAL / "happiness" / "Heidi_Klum_0002.jpg").convert("RGB")
    one, other = find_face(image, first).points, find_face(image, network).points
    assert np.linalg.norm(one - other, axis=1).mean() / np.linalg.norm(one[45] - one[36]) < 0.08
    hidden = Image.open(REAL / "surprise" / "Jaouad_Gharib_0001.jpg").convert("RGB")  # hands before the mouth
    assert find_face(hidden, ATTEMPTS[:3]) is None
    assert find_face(hidden, network).how == "dlib network"


@needs_dlib
@pytest.mark.real_faces
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs in {REAL.name} (LSDKIT_REAL_FACES)")
def test_two_people_in_one_photograph_are_found_where_each_is_alone():
    one, other = (
        Image.open(REAL / "happiness" / f"{name}.jpg").convert("RGB")
        for name in ("Heidi_Klum_0002", "Laura_Ziskin_0001")
    )
    other = other.resize((250, 250))
    both = Image.new("RGB", (600, 350), "grey")
    both.paste(one, (0, 0))
    both.paste(other, (350, 60))
    first, second = find_faces(both)
    unit = np.linalg.norm(first.points[45] - first.points[36])
    for got, alone, shift in ((first, find_face(one), (0, 0)), (second, find_face(other), (350, 60))):
        assert got.how == alone.how == "dlib"
        assert np.linalg.norm(got.points - alone.points - shift, axis=1).mean() / unit < 0.05
    np.testing.assert_array_equal(find_face(both).points, first.points)


@pytest.mark.slow
@needs_dlib
@pytest.mark.real_faces
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs in {REAL.name} (LSDKIT_REAL_FACES)")
def test_points_of_a_small_or_turned_photograph_come_back_in_its_own_pixels():
    errors, ways = {"small": [], "turned": []}, set()
    for file in sorted((REAL / "happiness").glob("*.jpg"))[:7]:
        image = Image.open(file).convert("RGB")
        whole = find_face(image)
        if whole is None:
            continue
        points = whole.points
        span = np.ptp(points[36:48, 0])
        small = image.resize((image.width // 8, image.height // 8), Image.Resampling.BICUBIC)
        turned = image.rotate(-50, Image.Resampling.BILINEAR)
        c, s = np.cos(np.deg2rad(50)), np.sin(np.deg2rad(50))
        centre = (np.array(image.size) - 1) / 2
        expected = (points - centre) @ np.array([[c, s], [-s, c]]) + centre
        for name, changed, scale, target in (("small", small, 8, points), ("turned", turned, 1, expected)):
            found = find_face(changed)
            if found is not None:
                errors[name].append(np.abs((found.points + 0.5) * scale - 0.5 - target).mean() / span)
                ways.add(found.how)
    assert min(map(len, errors.values())) >= 3
    assert max(map(np.median, errors.values())) < 0.1
    assert any("turned" in way for way in ways)
