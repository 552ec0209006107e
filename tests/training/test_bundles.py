"""Packed models: what the file holds, that it answers as the runs do, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lsdkit.data.combining import view_store
from lsdkit.data.viewing import View
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import bundles, checkpoints
from lsdkit.training.bundles import load_bundle, pack
from lsdkit.training.evaluation import load_faces, load_network
from lsdkit.training.member import train_member
from lsdkit.training.runs import read_run, sum_files, write_run

CALM = replace(SMOKE, averaging=0.9, statistics="measured", learning_rate=1e-3)  # answers as of longer trainings
FACE = replace(  # whose trunk is dlib's and not trained
    CALM,
    emotion="dlib_face",
    appearances=(("vggface2", "dlib_face"), ("dino", "narrow")),
    weights=(("emotion", "dlib_face"), ("vggface2", "dlib_face")),
    frozen=(("dlib_face", 11),),
)
MEMBERS = {
    "single": Member(recipe=CALM, appearance="none"),
    "both": Member(recipe=CALM, appearance="dino", seed=1),
    "face": Member(recipe=FACE, appearance="vggface2", bag=1, seed=2),
}
VIEW = View(40, (4, 6, 20), grey=True)


@pytest.fixture(scope="module")
def store(tiny_store, tmp_path_factory):
    return view_store(tiny_store, tmp_path_factory.mktemp("store") / "inner", window=(0.1, 0.15, 0.5))


def train(folder, member, store):
    return train_member(replace(member, epochs=2), store, folder, device="cpu", progress=False)


@pytest.fixture(scope="module")
def runs(store, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [train(root / name, member, store) for name, member in MEMBERS.items()]


def change_weights(run, folder, change):
    """A copy of a run with other weights."""
    shutil.copytree(run.folder, folder)
    content = checkpoints.read_weights(folder)
    change(content["state"])
    checkpoints.save_weights(folder, content)
    write_run(replace(read_run(folder), files=sum_files(folder)))
    return read_run(folder)


@pytest.fixture(scope="module")
def file(runs, tmp_path_factory):
    return pack(runs, tmp_path_factory.mktemp("packed") / "some.safetensors", name="some-1")


@pytest.fixture(scope="module")
def faces(store):
    """As networks take them: (B, 3, S, S) in [0, 1]."""
    return load_faces(store.images, store.rows("test"), MEMBERS["single"], torch.device("cpu"))


def test_members_come_back_with_their_settings(runs, file):
    bundle = load_bundle(file)
    assert (bundle.name, bundle.vote, bundle.file) == ("some-1", "probabilities", file)
    assert [each.member for each in bundle.members] == [run.member for run in runs]
    assert [each.name for each in bundle.members] == list(MEMBERS)
    assert {each.find_view() for each in bundle.members} == {VIEW}
    assert {each.kind for each in bundle.members} == {"rendered"}
    assert [each.landmarks for each in bundle.members] == [False, True, False]  # of the first that has them


def test_half_precision_is_taken_where_it_changes_answers_by_less_than_a_thousandth(runs, faces, tmp_path, monkeypatch):
    whole = pack(runs, tmp_path / "whole.safetensors", name="some-1", half=False)
    for run, packed in zip(runs, load_bundle(whole).members, strict=True):
        assert torch.equal(packed.build()(faces).softmax(1), load_network(run.folder)(faces).softmax(1))
    change = {}
    for most in (1, 1e-3, 1e-9):
        monkeypatch.setattr(bundles, "MOST_CHANGE", most)
        file = pack(runs, tmp_path / f"{most}.safetensors", name="some-1")
        told = [each["precision"] for each in tell(file)["members"]]
        assert [each["half"] for each in told] == [each["change"] < most for each in told]
        change[most] = [each["change"] for each in told]
        for number, (run, packed) in enumerate(zip(runs, load_bundle(file).members, strict=True)):
            expected, got = load_network(run.folder)(faces).softmax(1), packed.build()(faces).softmax(1)
            assert expected.std(0).max() > 0.01  # the answers depend on the face
            assert (got - expected).abs().max() < min(0.01, 3 * most)
            assert {tensor.dtype for tensor in packed.build().parameters()} == {torch.float32}
            kinds = {value.dtype for key, value in load_file(file).items() if key == f"{number}.shared.0.weight"}
            assert kinds == {torch.float16 if told[number]["half"] else torch.float32}
    assert change[1] == change[1e-3] == change[1e-9]
    assert min(change[1]) > 0
    assert (tmp_path / "1.safetensors").stat().st_size < 0.65 * whole.stat().st_size


def test_precision_is_told_where_it_cannot_be_measured(runs, tmp_path):
    gone = replace(runs[0], store="nowhere")
    file = pack([gone], tmp_path / "gone.safetensors", name="gone")
    assert tell(file)["members"][0]["precision"] == {"half": True, "change": None}
    large = change_weights(runs[0], tmp_path / "large", lambda state: state["shared.0.weight"][0, 0].fill_(1e5))
    file = pack([large], tmp_path / "large.safetensors", name="large")  # more than half precision can hold
    assert tell(file)["members"][0]["precision"] == {"half": False, "change": None}
    assert load_bundle(file).members[0].build().shared[0].weight[0, 0] == 1e5


def test_landmarks_of_one_member_are_kept(runs, file, faces):
    (short,) = (each for each in load_bundle(file).members if each.landmarks)
    network, trained = short.build(landmarks=True), load_network(runs[1].folder)
    points = trained.forward_landmarks(faces)
    assert (network.forward_landmarks(faces) - points).abs().max() < 5e-3 * points.abs().max()
    assert (network(faces).softmax(1) - trained(faces).softmax(1)).abs().max() < 3e-3
    assert not short.build().multitask
    assert not load_bundle(file).members[2].build(landmarks=True).multitask


def test_what_pip_brings_is_not_in_the_file_and_has_to_be_the_same(runs, file, faces, tmp_path):
    tensors = load_file(file)
    assert not any(key.startswith("2.emotion.backbone") for key in tensors)
    assert any(key.startswith("0.emotion.backbone") for key in tensors)
    assert not any("affinity" in key for key in tensors)
    trunk = load_bundle(file).members[2].build().emotion.backbone
    ours = load_network(runs[2].folder).emotion.backbone
    assert all(torch.equal(a, b) for a, b in zip(trunk.parameters(), ours.parameters(), strict=True))

    changed = change_weights(  # frozen, but not at the published numbers
        runs[2], tmp_path / "changed", lambda state: state["emotion.backbone.graph.stem.affine.gain"][0].add_(1)
    )
    other = pack([changed], tmp_path / "changed.safetensors", name="changed")
    assert "0.emotion.backbone.graph.stem.affine.gain" in load_file(other)
    assert load_bundle(other).members[0].needed.keys() == {"appearance"}
    network = load_network(changed.folder)
    assert (load_bundle(other).members[0].build()(faces).softmax(1) - network(faces).softmax(1)).abs().max() < 3e-3


def tell(file):
    """What a packed model's metadata says."""
    with safe_open(file, "pt") as content:
        return json.loads(content.metadata()["lsdkit"])


