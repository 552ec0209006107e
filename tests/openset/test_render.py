"""Rendered faces: the same for the same arguments, with landmarks that fit, showing what they should."""

from collections import Counter

import numpy as np
import pytest

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator
from lsdkit.openset.actions import draw_actions
from lsdkit.openset.appearance import SWITCHES
from lsdkit.openset.head import LANDMARK_VERTICES, load_head
from lsdkit.openset.render import draw_person, folds, render_face
from lsdkit.openset.variants import VARIANTS, draw_variant, find_variant


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_face_depends_on_its_arguments_alone():
    first = render_face("FEAR", seed=3, subject_seed=5, pixels=48)
    assert same(first, render_face("FEAR", seed=3, subject_seed=5, pixels=48, variant=first.variant)) is not None
    render_face("ANGER", seed=9, subject_seed=1, pixels=48)
    assert same(first, render_face("FEAR", seed=3, subject_seed=5, pixels=48))
    for change in ({"seed": 4}, {"subject_seed": 6}, {"style": "photographic"}):
        assert not same(first, render_face("FEAR", **{"seed": 3, "subject_seed": 5, "pixels": 48} | change))


@pytest.mark.parametrize("style", ["training", "photographic"])
def test_landmarks_lie_in_the_picture_and_where_a_face_has_them(style):
    for seed in range(8):
        face = render_face(EXPRESSIONS[seed % 6], seed=seed, subject_seed=seed, style=style, pixels=40)
        assert face.image.shape == (40, 40, 3)
        assert face.image.dtype == np.uint8
        assert face.image.std() > 10
        points = face.landmarks
        assert points.shape == (68, 2)
        assert points.dtype == np.float32
        assert np.abs(points).max() < 1
        eye, other, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
        assert eye[0] < other[0]  # the subject's right eye is on the left
        assert max(eye[1], other[1]) < points[30, 1] < mouth[1] < points[8, 1]  # eyes, nose, mouth, chin
        assert points[[19, 24], 1].max() < max(eye[1], other[1])  # brows
        assert points[0, 0] < points[8, 0] < points[16, 0]
        anchors = (np.array([eye, other, mouth]) + 1) / 2
        assert anchors == pytest.approx(np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.635]]), abs=0.16)


def test_the_landmarks_mirror_on_the_resting_head():
    head = load_head()
    assert len(set(LANDMARK_VERTICES.split())) == 68
    points = head.rest[head.landmarks].astype(np.float64).mean(1)
    mirrored = {tuple(point) for point in (points * [-1, 1, 1]).round(3).tolist()}
    assert mirrored == {tuple(point) for point in (points + 0.0).round(3).tolist()}


def test_every_expression_has_variants_of_known_actions():
    head = load_head()
    assert len(head.unit_names) == 52
    for expression in EXPRESSIONS:
        assert 3 <= len(VARIANTS[expression]) <= 5
        for variant in VARIANTS[expression]:
            for seed in range(5):
                actions, gaze, intensity = draw_actions(head, variant, np.random.default_rng(seed), (0.7, 1.1))
                assert 0.7 <= intensity <= 1.1
                assert actions.shape == (52,)
                assert np.isfinite(gaze).all()
                assert (actions >= 0).all()
                for side in ("Left", "Right"):
                    blink, squint = (head.unit_names.index(f"eye{part}{side}") for part in ("Blink", "Squint"))
                    assert actions[blink] + 0.4 * actions[squint] <= 1 + 1e-6


def test_mouths_do_what_the_expressions_say():
    """Corners of the mouth rise in a smile and fall in sadness; the mouth opens in surprise; brows sink in anger."""

    def shape(expression: str, variant: str) -> tuple[float, float, float]:
        values = []
        for seed in range(6):
            p = render_face(expression, variant=variant, seed=seed, subject_seed=seed, pixels=24).landmarks
            unit = np.linalg.norm(p[36:42].mean(0) - p[42:48].mean(0))
            corners = p[51, 1] - p[[48, 54], 1].mean()
            brow = p[[37, 44], 1].mean() - p[[20, 23], 1].mean()
            values.append(np.array([corners, p[66, 1] - p[62, 1], brow]) / unit)
        return tuple(np.mean(values, 0))

    rest, smile, sad = shape("NEUTRAL", "rest"), shape("HAPPINESS", "smile"), shape("SADNESS", "frown")
    surprise, anger = shape("SURPRISE", "open"), shape("ANGER", "pressed")
    assert smile[0] > rest[0] + 0.05 > rest[0] - 0.03 > sad[0]
    assert surprise[1] > rest[1] + 0.15
    assert surprise[2] > rest[2] + 0.05
    assert anger[2] < rest[2] - 0.03


