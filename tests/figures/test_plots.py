"""What the figures show is what they were given."""

import base64

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from lsdkit.common.landmarks import LINES
from lsdkit.figures import faces as faceplots
from lsdkit.figures import plots, style


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def texts(drawn: Figure) -> list[str]:
    return [text.get_text().strip() for text in drawn.findobj(lambda item: hasattr(item, "get_text"))]


def test_class_counts_draws_one_bar_a_class_and_split():
    drawn = plots.class_counts({"train": [18, 15, 11, 73, 145, 15], "test": [1, 1, 1, 1, 1, 1]})
    widths = [[bar.get_width() for bar in ax.patches] for ax in drawn.axes]
    assert widths == [[18, 15, 11, 73, 145, 15], [1] * 6]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == list(style.LABELS)
    assert drawn.axes[0].get_title("left") == "train: 277 faces\nlargest : smallest 13.2 : 1"


def test_class_counts_with_an_absent_class_and_an_empty_split():
    drawn = plots.class_counts({"train": [0, 5, 0, 0, 10, 0], "test": [0] * 6})
    assert "smallest 2.0 : 1" in drawn.axes[0].get_title("left")
    assert drawn.axes[1].get_title("left") == "test: 0 faces"
    style.png(drawn)


def test_subject_counts_sorts_subjects_and_keeps_absent_classes():
    drawn = plots.subject_counts(["a", "b", "b", "b"], ["FEAR", "FEAR", "ANGER", "ANGER"])
    assert [bar.get_height() for bar in drawn.axes[0].patches] == [3, 1]
    shown = drawn.axes[1].collections[0].get_array().reshape(6, 2)
    np.testing.assert_array_equal(shown[[0, 2]], [[2, 0], [1, 1]])
    assert shown.sum() == 4


def test_per_class_f1_bars_whiskers_and_macro():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    drawn = plots.per_class_f1(scores, scores - 0.05, scores + 0.1)
    ax = drawn.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], scores)
    ends = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(ends, np.stack([scores - 0.05, scores + 0.1], axis=1))
    assert "macro\n 0.400" in texts(drawn)
    assert ax.get_ylabel() == "F1"


def test_confusion_colours_by_row_share_and_writes_counts():
    counts = np.diag([4, 0, 2, 2, 2, 2])
    counts[0, 1] = 12
    drawn = plots.confusion(counts)
    share = drawn.axes[0].collections[0].get_array().reshape(6, 6)
    assert share[0, 0] == 0.25
    assert share[0, 1] == 0.75
    assert share[1].sum() == 0
    assert "75%\n12" in texts(drawn)
    assert drawn.axes[0].get_ylabel() == "true"


def test_training_curves_show_history_and_the_kept_epoch():
    parts = {name: [1.0, 0.5, 0.2] for name in ("expression", "affinity", "partition", "landmarks")}
    scores = {"val_macro_f1": [0.2, 0.5, 0.4], "val_loss": [1.7, 1.5, 1.6]}
    drawn = plots.training_curves(pd.DataFrame({"epoch": [1, 2, 3], "loss": [4.0, 2.0, 0.8], **parts, **scores}))
    loss, parts_ax, score = drawn.axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [4.0, 2.0, 0.8])
    assert len(parts_ax.lines) == 4
    assert [float(value[0]) for value in score.lines[1].get_data()] == [2.0, 0.5]
    style.png(drawn)


@pytest.mark.parametrize("landmarks", [[0.2, 0.1], [0.0, 0.0]], ids=["multi-task", "single-task"])
def test_compared_curves_place_each_training_by_the_faces_it_saw(landmarks):
    first = {"faces": [100, 200], "val_macro_f1": [0.6, 0.5], "landmarks": landmarks}
    second = {"faces": [50, 100, 150], "val_macro_f1": [0.2, 0.3, 0.4], "landmarks": [0.4, 0.3, 0.2]}
    drawn = plots.compared_curves({"a": pd.DataFrame(first), "b": pd.DataFrame(second)})
    score, loss = drawn.axes
    lines = {line.get_label(): line for line in score.lines}
    assert lines["a"].get_xydata().tolist() == [[100, 0.6], [200, 0.5]]
    assert lines["b"].get_xydata().tolist() == [[50, 0.2], [100, 0.3], [150, 0.4]]
    rings = [line.get_xydata().tolist() for line in score.lines if line.get_mfc() == "none"]
    assert rings == [[[100, 0.6]], [[150, 0.4]]]
    assert set(lines["chance"].get_ydata()) == {1 / 6}
    assert [line.get_label() for line in loss.lines] == (["a", "b"] if any(landmarks) else ["b"])
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "b", "chance"]
    assert len({(line.get_color(), line.get_marker()) for line in (lines["a"], lines["b"])}) == 2
    style.png(drawn)
    single = {"c": pd.DataFrame({"faces": [9], "val_macro_f1": [0.1], "landmarks": [0.0]})}
    assert len(plots.compared_curves(single).axes) == 1


