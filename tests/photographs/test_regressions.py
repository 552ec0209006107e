"""Baselines on made-up faces: gratings whose direction, and shapes whose mouth, tell the expression."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skimage.feature import hog

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.alignment import TARGETS
from lsdkit.data.shapes import mean_shape, preshapes
from lsdkit.data.writer import write_store
from lsdkit.method.recognition import MEAN, WINDOW, make_graph
from lsdkit.photographs import regressions
from lsdkit.photographs.views import Faces
from lsdkit.weights import published

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
def faces(tmp_path_factory):
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
    store = write_store(root / "store", table, points, **options)
    return Faces(store, root, {"inner": (0.0, 0.0, 1.0), "whole": (0.0, 0.0, 1.0)})


@pytest.fixture
def store(faces):
    return faces.store


@pytest.mark.parametrize("name", ["landmarks", "hog", "hog+landmarks", "face", "hog+face"])
def test_regressions_learn_what_their_features_tell(faces, store, name, monkeypatch):
    for each in regressions.STRENGTH:
        monkeypatch.setitem(regressions.STRENGTH, each, 0.01)  # the protocol's is meant for more faces
    rows = store.rows("test")
    answers = regressions.fit_predict(
        name, faces, store.rows("train"), {"test": (faces, rows), "none": (faces, rows[:0])}
    )
    assert answers["test"].shape == (24, 6)
    np.testing.assert_allclose(answers["test"].sum(1), 1, rtol=1e-5)
    assert (answers["test"].argmax(1) == store.labels[rows]).mean() > 0.9
    assert answers["none"].shape == (0, 6)
    again = regressions.fit_predict(name, faces, store.rows("train"), {"test": (faces, rows)})
    np.testing.assert_array_equal(answers["test"], again["test"])


def test_a_vote_is_the_mean_of_regressions_that_are_fitted_once(faces, store, monkeypatch):
    fitted, fit_predict = [], regressions.fit_predict
    monkeypatch.setattr(
        regressions, "fit_predict", lambda name, *given: fitted.append(name) or fit_predict(name, *given)
    )
    tests = {"test": (faces, store.rows("test"))}
    made = regressions.fit_all(("majority", "hog", "hog+face"), faces, store.rows("train"), tests)
    assert list(made) == ["majority", "hog", "hog+face"]
    assert fitted == ["majority", "hog", "face"]
    single = fit_predict("face", faces, store.rows("train"), tests)["test"]
    expected = (made["hog"][0]["test"] + single) / 2
    np.testing.assert_allclose(made["hog+face"][0]["test"], expected)
    np.testing.assert_allclose(fit_predict("hog+face", faces, store.rows("train"), tests)["test"], expected)
    assert made["hog+face"][1] > made["hog"][1] > 0  # seconds


def test_majority_answers_the_commonest_training_class(faces, store):
    rows = store.rows("test")
    answers = regressions.fit_predict("majority", faces, store.rows("train"), {"test": (faces, rows)})["test"]
    assert (answers.argmax(1) == 4).all()
    np.testing.assert_allclose(answers[0], [10 / 65] * 4 + [15 / 65, 10 / 65])


def test_a_class_without_training_faces_gets_no_probability(faces, store):
    rows = store.rows("train")
    rows = rows[store.labels[rows] != 2]
    answers = regressions.fit_predict("hog", faces, rows, {"test": (faces, store.rows("test"))})["test"]
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


def test_face_features_are_the_map_of_the_tenth_block_of_a_window_of_the_grey_crop(store):
    features = regressions.compute_face(store.images[:3])
    assert features.shape == (3, 128 * 8 * 8)
    assert features.dtype == np.float32
    graph, _ = make_graph()
    tensors = published.tensors(published.parse("dlib_face")[0])
    graph.load_state_dict({key: tensors[key] for key in graph.state_dict()})
    left, top, side, _ = WINDOW
    x, y, length = (round(part * SIDE) for part in (left, top, side))
    grey = np.array(Image.fromarray(store.images[1]).convert("L").crop((x, y, x + length, y + length)), np.float32)
    large = torch.nn.functional.interpolate(torch.from_numpy(grey)[None, None], (150, 150), mode="bilinear")
    with torch.no_grad():
        expected = graph((large - torch.tensor(MEAN).view(1, 3, 1, 1)) / 256)
    np.testing.assert_allclose(features[1], expected.flatten(), atol=2e-4)
    colour = store.images[:1].copy()
    colour[..., 0] = 255 - colour[..., 0]
    luma = np.repeat(np.asarray(Image.fromarray(colour[0]).convert("L"))[None, ..., None], 3, axis=-1)
    np.testing.assert_array_equal(regressions.compute_face(colour), regressions.compute_face(luma))
    assert regressions.compute_face(store.images[:0]).shape == (0, 8192)


def test_features_are_computed_once_and_anew_for_a_store_made_anew(faces, store, monkeypatch):
    regressions.forget()
    calls, (view, compute) = [], regressions.FEATURES["hog"]
    monkeypatch.setitem(
        regressions.FEATURES, "hog", (view, lambda images: calls.append(len(images)) or compute(images))
    )
    tests = {"test": (faces, store.rows("test"))}
    for name in ("hog", "hog+landmarks", "hog"):
        regressions.fit_predict(name, faces, store.rows("train"), tests)
    assert calls == [len(store)]
    monkeypatch.setitem(faces.seen("inner").manifest["checksums"], "images.npy", "another")
    regressions.fit_predict("hog", faces, store.rows("train"), tests)
    assert calls == [len(store)] * 2
    regressions.forget()


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


def test_wrong_uses_are_refused(faces, store):
    rows = store.rows("train")
    with pytest.raises(ValueError, match="majority"):
        regressions.fit_predict("forest", faces, rows, {})
    with pytest.raises(ValueError, match="two expressions"):
        regressions.fit_predict("hog", faces, rows[store.labels[rows] == 1], {})