def rewrite(file, out, change):
    """The file with other metadata, without their checksum, as of an earlier version."""
    about = tell(file)
    del about["sha256"], about["tensors"]
    change(about)
    save_file(load_file(file), out, {"lsdkit": json.dumps(about)})
    return out


def test_another_version_damage_and_other_files_are_refused_with_words(file, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        load_bundle(tmp_path / "absent.safetensors")
    newer = rewrite(file, tmp_path / "newer.safetensors", lambda about: about.update(format=2, lsdkit="9.9"))
    with pytest.raises(ValueError, match=r"newer.safetensors .* format 2, not 1: install the version .* \(9.9\)"):
        load_bundle(newer)
    for name, change in {
        "less": lambda about: about["members"][0].pop("view"),
        "other": lambda about: about["members"][0]["member"]["recipe"].update(colour="red"),
        "wrong": lambda about: about["members"][0].update(view=3),
        "none": lambda about: about.update(members=3),
        "empty": lambda about: about.update(members=[]),
        "weights": lambda about: about["members"][0].update(weights=None),
        "source": lambda about: about["members"][2]["weights"]["emotion"].pop("sha256"),
    }.items():
        with pytest.raises(ValueError, match=rf"Expected .*{name}.safetensors to be a packed model"):
            load_bundle(rewrite(file, tmp_path / f"{name}.safetensors", change))
    save_file({"a": torch.zeros(2)}, tmp_path / "tensors.safetensors")
    with pytest.raises(ValueError, match=r"tensors.safetensors to be a packed model, but it says nothing"):
        load_bundle(tmp_path / "tensors.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-100])
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name in ("cut", "pointer"):
        with pytest.raises(ValueError, match=rf"{name}.safetensors to be a packed model, but it cannot be read"):
            load_bundle(tmp_path / f"{name}.safetensors")
    swapped = rewrite(
        file,
        tmp_path / "swapped.safetensors",
        lambda about: about["members"][2]["weights"]["emotion"].update(sha256="0" * 64),
    )
    with pytest.raises(ValueError, match=r"Expected the weights dlib_face that .* but those that are installed"):
        load_bundle(swapped).members[2].build()
    with safe_open(rewrite(file, tmp_path / "older.safetensors", len), "pt") as content:
        older = content.metadata()
    tensors = load_file(file)
    del tensors["0.shared.0.weight"]
    save_file(tensors, tmp_path / "lacking.safetensors", older)
    with pytest.raises(
        ValueError, match=r"every tensor of single in .*, but 1 are missing .*, such as shared.0.weight"
    ):
        load_bundle(tmp_path / "lacking.safetensors").members[0].build()
    for name, change in {
        "cut off": lambda tensor: tensor[:1].clone(),
        "strange": lambda tensor: tensor * np.nan,
    }.items():
        tensors = load_file(file)
        tensors["0.shared.0.weight"] = change(tensors["0.shared.0.weight"])
        save_file(tensors, tmp_path / f"{name}.safetensors", older)
    with pytest.raises(ValueError, match=r"1 are missing or of another shape, such as shared.0.weight"):
        load_bundle(tmp_path / "cut off.safetensors").members[0].build()
    with pytest.raises(
        ValueError, match=r"strange.safetensors .* shared.0.weight of single holds numbers that are not"
    ):
        load_bundle(tmp_path / "strange.safetensors")


def test_others_may_read_the_file(file, tmp_path):
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_cannot_be_packed(runs, file, tmp_path):
    with pytest.raises(FileExistsError, match="to be new"):
        pack(runs, file, name="some-1")
    with pytest.raises(ValueError, match=r"ends in .safetensors"):
        pack(runs, tmp_path / "some.pt", name="some-1")
    with pytest.raises(ValueError, match="vote in one way, but got no runs"):
        pack([], tmp_path / "none.safetensors", name="none")
    logits = replace(runs[0], member=replace(runs[0].member, recipe=replace(CALM, vote="logits")))
    with pytest.raises(ValueError, match=r"vote in one way, but got (logits|probabilities) and"):
        pack([runs[0], logits], tmp_path / "mixed.safetensors", name="mixed")
    assert not list(tmp_path.iterdir())


def test_shared_statistics(store, faces, tmp_path):
    run = train(tmp_path / "run", Member(recipe=replace(CALM, shared_statistics=True), appearance="dino"), store)
    packed = load_bundle(pack([run], tmp_path / "run.safetensors", name="run", half=False)).members[0]
    network, trained = packed.build(landmarks=True), load_network(run.folder)
    np.testing.assert_array_equal(network(faces).detach(), trained(faces).detach())
    np.testing.assert_array_equal(network.forward_landmarks(faces).detach(), trained.forward_landmarks(faces).detach())


def test_a_changed_number_or_setting_of_a_packed_model_is_noticed_and_an_earlier_file_read(file, tmp_path):
    content = bytearray(file.read_bytes())
    content[-7] ^= 1
    (tmp_path / "number.safetensors").write_bytes(content)
    content[-7] ^= 1
    changed = content.replace(b"probabilities", b"probabilitiez", 1)
    (tmp_path / "setting.safetensors").write_bytes(changed)
    for name in ("number", "setting"):
        with pytest.raises(ValueError, match=rf"{name}\.safetensors .* it is damaged: it is not what was written"):
            load_bundle(tmp_path / f"{name}.safetensors")
    assert len(load_bundle(rewrite(file, tmp_path / "older.safetensors", len)).members) == 3
