"""Probabilities of runs and ensembles: which runs vote, over which faces."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from lsdkit import prediction
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import torch_generator
from lsdkit.data import preparing
from lsdkit.data.combining import view_store
from lsdkit.data.store import Store
from lsdkit.data.viewing import View
from lsdkit.method.bagging import soft_vote
from lsdkit.method.network import MultiTask
from lsdkit.prediction import predict
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints
from lsdkit.training.bundles import pack
from lsdkit.training.evaluation import load_network
from lsdkit.training.member import train_member
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import FORMAT, Run, list_runs, read_run, write_run
from lsdkit.weights.dan import from_official
from tests.broken_release import write_broken_release
from tests.fake_runs import leave_matrix
from tests.weightfiles import write_dan


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The release's layout with six test images, one of them truncated."""
    return write_broken_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def store(release, tmp_path_factory) -> Store:
    return preparing.prepare_release(release, tmp_path_factory.mktemp("store") / "store", jobs=1, progress=False)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    """A folder with a strong run and two bags."""
    out = tmp_path_factory.mktemp("runs")
    for mix, bag in (("mixaugment", 0), ("mixup", 1), ("mixup", 2)):
        member = Member(recipe=SMOKE, mix=mix, bag=bag, epochs=1)
        train_member(member, store, out / f"{mix}{bag}", device="cpu", progress=False)
    return out


def test_a_run_and_an_ensemble(runs, tmp_path):
    said = prediction.write_probabilities(runs / "mixup1", tmp_path / "one.csv", split="validation")
    assert "12 validation faces" in said
    kept = read_run(runs / "mixup1").read_predictions()
    kept = kept[kept["split"] == "validation"]
    written = pd.read_csv(tmp_path / "one.csv", keep_default_na=False)
    np.testing.assert_allclose(written[list(EXPRESSIONS)], kept[list(EXPRESSIONS)], atol=1e-8)
    prediction.write_probabilities(runs, tmp_path / "all.csv", split="validation")
    voted = pd.read_csv(tmp_path / "all.csv", keep_default_na=False)
    each = [run.read_predictions() for run in list_runs(runs)]
    stack = np.stack([probabilities_of(table[table["split"] == "validation"]) for table in each])
    np.testing.assert_allclose(voted[list(EXPRESSIONS)], soft_vote(stack), atol=1e-8)
    assert voted["key"].tolist() == kept["key"].tolist()


def test_networks_run_over_a_store_give_the_predictions_that_they_left(runs, store, tmp_path):
    for name, data in (("left", ""), ("run", str(store.path))):
        prediction.write_probabilities(runs, tmp_path / f"{name}.csv", split="test", data=data)
    left, run = (pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False) for name in ("left", "run"))
    assert left["key"].tolist() == run["key"].tolist()
    np.testing.assert_allclose(run[list(EXPRESSIONS)], left[list(EXPRESSIONS)], atol=1e-5)
    said = prediction.write_probabilities(runs / "mixup1", tmp_path / "train.csv", split="train", data=str(store.path))
    assert "18 train faces" in said
    with pytest.raises(ValueError, match="'extra', but there are none; there are those of train, validation, test"):
        prediction.write_probabilities(runs, tmp_path / "extra.csv", split="extra", data=str(store.path))
    with pytest.raises(ValueError, match="--data STORE"):
        prediction.write_probabilities(runs, tmp_path / "extra.csv", split="train")


def test_mirrored_faces_are_answered_one_by_one(runs, store):
    keys = [store.keys[row] for row in store.rows("validation")[[2, 0]]]
    answers = prediction.predict_mirrored(list_runs(runs), store, keys)
    assert answers.shape[1:] == (2, 6)
    for run, own in zip(list_runs(runs), answers, strict=True):
        for key, given in zip(keys, own, strict=True):
            picture = np.fliplr(store.images[store.keys.index(key)])
            np.testing.assert_allclose(given, predict(run, picture[None], aligned=store.aligned)[0], rtol=1e-5)
    straight = predict(list_runs(runs)[0], store, split="validation")[[2, 0]]
    assert not np.allclose(answers[0], straight)
    with pytest.raises(ValueError, match="has no 'nobody'"):
        prediction.predict_mirrored(list_runs(runs), store, ["nobody"])


