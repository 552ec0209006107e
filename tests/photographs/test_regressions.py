"""Baselines on made-up faces: gratings whose direction, and shapes whose mouth, tell the expression."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.feature import hog

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.alignment import TARGETS
from lsdkit.data.shapes import mean_shape, preshapes
from lsdkit.data.writer import write_store
from lsdkit.photographs import regressions

SIDE = 48


def face_points(index, generator):
    points = np.random.default_rng(5).uniform(-0.5, 0.5, (68, 2))
    points[36:42], points[42:48] = 2 * TARGETS[0] - 1, 2 * TARGETS[1] - 1
    points[48:] += [0.05 * index, 0.1 * index]
    return points + generator.normal(0, 0.01, (68, 2))


def grating(index, generator):
    y, x = np.mgrid[:SIDE, :SIDE]
    angle = np.pi * index / 6
    wave = 127 + 80 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / 2 + generator.uniform(0, 6))
    pixels = wave + generator.normal(0, 20, (SIDE, SIDE))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root, generator, rows, points = tmp_path_factory.mktemp("faces"), np.random.default_rng(0), [], {}
    for split, count in (("train", 10), ("test", 4)):
        for index, name in enumerate(EXPRESSIONS):
            for number in range(count + (split == "train" and index == 4) * 5):
                key = f"{split}/{name}/{number}"
                grating(index, generator).save(root / f"{key.replace('/', '-')}.png")
                rows.append((key, split, name, "", f"{key.replace('/', '-')}.png"))
                points[key] = face_points(index, generator)
    del points["test/FEAR/0"]
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    options = {"size": None, "kind": "rendered", "source": "made up", "settings": {}, "root": root, "progress": False}
    return write_store(root / "store", table, points, **options)


@pytest.mark.parametrize("name", ["landmarks", "hog", "hog+landmarks"])
def test_regressions_learn_what_their_features_tell(store, name, monkeypatch):
    monkeypatch.setitem(regressions.STRENGTH, name, 0.01)  # the protocol's is meant for more faces
    rows = store.rows("test")
    answers = regressions.fit_predict(
        name, store, store.rows("train"), {"test": (store, rows), "none": (store, rows[:0])}
    )
    assert answers["test"].shape == (24, 6)
    np.testing.assert_allclose(answers["test"].sum(1), 1, rtol=1e-5)
    assert (answers["test"].argmax(1) == store.labels[rows]).mean() > 0.9
    assert answers["none"].shape == (0, 6)
    again = regressions.fit_predict(name, store, store.rows("train"), {"test": (store, rows)})
    np.testing.assert_array_equal(answers["test"], again["test"])


def test_majority_answers_the_commonest_training_class(store):
    rows = store.rows("test")
    answers = regressions.fit_predict("majority", store, store.rows("train"), {"test": (store, rows)})["test"]
    assert (answers.argmax(1) == 4).all()
    np.testing.assert_allclose(answers[0], [10 / 65] * 4 + [15 / 65, 10 / 65])


def test_a_class_without_training_faces_gets_no_probability(store):
    rows = store.rows("train")
    rows = rows[store.labels[rows] != 2]
    answers = regressions.fit_predict("hog", store, rows, {"test": (store, store.rows("test"))})["test"]
    assert (answers[:, 2] == 0).all()
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)


def test_hog_is_scikit_images_of_the_grey_picture(store):
    features = regressions.compute_hog(store.images[:2])
    grey = Image.fromarray(store.images[1]).convert("L").resize((72, 72), Image.Resampling.BICUBIC)
    expected = hog(
        np.asarray(grey),
        orientations=9,
        pixels_per_cell=(8, 8),
        cells_per_block=(2, 2),
        block_norm="L2-Hys",
        transform_sqrt=True,
    )
    assert features.shape == (2, 2304)
    np.testing.assert_allclose(features[1], expected, rtol=1e-6)
    assert regressions.compute_hog(store.images[:0]).shape == (0, 2304)


def test_landmark_features_forget_place_size_and_tilt(store):
    points = store.landmarks[:5].astype(float)
    mean = mean_shape(preshapes(points))
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    np.testing.assert_allclose(
        regressions.align_landmarks(points, mean),
        regressions.align_landmarks(2 * points @ turn + 0.4, mean),
        atol=1e-9,
    )
    missing = np.full((1, 68, 2), np.nan)
    points = regressions.align_landmarks(missing, mean)[0]
    np.testing.assert_allclose(points, np.concatenate([mean.real[17:], mean.imag[17:]]), atol=1e-9)


def test_wrong_uses_are_refused(store):
    rows = store.rows("train")
    with pytest.raises(ValueError, match="majority"):
        regressions.fit_predict("forest", store, rows, {})
    with pytest.raises(ValueError, match="two expressions"):
        regressions.fit_predict("hog", store, rows[store.labels[rows] == 1], {})
