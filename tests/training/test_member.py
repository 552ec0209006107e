import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from PIL import Image

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.method import metrics
from lsdkit.method.network import MultiTask
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints, evaluation, ownership
from lsdkit.training import member as training
from lsdkit.training.member import MemberTask
from lsdkit.training.predictions import answers_of, probabilities_of
from lsdkit.training.runs import list_runs, read_run
from lsdkit.training.sampling import training_rows

TINY = replace(
    SMOKE, name="tile", image_size=16, batch_size=6, features=16, head_features=8, shared=(16, 8), learning_rate=3e-3
)
MEMBER = Member(recipe=TINY, mix="mixup", basic_aug=False)
HISTORY = ["epoch", "lr", "loss", "expression", "affinity", "partition", "landmarks", "val_macro_f1", "val_loss"]


def make_store(folder, train=3, validation=2, test=1, classes=EXPRESSIONS, landmarks=True):
    """Coloured tiles with noise, one pattern a class: what a small network can learn in seconds."""
    generator = np.random.default_rng(0)
    patterns = generator.integers(0, 256, (6, 4, 4, 3))
    folder.mkdir(parents=True, exist_ok=True)
    rows, points = [], {}
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for index, name in enumerate(EXPRESSIONS):
            for number in range(count if split != "train" or name in classes else 0):
                pixels = np.kron(patterns[index], np.ones((4, 4, 1))) + generator.normal(0, 30, (16, 16, 3))
                key, path = f"{split}/{name}/{number}", folder / f"{split}-{name}-{number}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
                rows.append((key, split, name, "", str(path)))
                if landmarks:
                    points[key] = generator.uniform(-1, 1, (68, 2))
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    about = {"size": 16, "kind": "synthetic", "source": "test", "settings": {}}
    return write_store(folder / "store", table, points, **about, progress=False)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reference(store, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "reference"
    rows = []
    result = training.train_member(MEMBER, store, folder, progress=False, on_epoch=rows.append)
    return folder, result, rows


def train(store, folder, member=MEMBER, **options):
    return training.train_member(member, store, folder, progress=False, **options)


def same_run(folder, reference):
    """Weights, history (less the seconds) and predictions agree bit for bit."""
    first, second = read_run(folder), reference[1]
    assert first.weights_sha256 == second.weights_sha256
    assert first.metrics == second.metrics
    histories = [read_run(path).read_history().drop(columns="seconds") for path in (folder, reference[0])]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert (folder / "predictions.csv").read_bytes() == (reference[0] / "predictions.csv").read_bytes()


def breaking(monkeypatch, at, action):
    """Let the step number `at` (from 1, over the whole training) do `action` beside its work."""
    step_loss, calls = training.step_loss, []

    def wrapped(network, *arguments, **options):
        calls.append(1)
        outcome = step_loss(network, *arguments, **options)
        return (action(network, outcome) or outcome) if len(calls) == at else outcome

    monkeypatch.setattr(training, "step_loss", wrapped)


def test_what_a_run_leaves(reference, store):
    folder, result, rows = reference
    names = {
        "result.json",
        "history.csv",
        "predictions.csv",
        "bag.csv",
        "landmarks.csv",
        "weights.pt",
        "weights.pt.sha256",
        "member.json",
        ".lock",
    }
    assert {path.name for path in folder.iterdir()} == names
    history, predictions = result.read_history(), result.read_predictions()
    bag = pd.read_csv(folder / "bag.csv", dtype={"key": str})
    assert list(history.columns) == [*HISTORY, "seconds"]
    assert list(history["epoch"]) == [1, 2] == [row["epoch"] for row in rows]
    np.testing.assert_allclose(history["loss"], history[list(training.PARTS)].sum(axis=1), rtol=1e-5)
    assert list(predictions["split"]) == ["validation"] * 12 + ["test"] * 6
    assert list(predictions["key"]) == store.faces.query("split != 'train'")["key"].tolist()
    np.testing.assert_allclose(probabilities_of(predictions).sum(1), 1, atol=1e-7)
    assert list(bag["key"]) == [store.keys[row] for row in bag["row"]]
    assert set(bag["row"]) == set(store.rows("train"))
    assert result == read_run(folder)
    assert result.best_epoch == history["val_macro_f1"].idxmax() + 1  # idxmax: the earlier of two equal ones
    assert result.metrics["val_macro_f1"] == pytest.approx(history["val_macro_f1"].max())
    assert result.metrics["val_macro_f1"] == metrics.macro_f1(*answers_of(predictions))
    assert result.metrics["test_macro_f1"] == metrics.macro_f1(*answers_of(predictions, "test"))
    assert list(result.metrics["val_f1"]) == list(EXPRESSIONS)
    assert result.metrics["landmark_nme"] > 0
    assert result.counts["trained_on"] == dict.fromkeys(EXPRESSIONS, 3)
    assert (result.spec_hash, result.kind, result.threads) == (MEMBER.spec_hash(), "synthetic", 1)
    assert result.notes == ()
    assert list_runs(folder.parent) == [result]


def test_the_kept_weights_are_those_that_were_scored(reference, store):
    folder, result, _ = reference
    content = checkpoints.read_weights(folder)
    assert checkpoints.hash_weights(content["state"]) == result.weights_sha256
    assert content["epoch"] == result.best_epoch
    network = evaluation.load_network(folder)
    again = evaluation.predict_store(network, store, MEMBER, torch.device("cpu"))
    np.testing.assert_allclose(
        probabilities_of(again), probabilities_of(read_run(folder).read_predictions()), atol=1e-8
    )
    with torch.no_grad():
        logits = network(evaluation.load_faces(store.images, store.rows("test"), MEMBER, torch.device("cpu")))
    np.testing.assert_allclose(
        evaluation.softmax(logits.numpy()), probabilities_of(again[again["split"] == "test"]), atol=1e-6
    )


def test_same_seed_same_bits(reference, store, tmp_path):
    train(store, tmp_path / "again")
    same_run(tmp_path / "again", reference)
    other = train(store, tmp_path / "other", replace(MEMBER, seed=1))
    assert other.weights_sha256 != reference[1].weights_sha256


def test_a_finished_run_is_returned_untouched(reference, store, monkeypatch):
    folder, result, _ = reference
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    monkeypatch.setattr(training, "fit", pytest.fail)
    assert train(store, folder) == result
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_folder_belongs_to_one_training(reference, store, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "training_rows", pytest.fail)  # refused before any work
    with pytest.raises(ValueError, match=r"another training: member\.seed is 0, not 4"):
        train(store, reference[0], replace(MEMBER, seed=4))
    other = make_store(tmp_path / "other", validation=1)
    with pytest.raises(ValueError, match=r"another training: store\.faces has other content"):
        train(other, reference[0])
    result = (reference[0] / "result.json").read_text()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "result.json").write_text(result)
    with pytest.raises(ValueError, match=r"member\.json"):
        train(store, tmp_path / "foreign")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_signal_leaves_a_checkpoint_and_resume_is_exact(reference, store, tmp_path, monkeypatch, number, at):
    with monkeypatch.context() as patch:
        breaking(patch, at, lambda network, outcome: os.kill(os.getpid(), number))
        with pytest.raises(SystemExit if number == signal.SIGTERM else KeyboardInterrupt):
            train(store, tmp_path)
    progress = checkpoints.read(tmp_path / checkpoints.NEWEST)["progress"]
    assert progress["epoch"] * 3 + progress["step"] == at  # three steps an epoch: the one under way was finished
    assert not (tmp_path / "result.json").exists()
    steps = []
    breaking(monkeypatch, 0, None)
    take = MemberTask.step
    monkeypatch.setattr(MemberTask, "step", lambda *arguments: (steps.append(1), take(*arguments))[1])
    train(store, tmp_path)
    assert len(steps) == 6 - at  # no step is made twice
    same_run(tmp_path, reference)
    assert not list(tmp_path.glob("checkpoint*"))