def test_ensembles_are_chosen_by_name_and_refused_where_incomplete(runs):
    name = "MU MobileViTv2 Weak"
    with pytest.raises(ValueError, match="5 are missing"):
        prediction.choose_runs(runs, name)
    with pytest.raises(ValueError, match="5 are missing"):
        prediction.choose_runs(runs, name, allow_incomplete=True)  # not one of its runs is there
    what, voters = prediction.choose_runs(runs, "MA Strong & MA Best Weak", allow_incomplete=True)
    assert [run.name for run in voters] == ["mixaugment0"]
    assert "missing" in what
    with pytest.raises(ValueError, match=r"'all' or one of 'MU MobileViTv2 Weak'.*but got 'MU'"):
        prediction.choose_runs(runs, "MU")
    with pytest.raises(ValueError, match="is one run"):
        prediction.choose_runs(runs / "mixup1", name)
    assert len(prediction.choose_runs(runs, seed=0)[1]) == 3
    with pytest.raises(ValueError, match=r"finished runs of seed 5 in .*, but found those of 0"):
        prediction.choose_runs(runs, seed=5)
    with pytest.raises(ValueError, match="found none"):
        prediction.choose_runs(runs / "nothing")


def test_a_weak_seed_votes_with_the_strong_runs_of_its_own_seed_or_the_lowest(tmp_path):
    """As the tables do after a sweep with one strong seed and several weak ones."""
    leave_matrix(tmp_path, lambda cell, seed: 0.4, strong=(0, 2), weak=(0, 1, 2), count=60)
    name = "MA Strong & MA Best Weak"
    for seed, strong in ((0, 0), (1, 0), (2, 2)):
        what, voters = prediction.choose_runs(tmp_path, name, seed=seed)
        assert "7 runs" in what
        assert [run.member.seed for run in voters] == [strong] * 2 + [seed] * 5
        assert [run.member.bag for run in voters] == [0, 0, 1, 2, 3, 4, 5]
        assert prediction.choose_runs(tmp_path, "ma_strong_ma_best_weak", seed=seed)[1] == voters
        everyone = prediction.choose_runs(tmp_path, seed=seed)[1]
        assert {(run.member.bag > 0, run.member.seed) for run in everyone} == {(False, strong), (True, seed)}
    with pytest.raises(ValueError, match=r"--seed with .*one of 0, 1, 2"):
        prediction.choose_runs(tmp_path, name)
    assert len(prediction.choose_runs(tmp_path)[1]) == 2 * 12 + 3 * 30


def test_an_official_dan_answers_for_a_store(store, tmp_path):
    file = write_dan(tmp_path / "affecnet8.pth", 8)
    said = prediction.write_probabilities(f"dan_affectnet8@{file}", tmp_path / "dan.csv", data=str(store.path))
    assert "5 test faces by the official DAN" in said
    written = pd.read_csv(tmp_path / "dan.csv", keep_default_na=False)
    pixels = torch.from_numpy(store.images[store.rows("test")]).permute(0, 3, 1, 2)
    network = from_official(file, "affectnet8")
    with torch.no_grad():
        faces = F.interpolate(pixels, (224, 224), mode="bilinear", antialias=True).float() / 255
        answers = network.probabilities(faces)[:, :6]
    np.testing.assert_allclose(written[list(EXPRESSIONS)], answers / answers.sum(1, keepdim=True), atol=1e-4)
    with pytest.raises(ValueError, match="--data STORE"):
        prediction.write_probabilities(f"dan_affectnet8@{file}", tmp_path / "other.csv")


def test_a_packed_model_answers_for_a_store_as_its_runs_do(runs, store, tmp_path):
    file = pack(list_runs(runs), tmp_path / "three.safetensors", name="three", half=False)
    for name, source in (("packed", file), ("runs", runs)):
        said = prediction.write_probabilities(source, tmp_path / f"{name}.csv", data=str(store.path))
    assert "5 test faces by all 3 runs" in said
    packed, expected = (pd.read_csv(tmp_path / f"{name}.csv", keep_default_na=False) for name in ("packed", "runs"))
    pd.testing.assert_frame_equal(packed, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"--data STORE with .*three.safetensors"):
        prediction.write_probabilities(file, tmp_path / "other.csv")


