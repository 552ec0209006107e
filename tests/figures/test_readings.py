"""The contact sheet of readings: what is drawn says what was read."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from lsdkit.figures.readings import BAR, MOST_COLUMNS, fit_text, reading_sheet
from lsdkit.figures.style import LABELS, png

RNG = np.random.default_rng(0)
FACES = [RNG.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (112, 40, 64)]
CHANCES = RNG.dirichlet(np.ones(6), 3)


def test_bars_are_the_probabilities_and_the_likeliest_is_told_apart():
    drawn = reading_sheet(FACES, CHANCES, ["a.jpg", "b.jpg", "c.jpg"], heading="three faces")
    (ax,) = drawn.axes
    bars = [patch.get_width() / BAR for patch in ax.patches if isinstance(patch, Rectangle)][1::2]
    np.testing.assert_allclose(np.reshape(bars, (3, 6)), CHANCES)
    bold = [text.get_text() for text in ax.texts if text.get_weight() == "bold"]
    expected = ["three faces"]
    for chances in CHANCES:
        expected += [LABELS[chances.argmax()], f"{chances.max():.2f}"]
    assert bold == expected
    np.testing.assert_array_equal(ax.images[1].get_array(), FACES[1])
    assert png(drawn).startswith(b"\x89PNG")


def test_names_stay_inside_their_place_and_are_no_mathematics():
    names = ["한국어 $x_1$ 日本.jpg", "a" * 300 + ".jpg", r"a$_^$b\alpha.jpg"]
    drawn = reading_sheet(FACES, CHANCES, names)
    drawn.draw_without_rendering()  # a missing letter or a wrong formula would warn or end here
    width = drawn.bbox.width
    shown = [text for text in drawn.axes[0].texts if text.get_fontsize() == 8]
    assert [text.get_text() for text in shown][2] == names[2]
    assert shown[0].get_text() == "□□□ $x_1$ □□.jpg"
    lefts = sorted({round(text.get_position()[0], 3) for text in shown})
    for text in shown:
        assert text.get_window_extent().width < width / len(lefts)


def test_the_widest_name_and_a_long_heading_stay_on_the_page():
    drawn = reading_sheet(FACES[:2], CHANCES[:2], ["W" * 60, "b.jpg"], heading="word " * 60)
    drawn.draw_without_rendering()
    heading, name = (next(text for text in drawn.axes[0].texts if text.get_text()[0] == first) for first in "wW")
    assert heading.get_window_extent().x1 < drawn.bbox.width
    assert heading.get_text().count("\n") > 2
    assert heading.get_window_extent().y0 > name.get_window_extent().y1
    assert name.get_clip_box().x1 < drawn.axes[0].transData.transform((drawn.axes[0].images[1].get_extent()[0], 0))[0]


def test_long_texts_lose_their_middle():
    assert fit_text("short.jpg") == "short.jpg"
    assert fit_text("0123456789", 5) == "01…89"
    assert len(fit_text("x" * 99)) == 40


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (5, 2), (12, 3), (20, 4), (60, 5)])
def test_many_faces_make_a_page(count, columns):
    drawn = reading_sheet([FACES[1]] * count, np.tile(CHANCES[0], (count, 1)), ["a"] * count)
    lefts = {round(image.get_extent()[0], 3) for image in drawn.axes[0].images}
    assert len(lefts) == columns <= MOST_COLUMNS
    assert len(drawn.axes[0].images) == count


def test_no_face_makes_no_sheet():
    with pytest.raises(ValueError, match="Expected faces"):
        reading_sheet([], np.empty((0, 6)), [])