@pytest.mark.slow
def test_dropout_and_the_mean_of_weights_resume_exactly(store, tmp_path, monkeypatch):
    """Dropout draws from torch's global generators, whatever state a caller left them in."""
    member = replace(MEMBER, recipe=replace(TINY, emotion="gradients", averaging=0.9))
    results_of = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            results_of.append(train(store, tmp_path / str(seed), member))
    first, second = results_of
    assert first.weights_sha256 == second.weights_sha256
    with monkeypatch.context() as patch:
        breaking(patch, 4, lambda network, outcome: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(store, tmp_path / "stopped", member)
    train(store, tmp_path / "stopped", member)
    same_run(tmp_path / "stopped", (tmp_path / "1", first))
    other = train(store, tmp_path / "other", replace(member, seed=1))
    assert other.weights_sha256 != first.weights_sha256


def test_the_mean_of_weights_is_what_is_scored_and_kept(store, tmp_path, monkeypatch):
    member = replace(MEMBER, recipe=replace(TINY, averaging=0.55), epochs=1)
    take, means, calls = MemberTask.step, {}, []

    def follow(task, *arguments):  # the same mean, kept apart for every tensor
        values = take(task, *arguments)
        calls.append(1)
        steps = len(calls)  # those that were made, this one among them
        share = 0.0 if steps == 1 else min(0.55, steps / (steps + 2))  # .5, then .6
        for name, tensor in task.network.state_dict().items():
            old = means.get(name, tensor)
            means[name] = share * old + (1 - share) * tensor if tensor.is_floating_point() else tensor.clone()
        return values

    monkeypatch.setattr(MemberTask, "step", follow)
    result = train(store, tmp_path, member)
    kept = checkpoints.read_weights(tmp_path)["state"]
    assert kept.keys() == means.keys()
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, means[name], rtol=1e-5, atol=1e-6)
    plain = train(store, tmp_path / "plain", replace(member, recipe=TINY))
    assert result.weights_sha256 != plain.weights_sha256
    again = evaluation.predict_store(evaluation.load_network(tmp_path), store, member, torch.device("cpu"))
    assert metrics.macro_f1(*answers_of(again)) == result.metrics["val_macro_f1"]


