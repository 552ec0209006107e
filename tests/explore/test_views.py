"""The views that are shown are those of a training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.explore.views import DRAWS, Views
from lsdkit.method import views
from lsdkit.recipes import SMOKE


@pytest.fixture(scope="module")
def view(tiny_store) -> Views:
    return Views(tiny_store, SMOKE)


def ask(view, **given):
    said, arrays = view.answer("views", {"row": 9, "strength": 1.0, "number": 0, "basic": True, **given})
    assert said["size"] == SMOKE.image_size
    return arrays


def test_views_are_the_methods(view, tiny_store):
    own, emotion, appearance, points = ask(view, strength=0.4, number=3)
    face = views.to_float(torch.from_numpy(tiny_store.images[[9]]), SMOKE.image_size)
    recipe = replace(SMOKE, aug_strength=0.4)
    batch, generator = face.expand(DRAWS, -1, -1, -1).clone(), torch_generator(3, "views")
    one, two = views.views(batch, generator, basic=True, recipe=recipe)
    for shown, expected in ((own, face), (emotion, one), (appearance, two)):
        np.testing.assert_array_equal(shown, (255 * expected).round().byte().permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(points, tiny_store.landmarks[9])


def test_a_number_decides_the_draws_and_strength_shrinks_them(view):
    np.testing.assert_array_equal(ask(view)[1], ask(view)[1])
    assert (ask(view)[1] != ask(view, number=1)[1]).any()
    own, _, weak, _ = ask(view, strength=0.0)
    strong = ask(view)[2]
    assert np.abs(weak.astype(int) - own).max() <= 1
    assert np.abs(strong.astype(int) - own).mean() > 5


def test_without_basic_augmentation_the_emotion_view_is_the_face(view):
    own, emotion, appearance, _ = ask(view, basic=False)
    assert (emotion == own).all()
    assert (appearance != own).any()


def test_start_names_every_training_face(view, tiny_store):
    said, (rows, labels) = view.answer("start", {})
    assert rows.tolist() == tiny_store.rows("train").tolist()
    assert labels.tolist() == tiny_store.labels[rows].tolist()
    assert (said["strength"], said["recipe"]) == (SMOKE.aug_strength, "smoke")


def test_the_still_shows_both_views(view):
    drawn = view.still()
    assert len(drawn.axes[0].images) == 2 * DRAWS
    assert [text.get_text() for text in drawn.axes[0].texts][::DRAWS] == ["emotion view", "appearance view"]


def test_a_store_without_training_faces_is_named(tiny_store, monkeypatch):
    rows = tiny_store.rows
    monkeypatch.setattr(tiny_store, "rows", lambda split: rows(split)[: 0 if split == "train" else None])
    with pytest.raises(ValueError, match="it has those of validation, test alone"):
        Views(tiny_store, SMOKE)
