"""Alignment against known transforms, and on a folder of photographs, where there is one."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lsdkit.common.landmarks import anchor_points, denormalise, normalise, plausible
from lsdkit.data.alignment import TARGETS, Annotate, Crop, align, similarity
from lsdkit.data.decoding import LeftOut

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("LSDKIT_REAL_FACES", ROOT.parent / "shared" / "real_faces"))
needs_dlib = pytest.mark.skipif(importlib.util.find_spec("dlib") is None, reason="dlib-bin is not installed")


def marked(seed: int = 0) -> np.ndarray:
    """(68, 2) pixel positions whose eyes and mouth lie as `TARGETS` do, turned and scaled, plus noise elsewhere."""
    points = np.random.default_rng(seed).uniform(60, 140, (68, 2))
    c, s = 90 * np.cos(0.3), 90 * np.sin(0.3)
    eyes_mouth = TARGETS @ np.array([[c, s], [-s, c]]) + [70, 50]
    for part, centre in zip((slice(36, 42), slice(42, 48), slice(48, 68)), eyes_mouth, strict=True):
        points[part] = points[part] - points[part].mean(0) + centre
    return points


def test_similarity_recovers_a_known_one_and_is_the_best():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(5, 2))
    angle, scale, shift = 0.7, 1.8, np.array([3.0, -2.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(similarity(source, source @ turn.T + shift), np.c_[turn, shift], atol=1e-12)
    target = rng.normal(size=(5, 2))  # no exact answer: least squares over a, b, tx, ty
    rows = np.concatenate([[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in source])
    a, b, tx, ty = np.linalg.lstsq(rows, target.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, tx], [b, a, ty]], atol=1e-12)
    with pytest.raises(ValueError, match="one point"):
        similarity(np.ones((3, 2)), target[:3])


@pytest.mark.parametrize("size", [24, 64, 112])
def test_align_puts_eyes_and_mouth_on_their_targets(size):
    crop, points = align(Image.new("RGB", (200, 180)), marked(), size)
    assert crop.size == (size, size)
    np.testing.assert_allclose((anchor_points(points) + 1) / 2, TARGETS, atol=1e-9)


def test_align_moves_pixels_and_landmarks_alike():
    y, x = np.mgrid[:180, :200]
    image = np.stack([x, y, x * 0], -1).astype(np.uint8)  # a picture that says where each of its pixels was
    points = marked()
    crop, moved = align(Image.fromarray(image), points, 64)
    where = denormalise(moved, 64, 64)
    inside = ((where > 1) & (where < 62)).all(1)
    assert inside.sum() > 20
    nearest = np.rint(where[inside]).astype(int)
    read = np.asarray(crop)[nearest[:, 1], nearest[:, 0], :2].astype(float)
    assert np.abs(read - points[inside]).max() < 1.8  # half a pixel of the crop is 0.7 here, and bytes are whole


def test_align_by_nothing_copies_the_image():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48:] = TARGETS * 64 - 0.5
    crop, _ = align(Image.fromarray(image), points, 64)
    assert (np.asarray(crop) == image).all()


def test_align_antialiases_a_strong_reduction():
    image = np.random.default_rng(0).integers(0, 2, (1024, 1024, 1), dtype=np.uint8).repeat(3, 2) * 255
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48:] = TARGETS * 1024 - 0.5
    crop, _ = align(Image.fromarray(image), points, 64)
    assert np.asarray(crop).std() < 16  # mean of 16 x 16 coin throws: 8; plain sampling: 127


def test_given_landmarks_need_no_search():
    points = normalise(marked(), 200, 180)
    image = Image.new("RGB", (200, 180))
    crop, moved, how = Crop(48, {"a": points})(image, "a")
    assert (crop.size, how) == ((48, 48), "given")
    np.testing.assert_allclose((anchor_points(moved) + 1) / 2, TARGETS, atol=1e-9)
    same, kept, how = Annotate({"a": points})(image, "a")
    assert same is image
    assert kept is points
    assert how == "given"


@needs_dlib
@pytest.mark.real_faces
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no photographs in {REAL.name} (LSDKIT_REAL_FACES)")
def test_most_happy_photographs_become_aligned_crops():
    crops = []
    for file in sorted((REAL / "happiness").glob("*.jpg"))[:220:20]:
        try:
            crops.append(Crop(64)(Image.open(file).convert("RGB"), file.stem))
        except LeftOut:
            continue
    assert len(crops) >= 10  # of 11; over all 220 it is 98%
    for crop, points, _ in crops:
        assert crop.size == (64, 64)
        assert plausible(points)
        assert np.abs((anchor_points(points) + 1) / 2 - [[0.366, 0.376], [0.634, 0.376], [0.5, 0.683]]).max() < 0.12


def test_given_points_that_are_one_point_leave_one_image_out():
    transform = Crop(32, {"a": np.zeros((68, 2))})
    with pytest.raises(LeftOut, match="landmarks that make no face"):
        transform(Image.new("RGB", (40, 40)), "a")