def test_checkpoints_inside_an_epoch(store, tmp_path, monkeypatch):
    saved = []
    save = checkpoints.save
    monkeypatch.setattr(
        checkpoints, "save", lambda folder, state: (saved.append(state["progress"]), save(folder, state))
    )
    train(store, tmp_path / "often", replace(MEMBER, epochs=1), checkpoint_every=0.0)
    assert [(p["epoch"], p["step"]) for p in saved] == [(0, 1), (0, 2), (0, 3), (1, 0)]
    saved.clear()
    train(store, tmp_path / "seldom", replace(MEMBER, epochs=1))
    assert [(p["epoch"], p["step"]) for p in saved] == [(1, 0)]


def test_a_damaged_checkpoint_costs_an_epoch_and_is_reported(reference, store, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        breaking(patch, 5, lambda network, outcome: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(store, tmp_path)
    newest = tmp_path / checkpoints.NEWEST
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is truncated or damaged"):
        result = train(store, tmp_path)
    assert len(result.notes) == 1
    assert "put aside" in result.notes[0]
    same_run(tmp_path, reference)


def test_a_store_made_again_elsewhere_is_the_same_data(reference, tmp_path):
    copy = make_store(tmp_path / "elsewhere")
    assert copy.manifest["checksums"]["faces.csv"] != reference[1].checksums["faces"]
    assert train(copy, reference[0]) == reference[1]


def test_other_threads_are_noted(store, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        breaking(patch, 1, lambda network, outcome: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit):
            train(store, tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # said, not done: two threads on a busy machine are slow
    result = train(store, tmp_path)
    assert result.notes == ("Resumed at epoch 1: threads is 2, not 1; the last bits can differ",)
    assert result.threads == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_the_step_named(reference, store, tmp_path, monkeypatch, value):
    with monkeypatch.context() as patch:
        breaking(patch, 5, lambda network, outcome: (outcome[0] * value, outcome[1]))
        with pytest.raises(FloatingPointError, match=r"Epoch 2, step 2: the loss is (nan|inf)"):
            train(store, tmp_path)
    assert checkpoints.read(tmp_path / checkpoints.NEWEST)["progress"]["epoch"] == 1  # the last good one
    train(store, tmp_path)
    same_run(tmp_path, reference)


def test_weights_that_are_not_finite_are_never_saved(store, tmp_path, monkeypatch):
    def spoil(network, outcome):
        network.affinity.centres.register_hook(lambda gradient: gradient * torch.nan)  # the loss itself stays finite

    breaking(monkeypatch, 2, spoil)
    with pytest.raises(FloatingPointError, match="Epoch 1, step 3: a weight is not finite"):
        train(store, tmp_path, checkpoint_every=0.0)
    progress = checkpoints.read(tmp_path / checkpoints.NEWEST)["progress"]
    assert (progress["epoch"], progress["step"]) == (0, 1)


def test_the_learning_rate_decays_as_torchs_schedule(reference):
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=TINY.learning_rate)
    schedule, rates = torch.optim.lr_scheduler.ExponentialLR(optimiser, TINY.lr_decay), []
    for _ in range(MEMBER.epochs):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    np.testing.assert_allclose(read_run(reference[0]).read_history()["lr"], rates, rtol=1e-8)


def test_centres_and_everything_else_are_trained(reference, store):
    start = MultiTask.build(MEMBER, torch_generator(MEMBER.seed, "init", MEMBER.bag)).state_dict()
    end = checkpoints.read_weights(reference[0])["state"]
    same = [name for name, tensor in start.items() if tensor.is_floating_point() and tensor.equal(end[name])]
    assert same == []
    assert any("centres" in name for name in start)


def test_a_dropped_batch_is_recorded(store):
    _, notes = training_rows(replace(MEMBER, recipe=replace(TINY, batch_size=17)), store)
    assert "dropped" in notes[0]


def test_a_bag_trains_on_its_faces_only(store):
    member = replace(MEMBER, bag=2, recipe=replace(TINY, bag_fraction=0.34))
    rows, notes = training_rows(member, store)
    assert notes == []
    np.testing.assert_array_equal(np.bincount(store.labels[rows]), np.ones(6))
    assert set(rows) < set(store.rows("train"))


def test_stores_that_cannot_be_trained_on(tmp_path):
    with pytest.raises(ValueError, match="labelled validation faces"):
        train(make_store(tmp_path / "a", validation=0), tmp_path / "run")
    with pytest.raises(ValueError, match=r"at least two expressions.*'FEAR': 3"):
        train(make_store(tmp_path / "b", classes=("FEAR",)), tmp_path / "run2")
    with pytest.warns(UserWarning, match="No training face shows ANGER, SURPRISE"):
        _, notes = training_rows(MEMBER, make_store(tmp_path / "c", classes=EXPRESSIONS[1:5]))
    assert len(notes) == 1


def test_without_landmarks_and_test_faces(tmp_path):
    result = train(make_store(tmp_path / "data", test=0, landmarks=False), tmp_path / "run", replace(MEMBER, epochs=1))
    assert "landmark_nme" not in result.metrics
    assert "test_macro_f1" not in result.metrics
    assert read_run(tmp_path / "run").read_history().loc[0, "landmarks"] == 0
    assert np.isnan(result.test_macro_f1)


def test_what_is_wrong_with_a_member_does_not_claim_its_folder(store, tmp_path):
    with pytest.raises(ValueError, match="dinno"):
        train(store, tmp_path / "run", Member.of(TINY, mix="mixup", appearance="dinno"))
    assert train(store, tmp_path / "run", replace(MEMBER, epochs=1)).finished


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "CPU"])
def test_an_unknown_device_lists_the_known_ones(store, tmp_path, device):
    with pytest.raises(ValueError, match="'auto', 'cpu'"):
        train(store, tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_validation_runs_the_emotion_branch_only(store, monkeypatch):
    network = MultiTask.build(MEMBER, torch_generator(0, "x"))
    monkeypatch.setattr(MultiTask, "forward_landmarks", pytest.fail)
    network.train()
    scores = evaluation.validate(network, store, MEMBER, torch.device("cpu"))
    assert not network.training  # batch norm takes its running statistics
    rows = store.rows("validation")
    logits = evaluation.predict_logits(network, store, rows, MEMBER, torch.device("cpu"))
    single = [
        evaluation.predict_logits(network, store, rows[i : i + 1], MEMBER, torch.device("cpu")) for i in range(12)
    ]
    np.testing.assert_allclose(
        logits, np.concatenate(single), rtol=1e-4, atol=1e-4
    )  # a face's answer knows no other face
    slow = [np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, store.labels[rows], strict=True)]
    assert scores["val_loss"] == pytest.approx(np.mean(slow), rel=1e-5)
    assert scores["val_macro_f1"] == metrics.macro_f1(store.labels[rows], logits.argmax(1))


def test_logits_that_are_not_finite_name_the_face(store):
    network = MultiTask.build(MEMBER, torch_generator(0, "x"))
    with torch.no_grad():
        network.expression[0].weight.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="validation/ANGER/0"):
        evaluation.validate(network, store, MEMBER, torch.device("cpu"))