def test_wrong_names_say_what_is_right():
    with pytest.raises(ValueError, match="ANGER, DISGUST"):
        render_face("JOY", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="pressed, shouting"):
        render_face("ANGER", variant="mild", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="training, photographic"):
        render_face("ANGER", style="film", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="at least 16"):
        render_face("ANGER", seed=0, subject_seed=0, pixels=8)
    assert find_variant("FEAR", "open").name == "open"


def test_the_roll_that_is_recorded_is_what_the_picture_shows():
    """On average over people the line of the eyes leans as the head does, whatever crop and camera did."""
    rolls, leans = [], []
    for seed in range(40):
        face = render_face("NEUTRAL", seed=seed, subject_seed=seed, style="photographic", pixels=16)
        across = face.landmarks[42:48].mean(0) - face.landmarks[36:42].mean(0)
        rolls.append(face.pose[2])
        leans.append(-np.degrees(np.arctan2(across[1], across[0])))
    assert np.mean(np.abs(np.subtract(rolls, leans))) < 2
    assert np.corrcoef(rolls, leans)[0, 1] > 0.75


def test_expressions_differ_more_than_chance_on_the_rendered_face():
    """The same person and shot: an expression changes the picture, mostly around mouth and brows."""
    faces = [render_face(name, seed=1, subject_seed=2, pixels=48).image.astype(float) for name in EXPRESSIONS]
    gaps = [np.abs(one - other).mean() for i, one in enumerate(faces) for other in faces[i + 1 :]]
    assert min(gaps) > 1
    assert numpy_generator(0, "face").random() != numpy_generator(1, "face").random()


def _rendered(without=(), *, seed=4, subject_seed=9, expression="HAPPINESS", variant="toothy"):
    options = {"variant": variant, "style": "photographic", "pixels": 64, "without": without}
    return render_face(expression, seed=seed, subject_seed=subject_seed, **options)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_source_of_variety_changes_the_picture(name):
    assert (_rendered().image != _rendered((name,)).image).mean() > 0.002


def test_a_source_that_is_switched_off_varies_no_more():
    assert np.abs(_rendered(("pose",)).pose[:2]).max() == 0
    assert np.abs(_rendered().pose[:2]).max() > 0
    # one shape for all people: the same landmarks within the face (hair, which is a look, moves the temples)
    same, other = (_rendered(("identity",), subject_seed=person).landmarks[17:] for person in (9, 10))
    assert np.array_equal(same, other)
    assert not np.array_equal(_rendered().landmarks, _rendered(subject_seed=10).landmarks)
    # one look and one shape: people no longer differ at all
    one, two = (_rendered(("identity", "appearance"), subject_seed=person).image for person in (9, 10))
    assert np.array_equal(one, two)
    # light, colours, lens and damage do not move a landmark; nor do creases and teeth
    for name in ("appearance", "degradation", "wrinkles", "teeth"):
        assert np.array_equal(_rendered((name,)).landmarks[17:], _rendered().landmarks[17:])
    with pytest.raises(ValueError, match="identity, appearance"):
        _rendered(("hat",))


def test_faces_at_rest_have_creases_and_expressions_deepen_them():
    """A crease alone says nothing: old faces have them in every expression."""
    names, people = load_head().unit_names, [draw_person(number).subject for number in range(40)]
    frowning = np.array([float(name.startswith("browDown")) for name in names])
    still, angry = (np.stack([folds(act, who, True) for who in people]) for act in (0 * frowning, frowning))
    assert still.min() >= 0
    assert angry.max() <= 1
    assert 0.6 < (still > 0).mean() < 0.9
    assert (angry[:, 0] > still[:, 0]).all()
    assert np.array_equal(angry[:, 1:], still[:, 1:])
    assert np.corrcoef([who.age for who in people], still.sum(1))[0, 1] > 0.4
    assert not folds(frowning, people[0], False).any()


def test_variants_are_drawn_by_their_shares():
    drawn = Counter(draw_variant("HAPPINESS", numpy_generator(n, "test")) for n in range(4000))
    total = sum(variant.share for variant in VARIANTS["HAPPINESS"])
    for variant in VARIANTS["HAPPINESS"]:
        assert drawn[variant.name] / 4000 == pytest.approx(variant.share / total, abs=0.03)
