"""The mixing explorer's answers are Mix-up's, and its output is a still figure."""

import numpy as np
import pytest

from lsdkit.explore.mixing import Mixing
from lsdkit.explore.packing import resize_faces
from lsdkit.prediction import Panel


@pytest.fixture(scope="module")
def mixing(tiny_store) -> Mixing:
    return Mixing(tiny_store)


def test_it_begins_with_two_faces_of_different_classes(mixing, tiny_store):
    said, (rows, labels) = mixing.answer("start", {})
    assert labels.tolist() == tiny_store.labels[rows].tolist()
    assert set(rows) == set(tiny_store.rows("train"))
    assert tiny_store.labels[said["start"]].tolist() == [labels.min(), labels.max()]
    assert said["model"] == ""


def test_pictures_are_the_stores(mixing, tiny_store):
    said, (pictures,) = mixing.answer("pictures", {"rows": [3, 1]})
    np.testing.assert_array_equal(pictures, tiny_store.images[[3, 1]])
    assert said["size"] == tiny_store.images.shape[1]


def test_a_model_answers_to_the_mixture_itself(tiny_store):
    mixing = Mixing(tiny_store, model="open-1")
    rows, size = mixing.start, Panel.load("open-1").sizes[0]
    for share in (0.0, 0.25, 1.0):
        said, _ = mixing.answer("mixture", {"rows": rows, "share": share})
        one, two = tiny_store.images[rows].astype(float)
        mixed = np.rint(share * one + (1 - share) * two).astype(np.uint8)[None]
        expected = mixing.panel.ask({size: resize_faces(mixed, size)})[0]
        np.testing.assert_allclose(said["probabilities"], expected, atol=1e-6)


def test_the_output_is_a_figure_and_no_widget(mixing):
    bundle, _ = mixing._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert f"lsdkit-{mixing.token}" in bundle["text/html"]
    assert "data:image/png;base64," in bundle["text/html"]
    assert 'alt="Two faces mixed' in bundle["text/html"]


def test_an_error_of_an_answer_is_told_and_ends_nothing(mixing, monkeypatch):
    sent = []
    monkeypatch.setattr(mixing, "send", lambda content, buffers=None: sent.append(content))
    mixing._receive(mixing, {"number": 1, "question": "pictures", "given": {"rows": [10**6]}}, [])
    mixing._receive(mixing, {"number": 2, "question": "nothing", "given": {}}, [])
    mixing._receive(mixing, {"number": 3, "question": "start", "given": {}}, [])
    assert sent[0]["error"].startswith("IndexError")
    assert "nothing" in sent[1]["error"]
    assert "answer" in sent[2]


def test_a_store_without_two_faces_is_named(tiny_store, monkeypatch):
    monkeypatch.setattr(tiny_store, "rows", lambda split: np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=r"Expected two training faces.*got 0"):
        Mixing(tiny_store)