def test_class_weights_reach_the_loss(tmp_path, monkeypatch):
    store = make_store(tmp_path / "data", classes=EXPRESSIONS[:2])
    seen = []
    step_loss = training.step_loss
    monkeypatch.setattr(
        training,
        "step_loss",
        lambda *a, class_weights, **o: (seen.append(class_weights), step_loss(*a, class_weights=class_weights, **o))[1],
    )
    for form, expected in (("one_minus_share", [0.5, 0.5, 1, 1, 1, 1]), ("balanced", [1, 1, 0, 0, 0, 0])):
        member = replace(MEMBER, recipe=replace(TINY, class_weights=form), epochs=1)
        with pytest.warns(UserWarning, match="No training face"):
            train(store, tmp_path / form, member)
        np.testing.assert_allclose(seen.pop(), expected)


def test_a_single_task_member_learns_no_landmarks(store, tmp_path):
    result = train(store, tmp_path / "run", replace(MEMBER, appearance="none"))
    assert "landmark_nme" not in result.metrics
    assert set(result.started_from) == {"emotion"}
    assert (read_run(tmp_path / "run").read_history()["landmarks"] == 0).all()
    state = checkpoints.read_weights(tmp_path / "run")["state"]
    assert not any("appearance" in name or "landmarks" in name for name in state)
    network = evaluation.load_network(tmp_path / "run")
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 6)
    with pytest.raises(AttributeError):
        network.forward_landmarks(torch.rand(2, 3, 16, 16))


