"""What a start is worth: which starts there are, what is run and what is not, and the table against naive numbers."""

import re

import numpy as np
import pandas as pd
import pytest

from lsdkit.common import files
from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.method import metrics
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.reproduce import headless
from lsdkit.reproduce.start_runs import run_starts, train_starts
from lsdkit.reproduce.starts import STARTS, choose_starts, compare_starts, write_comparison
from lsdkit.training.ownership import CLAIM, identify
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import list_runs, read_run
from tests.fake_runs import answers, leave, make_run, store_of

RIGHT = {"random": 0.3, "imagenet": 0.5, "face": 0.7, "dino": 0.4, "dino-face": 0.75}


@pytest.fixture(autouse=True)
def project(monkeypatch, tmp_path):
    """A project without runs."""
    (tmp_path / "notebooks").symlink_to(PACKAGE_PARENT / "notebooks")
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))


def leave_starts(root, store, names=tuple(STARTS), members=("strong", "weak"), seeds=(0, 1, 2)) -> dict:
    """Write made-up runs on the faces of a store; returns {(start, member): answers (S, B) on its test faces}."""
    rows = np.concatenate([store.rows("validation"), store.rows("test")])
    keys, splits = store.faces.loc[rows, "key"].tolist(), store.faces.loc[rows, "split"].tolist()
    labels, left = store.labels[rows], {}
    for number, name in enumerate(names):
        for member in members:
            stacks = [answers(labels, RIGHT[name], 100 * number + 10 * seed + (member == "weak")) for seed in seeds]
            left[name, member] = np.stack([stack.argmax(1) for stack in stacks])[:, np.array(splits) == "test"]
            for seed, stack, predicted in zip(seeds, stacks, left[name, member], strict=True):
                bag = int(member == "weak")
                test = metrics.macro_f1(store.labels[store.rows("test")], predicted)
                told = {"test_macro_f1": test, "landmark_nme": 0.1 - 0.01 * number + 0.001 * seed + 0.02 * bag}
                run = make_run(
                    root / f"{name}-{member}-seed{seed}",
                    member_from_parameters("smoke", APPEARANCE=STARTS[name].backbone, BAG=bag, SEED=seed),
                    metrics=told | {"mean_shape_nme": 0.128},
                    store=store_of(store),
                )
                leave(run, keys, splits, labels, stack)
    return left


def test_a_start_whose_weights_nobody_made_is_left_out(tmp_path):
    assert list(choose_starts()) == ["random", "imagenet", "face", "dino"]
    for name in ("dino", "dino_face"):
        with pytest.raises(ValueError, match=r"that DINO made, but got elsewhere; lsdkit pretrain dino data/open"):
            choose_starts(**{name: "elsewhere"})
    files.write_json(tmp_path / "runs" / "dino-face" / "backbone.json", {})
    assert list(choose_starts()) == list(STARTS)
    files.write_json(tmp_path / "mine" / "backbone.json", {})
    assert choose_starts(dino=str(tmp_path / "mine"))["dino"].source == str(tmp_path / "mine")


def test_the_table_against_naive_numbers(tiny_store, tmp_path):
    left = leave_starts(tmp_path, tiny_store)
    table = compare_starts(tmp_path)
    assert (table.split, table.unit, table.faces) == ("test", "subjects", "12 test faces of 2 people")
    assert len(table.runs) == 30
    assert table.numbers["member"].tolist() == ["strong"] * 5 + ["weak"] * 5
    assert table.numbers["start"].tolist() == [start.name for start in STARTS.values()] * 2
    truth, shown = tiny_store.labels[tiny_store.rows("test")], table.numbers.set_index(["start", "member"])
    means = {}
    for (name, member), predicted in left.items():
        scores = [metrics.macro_f1(truth, one) for one in predicted]
        row, means[name, member] = shown.loc[(STARTS[name].name, member)], np.mean(scores)
        assert row["value"] == pytest.approx(np.mean(scores))
        assert row["sd"] == pytest.approx(np.std(scores, ddof=1))
        assert row["low"] <= row["value"] <= row["high"]
        assert row["landmark_sd"] == pytest.approx(0.001)
        assert row["seeds"] == 3
        if name == "random":
            assert np.isnan(row["above"])
        else:
            assert row["above"] == pytest.approx(means[name, member] - means["random", member])
            assert row["above_low"] <= row["above"] <= row["above_high"]
    own = table.runs[(table.runs["start"] == "ImageNet") & (table.runs["member"] == "weak")]
    assert own["landmark_nme"].to_numpy() == pytest.approx([0.11, 0.111, 0.112])
    assert shown.loc[("ImageNet", "weak"), "landmark_nme"] == pytest.approx(0.111)


