"""Probabilities of runs and ensembles, and the challenge's submission: its order, its checks, its refusals."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit import predict, prepare, results
from lsdkit.ensemble import SELECTION_RULES, soft_vote
from lsdkit.expressions import EXPRESSIONS, RELEASE_FOLDERS
from lsdkit.recipes import SMOKE, Member
from lsdkit.store import Store
from lsdkit.training import train_member

BROKEN = "4.jpg"
NAMES = [
    "10.jpg",
    "2.jpg",
    BROKEN,
    "0.jpg",
    "7.JPG",
    "1.jpg",
]  # the list's order is neither that of names nor of numbers


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The release's layout with six test images, one of them truncated."""
    root, generator = tmp_path_factory.mktemp("release"), np.random.default_rng(0)

    def picture(path, index):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = 40 * index + generator.integers(0, 40, (24, 24, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path, format="JPEG")

    for folder, count in (("training_set_synthetic_images", 3), ("validation_set_real_images", 2)):
        for index, name in enumerate(RELEASE_FOLDERS):
            for number in range(count):
                picture(root / folder / name / f"{number}.jpg", index)
    for index, name in enumerate(NAMES):
        picture(root / "lsd_test_data" / name, index)
    broken = root / "lsd_test_data" / BROKEN
    broken.write_bytes(broken.read_bytes()[:60])
    (root / "lsd_test_data" / "list.csv").write_text("image,expression\n" + "".join(f"{n},\n" for n in NAMES))
    return root


@pytest.fixture(scope="module")
def store(release, tmp_path_factory) -> Store:
    return prepare.prepare_release(release, tmp_path_factory.mktemp("store") / "store", jobs=1, progress=False)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    """A folder with a strong run and two bags."""
    out = tmp_path_factory.mktemp("runs")
    for mix, bag in (("mixaugment", 0), ("mixup", 1), ("mixup", 2)):
        member = Member(recipe=SMOKE, mix=mix, bag=bag, epochs=1)
        train_member(member, store, out / f"{mix}{bag}", device="cpu", progress=False)
    return out


@pytest.fixture
def listed(release):
    return str(release / "lsd_test_data" / "list.csv")


def test_a_run_and_an_ensemble(runs, tmp_path):
    said = predict.write_probabilities(runs / "mixup1", tmp_path / "one.csv", split="validation")
    assert "12 validation faces" in said
    kept = results.read_predictions(runs / "mixup1")
    kept = kept[kept["split"] == "validation"]
    written = pd.read_csv(tmp_path / "one.csv", keep_default_na=False)
    np.testing.assert_allclose(written[list(EXPRESSIONS)], kept[list(EXPRESSIONS)], atol=1e-8)
    predict.write_probabilities(runs, tmp_path / "all.csv", split="validation")
    voted = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
    each = [results.read_predictions(path) for path in sorted(runs.iterdir())]
    stack = np.stack([results.probabilities_of(table[table["split"] == "validation"]) for table in each])
    np.testing.assert_allclose(voted[list(EXPRESSIONS)], soft_vote(stack), atol=1e-8)
    assert voted["key"].tolist() == kept["key"].tolist()


def test_networks_run_over_a_store_give_the_predictions_that_they_left(runs, store, tmp_path):
    for name, data in (("left", ""), ("run", str(store.path))):
        predict.write_probabilities(runs, tmp_path / f"{name}.csv", split="test", data=data)
    left, run = (pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False) for name in ("left", "run"))
    assert left["key"].tolist() == run["key"].tolist()
    np.testing.assert_allclose(run[list(EXPRESSIONS)], left[list(EXPRESSIONS)], atol=1e-5)
    said = predict.write_probabilities(runs / "mixup1", tmp_path / "train.csv", split="train", data=str(store.path))
    assert "18 train faces" in said
    with pytest.raises(ValueError, match="'extra', but there are none; there are those of train, validation, test"):
        predict.write_probabilities(runs, tmp_path / "extra.csv", split="extra", data=str(store.path))
    with pytest.raises(ValueError, match="--data STORE"):
        predict.write_probabilities(runs, tmp_path / "extra.csv", split="train")