def test_neutral_and_contempt_can_be_learned_and_are_never_answered(tmp_path):
    store = make_store(tmp_path / "data")
    faces = store.faces.copy()
    faces.loc[faces["split"] == "train", "expression"] = [*EXPRESSIONS, "NEUTRAL", "CONTEMPT", "NEUTRAL"] * 2
    faces.loc[faces["expression"].isin(["NEUTRAL", "CONTEMPT"]), "split"] = "extra"
    store = Store(store.path, store.manifest, faces, store.images, store.landmarks)
    member = replace(MEMBER, recipe=replace(TINY, classes=8), appearance="none")
    result = train(store, tmp_path / "run", member)
    assert result.counts["trained_on"] == dict.fromkeys(EXPRESSIONS, 2) | {"NEUTRAL": 4, "CONTEMPT": 2}
    state = checkpoints.read_weights(tmp_path / "run")["state"]
    assert state["expression.0.weight"].shape == (8, 8)
    predictions = read_run(tmp_path / "run").read_predictions()
    np.testing.assert_allclose(probabilities_of(predictions).sum(1), 1, atol=1e-6)
    six = train(store, tmp_path / "six", replace(MEMBER, appearance="none"))
    assert sum(six.counts["trained_on"].values()) == 12


@pytest.mark.slow
@pytest.mark.parametrize("mix", ["mixup", "mixaugment"])
def test_it_learns(tmp_path, mix):
    store = make_store(tmp_path / "data", train=8, validation=4)
    result = train(store, tmp_path / "run", replace(MEMBER, mix=mix, epochs=24))
    history = read_run(tmp_path / "run").read_history()
    assert result.metrics["val_macro_f1"] > 0.5  # chance is 0.17
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["expression"].iloc[-1] < 0.8 * history["expression"].iloc[0]


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ownership, "LOCK_SECONDS", 0.1)
    store = make_store(tmp_path / "data")
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(ValueError, match="another process trains"):
        train(store, tmp_path / "run", MEMBER)
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("bag", [0, 2])
def test_the_first_landmarks_are_the_training_faces_mean(tiny_store, bag):
    """Of the faces trained on whose points are all known, for any face, in training and in use."""
    recipe = replace(TINY, landmark_start="mean", bag_fraction=0.5)
    task = MemberTask(replace(MEMBER, recipe=recipe, bag=bag), tiny_store, torch.device("cpu"))
    rows = [row for row in task.rows if np.isfinite(tiny_store.landmarks[row]).all()]
    assert 0 < len(rows) < len(tiny_store.rows("train"))
    expected = sum(tiny_store.landmarks[row].astype(float) for row in rows) / len(rows)
    plain = MemberTask(replace(MEMBER, recipe=replace(recipe, landmark_start="random"), bag=bag), tiny_store, "cpu")
    for name, value in plain.network.state_dict().items():  # nothing else begins otherwise
        assert value.equal(task.network.state_dict()[name]) == (not name.startswith("landmarks.")), name
    for mode in (True, False):
        answer = task.network.train(mode).forward_landmarks(torch.rand(3, 3, 16, 16))
        np.testing.assert_allclose(answer.detach().numpy(), np.broadcast_to(expected, (3, 68, 2)), atol=1e-6)
    task.start_epoch(0)
    for step, batch in enumerate(task.batches(0)[:2]):
        task.step(batch, 0, step)
    assert task.network.landmarks.weight.abs().sum() > 0  # it learns from there