def test_intervals_of_one_seed_are_those_of_the_subjects(tiny_store, tmp_path):
    left = leave_starts(tmp_path, tiny_store, ("random", "face"), ("weak",), (4,))
    shown = compare_starts(tmp_path).numbers.set_index("start")
    rows = tiny_store.rows("test")
    options = {"groups": tiny_store.faces.loc[rows, "subject"].to_numpy()}
    predicted = [left[name, "weak"][0] for name in ("random", "face")]
    draws = metrics.bootstrap_scores(tiny_store.labels[rows], predicted, **options)
    face = shown.loc["face recognition"]
    assert [face["low"], face["high"]] == pytest.approx(np.quantile(draws[:, 1], [0.025, 0.975]))
    paired = np.quantile(draws[:, 1] - draws[:, 0], [0.025, 0.975])
    assert [face["above_low"], face["above_high"]] == pytest.approx(paired)
    assert np.isnan(face["sd"])
    assert np.isnan(shown.loc["ImageNet", "value"])


def test_what_is_written(tiny_store, tmp_path):
    leave_starts(tmp_path, tiny_store, ("random", "face", "dino"), seeds=(0, 1))
    text = write_comparison(tmp_path)
    assert text == (tmp_path / "starts.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 10
    assert sum("not run" in row for row in rows) == 4
    assert re.search(r"\| face recognition\s+\| dlib_face .* 0\.\d{3} \(0\.\d{3}\) \| \[0\.\d{3}, ", text)
    assert "- Left out: DINO from face recognition. Make its weights with `lsdkit pretrain dino data/open" in text
    assert "the mean landmarks of the faces trained on is 0.128" in " ".join(text.split())
    runs = pd.read_csv(tmp_path / "starts.csv")
    assert len(runs) == 12
    names = ["start", "backbone", "weights", "member", "seed", "val_macro_f1", "test_macro_f1", "landmark_nme"]
    assert list(runs) == [*names, "mean_shape_nme", "seconds"]
    assert (tmp_path / "starts.png").stat().st_size > 10_000
    with pytest.raises(FileNotFoundError, match="lsdkit starts"):
        compare_starts(tmp_path / "nowhere")


def test_without_landmarks_test_labels_or_a_store(tmp_path):
    labels = np.arange(60) % 6
    for name in ("random", "face"):
        run = make_run(tmp_path / f"{name}-weak-seed0", member_from_parameters("smoke", BAG=1))
        leave(run, [f"face{i}" for i in range(60)], ["validation"] * 60, labels, answers(labels, RIGHT[name], 1))
    table = compare_starts(tmp_path)
    assert (table.split, table.unit, table.faces) == ("validation", "faces", "60 validation faces")
    assert set(table.text["Landmark error (SD)"]) == {""}
    assert len(table.draw().axes) == 1


@pytest.fixture
def fake(monkeypatch, tiny_store, tmp_path):
    """Notebooks that write what the real ones leave, in no time; runs whose folder is in `failing` fail."""

    class Fake:
        out, ran, failing = tmp_path / "out", [], set()

        def execute(self, job, threads=0, **_):
            assert threads == 1
            self.ran.append(job.copy.parent.name)
            if self.ran[-1] in self.failing:
                return "ValueError: it went wrong"
            parameters = {k: v for k, v in job.parameters.items() if k not in ("RUN_DIR", "DATA_DIR")}
            assert job.parameters["DATA_DIR"] == str(tiny_store.path)
            member = member_from_parameters(**parameters)
            identity = identify(member, tiny_store)
            files.write_json(job.copy.parent / CLAIM, identity)
            started = {role: {"source": "x", "sha256": digest} for role, digest in identity["weights"].items()}
            rows = np.concatenate([tiny_store.rows("validation"), tiny_store.rows("test")])
            splits, labels = tiny_store.faces.loc[rows, "split"].tolist(), tiny_store.labels[rows]
            run = make_run(job.copy.parent, member, store=store_of(tiny_store), started_from=started)
            leave(run, [tiny_store.keys[row] for row in rows], splits, labels, answers(labels, 0.5, len(self.ran)))
            job.copy.write_text("{}")
            return ""

        def run(self, **options):
            return run_starts(self.out, **{"recipe": "demo", "seeds": (0,), "data": str(tiny_store.path)} | options)

    fake = Fake()
    monkeypatch.setattr(headless, "execute", fake.execute)
    return fake


@pytest.mark.slow
def test_every_start_is_run_once_with_both_branches_from_it(fake, capsys):
    text = fake.run(seeds=(0, 1))
    names = [f"{name}-{member}" for member in ("strong", "weak") for name in ("random", "imagenet", "face", "dino")]
    assert sorted(fake.ran) == sorted(f"{name}-seed{seed}" for name in names for seed in (0, 1))
    assert set(fake.ran[:8]) == {f"{name}-seed0" for name in names}
    printed = capsys.readouterr().out
    assert "16 runs, 0 of them done\nLeft out: DINO from face recognition." in printed
    assert "Left out: DINO from face recognition." in text
    for run in list_runs(fake.out):
        name, member = run.name.split("-")[:2]
        start, recipe = STARTS[name], run.member.recipe
        assert recipe.emotion == recipe.appearance_backbone(run.member.appearance) == start.backbone
        assert recipe.source("emotion") == recipe.source(run.member.appearance) == start.source
        assert (run.member.bag, run.member.mix, run.member.basic_aug) == (int(member == "weak"), "mixaugment", True)
    assert fake.run(seeds=(0, 1)) == text
    assert len(fake.ran) == 16
    fake.run(seeds=(0, 1, 2))
    assert sorted(fake.ran[16:]) == sorted(f"{name}-seed2" for name in names)


@pytest.mark.slow
def test_a_failed_run_is_named_and_run_again(fake, capsys):
    fake.failing = {"face-weak-seed0"}
    with pytest.raises(SystemExit, match="1"):
        fake.run()
    printed = capsys.readouterr().out
    assert "FAILED" in printed
    assert "it went wrong" in printed
    assert "| face recognition |" in re.sub(" +", " ", printed)
    fake.failing.clear()
    fake.run()
    assert fake.ran[8:] == ["face-weak-seed0"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"seeds": ()}, ValueError, "at least one seed"),
        ({"seeds": (-1,)}, ValueError, "`SEED`"),
        ({"recipe": "demos"}, ValueError, "'demo'"),
        ({"jobs": -1}, ValueError, "--jobs"),
        ({"recipe": "small"}, ValueError, r"\(workshop, demo, tiny\), .* but got small"),
        ({"dino": "random"}, ValueError, "--dino to be a folder that DINO made, but got random"),
        ({"dino_face": "nowhere"}, ValueError, "--dino-face to be a folder that DINO made, but got nowhere"),
        ({"data": "nowhere"}, FileNotFoundError, "nowhere"),
    ],
)
def test_what_is_wrong_ends_it_before_anything_runs(fake, options, error, words):
    with pytest.raises(error, match=words):
        fake.run(**options)
    assert not fake.ran


