"""What the figures of members show is what they were given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from lsdkit.figures import members, style

BINNED = pd.DataFrame(
    {
        "low": [0.0, 0.5],
        "high": [0.5, 1.0],
        "faces": [0, 40],
        "confidence": [np.nan, 0.9],
        "accuracy": [np.nan, 0.7],
    }
)


def test_a_bar_is_as_high_as_answers_are_right_and_its_gap_reaches_the_confidence():
    drawn = members.reliability(BINNED, 0.2)
    upper, below = drawn.axes
    heights = [(bar.get_x(), bar.get_y(), bar.get_height()) for bar in upper.patches]
    assert heights[1] == (0.5, 0.0, 0.7)
    assert heights[2] == pytest.approx((0.5, 0.7, 0.2))
    assert [bar.get_height() for bar in below.patches] == [0, 40]
    assert [text.get_text() for text in below.texts] == ["40"]
    assert upper.get_title("left") == "ECE 0.200 over 40 faces"
    assert "Reliability diagram" in drawn.alt


def test_bags_are_drawn_with_their_shares():
    shared = np.array([[1.0, 0.2], [0.5, 1.0]])
    drawn = members.bags(shared, ["strong", "bag 1"], np.array([0.6, 0.4]), np.array([0.8, 0.2]))
    left, right = drawn.axes
    assert [text.get_text() for text in left.texts] == ["100%", "20%", "50%", "100%"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["strong  [1]", "bag 1  [2]"]
    assert [bar.get_height() for bar in right.patches] == [0.6, 0.4]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [0.8, 0.2])
    assert style.png(drawn).startswith(b"\x89PNG")


def test_pairs_stand_where_they_are_and_hollow_where_their_vote_loses():
    pairs = pd.DataFrame(
        {"kappa": [0.5, 0.6, 0.9], "mean": [0.7, 0.8, 0.75], "gain": [0.04, -0.02, 0.0], "group": ["a", "a", "b"]}
    )
    drawn = members.diversity(pairs)
    filled, hollow, *_ = drawn.axes[0].collections
    np.testing.assert_array_equal(filled.get_offsets(), [[0.5, 0.7]])
    np.testing.assert_array_equal(hollow.get_offsets(), [[0.6, 0.8]])
    assert filled.get_sizes()[0] > hollow.get_sizes()[0]
    assert tuple(filled.get_facecolor()[0][:3]) == to_rgba(style.MAIN)[:3]
    assert len(hollow.get_facecolor()) == 0
    assert "largest 0.040" in drawn.alt


def test_members_that_gain_nothing_are_drawn():
    pairs = pd.DataFrame({"kappa": [1.0], "mean": [0.7], "gain": [0.0], "group": ["a"]})
    assert style.png(members.diversity(pairs)).startswith(b"\x89PNG")
    empty = BINNED.assign(faces=0, confidence=np.nan, accuracy=np.nan)
    assert style.png(members.reliability(empty, 0.0)).startswith(b"\x89PNG")
