"""The expression judges: crops, the order of their classes, scores, and what is said where they are missing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.writer import write_store

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def judges(load_benchmark):
    return load_benchmark("openset/judges")


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


def test_a_crop_at_its_own_size_is_a_slice(judges, noise):
    assert (judges.crop_faces(noise, judges.Crop(), 40, "RGB") == noise).all()
    assert (judges.crop_faces(noise, judges.Crop(0.8, 0.1), 32, "RGB") == noise[:, 8:40, 4:36]).all()
    assert (judges.crop_faces(noise, judges.Crop(0.5), 20, "RGB") == noise[:, 10:30, 10:30]).all()


def test_every_crop_that_is_tried_or_used_lies_in_the_image(judges):
    for crop in [*judges.TRIED, *judges.CROPS.values()]:
        assert 0 < crop.side <= 1
        assert abs(crop.down) <= (1 - crop.side) / 2 + 1e-9
    assert set(judges.CROPS.values()) <= set(judges.TRIED)


def test_grey_of_a_crop_is_the_luma_of_colour(judges, noise):
    luma = (noise * [0.299, 0.587, 0.114]).sum(-1)
    assert abs(judges.crop_faces(noise, judges.Crop(), 40, "L") - luma).max() <= 1
    grey = judges.remove_colour(noise)
    assert (grey == grey[..., :1]).all()
    assert abs(grey[..., 0] - luma).max() <= 1


def test_columns_are_ordered_by_name_and_an_unknown_name_is_refused(judges):
    words = ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"]
    given = pd.DataFrame(np.arange(14.0).reshape(2, 7), columns=words)
    expected = given[["angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"]]
    assert (judges.order_columns(given.to_numpy(), words) == expected.to_numpy()).all()
    with pytest.raises(ValueError, match="six expressions and neutral"):
        judges.order_columns(np.zeros((1, 7)), [*words[:-1], "contempt"])


def test_scores_leave_neutral_out_or_count_it_as_a_miss(judges):
    generator = np.random.default_rng(1)
    labels, probabilities = generator.integers(0, 6, 200), generator.random((200, 7))
    probabilities[np.arange(100), labels[:100]] += 1
    result = judges.score_judge(labels, probabilities)
    six, seven = probabilities[:, :6].argmax(1), probabilities.argmax(1)
    settings = {"labels": range(6), "average": "macro", "zero_division": 0}
    assert result["macro_f1"] == pytest.approx(f1_score(labels, six, **settings))
    assert result["macro_f1_neutral_missed"] == pytest.approx(f1_score(labels, seven, **settings))
    low, high = result["interval"]
    assert low < result["macro_f1"] < high
    assert sum(result["neutral"]) == (seven == 6).sum()
    assert np.mean(list(result["recall"].values())) == pytest.approx(result["balanced_accuracy"])


def test_a_class_without_faces_has_no_recall(judges):
    result = judges.score_judge(np.array([0, 0, 3]), np.eye(7)[[0, 0, 3]])
    assert result["recall"] == {name: 1.0 if name in ("ANGER", "HAPPINESS") else None for name in EXPRESSIONS}
    assert "recall" in judges.describe_result("three faces", result)
    assert json.dumps(result, allow_nan=False)


def test_recall_by_column_puts_the_weakest_first(judges):
    faces = pd.DataFrame({"expression": ["ANGER"] * 4, "variant": ["glaring", "pressed", "pressed", "glaring"]})
    table = judges.tabulate_by(faces, "variant", {"fer": np.eye(7)[[0, 1, 0, 0]]})
    assert table["variant"].tolist() == ["pressed", "glaring"]
    assert table["n"].tolist() == [2, 2]
    assert table["fer"].tolist() == [0.5, 1.0]


def test_faces_of_another_kind_are_refused(judges, noise, tmp_path):
    for wrong in (noise.astype(np.float32), noise[0], noise[:, :20], noise[:0]):
        with pytest.raises(ValueError, match="Expected"):
            judges.judge(wrong, work=tmp_path)


def test_a_missing_node_is_named(judges, noise, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="face-api needs node and npm"):
        judges.judge(noise, work=tmp_path)


def test_versions_are_pinned(judges):
    wanted = json.loads((BENCHMARKS / "openset" / "judges" / "package.json").read_text())["dependencies"]
    assert all(version.replace(".", "").isdigit() for version in wanted.values())
    assert all("==" in wanted for wanted in (judges.LITERT, judges.FER))


def test_the_command_reports_a_store_by_variant(judges, tmp_path, monkeypatch, capsys):
    for row in range(12):
        Image.fromarray(np.full((16, 16, 3), row * 20, np.uint8)).save(tmp_path / f"{row}.png")
    table = pd.DataFrame(
        {
            "key": [f"test/{row}" for row in range(12)],
            "split": "test",
            "expression": [EXPRESSIONS[row % 6] for row in range(12)],
            "subject": [f"s{row // 6}" for row in range(12)],
            "path": [f"{row}.png" for row in range(12)],
        }
    )
    settings = {"kind": "rendered", "source": "test", "settings": {}, "size": None, "progress": False}
    write_store(tmp_path / "store", table, {}, root=tmp_path, **settings)
    table.assign(variant=["a", "b"] * 6).to_csv(tmp_path / "faces.csv", index=False)

    def answers(images, judges=("face-api", "fer"), **_):
        return {name: np.eye(7)[images[:, 0, 0, 0] // 20 % 6] for name in judges}

    monkeypatch.setattr(judges, "judge", answers)
    out = tmp_path / "scores.json"
    judges.main(["--store", str(tmp_path / "store"), "--faces", str(tmp_path / "faces.csv"), "--json", str(out)])
    assert "macro F1 1.000" in capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result["store"]["fer"]["n"] == 12
    assert [row["variant"] for row in result["by"]] == ["a", "b"] * 3
    with pytest.raises(SystemExit, match="Expected a store"):
        judges.main(["--store", str(tmp_path / "none")])