@pytest.mark.slow
def test_runs_of_another_recipe_or_from_other_weights_are_not_mixed_in(fake):
    fake.run()
    for seeds in ((0,), (1,)):
        with pytest.raises(ValueError, match=r"holds another training: epochs .*recipe\..*choose another --out"):
            fake.run(recipe="workshop", seeds=seeds)
    assert len(fake.ran) == 8


@pytest.mark.slow
def test_a_real_member_of_each_start(tiny_store, tmp_path):
    folder = train_starts(tmp_path / "out", epochs=1, data_dir=str(tiny_store.path), device="cpu")
    written = {run.name: (run.folder / "weights.pt").stat().st_mtime_ns for run in list_runs(folder)}
    assert list(written) == [f"{name}-weak-seed0" for name in ("dino", "face", "imagenet", "random")]
    run = read_run(folder / "face-weak-seed0")
    assert run.started_from["emotion"]["source"] == run.started_from["appearance"]["source"] == "dlib_face"
    assert run.started_from["appearance"]["missing"] == 0
    train_starts(folder, epochs=1, data_dir=str(tiny_store.path), device="cpu")
    assert {run.name: (run.folder / "weights.pt").stat().st_mtime_ns for run in list_runs(folder)} == written
    table = compare_starts(folder)
    scores = metrics.macro_f1(*_answers(run))
    assert table.numbers.set_index("start").loc["face recognition", "value"] == pytest.approx(scores)
    assert table.runs["landmark_nme"].between(0, 2).all()


def _answers(run):
    predictions = run.read_predictions().query("split == 'test'")
    return labels_of(predictions), predictions.iloc[:, 3:].to_numpy().argmax(1)