def leave_runs(folder, count=2, view=None):
    """Finished runs, untrained, whose weights take a window of aligned faces."""
    recipe = replace(SMOKE, emotion="dlib_face", image_size=40)
    for seed in range(count):
        member = Member(recipe=recipe, appearance="none", seed=seed)
        network = MultiTask.build(member, torch_generator(seed, "init"))
        for convolution in network.emotion.backbone.modules():
            if isinstance(convolution, torch.nn.Conv2d):  # random ones as they are answer the same for every face
                torch.nn.init.orthogonal_(convolution.weight, 2, generator=torch_generator(seed, "weights"))
        for norm in network.modules():
            if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                norm.momentum = 1.0
        network.train()(torch.rand((16, 3, 40, 40), generator=torch_generator(seed, "faces")))  # answers of usual size
        run = Run(folder=folder / str(seed), member=member, kind="rendered", store="", checksums={}, view=view)
        run.folder.mkdir(parents=True)
        checkpoints.save_weights(run.folder, {"format": FORMAT, "member": member.spec(), "state": network.state_dict()})
        write_run(replace(run, metrics={"val_macro_f1": 0.5}))


def test_faces_that_our_alignment_did_not_cut_are_seen_whole(tiny_store, tmp_path):
    """By every network of a vote; a store says so itself, and nobody contradicts it unheard."""
    leave_runs(tmp_path)
    pictures, stores = (tiny_store.faces, tiny_store.images, tiny_store.landmarks), {}
    for aligned in (True, False):
        manifest = tiny_store.manifest | {"settings": {"crop": aligned}}
        stores[aligned] = Store(tiny_store.path, manifest, *pictures)
    faces = np.asarray(tiny_store.images)[tiny_store.rows("test")]
    answers = {aligned: predict(tmp_path, faces, device="cpu", aligned=aligned) for aligned in (True, False)}
    assert np.abs(answers[True] - answers[False]).max() > 1e-6
    np.testing.assert_array_equal(predict(tmp_path, faces, device="cpu"), answers[True])
    for aligned, store in stores.items():
        assert store.aligned is aligned
        np.testing.assert_array_equal(predict(tmp_path, store, device="cpu"), answers[aligned])
        np.testing.assert_array_equal(predict(tmp_path, store, device="cpu", aligned=aligned), answers[aligned])
        with pytest.raises(
            ValueError, match=f"`aligned` to be left out or {aligned}, as the store in .* {not aligned};"
        ):
            predict(tmp_path, store, device="cpu", aligned=not aligned)
    pixels = torch.from_numpy(faces).movedim(3, 1) / 255
    for aligned in (True, False):
        each = [load_network(tmp_path / str(seed), aligned=aligned)(pixels) for seed in range(2)]
        voted = torch.stack([logits.softmax(1) for logits in each]).mean(0)
        np.testing.assert_allclose(voted.detach(), answers[aligned], atol=1e-5)


@pytest.mark.parametrize("window", [(4, 6, 24), ()])
def test_networks_are_shown_what_they_learned_from(tiny_store, tmp_path, window):
    """A window of an aligned crop is no aligned crop, of which weights take a window again; a whole one is."""
    view = View(40, window, grey=True)
    leave_runs(tmp_path / "runs", view=view)
    leave_runs(tmp_path / "plain")
    faces = np.asarray(tiny_store.images)[tiny_store.rows("test")]
    manifest = tiny_store.manifest | {"settings": {"crop": True}}
    crops = Store(tiny_store.path, manifest, tiny_store.faces, tiny_store.images, tiny_store.landmarks)
    share = [part / 40 for part in view.window]
    shown = view_store(crops, tmp_path / "shown", window=share)
    assert shown.aligned is view.whole
    expected = predict(tmp_path / "plain", view.show(faces), device="cpu", aligned=view.whole)
    for given in (faces, view.show(faces), crops, shown):
        np.testing.assert_allclose(predict(tmp_path / "runs", given, device="cpu"), expected, atol=1e-6)
    wrong = predict(tmp_path / "plain", view.show(faces), device="cpu", aligned=not view.whole)
    assert np.abs(expected - wrong).max() > 1e-6
    if window:
        with pytest.raises(ValueError, match="whole aligned crops of 40 pixels, or the part of 24"):
            predict(tmp_path / "runs", faces[:, :30, :30], device="cpu")
