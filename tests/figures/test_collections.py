"""The figure of all collections shows the scores that it was given, and as much as it was given."""

import numpy as np
import pytest

from lsdkit.figures import style
from lsdkit.figures.collections import OTHERS, SAME, collection_scores

REGRESSIONS, NETWORKS = ["hog", "face"], ["two-branch"]
KINDS = [("regressions", REGRESSIONS), ("networks", NETWORKS)]


def score(value):
    return value, value - 0.04, value + 0.05


@pytest.fixture
def given():
    panels = {
        title: {model: score(0.4 + 0.01 * place) for place, model in enumerate([*REGRESSIONS, *NETWORKS])}
        for title in ("films", "web", "mean of the collections")
    }
    others = {
        "films": {"web": score(0.35)},
        "web": {"films": score(0.37)},
        "mean of the collections": {"": score(0.36)},
    }
    return {"panels": panels, "others": others, "same": {title: score(0.5) for title in panels}}


def dots(ax):
    """(value, height) of every dot."""
    return {tuple(line.get_xydata()[0].round(6)) for line in ax.lines if line.get_marker() not in ("None", None, "")}


def test_every_score_is_a_dot_with_its_interval(given):
    drawn = collection_scores(given["panels"], KINDS, given["others"], given["same"], teacher="face")
    assert [ax.get_title("left") for ax in drawn.axes] == list(given["panels"])
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    rows = dict(zip(labels, drawn.axes[0].get_yticks(), strict=True))
    assert labels == [*REGRESSIONS, *NETWORKS, OTHERS, SAME, "regressions", "networks", "face, trained on"]
    ax = drawn.axes[1]
    expected = {(given["panels"]["web"][model][0], rows[model]) for model in (*REGRESSIONS, *NETWORKS)}
    expected |= {(0.37, rows[OTHERS]), (0.5, rows[SAME])}
    assert dots(ax) == {(round(x, 6), round(y, 6)) for x, y in expected}
    ends = {(low, high) for part in ax.collections for (low, _), (high, _) in part.get_segments()}
    assert {(round(low, 6), round(high, 6)) for low, high in ends} == {
        (round(each[1], 6), round(each[2], 6))
        for each in (*given["panels"]["web"].values(), given["others"]["web"]["films"], given["same"]["web"])
    }
    heights = [
        rows[name]
        for name in ("regressions", "hog", "face", "networks", "two-branch", "face, trained on", OTHERS, SAME)
    ]
    assert heights == sorted(heights)  # the axis runs down
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert {"0.400", "0.410", "0.420", "0.370 films", "0.500", "chance"} <= {text.get_text() for text in ax.texts}


def test_what_is_absent_is_not_drawn(given):
    del given["panels"]["web"]["two-branch"], given["same"]["web"]
    drawn = collection_scores(given["panels"], KINDS, {}, given["same"])
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert OTHERS not in labels
    assert len(dots(drawn.axes[1])) == 2
    bare = collection_scores({"web": {"hog": score(0.4)}}, [*KINDS[:1], ("networks", [])], {}, {})
    assert [label.get_text() for label in bare.axes[0].get_yticklabels()] == ["hog", "face", "regressions"]
    assert style.png(bare).startswith(b"\x89PNG")


def test_several_others_have_a_line_each_and_a_band_over_their_range(given):
    given["others"]["films"] = {"web": score(0.35), "posed": score(0.31), "press": score(0.39)}
    drawn = collection_scores(given["panels"], KINDS, given["others"], given["same"])
    (band,) = drawn.axes[0].patches
    left, right = band.get_x(), band.get_x() + band.get_width()
    assert left == pytest.approx(0.31, abs=0.004)
    assert right == pytest.approx(0.39, abs=0.004)
    heights = [y for x, y in dots(drawn.axes[0]) if x in (0.35, 0.31, 0.39)]
    assert np.diff(sorted(heights)).min() >= 0.7


def test_names_are_text_and_not_formulas(given):
    panels = {"a$_^$b": given["panels"]["web"]}
    drawn = collection_scores(panels, KINDS, {"a$_^$b": {"x$y$": score(0.3)}}, {})
    assert style.png(drawn).startswith(b"\x89PNG")
    assert drawn.axes[0].get_title("left") == "a$_^$b"
