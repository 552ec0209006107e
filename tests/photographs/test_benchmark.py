"""The benchmark end to end on small made-up stores that stand in for rendered faces and photographs."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lsdkit.cli import main
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import read_json
from lsdkit.method import backbones, gradients, recognition
from lsdkit.method.bagging import soft_vote
from lsdkit.method.metrics import balanced_accuracy, macro_f1
from lsdkit.openset import release
from lsdkit.photographs import benchmark, networks, regressions
from lsdkit.photographs.collection import Photographs
from lsdkit.photographs.protocol import (
    MODELS,
    NETWORKS,
    PROTOCOL,
    Group,
    Protocol,
    list_deviations,
    list_tuned,
    members_of,
    networks_of,
)
from lsdkit.photographs.report import describe_plan
from lsdkit.photographs.traits import MEASURES
from lsdkit.photographs.views import INNER, WHOLE
from lsdkit.recipes import NO_APPEARANCE
from lsdkit.training.evaluation import load_network, predict_logits, softmax
from lsdkit.training.predictions import labels_of, probabilities_of
from lsdkit.training.runs import read_run

STRONG = Group(recipe="smoke", settings="steps_per_epoch=2 batch_size=12", epochs=1, view=INNER)
WEAK = replace(STRONG, mix="mixup", bags=(1, 2, 3, 4, 5), view=WHOLE)
SMALL = Protocol(
    seeds=(0, 1),
    networks=(
        ("single", (replace(STRONG, appearance=NO_APPEARANCE),)),
        ("two-branch", (STRONG,)),
        ("open-1", (STRONG, replace(WEAK, bags=(2, 3)))),
        ("ensemble", (STRONG, WEAK)),
    ),
    folds=2,
    resamples=100,
)
ROOT = Path(__file__).parents[2]
QUIET = {"progress": False, "report": lambda line: None}


@pytest.fixture
def stand_ins(tiny_store, tmp_path, monkeypatch):
    """The tiny store as the open set of every seed and, by its validation split, as two collections of photographs.

    Of the collection "near" every fourth photograph has no face; of "far" nobody is known.
    """
    rows = tiny_store.rows("validation")
    near = Photographs(
        store=tiny_store,
        keys=[tiny_store.keys[row] for row in rows],
        labels=tiny_store.labels[rows],
        rows=np.where(np.arange(len(rows)) % 4 == 1, -1, rows),
        subjects=tiny_store.faces["subject"].to_numpy()[rows],
        subjects_from="the column subject",
        lost={"no_face": 6},
        how={"found": 18},
    )
    far = replace(near, rows=rows, subjects=None, subjects_from="not known", lost={}, how={"found": 24})
    measures = pd.DataFrame({name: np.linspace(0, 200, len(rows)) for name in MEASURES}).assign(key=near.keys)
    calls = []

    def prepare(source, out, **options):
        calls.append((source.name, out.name, options))
        return near if source.name == "near" else far

    monkeypatch.setattr(benchmark, "list_photographs", lambda source: type("Listing", (), {"table": near.keys}))
    monkeypatch.setattr(benchmark, "prepare_photographs", prepare)
    monkeypatch.setattr(benchmark, "measure_photographs", lambda *given, **options: measures)
    faces = benchmark.view_faces(tiny_store, tmp_path / "views", PROTOCOL)
    monkeypatch.setattr(benchmark, "open_set", lambda out, seed, protocol, **options: faces)
    return {"near": near, "far": far}, calls


def run(tmp_path, names=("near", "far"), **options):
    sources = {name: tmp_path / name for name in names}
    text = benchmark.run_benchmark(sources, tmp_path / "out", **{"protocol": SMALL, **QUIET, **options})
    return text, read_json(tmp_path / "out" / "benchmark.json")


def test_baselines_leave_every_figure_of_the_protocol(stand_ins, tmp_path):
    collections, calls = stand_ins
    text, value = run(tmp_path, models=("hog", "majority"))
    assert [(row["collection"], row["model"], row["seed"]) for row in value["results"]] == [
        (name, model, seed) for name in ("near", "far") for model in ("majority", "hog") for seed in (0, 1)
    ]
    options = {"pixels": 112, "annotator": "dlib", "jobs": None, "progress": False}
    assert calls == [(name, f"photographs-{name}", options) for name in ("near", "far")]
    for row in value["results"]:
        photographs = collections[row["collection"]]
        table = pd.read_csv(tmp_path / "out" / "answers" / row["collection"] / f"{row['model']}-seed{row['seed']}.csv")
        labels, answered = labels_of(table), probabilities_of(table).argmax(1)
        assert row["trained_on"] == "rendered"
        assert row["macro_f1_6"] == pytest.approx(macro_f1(labels, answered))
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy(labels, answered))
        assert np.sum(row["confusion"]) == photographs.has_face.sum() == len(table)
        for scored in (row, row["all_photographs"]):
            assert set(scored["intervals"]) == {"images"} | ({"subjects"} if row["collection"] == "near" else set())
            for name in ("macro_f1_6", "macro_f1_5", "macro_f1_4"):
                low, high = scored["intervals"]["images"][name]
                assert 0 <= low <= scored[name] <= high <= 1
        assert 0 <= row["rendered_test_macro_f1"] <= 1
        assert row["seconds"] >= 0
    near = next(row for row in value["results"] if row["collection"] == "near" and row["model"] == "hog")
    assert near["faces_found"]["ANGER"] == {"given": 4, "found": 3}
    assert near["all_photographs"]["macro_f1_6"] < near["macro_f1_6"]
    assert near["all_photographs"]["recall"] == pytest.approx(
        {name: 0.75 * recall for name, recall in near["recall"].items()}
    )
    assert value["summary"]["near"]["hog"]["found"]["macro_f1_6"]["sd"] == 0  # the same faces for both seeds, here
    means = [value["summary"][name]["hog"]["all"]["macro_f1_5"]["mean"] for name in ("near", "far")]
    assert value["mean_over_collections"]["hog"]["all"]["macro_f1_5"]["mean"] == pytest.approx(np.mean(means))
    assert value["photographs"]["near"]["subjects"] == {"from": "the column subject", "number": 3}
    assert set(value["open_sets"]["1"]["store"]["checksums"]) >= {"images.npy", "faces.csv"}
    assert "the networks are not those of the protocol" in value["deviations"]
    assert any(line.startswith("without landmarks, hog+landmarks, face, hog+face") for line in value["deviations"])
    assert (tmp_path / "out" / "confusion-far-hog.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert value["tuned"] == list_tuned()
    assert value["failed"] == {}
    assert {"torch", "scikit-image", "lsdkit"} <= set(value["versions"])
    written = (tmp_path / "out" / "benchmark.md").read_text()
    assert text.startswith(written)
    assert [line for line in written.splitlines() if line.startswith("## ")][:3] == [
        "## near",
        "## far",
        "## mean of the collections",
    ]
    assert "Rendered faces: drawn by this kit, no photographs and no real people of 3 people" in written
    hog = value["summary"]["far"]["hog"]["found"]["macro_f1_6"]
    low, high = hog["intervals"]["images"]
    assert f"| `hog` | {hog['mean']:.3f} [{low:.3f}, {high:.3f}] | 0.000 |" in written


def test_reference_lines_are_trained_on_photographs(stand_ins, tmp_path):
    collections, _ = stand_ins
    _, value = run(tmp_path, models=("majority", "landmarks", "hog", "face", "hog+face"), seeds=(0,))
    names = ("landmarks", "hog", "face", "hog+face")
    rows = {(row["collection"], row["trained_on"], row["model"]): row for row in value["references"]}
    assert list(rows) == [
        (name, trained_on, model)
        for name, other in (("near", "far"), ("far", "near"))
        for model in names
        for trained_on in (other, f"{name}, 2-fold by person")
    ]
    assert not any("seed" in row for row in value["references"])
    faces = benchmark.view_faces(collections["far"].store, tmp_path / "views", PROTOCOL)
    near, far = ((faces, each.rows[each.has_face]) for each in (collections["near"], collections["far"]))
    answers = regressions.fit_predict("hog", *far, {"near": near})["near"]
    labels = faces.store.labels[near[1]]
    assert rows["near", "far", "hog"]["macro_f1_6"] == pytest.approx(macro_f1(labels, answers.argmax(1)))
    means = value["reference_means"]
    assert list(means) == ["other collections", "same collection"]
    for what, trained_on in (("other collections", ("far", "near")), ("same collection", None)):
        pairs = zip(("near", "far"), trained_on or ("near, 2-fold by person", "far, 2-fold by person"), strict=True)
        scores = [rows[name, other, "face"]["macro_f1_4"] for name, other in pairs]
        assert means[what]["face"]["found"]["macro_f1_4"]["mean"] == pytest.approx(np.mean(scores))
    written = (tmp_path / "out" / "benchmark.md").read_text()
    assert written.count("near, 2-fold by person") == len(names)


def test_a_collection_too_small_to_learn_from_has_no_reference_line(stand_ins, tmp_path):
    lines = []
    options = {"models": ("hog",), "seeds": (0,), "protocol": replace(SMALL, folds=4)}
    _, value = run(tmp_path, ("near",), **options, report=lines.append)
    assert value["references"] == []  # three people in four folds
    assert list(value["references_left_out"]) == ["near, 4-fold by person"]
    assert any(line.startswith("no reference line from near, 4-fold") and "4 people" in line for line in lines)
    assert value["reference_means"] == {"other collections": {}, "same collection": {}}
    assert "mean of the collections" not in (tmp_path / "out" / "benchmark.md").read_text()
    assert value["results"][0]["model"] == "hog"


def test_groups_are_scored_for_every_collection_and_model(stand_ins, tmp_path, monkeypatch):
    monkeypatch.setattr("lsdkit.photographs.groups.LEAST", 6)
    monkeypatch.setattr("lsdkit.photographs.groups.LEAST_OF_CLASS", 2)
    _, value = run(tmp_path, models=("majority", "hog"), seeds=(0,))
    assert {name: list(models) for name, models in value["groups"].items()} == {
        name: ["majority", "hog"] for name in ("near", "far")
    }
    sizes = value["groups"]["far"]["hog"]["size"]
    assert sum(each["photographs"] for each in sizes.values()) == 24
    assert sum(each["photographs"] for each in value["groups"]["near"]["hog"]["size"].values()) == 18
    large = sizes["64 px and more"]
    assert large["expressions"]
    written = (tmp_path / "out" / "benchmark.md").read_text()
    assert f"| size: 64 px and more | {large['photographs']} | {len(large['expressions'])} |" in written


@pytest.mark.slow
def test_networks_vote_and_are_not_trained_twice(stand_ins, tmp_path):
    collections, _ = stand_ins
    options = {"models": ("single", "two-branch", "ensemble"), "seeds": (3,), "jobs": 1}
    _, value = run(tmp_path, **options)
    assert [(row["collection"], len(row["runs"])) for row in value["results"]] == [
        (name, number) for name in ("near", "far") for number in (1, 1, 6)
    ]
    vote = value["results"][2]
    folders = [tmp_path / "out" / "runs" / name for name in vote["runs"]]
    photographs, stack, seen = collections["near"], [], []
    rows = photographs.rows[photographs.has_face]
    faces = benchmark.view_faces(photographs.store, tmp_path / "views", PROTOCOL)
    views = {member.name: view for member, view in networks_of(SMALL, ("ensemble",), 3).values()}
    for folder in folders:
        member, device = read_run(folder).member, benchmark.choose_device("cpu")
        store = faces.seen(views[folder.name])
        seen.append(store.images.shape[1])
        stack.append(softmax(predict_logits(load_network(folder), store, rows, member, device)))
    assert seen == [24] + [40] * 5
    expected = macro_f1(photographs.labels[photographs.has_face], soft_vote(stack).argmax(1))
    assert vote["macro_f1_6"] == pytest.approx(expected)
    written = {folder: (folder / "result.json").stat().st_mtime_ns for folder in folders}
    _, again = run(tmp_path, **options)
    assert {folder: (folder / "result.json").stat().st_mtime_ns for folder in folders} == written
    assert again["results"] == value["results"]
    assert again["references"] == []
    shutil.rmtree(folders[-1])
    _, third = run(tmp_path, **options, device="cpu")
    assert third["results"][2]["macro_f1_6"] == vote["macro_f1_6"]


@pytest.mark.slow
def test_trainings_side_by_side_and_one_that_fails(stand_ins, tmp_path, capsys):
    name = members_of("two-branch", 0, SMALL)[0].name
    (tmp_path / "out" / "runs" / name).mkdir(parents=True)
    (tmp_path / "out" / "runs" / name / "member.json").write_text("{}")  # the folder of another training
    lines = []
    with pytest.raises(SystemExit):
        run(tmp_path, ("near",), models=("single", "two-branch"), seeds=(0,), jobs=2, report=lines.append)
    value = read_json(tmp_path / "out" / "benchmark.json")
    assert [row["model"] for row in value["results"]] == ["single"]
    assert list(value["failed"]) == [name]
    assert "another training" in value["failed"][name]
    assert any(line.startswith(f"{name}: FAILED") for line in lines)


def test_the_plan_runs_nothing(stand_ins, tmp_path):
    names = {"near": tmp_path / "near"}
    text = benchmark.run_benchmark(names, tmp_path / "out", plan=True, fraction=0.002, jobs=2)
    assert "train 36 networks" in text
    assert "24 photographs (near 24)" in text
    assert "not the protocol: fraction is 0.002 and not 0.01" in text
    assert not (tmp_path / "out").exists()
    minutes = float(describe_plan(PROTOCOL, MODELS, {"A": 801, "C": 556}, 2).split("\n")[-1].split()[0])
    assert 10 < minutes < 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--models forest", "--models"),
        ("--seeds 0,0", "each once"),
        ("--fraction 2", "--fraction"),
        ("--jobs -1", "--jobs"),
        ("--photographs ones=two", "two are called 'ones'"),
        ("--photographs ONES=two", "2 are called 'ones'"),
        ("--photographs a/b=two", "'a/b'"),
    ],
)
def test_wrong_arguments_end_before_any_work(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    for name in ("one", "two"):
        (tmp_path / name / "anger").mkdir(parents=True)
    given = ["benchmark", "--photographs", f"ones={tmp_path / 'one'}", "--out", "bench", *arguments.split()]
    assert main(given) == 2
    assert message in capsys.readouterr().err
    assert main(["benchmark", "--photographs", str(tmp_path / "absent"), "--out", "bench"]) == 2
    assert main(["benchmark", "--photographs", str(tmp_path / "one"), "--out", str(tmp_path / "one" / "bench")]) == 2
    assert "lies in" in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_collections_are_named_on_the_command_line(tmp_path, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(benchmark, "run_benchmark", lambda sources, out, **options: made.append(sources) or "done")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces.v2").mkdir()
    (tmp_path / "odd=name").mkdir()
    (tmp_path / "list.csv").write_text("path,expression")
    given = ("web 48=far/away", "faces.v2", "list.csv", "odd=name", "b=x=y")
    arguments = [part for text in given for part in ("--photographs", text)]
    assert main(["benchmark", *arguments, "--out", "bench"]) == 0
    places = {"web 48": "far/away", "faces.v2": "faces.v2", "list": "list.csv", "odd=name": "odd=name", "b": "x=y"}
    assert made == [places]
    assert main(["benchmark", "--out", "bench"]) == 2
    assert "--photographs" in capsys.readouterr().err


def test_the_protocol_is_one_thing():
    assert list_deviations(PROTOCOL, generators=[PROTOCOL.generator]) == []
    assert list_deviations(replace(PROTOCOL, grey=False)) == ["grey is False and not True"]
    assert list_deviations(replace(PROTOCOL, networks=())) == ["the networks are not those of the protocol"]
    assert list_deviations(PROTOCOL, generators=[PROTOCOL.generator + 1]) != []
    assert PROTOCOL.generator == release.FORMAT
    ensemble = members_of("ensemble", 2)
    first = members_of("ensemble", 0)  # other networks are another version of the protocol
    assert (PROTOCOL.version, first[0].spec_hash(), first[1].spec_hash(), first[-1].spec_hash()) == (
        7,
        "e931ed0b3727",
        "cfcc7ee2412c",
        "f8979d7fa3e8",
    )
    fixed = (
        gradients.CELLS,
        gradients.DIRECTIONS,
        gradients.CLIP,
        gradients.PLACES,
        gradients.CHANNELS,
        gradients.RANK,
        gradients.DROPOUT,
        gradients.RIDGE,
        backbones.FACE_DROPOUT,
    )
    assert fixed == (9, 9, 0.2, 3, 96, 64, 0.5, 100.0, 0.9)
    assert (regressions.HOG_SIDE, regressions.HOG["pixels_per_cell"], regressions.HOG["transform_sqrt"]) == (
        72,
        (8, 8),
        True,
    )
    assert regressions.STRENGTH == {"landmarks": 3e-3, "hog": 1e-4, "hog+landmarks": 1e-4, "face": 1e-5}
    assert regressions.VOTES == {"hog+face": ("hog", "face")}
    assert (recognition.CHIP, recognition.CHIP_SIDE) == (150, 8)
    assert (PROTOCOL.window, PROTOCOL.grey, PROTOCOL.fraction) == ((0.2, 0.28, 0.6), True, 0.013)
    assert ensemble[0] == members_of("two-branch", 2)[0]
    assert {member.seed for member in ensemble} == {2}
    assert sorted({member.bag for member in ensemble}) == [0, 1, 2, 3, 4, 5]
    assert members_of("single", 0)[0].appearance == "none"
    named = networks_of(PROTOCOL, MODELS, 0)
    assert len(named) == 12
    assert {view for _, view in named.values()} == {INNER, WHOLE}
    assert tuple(name for name, _ in PROTOCOL.networks) == tuple(NETWORKS)
    assert set(EXPRESSIONS) == set(benchmark.EXPRESSIONS)


def test_networks_of_one_name_have_one_view():
    twice = replace(SMALL, networks=(("a", (STRONG,)), ("b", (replace(STRONG, view=WHOLE),))))
    with pytest.raises(ValueError, match="two are called smoke"):
        networks_of(twice, ("a", "b"), 0)
    with pytest.raises(ValueError, match="view"):
        replace(STRONG, view="upper")


def test_the_page_lists_what_was_tuned():
    page = (ROOT / "docs" / "benchmark.md").read_text()
    for row in list_tuned():
        assert f"| {row['constant']} | {row['value']} | {row['tuned_on']} |" in page


def test_open_sets_are_those_of_the_protocol(monkeypatch, tmp_path, tiny_store):
    made = []
    monkeypatch.setattr(networks, "prepare_open", lambda out, **options: made.append((out, options)) or tiny_store)
    for seed in (0, 1):
        faces = benchmark.open_set(tmp_path, seed, PROTOCOL, without=("pose",), jobs=1, progress=False)
        assert faces.store is tiny_store
        store = faces.seen(INNER)
        assert store.path == tmp_path / "store-inner-grey"
        assert store.images.shape[1] == round(0.6 * tiny_store.images.shape[1])
        assert np.ptp(store.images[:], axis=-1).max() == 0
        place, options = made[-1]
        assert place == tmp_path / f"open-seed{seed}"
        assert (options["seed"], options["design"], options["without"]) == (seed, PROTOCOL.design, ("pose",))
