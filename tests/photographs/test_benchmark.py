"""The benchmark end to end on small made-up stores that stand in for rendered faces and photographs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lsdkit.cli import main
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.combining import view_store
from lsdkit.method import gradients
from lsdkit.method.bagging import soft_vote
from lsdkit.method.metrics import balanced_accuracy, macro_f1
from lsdkit.photographs import benchmark, regressions
from lsdkit.photographs.collection import Photographs
from lsdkit.photographs.protocol import MODELS, PROTOCOL, Protocol, list_deviations, members_of, networks_of
from lsdkit.photographs.report import describe_plan
from lsdkit.training.evaluation import load_network, predict_logits, softmax
from lsdkit.training.predictions import labels_of, probabilities_of
from lsdkit.training.runs import read_run

SMALL = Protocol(
    seeds=(0, 1),
    recipe="smoke",
    settings="steps_per_epoch=2 batch_size=12",
    strong_epochs=1,
    weak_epochs=1,
    weak=(("mixup", "vggface2"),),
    resamples=100,
)
QUIET = {"progress": False, "report": lambda line: None}


@pytest.fixture
def stand_ins(tiny_store, tmp_path, monkeypatch):
    """The tiny store as the open set of every seed, and its validation split as photographs, every fourth unfound."""
    rows = tiny_store.rows("validation")
    places = np.where(np.arange(len(rows)) % 4 == 1, -1, rows)
    grey = view_store(tiny_store, tmp_path / "grey", window=PROTOCOL.window)
    photographs = Photographs(
        store=grey,
        keys=[tiny_store.keys[row] for row in rows],
        labels=tiny_store.labels[rows],
        rows=places,
        subjects=tiny_store.faces["subject"].to_numpy()[rows],
        subjects_from="the column subject",
        lost={"no_face": 6},
        how={"found": 18},
    )
    calls = []
    monkeypatch.setattr(benchmark, "list_photographs", lambda source: type("Listing", (), {"table": photographs.keys}))
    monkeypatch.setattr(
        benchmark, "prepare_photographs", lambda *given, **options: calls.append(options) or photographs
    )
    monkeypatch.setattr(benchmark, "open_set", lambda out, seed, protocol, **options: grey)
    return photographs, calls


def run(tmp_path, **options):
    text = benchmark.run_benchmark(tmp_path / "faces", tmp_path / "out", **{"protocol": SMALL, **QUIET, **options})
    return text, json.loads((tmp_path / "out" / "benchmark.json").read_text())


def test_baselines_leave_every_figure_of_the_protocol(stand_ins, tmp_path):
    photographs, calls = stand_ins
    text, value = run(tmp_path, models=("hog", "majority"))
    assert [(row["model"], row["seed"]) for row in value["results"]] == [
        ("majority", 0),
        ("majority", 1),
        ("hog", 0),
        ("hog", 1),
    ]
    assert calls == [{"pixels": 112, "annotator": "dlib", "jobs": None, "progress": False}]
    for row in value["results"]:
        table = pd.read_csv(tmp_path / "out" / "answers" / f"{row['model']}-seed{row['seed']}.csv")
        labels, answered = labels_of(table), probabilities_of(table).argmax(1)
        assert row["macro_f1_6"] == pytest.approx(macro_f1(labels, answered))
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy(labels, answered))
        assert np.sum(row["confusion"]) == photographs.has_face.sum() == len(table)
        assert row["faces_found"]["ANGER"] == {"given": 4, "found": 3}
        assert row["all_photographs"]["macro_f1_6"] <= row["macro_f1_6"]
        assert row["all_photographs"]["recall"].items() <= {
            name: pytest.approx(0.75 * recall) for name, recall in row["recall"].items()
        }.items() or row["all_photographs"]["recall"] == pytest.approx(
            {name: 0.75 * recall for name, recall in row["recall"].items()}
        )
        for scored in (row, row["all_photographs"]):
            assert set(scored["intervals"]) == {"images", "subjects"}
            low, high = scored["intervals"]["images"]["macro_f1_4"]
            assert 0 <= low <= scored["macro_f1_4"] <= high <= 1
        assert 0 <= row["rendered_test_macro_f1"] <= 1
        assert row["seconds"] >= 0
    assert value["summary"]["hog"]["found"]["macro_f1_6"]["sd"] == 0  # the same faces for both seeds, here
    assert value["photographs"]["subjects"] == {"from": "the column subject", "number": 3}
    assert set(value["open_sets"]["1"]["store"]["checksums"]) >= {"images.npy", "faces.csv"}
    assert value["photographs"]["kind"] == "rendered"
    assert "tested on: rendered faces" in text
    assert any(line.startswith("recipe is smoke") for line in value["deviations"])
    assert "without landmarks, hog+landmarks, single, two-branch, ensemble" in value["deviations"]
    assert (tmp_path / "out" / "confusion-hog.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "benchmark.md").read_text().count("\n| hog ") == 2
    assert value["failed"] == {}
    assert {"torch", "scikit-image", "lsdkit"} <= set(value["versions"])


@pytest.mark.slow
def test_networks_vote_and_are_not_trained_twice(stand_ins, tmp_path):
    photographs, _ = stand_ins
    options = {"models": ("single", "two-branch", "ensemble"), "seeds": (3,), "jobs": 1}
    _, value = run(tmp_path, **options)
    single, two, vote = value["results"]
    assert [len(row["runs"]) for row in (single, two, vote)] == [1, 1, 6]
    folders = [tmp_path / "out" / "runs" / name for name in vote["runs"]]
    stack, rows = [], photographs.rows[photographs.has_face]
    for folder in folders:
        member, device = read_run(folder).member, benchmark.choose_device("cpu")
        stack.append(softmax(predict_logits(load_network(folder), photographs.store, rows, member, device)))
    expected = macro_f1(photographs.labels[photographs.has_face], soft_vote(stack).argmax(1))
    assert vote["macro_f1_6"] == pytest.approx(expected)
    written = {folder: (folder / "result.json").stat().st_mtime_ns for folder in folders}
    _, again = run(tmp_path, **options)
    assert {folder: (folder / "result.json").stat().st_mtime_ns for folder in folders} == written
    assert again["results"] == value["results"]
    shutil.rmtree(folders[-1])
    _, third = run(tmp_path, **options, device="cpu")
    assert third["results"][-1]["macro_f1_6"] == vote["macro_f1_6"]


@pytest.mark.slow
def test_trainings_side_by_side_and_one_that_fails(stand_ins, tmp_path, capsys):
    name = members_of("two-branch", 0, SMALL)[0].name
    (tmp_path / "out" / "runs" / name).mkdir(parents=True)
    (tmp_path / "out" / "runs" / name / "member.json").write_text("{}")  # the folder of another training
    lines = []
    with pytest.raises(SystemExit):
        benchmark.run_benchmark(
            tmp_path / "faces",
            tmp_path / "out",
            protocol=SMALL,
            models=("single", "two-branch"),
            seeds=(0,),
            jobs=2,
            progress=False,
            report=lines.append,
        )
    value = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert [row["model"] for row in value["results"]] == ["single"]
    assert list(value["failed"]) == [name]
    assert "another training" in value["failed"][name]
    assert any(line.startswith(f"{name}: FAILED") for line in lines)


def test_the_plan_runs_nothing(stand_ins, tmp_path):
    text = benchmark.run_benchmark(tmp_path, tmp_path / "out", plan=True, fraction=0.002, jobs=2)
    assert "train 36 networks" in text
    assert "not the protocol: fraction is 0.002 and not 0.01" in text
    assert not (tmp_path / "out").exists()
    minutes = float(describe_plan(PROTOCOL, MODELS, 801, 2).split("\n")[-1].split()[0])
    assert 8 < minutes < 30  # 13 were measured on two cores


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--models forest", "--models"),
        ("--seeds 0,0", "each once"),
        ("--fraction 2", "--fraction"),
        ("--jobs -1", "--jobs"),
    ],
)
def test_wrong_arguments_end_before_any_work(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    assert main(["benchmark", "--photographs", str(tmp_path), "--out", "bench", *arguments.split()]) == 2
    assert message in capsys.readouterr().err
    assert main(["benchmark", "--photographs", str(tmp_path / "absent"), "--out", "bench"]) == 2
    assert not (tmp_path / "bench").exists()


def test_the_protocol_is_one_thing():
    assert list_deviations(PROTOCOL, generators=[PROTOCOL.generator]) == []
    assert list_deviations(replace(PROTOCOL, grey=False)) == ["grey is False and not True"]
    assert list_deviations(PROTOCOL, generators=[PROTOCOL.generator + 1]) != []
    ensemble = members_of("ensemble", 2)
    version = PROTOCOL.version, PROTOCOL.generator  # other networks or faces are another version of the protocol
    first = members_of("ensemble", 0)
    assert (version, first[0].spec_hash(), first[1].spec_hash(), first[-1].spec_hash()) == (
        (5, 6),
        "2c849aae002d",
        "de62cf68619a",
        "82eaab3457b3",
    )
    fixed = (
        gradients.CELLS,
        gradients.DIRECTIONS,
        gradients.CLIP,
        gradients.PLACES,
        gradients.CHANNELS,
        gradients.DROPOUT,
    )
    assert fixed == (9, 9, 0.2, 3, 96, 0.5)
    assert (regressions.HOG_SIDE, regressions.HOG["pixels_per_cell"], regressions.HOG["transform_sqrt"]) == (
        72,
        (8, 8),
        True,
    )
    assert regressions.STRENGTH == {"landmarks": 3e-3, "hog": 1e-4, "hog+landmarks": 1e-4}
    assert (PROTOCOL.window, PROTOCOL.grey, PROTOCOL.fraction) == ((0.2, 0.28, 0.6), True, 0.013)
    assert ensemble[0] == members_of("two-branch", 2)[0]
    assert {member.seed for member in ensemble} == {2}
    assert sorted({member.bag for member in ensemble}) == [0, 1, 2, 3, 4, 5]
    assert members_of("single", 0)[0].appearance == "none"
    assert len(networks_of(PROTOCOL, MODELS, 0)) == 12
    assert set(EXPRESSIONS) == set(benchmark.EXPRESSIONS)


def test_open_sets_are_those_of_the_protocol(monkeypatch, tmp_path, tiny_store):
    made = []
    monkeypatch.setattr(benchmark, "prepare_open", lambda out, **options: made.append((out, options)) or tiny_store)
    for seed in (0, 1):
        store = benchmark.open_set(tmp_path, seed, PROTOCOL, without=("pose",), jobs=1, progress=False)
        assert store.path == tmp_path / "store-inner-grey"
        assert store.images.shape[1] == round(0.6 * tiny_store.images.shape[1])
        assert np.ptp(store.images[:], axis=-1).max() == 0
        place, options = made[-1]
        assert place == tmp_path / f"open-seed{seed}"
        assert (options["seed"], options["design"], options["without"]) == (seed, PROTOCOL.design, ("pose",))
