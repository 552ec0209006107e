"""The inside explorer shows what the network computes of a store's faces, and says what it cannot show."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from lsdkit.common.landmarks import inter_ocular_error
from lsdkit.explore.inside import Inside
from lsdkit.prediction import Panel, predict
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.member import train_member
from lsdkit.training.runs import read_run


@pytest.fixture(scope="module")
def run(tiny_store, tmp_path_factory):
    """A folder with one run, of both branches."""
    root, recipe = tmp_path_factory.mktemp("runs"), replace(SMOKE, averaging=0.9, epochs=1)
    train_member(Member(recipe=recipe), tiny_store, root / "run", device="cpu", progress=False)
    return root / "run"


@pytest.fixture(scope="module")
def explorer(run, tiny_store):
    return Inside(run, tiny_store)


def test_faces_come_with_labels_and_the_answers_that_the_run_left(explorer, run, tiny_store):
    start, _ = explorer.answer("start", {})
    assert start["splits"] == ["validation", "test", "train"]
    assert start["members"] == ["Mix-aug, vggface2, whole set, epochs 1, averaging 0.9"]
    for split in start["splits"]:
        _, (rows, labels, chances) = explorer.answer("faces", {"member": 0, "split": split})
        np.testing.assert_array_equal(rows, tiny_store.rows(split))
        np.testing.assert_array_equal(labels, tiny_store.labels[rows])
        np.testing.assert_allclose(chances, predict(run, tiny_store, split=split), atol=1e-5)


def test_a_store_of_other_pixels_is_asked_about_anew(run, tiny_store, monkeypatch):
    other = replace(read_run(run), checksums={"images.npy": "those of another store"})
    monkeypatch.setattr(type(other), "read_predictions", lambda run: pytest.fail("those of other faces"))
    _, (_, _, chances) = Inside(other, tiny_store).answer("faces", {"member": 0, "split": "test"})
    np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)


def test_a_face_is_told_with_maps_answer_and_landmarks(explorer, run, tiny_store):
    row = int(tiny_store.rows("validation")[3])
    said, (crop, attention, evidence, known, placed) = explorer.answer("look", {"member": 0, "row": row})
    np.testing.assert_array_equal(crop[0], np.asarray(tiny_store.images[row]))
    assert attention.shape == said["map"] == (4, 2, 2)
    np.testing.assert_allclose(attention.sum((1, 2)), 1, rtol=1e-5)
    assert evidence.shape == (2, 2)
    assert evidence.sum() == pytest.approx(1) or not evidence.any()
    np.testing.assert_allclose(said["probabilities"], predict(run, tiny_store, split="validation")[3], atol=1e-5)
    np.testing.assert_array_equal(known, tiny_store.landmarks[row])
    assert said["error"] == pytest.approx(inter_ocular_error(placed[None], known[None])[0])
    maps = [explorer.answer("look", {"member": 0, "row": row, "expression": index})[1][2] for index in range(6)]
    assert len({each.tobytes() for each in maps}) > 1
    assert any(np.array_equal(each, evidence) for each in maps)


def test_a_member_of_a_packed_model_answers_as_it_predicts(tiny_store):
    explorer, row = Inside("open-1", tiny_store), int(tiny_store.rows("test")[0])
    said, (_, _, _, _, placed) = explorer.answer("look", {"member": 1, "row": row})
    member = Panel.load("open-1").voters[1]
    np.testing.assert_allclose(said["probabilities"], predict(member, tiny_store, split="test")[0], atol=1e-5)
    assert said["window"] is None
    assert not said["placed"]
    assert np.isnan(placed).all()


def test_a_face_without_landmarks_has_no_error(explorer, tiny_store):
    row = tiny_store.keys.index("train/FEAR/0")
    said, (_, _, _, known, placed) = explorer.answer("look", {"member": 0, "row": row})
    assert "error" not in said
    assert np.isnan(known).all()
    assert np.isfinite(placed).all()


def test_without_captum_the_rest_is_shown(explorer, tiny_store, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    said, (_, attention, evidence, *_) = explorer.answer("look", {"member": 0, "row": 0})
    assert said["missing"].endswith("pip install 'lsdkit[explain]'")
    assert attention.any()
    assert not evidence.any()
    assert len(explorer.still().axes) == 5


def test_the_still_figure_names_its_panels(explorer):
    titles = [ax.get_title("left") for ax in explorer.still().axes]
    assert titles[:5] == ["landmarks", "head 1", "head 2", "head 3", "head 4"]
    assert titles[5].startswith("for ")


def test_a_store_without_faces_is_named(run, tiny_store, monkeypatch):
    monkeypatch.setattr(tiny_store, "rows", lambda split: np.zeros(0, np.int64))
    with pytest.raises(ValueError, match=r"Expected faces in .*, but there are none"):
        Inside(run, tiny_store)