def test_a_single_task_member_has_no_landmarks_to_start(tiny_store):
    member = replace(MEMBER, recipe=replace(TINY, landmark_start="mean"), appearance="none")
    assert not MemberTask(member, tiny_store, torch.device("cpu")).network.multitask


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_frozen_parts_stay_as_they_are_in_training(tiny_store, averaging):
    statistics = "measured" if averaging else "averaged"
    recipe = replace(TINY, emotion="narrow", frozen=(("narrow", 3),), averaging=averaging, statistics=statistics)
    member = replace(MEMBER, recipe=replace(recipe, weight_decay=0.1), appearance="dino")
    task = MemberTask(member, tiny_store, torch.device("cpu"))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    task.start_epoch(0)
    for step, batch in enumerate(task.batches(0)[:2]):
        task.step(batch, 0, step)
    task.score(lambda: None)
    for network in {task.network, task.scored}:
        for name, value in network.state_dict().items():
            still = ".graph.conv1." in name or ".graph.bn1." in name
            assert value.equal(before[name]) == still, name
    branches = [name for name in before if name.endswith("backbone.graph.conv1.weight")]
    assert branches == ["emotion.backbone.graph.conv1.weight", "appearance.backbone.graph.conv1.weight"]
    held = {id(parameter) for parameter in task.optimiser.state}
    still = [each for each in task.network.parameters() if not each.requires_grad]
    assert len(still) == 6
    assert not any(id(parameter) in held or parameter.grad is not None for parameter in still)


def with_settings(store, settings):
    return Store(store.path, store.manifest | {"settings": settings}, store.faces, store.images, store.landmarks)


def test_both_branches_see_what_the_store_says(tiny_store):
    recipe = replace(TINY, emotion="dlib_face", appearances=(("vggface2", "dlib_face"),), averaging=0.5)
    member, place = replace(MEMBER, recipe=recipe), torch.device("cpu")
    for settings, aligned in (({"reader": "open"}, True), ({"crop": True}, True), ({}, False)):
        store = with_settings(tiny_store, settings)
        task = MemberTask(member, store, place)
        for network in (task.network, task.scored):
            assert network.emotion.backbone.aligned is aligned
            assert network.appearance.backbone.aligned is aligned


