"""Weight files: every format read, nothing run, every key accounted for, key names of other projects translated."""

import argparse
import pickle

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from lsdkit.method import backbones
from lsdkit.weights import loading
from tests.weightfiles import python2_pickle


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    shapes = {key: value.shape for key, value in backbones.create("narrow").graph.state_dict().items()}
    return {key: torch.rand(shape, generator=generator) for key, shape in shapes.items()}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors", ".pkl"])
def test_weights_come_from_a_file(tmp_path, state, suffix):
    file = tmp_path / f"weights{suffix}"
    if suffix == ".pkl":
        file.write_bytes(python2_pickle({key: value.numpy() for key, value in state.items()}))
    else:
        (save_file if suffix == ".safetensors" else torch.save)(state, file)
    graph = backbones.create("narrow").graph
    report = loading.fill(graph, loading.read_tensors(file), file)
    assert set(report.loaded) == set(state)
    for key, value in graph.state_dict().items():
        assert value.equal(state[key].to(value.dtype)), key


def test_files_of_torch_before_1_6(tmp_path, state):
    """The ports from MatConvNet are that old: no zip archive, but pickles one after the other."""
    torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    tensors = loading.read_tensors(tmp_path / "w.pth")
    assert all(tensors[key].equal(value) for key, value in state.items())


def test_every_key_is_reported(tmp_path, state):
    del state["layer1.0.bn1.bias"]
    state["layer1.0.bn1.weight"] = torch.rand(3)
    state["fc.weight"] = torch.rand(2, 2)
    torch.save(state, tmp_path / "loading.pt")
    graph = backbones.create("narrow").graph
    before = graph.layer1[0].bn1.weight.clone()
    report = loading.fill(graph, loading.read_tensors(tmp_path / "loading.pt"), "loading.pt")
    assert report.missing == ["layer1.0.bn1.bias"]
    assert report.reshaped == ["layer1.0.bn1.weight"]
    assert report.unexpected == ["fc.weight"]
    assert set(report.loaded) == set(graph.state_dict()) - {"layer1.0.bn1.bias", "layer1.0.bn1.weight"}
    assert str(report) == f"{len(report.loaded)} loaded, 1 missing, 1 unexpected, 1 reshaped"
    assert report.random() == ["layer1.0.bn1.bias", "layer1.0.bn1.weight"]
    assert graph.layer1[0].bn1.weight.equal(before)


def test_reports_add_up():
    first, second = loading.Report(["a"], ["b"], ["c"], []), loading.Report(["d"], [], [], ["e"])
    total = first.under("one.") + second.under("two.")
    assert vars(total) == {
        "loaded": ["one.a", "two.d"],
        "missing": ["one.b"],
        "unexpected": ["c"],
        "reshaped": ["two.e"],
    }


@pytest.mark.parametrize(("key", "expected"), [("teacher", 2.0), ("student", 1.0)])
def test_dino_checkpoints(tmp_path, state, key, expected):
    """As DINO's training writes them: both networks, the optimiser, and the arguments as a Namespace."""
    wrapped = {
        name: {f"{prefix}backbone.{k}": torch.full_like(v, fill) for k, v in state.items()}
        | {f"{prefix}head.mlp.0.weight": torch.ones(2, 2)}
        for name, prefix, fill in (("student", "module.", 1.0), ("teacher", "", 2.0))
    }
    extra = {"optimizer": {"state": {}}, "epoch": 3, "args": argparse.Namespace(arch="resnet50", lr=0.03)}
    torch.save({**wrapped, **extra, "dino_loss": {"center": torch.zeros(1, 4)}}, tmp_path / "dino.pth")
    graph = backbones.create("narrow").graph
    report = loading.fill(graph, loading.read_tensors(tmp_path / "dino.pth", key), "dino.pth")
    assert graph.conv1.weight.eq(expected).all()
    assert report.unexpected == ["head.mlp.0.weight"]
    assert not report.missing + report.reshaped


def test_prefixes_are_stripped_at_the_start_only(tmp_path):
    torch.save(
        {"state_dict": {"head.module.weight": torch.ones(1), "module.backbone.a": torch.ones(1)}}, tmp_path / "w.pt"
    )
    assert list(loading.read_tensors(tmp_path / "w.pt")) == ["head.module.weight", "a"]


def test_another_architectures_file_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="another architecture"):
        loading.fill(backbones.create("narrow").graph, loading.read_tensors(tmp_path / "w.pt"), "w.pt")


