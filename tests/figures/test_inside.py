"""The steps of a reading: what is drawn is where it belongs, as large as it was told."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lsdkit.figures import inside
from lsdkit.figures.style import LABELS, png

RNG = np.random.default_rng(0)
CROP = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
WINDOW = (0.1, 0.2, 0.7, 0.8)
POINTS = RNG.uniform(-0.5, 0.5, (68, 2))


def test_boxes_and_points_are_in_pixels_of_the_photograph():
    boxes, points = [(10, 20, 30, 30), (60, 5, 20, 22)], [np.full((68, 2), 15.0), np.full((68, 2), 70.0)]
    picture = RNG.integers(0, 256, (50, 100, 3), dtype=np.uint8)
    (ax,) = inside.found_faces(picture, boxes, points, 1, "two.jpg").axes
    drawn = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in drawn[::2]] == [
        (9.5, 19.5, 30, 30),
        (59.5, 4.5, 20, 22),
    ]
    assert to_hex(drawn[3].get_edgecolor()) == inside.CHOSEN.lower() != to_hex(drawn[1].get_edgecolor())
    assert [text.get_text() for text in ax.texts] == ["1", "2"]
    assert {tuple(np.unique(line.get_xydata())) for line in ax.lines} == {(70.0,)}  # the chosen face's alone
    np.testing.assert_array_equal(ax.images[0].get_array(), picture)
    assert (ax.get_xlim(), ax.get_ylim(), ax.get_title("left")) == ((-0.5, 99.5), (49.5, -0.5), "two.jpg")


def test_a_large_photograph_is_drawn_smaller_and_in_place():
    small = RNG.integers(0, 256, (40, 90, 3), dtype=np.uint8)
    picture = small.repeat(30, axis=0).repeat(30, axis=1)
    (ax,) = inside.found_faces(picture, [(1600, 0, 40, 40)], [np.full((68, 2), 1600.0)]).axes
    assert ax.images[0].get_extent() == [-0.5, 2699.5, 1199.5, -0.5]
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-0.5, 2699.5, 1199.5, -0.5)
    drawn = ax.images[0].get_array()
    assert drawn.shape == (600, 1350, 3)
    np.testing.assert_array_equal(drawn[7::15, 7::15], small)


def test_one_face_needs_no_number_and_none_no_box():
    for boxes, points in (([(1, 1, 5, 5)], [POINTS]), ([], [])):
        (ax,) = inside.found_faces(CROP, boxes, points).axes
        assert not ax.texts
        assert len(ax.patches) == 2 * len(boxes)


def test_places_cover_the_window_and_are_tinted_by_their_shares():
    maps = RNG.dirichlet(np.ones(9), 2).reshape(2, 3, 3)
    drawn = inside.attention_maps(CROP, maps, WINDOW, titles=("one", "other"))
    assert [ax.get_title("left") for ax in drawn.axes] == ["one", "other"]
    for ax, one in zip(drawn.axes, maps, strict=True):
        crop, tint = ax.images
        assert (crop.get_extent(), tint.get_extent()) == ([0, 1, 1, 0], [0.1, 0.7, 0.8, 0.2])
        alpha = tint.get_array()[..., 3]
        np.testing.assert_allclose(alpha / alpha.max() * one.max(), one)
        assert alpha.max() == pytest.approx(0.65 * one.max() / maps.max())  # one scale for all
        assert [text.get_text() for text in ax.texts] == [f"{share:.0%}" for share in one.flat]
        assert ax.texts[2].get_position() == pytest.approx((0.6, 0.3))  # upper right
        paled = sum(patch.get_width() * patch.get_height() for patch in ax.patches)
        assert paled == pytest.approx(1 - 0.36)


def test_a_map_of_no_part_of_the_face_is_drawn_without_it():
    (ax,) = inside.attention_maps(CROP, np.full((1, 3, 3), 1 / 9), None).axes
    ground, tint = ax.images
    assert (ground.get_array() == 1).all()
    assert tint.get_extent() == [0, 1, 1, 0]
    assert len(ax.texts) == 9


def test_many_places_have_no_digits_and_many_heads_make_rows():
    drawn = inside.attention_maps(CROP, np.full((6, 7, 7), 1 / 49), (0, 0, 1, 1))
    assert len(drawn.axes) == 8
    assert [len(ax.images) for ax in drawn.axes] == [2] * 6 + [0] * 2
    assert not any(ax.texts for ax in drawn.axes)
    assert png(inside.attention_maps(CROP, np.zeros((1, 2, 2)), WINDOW)).startswith(b"\x89PNG")  # attends to nothing


def test_two_sets_of_landmarks_and_their_names():
    (ax,) = inside.landmark_pair(CROP, POINTS, -POINTS).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dlib", "appearance branch"]
    for colour, points in ((inside.POINTS, POINTS), (inside.PREDICTED, -POINTS)):
        (mouth, *_) = [
            line.get_xydata() for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) == 13
        ]
        np.testing.assert_allclose(mouth[:12], points[48:60])
    assert ax.images[0].get_extent() == [-1, 1, 1, -1]
    (ax,) = inside.landmark_pair(CROP, POINTS, None).axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dlib"]


def test_bars_are_the_vote_and_lines_its_members():
    members = RNG.dirichlet(np.ones(6), 3)
    vote = members.mean(0)
    (ax,) = inside.vote_bars(members, vote).axes
    widths = [patch.get_width() for patch in ax.patches]
    np.testing.assert_allclose(widths[6:], vote)
    ends = [np.array(lines.get_segments())[:, 0, 0] for lines in ax.collections]
    np.testing.assert_allclose(ends, members)
    assert [text.get_text() for text in ax.texts] == [f"{value:.2f}" for value in vote]
    bold = [label.get_text() for label in ax.get_yticklabels() if label.get_weight() == "bold"]
    assert bold == [LABELS[vote.argmax()]]
    assert ax.get_xlabel() == "probability (lines: each of 3 members)"
    (ax,) = inside.vote_bars(members[:1], members[0]).axes
    assert (len(ax.collections), ax.get_xlabel()) == (0, "probability")