def test_scores_look_at_faces_as_their_store_cuts_them(tiny_store):
    recipe = replace(TINY, emotion="dlib_face", appearances=(("vggface2", "dlib_face"),), image_size=40)
    member, place = replace(MEMBER, recipe=recipe), torch.device("cpu")
    network, rows, seen = MultiTask.build(member, torch_generator(0, "x")), tiny_store.rows("validation"), []
    for branch in (network.emotion, network.appearance):
        branch.backbone.graph.register_forward_pre_hook(lambda _, taken: seen.append(taken[0][0]))
    face = torch.from_numpy(tiny_store.images[rows[0]].copy()).movedim(2, 0)[None] / 255
    backbone = network.emotion.backbone
    options = {"size": (118, 118), "mode": "bilinear", "antialias": True}
    window, whole = (
        backbone.normalise(torch.nn.functional.interpolate(part, **options))[0]
        for part in (face[:, :, 5:37, 4:36], face)  # .12, .1 and .8 of 40 px
    )
    cut = with_settings(tiny_store, {"crop": True})
    for store, expected in ((cut, window), (tiny_store, whole), (cut, window)):
        for score in (evaluation.validate, evaluation.measure_landmarks):
            seen.clear()
            score(network, store, member, place)
            torch.testing.assert_close(seen[0], expected)
    seen.clear()
    evaluation.predict_logits(network.train(), np.asarray(tiny_store.images), rows, member, place)
    torch.testing.assert_close(seen[0], window)  # faces that are given alone are aligned ones


def check_run(folder):
    read_run(folder).check_files()


@pytest.mark.parametrize("damage", ["weights.pt", "predictions.csv", "history.csv", "bag.csv", "result.json", "lost"])
def test_a_finished_run_whose_files_changed_is_trained_again(damage, store, reference, tmp_path):
    folder = shutil.copytree(reference[0], tmp_path / "run")
    if damage == "lost":
        (folder / "predictions.csv").unlink()
    else:
        content = bytearray((folder / damage).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / damage).write_bytes(content)
    with pytest.raises(files.Damaged, match=r"train the run again"):
        check_run(folder)
    with pytest.warns(UserWarning, match="is trained again") as told:
        train(store, folder)
    assert str(folder / damage) in str(told[0].message) or damage == "lost"
    same_run(folder, reference)
    run = train(store, folder)  # which is whole now: nothing is warned of
    assert set(run.files) == {"history.csv", "predictions.csv", "bag.csv", "landmarks.csv", "weights.pt"}


def test_zeroed_predictions_and_weights_of_another_run_are_told_as_such(store, reference, tmp_path):
    folder = shutil.copytree(reference[0], tmp_path / "run")
    other = train(store, tmp_path / "other", replace(MEMBER, seed=1))
    for name in ("weights.pt", "weights.pt.sha256"):  # which go together, and belong to another result
        shutil.copy(other.folder / name, folder / name)
    with pytest.raises(files.Damaged, match=r"run/weights\.pt is damaged: it is not what result\.json tells of"):
        evaluation.load_network(folder)
    table = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
    table[list(EXPRESSIONS)] = 0.0
    table.to_csv(folder / "predictions.csv", index=False)
    with pytest.raises(files.Damaged, match=r"predictions\.csv is damaged"):
        read_run(folder).read_predictions()


def test_a_run_of_an_earlier_version_is_read_and_its_weights_are_judged_by_their_own_checksum(
    store, reference, tmp_path
):
    folder = shutil.copytree(reference[0], tmp_path / "run")
    result = files.read_json(folder / "result.json")
    del result["files"], result[files.SEAL]
    files.write_json(folder / "result.json", result)
    assert train(store, folder).files == {}
    with (folder / "weights.pt").open("ab") as stream:
        stream.write(b"more")
    with pytest.warns(UserWarning, match=r"trained again: The weights .*weights\.pt are truncated or damaged"):
        train(store, folder)
    same_run(folder, reference)
