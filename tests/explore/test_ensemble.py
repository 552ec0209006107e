"""The ensemble explorer sends what the members answered, and its scores are the library's and scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.explore.ensemble import Ensemble
from lsdkit.training.runs import list_runs
from tests.fake_runs import WEAK, answers, faces, leave_matrix, leave_run


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """A folder of five weak runs, and what they answered (B, 6)."""
    folder = tmp_path_factory.mktemp("runs")
    left = leave_matrix(folder, lambda cell, seed: 0.4, cells=WEAK[:5])
    return folder, [left[cell, 0] for cell in WEAK[:5]]


def test_members_and_their_probabilities_are_the_runs(matrix):
    folder, left = matrix
    explorer = Ensemble(folder)
    start, _ = explorer.answer("start", {})
    assert start["splits"] == ["validation"]
    assert start["weak"] == [True] * 5
    assert start["names"] == [f"Mix-aug, vggface2, bag {bag}" for bag in range(1, 6)]
    said, (labels, stack) = explorer.answer("faces", {"split": "validation"})
    assert said["faces"] == 240
    np.testing.assert_array_equal(labels, faces(240)[1])
    assert stack.dtype == np.float32
    np.testing.assert_allclose(stack, left, atol=1e-6)


def test_the_vote_of_some_members_scores_as_scikit_learn_says(matrix):
    folder, left = matrix
    said, _ = Ensemble(folder).answer("intervals", {"split": "validation", "members": [0, 2, 3]})
    truth, voted = faces(240)[1], np.mean([left[number] for number in (0, 2, 3)], axis=0).argmax(1)
    own = f1_score(truth, voted, labels=range(6), average=None)
    np.testing.assert_allclose(said["value"], [own.mean(), *own])
    assert (np.array(said["low"]) < said["value"]).all()
    assert (np.array(said["high"]) > said["value"]).all()


def test_runs_vote_as_their_recipe_says(tmp_path):
    keys, labels = faces(60)
    left = [answers(labels, 0.4, seed) for seed in range(3)]
    for cell, stack in zip(WEAK[:3], left, strict=True):
        leave_run(tmp_path, cell, 0, keys, labels, stack, SETTINGS="vote=logits", split="test")
    explorer = Ensemble(list_runs(tmp_path))
    assert explorer.answer("start", {})[0]["way"] == "logits"
    said, _ = explorer.answer("intervals", {"split": "test", "members": [0, 1, 2]})
    expected = f1_score(labels, np.log(left).sum(0).argmax(1), labels=range(6), average="macro")
    assert said["value"][0] == pytest.approx(expected)


def test_the_still_figure_has_a_bar_a_class(matrix):
    (axes,) = Ensemble(matrix[0]).still().axes
    assert [label.get_text() for label in axes.get_xticklabels()] == [name.capitalize() for name in EXPRESSIONS]


def test_what_cannot_vote_is_said(tmp_path, matrix):
    with pytest.raises(ValueError, match=r"Expected finished runs in .*, but got none; train some"):
        Ensemble(tmp_path)
    keys, labels = faces(12)
    unknown = leave_run(tmp_path, WEAK[0], 0, keys, labels, answers(labels, 0.5, 0), split="train").parent
    with pytest.raises(ValueError, match="Expected faces of known expression"):
        Ensemble(unknown)
    few = leave_run(tmp_path / "few", WEAK[0], 0, keys, labels, answers(labels, 0.5, 0)).parent
    with pytest.raises(ValueError, match="to predict the same faces"):
        Ensemble([*list_runs(matrix[0]), *list_runs(few)])
