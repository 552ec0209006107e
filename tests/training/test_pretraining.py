"""Emotion pre-training: runs that start from one another, and members that start from them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lsdkit.common.expressions import CLASSES
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints
from lsdkit.training.member import train_member
from lsdkit.training.pretraining import count_classes, pretrain
from lsdkit.weights.dan import rows_to_ours

QUICK = {"recipe": "smoke", "epochs": 1, "device": "cpu", "progress": False}


def make_store(root, name, classes=8, seed=0, splits=("train", "validation")) -> Store:
    """A colour for each class with noise; neutral and contempt in "extra"."""
    generator, rows, images = np.random.default_rng(seed), [], {}
    for split in (*splits, "extra"):
        for index in range(6, classes) if split == "extra" else range(6):
            for number in range(4):
                key = f"{split}/{CLASSES[index]}/{number}"
                images[key] = (30 * index + generator.integers(0, 30, (32, 32, 3))).astype(np.uint8)
                rows.append((key, split, CLASSES[index], "", f"{len(rows)}.png"))
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    (root / f"{name}-files").mkdir(parents=True)
    for row in table.itertuples():
        Image.fromarray(images[row.key]).save(root / f"{name}-files" / row.path)
    options = {"size": None, "kind": "photographs", "source": name, "settings": {}, "progress": False}
    return write_store(root / name, table, {}, root=root / f"{name}-files", **options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Store]:
    root = tmp_path_factory.mktemp("stores")
    return [make_store(root, "first"), make_store(root, "second", seed=1)]


@pytest.fixture(scope="module")
def sequential(stores, tmp_path_factory):
    out = tmp_path_factory.mktemp("pretrained")
    return pretrain([store.path for store in stores], out, **QUICK)


def test_each_run_starts_from_the_one_before(sequential):
    first, second = sequential.runs
    assert [run.name for run in sequential.runs] == ["1-first", "2-second"]
    assert first.started_from == {"emotion": {"source": "random", "kind": "random"}}
    report = second.started_from["emotion"]
    assert report["kind"] == "run"
    assert report["source"] == str(first.folder)
    assert report["rows"] == "8 of the run's 8, for 8"
    assert (report["missing"], report["unexpected"], report["reshaped"]) == (0, 0, 0)
    assert sequential.folder == second.folder
    assert f"EMOTION_WEIGHTS={second.folder}" in str(sequential)


def test_it_learns_eight_classes_and_no_landmarks(sequential):
    for run in sequential.runs:
        assert run.counts["trained_on"] == dict.fromkeys(CLASSES, 4)
        assert run.member.appearance == "none"
        assert run.member.recipe.classes == 8
        state = checkpoints.read_weights(run.folder)["state"]
        assert state["expression.0.weight"].shape[0] == state["affinity.centres"].shape[0] == 8
        assert not [key for key in state if key.startswith(("appearance", "landmarks"))]


def test_a_finished_pretraining_is_not_repeated(sequential, stores):
    before = [(run.folder / "weights.pt").stat().st_mtime_ns for run in sequential.runs]
    again = pretrain([store.path for store in stores], sequential.folder.parent, **QUICK)
    assert again == sequential
    assert [(run.folder / "weights.pt").stat().st_mtime_ns for run in again.runs] == before


def test_what_comes_out_starts_a_member_of_six(sequential, stores, tmp_path):
    """A learning rate of almost nothing leaves the weights as they were read: rows are the first six of eight."""
    recipe = replace(SMOKE, learning_rate=1e-30, weight_decay=0.0).with_source("emotion", str(sequential.folder))
    member = Member(recipe=recipe, appearance="dino", epochs=1)
    result = train_member(member, stores[0], tmp_path / "run", device="cpu", progress=False)
    assert result.started_from["emotion"]["rows"] == "6 of the run's 8, for 6"
    assert result.started_from["appearance"]["kind"] == "random"
    ours, theirs = (checkpoints.read_weights(run)["state"] for run in (tmp_path / "run", sequential.folder))
    for key, value in ours.items():
        if key.startswith("expression.") and value.ndim and "running" not in key:
            torch.testing.assert_close(value, theirs[key][:6])
        if key.startswith(("emotion.", "shared.")) and "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, theirs[key])


def test_joined_trains_once_on_all_faces(stores, tmp_path):
    done = pretrain([store.path for store in stores], tmp_path, order="joined", **QUICK)
    assert [run.name for run in done.runs] == ["1-joined"]
    assert done.runs[-1].counts["trained_on"] == dict.fromkeys(CLASSES, 8)
    assert Store.open(tmp_path / "joined").counts("validation").tolist() == [8] * 6


def test_a_class_that_one_store_lacks_may_come_from_another_when_joined(stores, tmp_path):
    seven = make_store(tmp_path, "seven", classes=7, seed=2)
    paths = [stores[0].path, seven.path]
    with pytest.raises(ValueError, match=r"none of CONTEMPT \(found: 4 ANGER, .*4 NEUTRAL\); use 7 classes"):
        pretrain(paths, tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()
    done = pretrain(paths, tmp_path / "out", order="joined", **QUICK)
    counts = done.runs[-1].counts["trained_on"]
    assert (counts["NEUTRAL"], counts["CONTEMPT"]) == (8, 4)
    assert count_classes([seven]).tolist() == [4] * 7 + [0]


def test_what_cannot_work_ends_before_any_training(stores, tmp_path):
    one, out = [stores[0].path], tmp_path / "out"
    unvalidated = make_store(tmp_path, "unvalidated", splits=("train",))
    for options, paths, message in (
        ({"order": "alternating"}, one, "'sequential', 'joined'"),
        ({"classes": 9}, one, "`classes`"),
        ({"recipe": "papper"}, one, "RECIPE"),
        ({"device": "tpu"}, one, "DEVICE"),
        ({"mix": "cutmix"}, one, "MIX"),
        ({}, [], "at least one store"),
        ({}, [*one, unvalidated.path], "validation faces"),
    ):
        with pytest.raises(ValueError, match=message):
            pretrain(paths, out, **QUICK | options)
    with pytest.raises(FileNotFoundError, match="Expected a store"):
        pretrain([tmp_path / "nothing"], out, **QUICK)
    assert not out.exists()


def test_settings_and_first_weights_reach_the_member(stores, sequential, tmp_path):
    recipe = replace(SMOKE, label_smoothing=0.1, class_weights="balanced")
    options = {"recipe": recipe, "classes": 6, "mix": "mixup", "seed": 3}
    done = pretrain([stores[0].path], tmp_path, weights=str(sequential.folder), **QUICK | options)
    (result,) = done.runs
    assert result.member.recipe.label_smoothing == 0.1
    assert (result.member.mix, result.member.seed) == ("mixup", 3)
    assert result.counts["trained_on"] == dict.fromkeys(CLASSES[:6], 4)
    assert result.started_from["emotion"]["rows"] == "6 of the run's 8, for 6"


def test_the_rows_of_affectnet_in_our_order():
    """AffectNet's codes: neutral 0, happy 1, sad 2, surprise 3, fear 4, disgust 5, anger 6, contempt 7."""
    assert rows_to_ours("affectnet8") == [6, 5, 4, 1, 2, 3, 0, 7]
