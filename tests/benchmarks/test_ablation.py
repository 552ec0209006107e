"""The ablation table on small stand-ins: its intervals, its rows, what is kept, and what fails."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from lsdkit.common.seeds import numpy_generator, torch_generator
from lsdkit.method.metrics import macro_f1
from lsdkit.method.mixing import draw_lambda
from lsdkit.photographs import networks, regressions
from lsdkit.photographs.protocol import PROTOCOL, Group, Protocol, members_of
from lsdkit.photographs.regressions import compute_hog
from lsdkit.photographs.scores import QUESTIONS
from lsdkit.photographs.views import INNER
from lsdkit.recipes import PAPER
from lsdkit.training.evaluation import labelled_rows

STRONG = Group(recipe="smoke", settings="steps_per_epoch=2 batch_size=12", epochs=1)
SMALL = Protocol(networks=(("single", (replace(STRONG, appearance="none"),)), ("two-branch", (STRONG,))), resamples=60)


@pytest.fixture(scope="module")
def ablation(load_benchmark):
    return load_benchmark("ablation/ablation")


@pytest.fixture(scope="module")
def scores(ablation):
    return sys.modules["ablation_scores"]  # the one that `ablation` uses


@pytest.fixture
def work(ablation, tiny_store, tmp_path, monkeypatch):
    """An ablation whose rendered sets and photographs are the tiny store; `work.drawn` lists what was asked for."""
    drawn = []

    def open_set(out, seed, protocol, **options):
        drawn.append((out.name, seed, options.get("without", ())))
        return networks.view_faces(tiny_store, tmp_path / "seen", protocol)

    monkeypatch.setattr(networks, "open_set", open_set)
    tested = ablation.take_photographs(tiny_store)
    made = ablation.Ablation(tmp_path / "out", SMALL, tested, {"protocol": (0, 1), "net": (0,)}, 1, "cpu")
    made.drawn = drawn
    return made


def again(ablation, work, names, **changes):
    """What another call for these rows leaves, and the lines that it reports."""
    lines = []
    fresh = replace(work, rows=[], known={}, failed={}, **changes)
    text = ablation.run_rows(fresh, ablation.choose_rows(names), lines.append)
    return text, json.loads((fresh.out / "ablation.json").read_text()), lines


def answers_of(seed, labels, share):
    """Made-up answers, of which about `share` are right."""
    generator = np.random.default_rng(seed)
    wrong = generator.integers(0, 6, len(labels))
    six = np.where(generator.random(len(labels)) < share, labels, wrong)
    return {"answers": [np.where(np.isin(six, chosen), six, 3).tolist() for chosen in QUESTIONS.values()]}


@pytest.mark.parametrize("unit", ["images", "subjects"])
def test_paired_intervals_are_those_of_a_naive_loop(ablation, work, unit):
    tested, resamples = work.tested, 40
    labels = tested.labels
    row = [answers_of(seed, labels, 0.6) for seed in (0, 1)]
    other = [answers_of(seed, labels, 0.4) for seed in (2, 3)]
    means = [ablation.describe_answers(each, tested, resamples)[1] for each in (row, other)]
    difference = ablation.compare(*means)["macro_f1_6"]

    people = range(len(labels)) if unit == "images" else tested.subjects.tolist()
    order = list(dict.fromkeys(people))  # of the first occurrence
    chances = np.full(len(order), 1 / len(order))
    expected = []
    for draw in numpy_generator(0, "photographs").multinomial(len(order), chances, size=resamples):
        times = dict(zip(order, draw, strict=True))
        faces = [face for face, person in enumerate(people) for _ in range(times[person])]
        scores = [
            np.mean([macro_f1(labels[faces], np.array(each["answers"][0])[faces]) for each in answers])
            for answers in (row, other)
        ]
        expected.append(scores[0] - scores[1])
    assert difference["intervals"][unit] == pytest.approx(np.quantile(expected, [0.025, 0.975]).tolist(), abs=1e-6)
    whole = [np.mean([macro_f1(labels, each["answers"][0]) for each in answers]) for answers in (row, other)]
    assert difference["value"] == pytest.approx(whole[0] - whole[1])
    first, second = (
        macro_f1(labels, one["answers"][0]) - macro_f1(labels, two["answers"][0])
        for one, two in zip(row, other, strict=True)
    )
    assert difference["sd"] == pytest.approx(abs(first - second) / 2**0.5)


def test_a_row_differs_from_itself_by_nothing(ablation, work):
    means = ablation.describe_answers([answers_of(0, work.tested.labels, 0.5)], work.tested, 30)[1]
    for each in ablation.compare(means, means).values():
        assert each == {"value": 0, "sd": None, "intervals": {"images": [0, 0], "subjects": [0, 0]}}


def test_rows_are_chosen_with_what_they_are_compared_with(ablation):
    def names(*given):
        return [row.name for row in ablation.choose_rows(*given)]

    assert names(["no-pose"]) == ["protocol", "no-pose"]
    assert names(["net-colour", "faces-300"]) == ["protocol", "faces-300", "net", "net-colour"]
    assert not any(name.startswith("net") for name in names())
    assert names((), True) == list(ablation.NAMES)
    assert len(set(ablation.NAMES)) == len(ablation.ROWS)
    with pytest.raises(ValueError, match="no-hair"):
        ablation.choose_rows(["no-pose", "no-hair"])


def test_an_unknown_row_ends_before_any_work(ablation, tmp_path, capsys):
    given = ["--store", str(tmp_path), "--out", str(tmp_path / "out")]
    assert ablation.main([*given, "--rows", "no-hair"]) == 2
    assert "no-hair" in capsys.readouterr().err
    assert ablation.main([*given, "--seeds", "0,0"]) == 2
    assert ablation.main([*given, "--rows", "no-pose"]) == 2  # there is no store
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_plan_lists_the_rows_and_runs_nothing(ablation, tmp_path, capsys):
    assert ablation.main(["--store", "absent", "--out", str(tmp_path / "out"), "--network", "--plan"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ablation.NAMES)
    assert "render 21 sets" in text
    assert not (tmp_path / "out").exists()


def test_a_finished_row_is_not_made_again(ablation, work, monkeypatch):
    text, first, lines = again(ablation, work, ["no-pose"])
    assert [(row["name"], row["model"]) for row in first["rows"]] == [
        (name, model) for name in ("protocol", "no-pose") for model in ("landmarks", "hog", "hog+landmarks")
    ]
    assert len(lines) == 6
    assert ("without-pose", 1, ("pose",)) in work.drawn
    assert ("protocol", 0, ()) in work.drawn
    assert first["rows"][0]["difference"] is None
    assert first["rows"][3]["difference"]["macro_f1_6"]["value"] == 0  # the same faces, here
    assert text == (work.out / "ablation.md").read_text()
    assert text.count("| without pose |") == 3
    monkeypatch.setattr(regressions, "fit_predict", lambda *given: pytest.fail("made again"))
    work.drawn.clear()
    assert again(ablation, work, ["no-pose"])[1] == first
    assert work.drawn == []
    assert again(ablation, work, ["protocol"])[1] == first  # rows of earlier calls stay
    monkeypatch.undo()
    faces = networks.view_faces(work.tested.store, work.out, SMALL)
    monkeypatch.setattr(networks, "open_set", lambda out, seed, protocol, **options: faces)
    _, other, _ = again(ablation, work, ["protocol"], seeds={"protocol": (0,), "net": (0,)})
    assert [(row["name"], row["seeds"]) for row in other["rows"]] == [("protocol", [0])] * 3


def test_a_changed_setting_is_scored_anew(ablation, work):
    _, first, _ = again(ablation, work, ["protocol"])
    count = len(work.drawn)
    again(ablation, work, ["protocol"], protocol=replace(SMALL, fraction=0.02))
    assert len(work.drawn) == 2 * count
    assert first["rows"][0]["seeds"] == [0, 1]


def test_fewer_faces_keep_the_shares_and_are_nested(ablation, tiny_store):
    few, more = (ablation.choose_faces(tiny_store, number, 3) for number in (12, 24))
    assert set(few) < set(more) < set(tiny_store.rows("train"))
    assert np.bincount(tiny_store.labels[few]).tolist() == [2] * 6
    assert np.bincount(tiny_store.labels[more]).tolist() == [4] * 6
    assert (ablation.choose_faces(tiny_store, 12, 4) != few).any()
    assert ablation.choose_faces(tiny_store, 48, 3).tolist() == labelled_rows(tiny_store, "train").tolist()
    with pytest.raises(ValueError, match="1 to 48 faces"):
        ablation.choose_faces(tiny_store, 49, 3)


def test_fewer_faces_are_repeated_to_as_many(ablation, tiny_store, tmp_path):
    chosen = ablation.choose_faces(tiny_store, 18, 0)
    store = ablation.repeat_faces(tiny_store, chosen, tmp_path / "few")
    store.verify()
    for split in ("train", "validation", "test"):
        assert (store.counts(split) == tiny_store.counts(split)).all()
    train = store.rows("train")
    originals = [store.keys[row].split("+")[0] for row in train]
    assert set(originals) == {tiny_store.keys[row] for row in chosen}
    assert len(set(store.keys)) == len(store)
    places = [tiny_store.keys.index(key) for key in originals]
    assert (store.images[train] == tiny_store.images[places]).all()
    np.testing.assert_array_equal(store.landmarks[train], tiny_store.landmarks[places])
    written = (store.path / "manifest.json").stat().st_mtime_ns
    assert ablation.repeat_faces(tiny_store, chosen, store.path).path == store.path
    assert (store.path / "manifest.json").stat().st_mtime_ns == written


def test_the_members_of_the_rows(ablation):
    rows = {row.name: row for row in ablation.ROWS}
    strong = members_of("two-branch", 2)[0]
    assert rows["net"].member(2, PROTOCOL) == strong
    assert rows["net-mixup"].member(2, PROTOCOL) == replace(strong, mix="mixup")
    assert rows["net-single"].member(2, PROTOCOL) == members_of("single", 2)[0]
    unmixed = rows["net-unmixed"].member(2, PROTOCOL)
    assert unmixed.recipe.label_smoothing == strong.recipe.label_smoothing
    names = "net-no-mean", "net-weak-decay", "net-augmented"
    bare, light, torn = (rows[name].member(2, PROTOCOL).recipe for name in names)
    assert bare == replace(strong.recipe, averaging=0.0)
    assert light == replace(strong.recipe, weight_decay=PAPER.weight_decay)
    assert torn == replace(strong.recipe, aug_strength=0.5)
    drawn = [draw_lambda(unmixed.recipe.alpha, torch_generator(seed)) for seed in range(200)]
    assert max(min(value, 1 - value) for value in drawn) < 1e-6
    assert 50 < sum(drawn) < 150


def test_colour_says_nothing_to_hog(work):
    grey, colour = (
        networks.view_faces(work.tested.store, work.out, replace(PROTOCOL, grey=grey)).seen(INNER).images[:4]
        for grey in (True, False)
    )
    assert (grey != colour).any()
    assert (compute_hog(colour) == compute_hog(grey)).all()


def test_rows_see_what_they_say(ablation, scores, work):
    rows = {row.name: row for row in ablation.ROWS}
    side = work.tested.store.images.shape[1]
    stores = {
        name: scores.view_photographs(work, rows[name]).seen(INNER) for name in ("net", "net-colour", "net-whole")
    }
    assert len({store.path for store in stores.values()}) == 3
    seen = {name: store.images for name, store in stores.items()}
    assert {name: images.shape[1] for name, images in seen.items()} == {
        "net": round(0.6 * side),
        "net-colour": round(0.6 * side),
        "net-whole": side,
    }
    assert {name: bool(np.ptp(images[:], axis=-1).max()) for name, images in seen.items()} == {
        "net": False,
        "net-colour": True,
        "net-whole": False,
    }
    with pytest.raises(ValueError, match="was made of another store"):
        ablation.take_photographs(scores.view_photographs(work, rows["net"]).seen(INNER))


@pytest.mark.slow
def test_a_network_is_trained_once_and_a_failed_row_is_left_out(ablation, work, monkeypatch):
    trained, train_one = [], networks.train_one
    monkeypatch.setattr(networks, "train_one", lambda *task: trained.append(task[1].name) or train_one(*task))
    names = ["net-colour", "net-faces-900"]
    _, value, lines = again(ablation, work, names)
    assert [row["name"] for row in value["rows"]] == ["net", "net-colour"]
    assert list(value["failed"]) == ["net-faces-900"]  # the store has 48 faces
    assert "1 to 48 faces" in next(line for line in lines if line.startswith("net-faces-900: FAILED"))
    assert trained == ["store-inner-grey", "store-inner"]
    assert value["rows"][1]["difference"]["macro_f1_4"]["intervals"].keys() == {"images", "subjects"}
    assert 0 <= value["rows"][0]["rendered"][0] <= 1
    _, second, _ = again(ablation, work, names)
    assert len(trained) == 2
    assert second["rows"] == value["rows"]
