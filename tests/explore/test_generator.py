"""The generator draws what its dials say."""

import numpy as np
import pytest
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.explore.generator import Dials, Generator, blend_variants, draw_face
from lsdkit.openset.variants import find_variant
from lsdkit.prediction import predict

SMALL = 48


@pytest.mark.parametrize("chance", [0, 5, 6])
def test_pose_and_strength_are_those_of_the_dials(chance):
    given = Dials("FEAR", "open", intensity=0.8, yaw=21.0, pitch=-12.0, chance=chance)
    face = draw_face(given, SMALL)
    np.testing.assert_allclose(face.pose[:2], (21.0, -12.0), atol=1e-4)
    assert face.intensity == pytest.approx(0.8)
    level = draw_face(given._replace(yaw=0.0, pitch=0.0), SMALL)
    np.testing.assert_allclose(level.pose[:2], 0, atol=1e-9)
    np.testing.assert_array_equal(level.actions, face.actions)  # nothing else was drawn anew


def test_the_light_comes_from_the_side_that_is_dialled():
    brighter = []
    for azimuth in (-80.0, 80.0):
        for chance in (0, 1, 2):
            given = Dials(azimuth=azimuth, hardness=0.85, chance=chance, person=8)
            middle = draw_face(given, SMALL).image[12:36].mean((0, 2))
            brighter.append(middle[26:38].mean() - middle[10:22].mean())
    assert max(brighter[:3]) < 0 < min(brighter[3:])


def test_a_blend_goes_from_one_expression_to_the_other():
    first, second = find_variant("ANGER", "pressed"), find_variant("SURPRISE", "open")
    ends = [blend_variants(Dials("ANGER", "pressed", share=share)).actions for share in (0.0, 1.0)]
    for given, variant in zip(ends, (first, second), strict=True):
        assert {name: amount for name, amount in given.items() if amount} == variant.actions
    half = blend_variants(Dials("ANGER", "pressed", share=0.5)).actions
    assert half["browDown"] == pytest.approx(first.actions["browDown"] / 2)
    assert half["jawOpen"] == pytest.approx(second.actions["jawOpen"] / 2)


def test_each_dial_changes_the_picture_and_none_the_next():
    changes = {"expression": "SADNESS", "variant": "beaming", "share": 0.6, "intensity": 0.4, "person": 9, "chance": 1}
    changes |= {"yaw": 9.0, "pitch": 9.0, "distance": 8.0, "azimuth": -30.0, "height": 60.0, "hardness": 0.8}
    changes |= {"brightness": 0.42, "photographic": True}
    first = draw_face(Dials(), SMALL).image
    for name, value in changes.items():
        other = Dials()._replace(**{name: value})
        other = other._replace(variant="frown") if name == "expression" else other
        assert not np.array_equal(draw_face(other, SMALL).image, first), name
    np.testing.assert_array_equal(draw_face(Dials(), SMALL).image, first)
    with pytest.raises(ValueError, match="Expected `variant` of HAPPINESS to be one of"):
        draw_face(Dials(variant="none"))
    with pytest.raises(ValueError, match="at least 16"):
        draw_face(Dials(), 4)


def test_the_face_and_what_a_model_says_of_it():
    explorer = Generator(model="open-1")
    start, _ = explorer.answer("start", {})
    assert start["model"] == "open-1"
    assert start["variants"]["HAPPINESS"][2] == start["dials"]["variant"] == "toothy"
    said, (image, landmarks) = explorer.answer("face", start["dials"])
    assert image.shape == (said["size"], said["size"], 3) == (192, 192, 3)
    assert landmarks.shape == (68, 2)
    reading, _ = explorer.answer("reading", start["dials"])
    assert np.argmax(reading["probabilities"]) == EXPRESSIONS.index("HAPPINESS")
    small = np.asarray(Image.fromarray(image).resize((112, 112), Image.Resampling.BOX))
    np.testing.assert_allclose(reading["probabilities"], predict("open-1", small[None])[0], atol=1e-6)


def test_the_still_figure_calls_its_faces_rendered():
    (axes,) = Generator().still().axes
    titles = [text.get_text() for text in axes.texts]
    assert titles == [f"{name.capitalize()}, rendered" for name in EXPRESSIONS]