def test_one_epoch_can_be_drawn():
    row = {"epoch": [1], "loss": [4.0], "expression": [2.0], "affinity": [1.0], "partition": [0.9], "landmarks": [0.1]}
    style.png(plots.training_curves(pd.DataFrame({**row, "val_macro_f1": [0.2], "val_loss": [1.7]})))


def test_scores_places_each_value_in_its_group():
    drawn = plots.score_intervals(
        ["a", "b", "c"], [0.3, 0.5, 0.4], [0.2, 0.4, 0.3], [0.4, 0.6, 0.5], ["weak", "strong", "weak"]
    )
    dots = {line.get_label(): np.asarray(line.get_xdata()).tolist() for line in drawn.axes[0].lines}
    assert dots["weak"] == [0.3, 0.4]
    assert dots["strong"] == [0.5]
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["a", "b", "c"]


def test_scores_by_start_shows_seeds_means_and_who_is_left_out():
    rows = [("a", "strong", 0.5), ("a", "strong", 0.7), ("a", "weak", 0.2), ("b", "weak", 0.4)]
    runs = pd.DataFrame(rows, columns=["start", "member", "f1"]).assign(error=0.1)
    panels = {"f1": ("Macro F1", 1 / 6, "chance"), "error": ("Error", 0.128, "mean landmarks")}
    drawn = plots.scores_by_start(runs, ["a", "b", "c"], panels)
    f1, error = drawn.axes
    assert [bar.get_width() for bar in f1.patches] == pytest.approx([0.6, 0.2, 0.4])
    strong, weak = f1.lines[:2]
    np.testing.assert_allclose(strong.get_xydata(), [[0.5, -0.18], [0.7, -0.18]])
    np.testing.assert_allclose(weak.get_xydata(), [[0.2, 0.18], [0.4, 1.18]])
    assert strong.get_marker() != weak.get_marker()
    assert [line.get_xdata()[0] for line in (f1.lines[2], error.lines[2])] == [1 / 6, 0.128]
    shown = [text.get_text().strip() for text in f1.texts]
    assert shown == ["0.600", "0.200", "0.400", "left out", "chance 0.167"]
    assert f1.texts[3].get_position()[1] == 2
    assert [label.get_text() for label in f1.get_yticklabels()] == ["a", "b", "c"]
    assert f1.get_ylim() == (2.5, -0.5)  # top down
    style.png(drawn)


def test_agreement_and_votes(generator):
    matrix = np.array([[1, 0.25], [0.25, 1]])
    drawn = plots.agreement(matrix, ["first", "second"])
    np.testing.assert_array_equal(drawn.axes[0].collections[0].get_array().reshape(2, 2), matrix)
    probabilities = generator.dirichlet(np.ones(6), 3)
    drawn = plots.votes(probabilities, ["a", "b", "vote"], truth=2)
    for ax, row in zip(drawn.axes, probabilities, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in ax.patches], row)
        assert [bar.get_linewidth() > 1.5 for bar in ax.patches].index(True) == 2


def test_beta_density_is_a_density():
    drawn = plots.beta_density((0.5, 1.0, 4.0))
    for line in drawn.axes[0].lines[1:]:
        x, y = line.get_data()
        assert np.trapezoid(y, x) == pytest.approx(1, abs=0.02)


def test_face_sheet_draws_every_face_and_skips_missing_points(generator):
    images = generator.integers(0, 255, (5, 16, 16, 3)).astype(np.uint8)
    points = generator.uniform(-1, 1, (5, 68, 2))
    points[1] = np.nan
    drawn = faceplots.face_sheet(images, list("abcde"), points, columns=3)
    ax = drawn.axes[0]
    assert len(ax.images) == 5
    np.testing.assert_array_equal(ax.images[4].get_array(), images[4])
    assert len(ax.lines) == 4 * len(LINES)
    assert [text.get_text() for text in ax.texts] == list("abcde")
    left, right, bottom, top = ax.images[4].get_extent()
    assert (left, right) == (1.04, 2.04)
    assert bottom - top == pytest.approx(1)


def test_parts_cover_the_68_points_once():
    points = [point for part in LINES.values() for point in dict.fromkeys(part)]
    assert sorted(points) == list(range(68))


def test_mixtures_show_the_mixture_and_its_label():
    first, second = np.zeros((1, 4, 4, 3)), np.ones((1, 4, 4, 3))
    drawn = faceplots.mixtures(first, second, np.array([[4, 2]]), [0.25])
    np.testing.assert_allclose(drawn.axes[1].images[0].get_array(), 0.75)
    np.testing.assert_allclose([bar.get_width() for bar in drawn.axes[3].patches], [0, 0, 0.75, 0, 0.25, 0])


def test_class_shapes_and_mixed_landmarks(generator):
    shapes = generator.uniform(-1, 1, (6, 68, 2))
    drawn = faceplots.class_shapes(shapes)
    assert [ax.get_title("left") for ax in drawn.axes] == list(style.LABELS)
    drawn = faceplots.mixed_landmarks(np.zeros((8, 8, 3)), shapes[0], shapes[1], 0.5)
    drawn_points = np.concatenate([line.get_xydata() for line in drawn.axes[1].lines])
    jaw = (shapes[0] + shapes[1])[:17] / 2
    np.testing.assert_allclose(drawn_points[:17], jaw)


