"""Sentences hold whatever the numbers are."""

import numpy as np
import pytest

from lsdkit.notebook.describing import describe_difference, describe_imbalance


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (np.array([2, 2, 2, 2, 2, 2]), "ANGER, DISGUST, FEAR, HAPPINESS, SADNESS, SURPRISE have 2 faces each"),
        ([0, 0, 0, 1500, 0, 0], "HAPPINESS has 1,500 faces; there are none of ANGER, DISGUST, FEAR, SADNESS, SURPRISE"),
        ([9, 3, 0, 3, 3, 3], "ANGER has 9 of 21 faces, 3.0 times as many as DISGUST; there are none of FEAR"),
        ([0] * 6, "There are no faces with an expression"),
    ],
)
def test_imbalance_of_any_counts(counts, says):
    assert describe_imbalance(counts) == says


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.01, 0.05, "a above b"), (-0.05, -0.01, "a below b"), (0.0, 0.05, "a and b are not told apart")],
)
def test_a_difference_is_told_as_far_as_its_interval_says(low, high, says):
    text = describe_difference({"value": (low + high) / 2, "low": low, "high": high}, "a", "b")
    assert text.startswith(f"{says}: ")
    assert f"[{low:+.3f}, {high:+.3f}]" in text