@pytest.mark.parametrize(("kept", "fits"), [(0.8, False), (0.95, True)])
def test_nine_in_ten_tensors_have_to_fit(state, kept, fits):
    graph = backbones.create("narrow").graph
    names = [key for key in state if not key.endswith("num_batches_tracked")]
    some = {key: state[key] for key in names[: round(kept * len(names))]}
    if fits:
        assert loading.fill(graph, some, "some").missing
    else:
        before = graph.conv1.weight.clone()
        with pytest.raises(ValueError, match="Expected some to fit"):
            loading.fill(graph, some, "some")
        assert graph.conv1.weight.equal(before)


class Malicious:
    def __reduce__(self):
        return (print, ("run",))


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"weight": Malicious()}, tmp_path / "w.pt")
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"weight": Malicious()}))
    for name in ("w.pt", "w.pkl"):
        with pytest.raises(ValueError, match="refused"):
            loading.read_tensors(tmp_path / name)
    (tmp_path / "w.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"ending in one of \.safetensors"):
        loading.read_tensors(tmp_path / "w.npz")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_cut_file_is_named(tmp_path, state, suffix):
    file = tmp_path / f"w{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match="whole weight file"):
        loading.read_tensors(file)


def test_an_absent_and_an_empty_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is none"):
        loading.read_tensors(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="dictionary of tensors"):
        loading.read_tensors(tmp_path / "list.pt")


def test_names_of_the_ports_from_matconvnet_cover_the_graph():
    """Every layer of a ResNet50 under the ports' names comes out once, and no other name is touched."""
    ports = ["conv1_7x7_s2"]
    for stage, blocks in zip(range(2, 6), (3, 4, 6, 3), strict=True):
        for block in range(1, blocks + 1):
            parts = ("1x1_reduce", "3x3", "1x1_increase", *(("1x1_proj",) if block == 1 else ()))
            ports += [f"conv{stage}_{block}_{part}" for part in parts]
    keys = [f"{name}.weight" for name in ports]
    keys += [f"{name}_bn.{part}" for name in ports for part in ("weight", "bias", "running_mean", "running_var")]
    own = {k for k in backbones.create("vggface2_resnet50").graph.state_dict() if not k.endswith("num_batches_tracked")}
    assert {loading.dag_name(key) for key in keys} == own
    assert len(keys) == len(own)
    for other in ("classifier.weight", "conv1.weight", "layer1.0.conv1.weight", "conv2_1_5x5.weight", "meta"):
        assert loading.dag_name(other) == other


def test_numbers_that_are_not_finite_are_refused():
    network = torch.nn.Linear(2, 2)
    tensors = {"weight": torch.full((2, 2), torch.nan), "bias": torch.zeros(2)}
    with pytest.raises(ValueError, match="finite numbers in a file, but weight"):
        loading.fill(network, tensors, "a file")


def test_a_port_of_another_model_is_refused():
    state = timm.create_model("mobilevitv2_050").state_dict()
    keys = [key for key in state if not key.endswith("num_batches_tracked")]
    names = {key: f"port.{number}" for number, key in enumerate(keys)}
    port = {names[key]: state[key] for key in keys}
    read = loading.name_by_position(port, "mobilevitv2_050", "port.pth")
    assert all(read[key].equal(state[key]) for key in keys)
    message = rf"Expected {len(keys)} tensors of mobilevitv2_050's shapes in its order in port\.pth, but got "
    first, *_, last = port
    wrong = [
        {name: value for name, value in port.items() if name != last},  # one too few
        port | {"more": torch.zeros(1)},
        port | {first: torch.zeros(1, 2, 3)},
        port | {first: port[first].flatten()},  # as many numbers in another shape
        dict(reversed(port.items())),
        {},
    ]
    for other in wrong:
        with pytest.raises(ValueError, match=message + f"{len(other)} or other shapes"):
            loading.name_by_position(other, "mobilevitv2_050", "port.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 4\n", "Git LFS pointer .*git lfs pull"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>Sign in</html>", "a web page instead of the weights"),
        (b"", "it is empty"),
        (bytes(4096), "begins with zeros"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_what_is_in_the_place_of_weights_is_told(tmp_path, content, message, suffix):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"file\{suffix}.*{message}"):
        loading.read_tensors(path)


@pytest.mark.parametrize("value", [np.float64(0.5), {"epoch": 3, "acc": np.float32(0.6)}, np.ones(3)])
def test_harmless_numpy_beside_tensors_is_told_as_what_it_is_without_advice_to_read_it_all_the_same(tmp_path, value):
    path = tmp_path / "file.pt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "best": value}, path)
    with pytest.raises(ValueError, match=r"file\.pt .* but it holds numpy\.[\w.]+ as well") as caught:
        loading.read_tensors(path)
    assert not any(word in str(caught.value) for word in ("weights_only", "safe_globals", "trust", "\n"))