def test_ensembles_are_chosen_by_name_and_refused_where_incomplete(runs):
    name = "MU MobileViTv2 Weak"
    assert name in SELECTION_RULES
    with pytest.raises(ValueError, match="5 are missing"):
        predict.chosen_runs(runs, name)
    with pytest.raises(ValueError, match="5 are missing"):
        predict.chosen_runs(runs, name, allow_incomplete=True)  # not one of its runs is there
    what, found = predict.chosen_runs(runs, "MA Strong & MA Best Weak", allow_incomplete=True)
    assert [path.name for path in found] == ["mixaugment0"]
    assert "missing" in what
    with pytest.raises(ValueError, match=r"'all' or one of 'MU MobileViTv2 Weak'.*but got 'MU'"):
        predict.chosen_runs(runs, "MU")
    with pytest.raises(ValueError, match="is one run"):
        predict.chosen_runs(runs / "mixup1", name)
    assert len(predict.chosen_runs(runs, seed=0)[1]) == 3
    with pytest.raises(ValueError, match="finished runs of seed 5"):
        predict.chosen_runs(runs, seed=5)


def test_a_submission_has_the_lists_order(runs, listed, store, tmp_path):
    out = tmp_path / "submission.csv"
    with pytest.raises(ValueError, match=rf"1 of 6 are not: {BROKEN}"):
        predict.write_submission(runs, out, listed=listed)
    assert not list(tmp_path.iterdir())
    said = predict.write_submission(runs, out, listed=listed, missing="happy")
    assert "1 images are not in the store and were answered HAPPINESS: 4.jpg" in said
    assert "never answered" in said
    lines = out.read_text().split("\n")
    assert lines[0] == "image,expression"
    assert lines[-1] == ""
    assert [line.split(",")[0] for line in lines[1:-1]] == NAMES
    table = predict.probabilities(sorted(runs.iterdir()))
    answers = zip(table["key"], results.probabilities_of(table).argmax(1), strict=True)
    best = {key.rpartition("/")[2]: int(answer) for key, answer in answers}
    expected = [3 if name == BROKEN else best[name.partition(".")[0]] for name in NAMES]
    assert [int(line.split(",")[1]) for line in lines[1:-1]] == expected
    assert "6 images" in predict.check(out, listed)
    with pytest.raises(FileExistsError, match="choose another --out"):
        predict.write_submission(runs, out, listed=listed, missing="happy")
    with pytest.raises(ValueError, match="--list FILE"):  # a test image is not in the store, and its place is unknown
        predict.write_submission(runs, tmp_path / "other.csv")
    with pytest.raises(ValueError, match="but got 'neutral'"):
        predict.write_submission(runs, tmp_path / "other.csv", listed=listed, missing="neutral")


def test_without_a_list_the_order_is_the_stores(tiny_store, tmp_path):
    run = tmp_path / "run"
    train_member(Member(recipe=SMOKE, epochs=1), tiny_store, run, device="cpu", progress=False)
    said = predict.write_submission(run, tmp_path / "submission.csv")
    names = [path.rpartition("/")[2] for path in tiny_store.faces["path"][tiny_store.rows("test")]]
    assert len(predict.validate_submission(tmp_path / "submission.csv", names)) == 12
    assert "12 images by the run run" in said
    other = tmp_path / "list.csv"
    other.write_text("image,expression\nz.jpg,\n")
    with pytest.raises(ValueError, match="none is; choose the right list"):
        predict.write_submission(run, tmp_path / "no.csv", listed=str(other), missing="fear")


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
        assert predict.validate_submission(path, ["a.jpg", "b.jpg"]) == [0, 5]
        return
    with pytest.raises(ValueError, match=message):
        predict.validate_submission(path, ["a.jpg", "b.jpg"])


def test_answers_that_are_the_least_likely_are_refused():
    found = np.random.default_rng(0).dirichlet(np.ones(6), 200)
    trained_on = [1, 2, 3, 4, 5, 5]
    report = predict.check_answers(found.argmax(1), found, trained_on)
    assert "WARNING" not in report
    assert "25.0%" in report
    with pytest.raises(ValueError, match="below-average"):
        predict.check_answers(found.argmin(1), found, trained_on)
    with pytest.raises(ValueError, match="below-average"):
        predict.check_answers(np.roll(found.argmax(1), 1), found, trained_on)  # the answers of other faces
    found[:, 2] += 5
    report = predict.check_answers(found.argmax(1), found / found.sum(1, keepdims=True), trained_on)
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
            predict.listed_names(path)
    path.write_text("\ufeffimage, expression\r\nb.jpg,\r\na.jpg,\r\n", newline="")
    assert predict.listed_names(path) == ["b.jpg", "a.jpg"]
    with pytest.raises(ValueError, match="--list FILE"):
        predict.check(path, "")
