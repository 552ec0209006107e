"""What the explorer of mistakes says is what the runs left, and its map is of what their networks see."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.audit.mislabelled import rank_label_errors
from lsdkit.ensembles.votes import vote_runs
from lsdkit.explore import errors
from lsdkit.explore.errors import Errors
from lsdkit.explore.mapping import map_features
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import evaluation
from lsdkit.training.member import train_member
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import list_runs, read_run


@pytest.fixture(scope="module")
def root(tiny_store, tmp_path_factory):
    folder, recipe = tmp_path_factory.mktemp("runs"), replace(SMOKE, epochs=1)
    for bag in (0, 1):
        train_member(Member(recipe=recipe, bag=bag), tiny_store, folder / f"{bag}", device="cpu", progress=False)
    other = Member(recipe=replace(recipe, learning_rate=0.01))
    train_member(other, tiny_store, folder / "other", device="cpu", progress=False)
    return folder


@pytest.fixture(scope="module")
def view(root) -> Errors:
    return Errors(root / "1")


def test_a_run_brings_those_of_its_recipe_and_their_vote(view, root):
    said, (rows, labels, splits, stack) = view.answer("start", {})
    assert said["names"] == [
        "Mix-aug, vggface2, whole set, epochs 1",
        "Mix-aug, vggface2, bag 1, epochs 1",
        "vote of all 2",
    ]
    assert said["first"] == 1
    runs = [read_run(root / name) for name in "01"]
    for number, run in enumerate(runs):
        table = run.read_predictions()
        np.testing.assert_allclose(stack[number], probabilities_of(table), atol=1e-6)
        assert [view.store.keys[row] for row in rows] == table["key"].tolist()
        assert [EXPRESSIONS[label] for label in labels] == table["expression"].tolist()
        assert [said["splits"][code] for code in splits] == table["split"].tolist()
    np.testing.assert_allclose(stack[2], probabilities_of(vote_runs(runs)), atol=1e-6)


def test_what_can_be_given(root):
    assert len(Errors(list_runs(root)).runs) == 3
    assert len(Errors(root).names) == 4
    only = Errors(read_run(root / "other"))
    assert (len(only.runs), len(only.names), only.first) == (1, 1, 0)
    with pytest.raises(FileNotFoundError, match="Expected a finished run, or a folder of such"):
        Errors(root / "nothing")


def test_doubts_are_of_the_split_that_is_asked_for(view):
    for voter in range(3):
        for split in ("validation", "test"):
            (found,) = view.answer("doubts", {"voter": voter, "split": split})[1]
            own = np.flatnonzero(view.split == split)
            ranked = rank_label_errors(view.labels[own], view.stack[voter][own].astype(float))
            assert found.tolist() == own[ranked].tolist()
    assert len(found)


def test_the_map_is_of_the_members_features(view, root, monkeypatch):
    monkeypatch.setattr(errors, "CHUNK", 10)
    done = []
    while True:
        said, arrays = view.answer("map", {"voter": 2})  # the vote's is its first run's
        done.append(said["done"])
        if arrays:
            break
    assert done == [10, 20, 30, 36]
    run = read_run(root / "1")
    network = evaluation.load_network(run.folder)
    features = evaluation.read_features(network, view.store, view.rows, run.member, evaluation.torch.device("cpu"))
    pixels = evaluation.load_faces(view.store.images, view.rows, run.member, "cpu")
    with evaluation.torch.no_grad():
        expected = network.forward_emotion(pixels).features.numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(view.features[1]), features, atol=1e-5)
    positions, places = arrays
    assert positions.tolist() == list(range(36))
    assert (places.min(0), places.max(0)) == (pytest.approx([-1, -1]), pytest.approx([1, 1]))
    assert view.answer("map", {"voter": 1})[0]["done"] == 36


def test_neighbours_stay_neighbours_on_the_map():
    generator = np.random.default_rng(0)
    features = np.repeat(10 * generator.normal(size=(6, 40)), 30, axis=0) + generator.normal(size=(180, 40))
    places = map_features(features)
    assert trustworthiness(features, places, n_neighbors=10) > 0.9
    np.testing.assert_array_equal(places, map_features(features))
    assert map_features(features[:4]).shape == (4, 2)
    assert np.isfinite(map_features(np.zeros((20, 5)))).all()
    assert map_features(features[:1]).tolist() == [[0, 0]]


def test_the_still_shows_doubts_and_mistakes(view):
    titles = [text.get_text() for text in view.still().axes[0].texts]
    first = view.find_doubts(1, "validation")[0]
    assert titles[0].startswith(EXPRESSIONS[view.labels[first]].capitalize())
    assert all(title.split("\n")[0] != title.split("\n")[1].split()[0] for title in titles)
    assert len(titles) <= 12
