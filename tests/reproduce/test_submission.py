"""The challenge's submission: its order, its checks, its refusals."""

import numpy as np
import pytest

from lsdkit.data.preparing import prepare_release
from lsdkit.data.release import TEST
from lsdkit.data.store import Store
from lsdkit.prediction import vote
from lsdkit.recipes import Member
from lsdkit.reproduce import submission
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import Run, list_runs
from tests.broken_release import BROKEN, NAMES, write_broken_release
from tests.fake_runs import answers, leave, make_run, store_of


def leave_over(store: Store, run: Run, seed: int = 0) -> Run:
    """Leave a run with made-up predictions of a store's validation and test faces; returns it."""
    rows = np.concatenate([store.rows("validation"), store.rows("test")])
    splits, labels = store.faces["split"].iloc[rows].tolist(), store.labels[rows]
    return leave(run, [store.keys[row] for row in rows], splits, labels, answers(np.maximum(labels, 0), 0.5, seed))


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_broken_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def store(release, tmp_path_factory) -> Store:
    return prepare_release(release, tmp_path_factory.mktemp("store") / "store", jobs=1, progress=False)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    """A folder with a strong run and two bags."""
    out = tmp_path_factory.mktemp("runs")
    for seed, (mix, bag) in enumerate((("mixaugment", 0), ("mixup", 1), ("mixup", 2))):
        member = Member.of("smoke", mix=mix, bag=bag)
        leave_over(store, make_run(out / member.name, member, store=store_of(store)), seed)
    return out


@pytest.fixture
def listed(release):
    return str(release / TEST / "list.csv")


def test_a_submission_has_the_lists_order(runs, listed, store, tmp_path):
    out = tmp_path / "submission.csv"
    with pytest.raises(ValueError, match=rf"1 of 6 are not: {BROKEN}"):
        submission.write_submission(runs, out, listed=listed)
    assert not list(tmp_path.iterdir())
    said = submission.write_submission(runs, out, listed=listed, missing="happy")
    assert "1 images are not in the store and were answered HAPPINESS: 4.jpg" in said
    assert "never answered" in said
    lines = out.read_text().split("\n")
    assert lines[0] == "image,expression"
    assert lines[-1] == ""
    assert [line.split(",")[0] for line in lines[1:-1]] == NAMES
    table = vote(list_runs(runs))
    voted = zip(table["key"], probabilities_of(table).argmax(1), strict=True)
    best = {key.rpartition("/")[2]: int(answer) for key, answer in voted}
    expected = [3 if name == BROKEN else best[name.partition(".")[0]] for name in NAMES]
    assert [int(line.split(",")[1]) for line in lines[1:-1]] == expected
    assert "6 images" in submission.check_submission(out, listed)
    with pytest.raises(FileExistsError, match="choose another name"):
        submission.write_submission(runs, out, listed=listed, missing="happy")
    with pytest.raises(ValueError, match="--list FILE"):  # a test image is not in the store, and its place is unknown
        submission.write_submission(runs, tmp_path / "other.csv")
    with pytest.raises(ValueError, match="but got 'neutral'"):
        submission.write_submission(runs, tmp_path / "other.csv", listed=listed, missing="neutral")


def test_without_a_list_the_order_is_the_stores(tiny_store, tmp_path):
    run = leave_over(tiny_store, make_run(tmp_path / "run", Member.of("smoke"), store=store_of(tiny_store))).folder
    said = submission.write_submission(run, tmp_path / "submission.csv")
    names = [path.rpartition("/")[2] for path in tiny_store.faces["path"][tiny_store.rows("test")]]
    assert len(submission.validate_submission(tmp_path / "submission.csv", names)) == 12
    assert "12 images by the run run" in said
    other = tmp_path / "list.csv"
    other.write_text("image,expression\nz.jpg,\n")
    with pytest.raises(ValueError, match="none is; choose the right list"):
        submission.write_submission(run, tmp_path / "no.csv", listed=str(other), missing="fear")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,expression\na.jpg,0\nb.jpg,5\n", ""),
        ("image,label\na.jpg,0\nb.jpg,5\n", "first line"),
        ("\ufeffimage,expression\na.jpg,0\nb.jpg,5\n", "first line"),
        ("image,expression\r\na.jpg,0\r\nb.jpg,5\r\n", "first line"),
        ("image,expression\na.jpg,0\nb.jpg,5", "end with a line break"),
        ("image,expression\na.jpg,0\nb.jpg,6\n", "line 3"),
        ("image,expression\na.jpg,0\nb.jpg,-1\n", "line 3"),
        ("image,expression\na.jpg,0\nb.jpg,1.0\n", "line 3"),
        ("image,expression\na.jpg,0\nb.jpg\n", "line 3"),
        ("image,expression\na.jpg,0\n\nb.jpg,1\n", "line 3"),
        ("image,expression\na.jpg,0\na.jpg,1\n", "lines 2 and 3 are both 'a.jpg'"),
        ("image,expression\nb.jpg,0\na.jpg,1\n", "first difference is in line 2"),
        ("image,expression\na.jpg,0\n", r"1 lack \(b.jpg\).*line 3"),
        ("image,expression\na.jpg,0\nb.jpg,1\nc.jpg,1\n", r"1 are unknown \(c.jpg\).*line 4"),
    ],
)
def test_a_submission_is_validated(tmp_path, text, message):
    path = tmp_path / "submission.csv"
    path.write_bytes(text.encode())
    if not message:
        assert submission.validate_submission(path, ["a.jpg", "b.jpg"]) == [0, 5]
        return
    with pytest.raises(ValueError, match=message):
        submission.validate_submission(path, ["a.jpg", "b.jpg"])


def test_answers_that_are_the_least_likely_are_refused():
    found = np.random.default_rng(0).dirichlet(np.ones(6), 200)
    trained_on = [1, 2, 3, 4, 5, 5]
    report = submission.check_answers(found.argmax(1), found, trained_on)
    assert "WARNING" not in report
    assert "25.0%" in report
    with pytest.raises(ValueError, match="below-average"):
        submission.check_answers(found.argmin(1), found, trained_on)
    with pytest.raises(ValueError, match="below-average"):
        submission.check_answers(np.roll(found.argmax(1), 1), found, trained_on)  # the answers of other faces
    found[:, 2] += 5
    report = submission.check_answers(found.argmax(1), found / found.sum(1, keepdims=True), trained_on)
    assert "FEAR is answered for 100.0%" in report
    assert "ANGER is never answered" in report


def test_lists_are_checked(tmp_path):
    path = tmp_path / "list.csv"
    for text, message in (
        ("a.jpg,\n", "begin with"),
        ("image,expression\na,\na,\n", "once"),
        ("image,expression\n", "lists none"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            submission.read_list(path)
    path.write_text("\ufeffimage, expression\r\nb.jpg,\r\na.jpg,\r\n", newline="")
    assert submission.read_list(path) == ["b.jpg", "a.jpg"]
    with pytest.raises(ValueError, match="--list FILE"):
        submission.check_submission(path, "")