def test_figures_leave_pyplot_and_its_settings_alone():
    before = dict(plt.rcParams)
    drawn = plots.per_class_f1([0.5] * 6, [0.4] * 6, [0.6] * 6)
    assert isinstance(drawn, Figure)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_a_figure_is_shown_as_a_picture_that_says_what_it_is():
    drawn = plots.class_counts({"train": [1, 2, 3, 4, 5, 6]})
    words = "Bars of the number of faces of each class, one panel a split. train: 21 faces largest : smallest 6.0 : 1. "
    words += "faces"
    assert drawn.alt == words
    shown = BeautifulSoup(drawn._repr_mimebundle_()["text/html"], "html.parser")
    assert shown.img["alt"] == words
    assert base64.b64decode(shown.img["src"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert shown.find("figcaption") is None
    assert drawn._repr_mimebundle_()["text/plain"] == f"<Figure: {words}>"


def test_a_figure_with_a_caption_and_a_label():
    drawn = style.new_axes(1, 1, 2, 2)[0].captioned("first").captioned('"Fear" < "Joy"')
    drawn.set_label("A page of <faces>")
    shown = BeautifulSoup(drawn._repr_mimebundle_()["text/html"], "html.parser")
    assert shown.figure.figcaption.get_text() == '"Fear" < "Joy"'
    assert shown.img["alt"] == drawn.alt == "A page of <faces>"


def test_words_of_a_sheet_are_its_captions_each_once_and_of_bounded_length():
    images = np.zeros((40, 4, 4, 3), np.uint8)
    assert faceplots.face_sheet(images[:3], ["Fear\nsubject 1", "Anger", "Anger"]).alt.endswith("Fear subject 1; Anger")
    many = faceplots.face_sheet(images, [f"a caption of face {number}" for number in range(40)]).alt
    assert len(many) == style.LONGEST
    assert many.endswith("…")


def test_the_colours_of_a_bar_have_no_words():
    drawn = plots.confusion(np.eye(6, dtype=int))
    assert drawn.alt == "Confusion counts, rows the truth and columns the prediction. predicted; true"


def test_paired_curves_tell_kinds_by_colour_and_bags_by_line():
    history = pd.DataFrame({"epoch": [1, 2], "val_macro_f1": [0.2, 0.4]})
    drawn = plots.paired_curves({(kind, bag): history for kind in ("without", "with") for bag in (1, 2)})
    lines = [line for line in drawn.axes[0].lines if "bag" in line.get_label()]
    assert [line.get_label() for line in lines] == ["without, bag 1", "without, bag 2", "with, bag 1", "with, bag 2"]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert lines[0].get_linestyle() == lines[2].get_linestyle() != lines[1].get_linestyle()


def test_score_differences_draws_interval_mean_and_pairs():
    drawn = plots.score_differences(["a", "b"], [0.1, -0.2], [(0.0, 0.2), (-0.5, 0.1)], [[0.05, 0.15], [-0.2]], "gain")
    ax = drawn.axes[0]
    ends = [segment[:, 0].tolist() for lines in ax.collections for segment in lines.get_segments()]
    assert ends == [[0.0, 0.2], [-0.5, 0.1]]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_markersize() == 8] == [0.1, -0.2]
    assert ax.get_xlim()[0] < -0.5
    assert ax.get_xlim()[1] > 0.5
    assert "+0.100 [+0.000, +0.200]" in texts(drawn)


def test_names_of_people_files_and_runs_are_no_formulae(generator):
    name = r"a$_^$b \\frac{ $x^2$ #1"
    sheet = faceplots.face_sheet(generator.random((2, 8, 8, 3)), [name, "$"])
    scores = plots.split_densities({"x": {name: generator.random(20)}}, {"x": name})
    for drawn in (sheet, scores):
        assert style.png(drawn).startswith(b"\x89PNG")


def test_powers_of_ten_stay_formulae():
    @style.styled
    def draw():
        """An axis."""
        drawn, axes = style.new_axes(1, 1, 3, 2)
        axes[0, 0].set(yscale="log", ylim=(1, 1e6))
        return drawn

    drawn = draw()
    style.png(drawn)
    labels = [label for label in drawn.axes[0].yaxis.get_ticklabels() if "10^" in label.get_text()]
    assert len(labels) > 2
    assert all(label.get_parse_math() for label in labels)


@pytest.mark.parametrize("groups", [("weak member", "ensemble"), ("ensemble", "weak member", "strong member")])
def test_members_and_votes_look_alike_in_every_figure(groups):
    places = list(range(len(groups)))
    drawn = plots.score_intervals(groups, places, places, places, groups)
    looks = {line.get_label(): (line.get_color(), line.get_marker()) for line in drawn.axes[0].lines}
    assert {group: looks[group] for group in groups} == {group: plots.LOOKS[group] for group in groups}
