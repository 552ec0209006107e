"""What a network starts from: each published format and own runs into the right branch, told key by key."""

import argparse
from dataclasses import asdict, replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from lsdkit.common import files
from lsdkit.common.seeds import torch_generator
from lsdkit.method.attention import CrossAttentionHead
from lsdkit.method.backbones import backbone_for, create
from lsdkit.method.network import MultiTask
from lsdkit.recipes import Member, find_recipe
from lsdkit.training import checkpoints, starting
from lsdkit.training.runs import FORMAT, Run, read_run, write_run
from lsdkit.weights import published
from lsdkit.weights.dan import from_official
from tests.weightfiles import write_dan, write_vggface2

SMOKE, PAPER, AUTHORS = map(find_recipe, ("smoke", "paper", "authors"))
COUNTS = ("loaded", "missing", "unexpected", "reshaped")


def build(recipe, appearance="none", seed=0):
    return MultiTask.build(Member(recipe=recipe, appearance=appearance), torch_generator(seed, "weights"))


def resnet50_state(seed):
    shapes = {key: value.shape for key, value in torchvision.models.resnet50(weights=None).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.rand(shape, generator=generator) * 0.1 for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files in the published formats: VGGFace2's pickle, DINO's flat and full checkpoints, an official DAN."""
    folder = tmp_path_factory.mktemp("weights")
    write_vggface2(folder / "vgg.pkl", resnet50_state(1))
    flat = {key: value for key, value in resnet50_state(2).items() if not key.startswith("fc.")}
    torch.save(flat, folder / "flat.pth")
    networks = {
        "student": {f"module.backbone.{key}": value + 1 for key, value in flat.items()},
        "teacher": {f"backbone.{key}": value + 2 for key, value in flat.items()},
    }
    torch.save({**networks, "epoch": 1, "args": argparse.Namespace(arch="resnet50")}, folder / "full.pth")
    write_dan(folder / "affecnet8.pth", 8)
    return folder


def rest_is_random(network, untouched):
    """The other parameters are those of the same start without weights."""
    return all(parameter.equal(untouched[name]) for name, parameter in network.named_parameters() if name in untouched)


# Random and published weights


def test_random_weights():
    network = build(SMOKE, "dino")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    report = starting.start_branches(network, SMOKE, "dino")
    assert report == {role: {"source": "random", "kind": "random"} for role in ("emotion", "appearance")}
    assert all(value.equal(before[key]) for key, value in network.state_dict().items())
    assert starting.fingerprint_sources(SMOKE, "dino") == {}
    assert list(starting.start_branches(build(SMOKE), SMOKE, "none")) == ["emotion"]


@pytest.mark.slow
def test_the_papers_branches_start_from_their_own_weights(folder):
    recipe = PAPER.with_source("emotion", f"vggface2_ft@{folder / 'vgg.pkl'}")
    recipe = recipe.with_source("dino", f"dino_resnet50@{folder / 'flat.pth'}")
    network, untouched = build(recipe, "dino"), build(recipe, "dino", seed=0)
    report = starting.start_branches(network, recipe, "dino")
    vgg, dino = resnet50_state(1), resnet50_state(2)
    for branch, state in ((network.emotion, vgg), (network.appearance, dino)):
        for key, value in branch.backbone.graph.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                assert value.equal(state[key]), key
    kept = {name: value for name, value in untouched.named_parameters() if ".backbone." not in name}
    assert rest_is_random(network, kept)
    counters = sum(key.endswith("num_batches_tracked") for key in vgg)
    emotion, appearance = report["emotion"], report["appearance"]
    assert [emotion[name] for name in COUNTS] == [len(vgg) - 2 - counters, counters, 2, 0]
    assert emotion["detail"]["unexpected"] == ["fc.weight", "fc.bias"]
    assert all(key.endswith("num_batches_tracked") for key in emotion["detail"]["missing"])
    assert len(emotion["detail"]["loaded"]) == 10
    assert [appearance[name] for name in COUNTS] == [len(dino) - 2, 0, 0, 0]
    assert emotion["kind"] == appearance["kind"] == "published"
    assert emotion["file"] == "vgg.pkl"
    assert emotion["sha256"] == files.sha256(folder / "vgg.pkl")
    assert emotion["source"] == recipe.source("emotion")
    assert starting.fingerprint_sources(recipe, "dino") == {role: report[role]["sha256"] for role in report}
    assert list(starting.fingerprint_sources(recipe, "none")) == ["emotion"]


@pytest.mark.parametrize(("recipe", "network_of"), [(PAPER, 2), (AUTHORS, 1)])
def test_dinos_network_is_the_recipes(folder, recipe, network_of):
    """Teacher in `paper`, student in `authors`."""
    recipe = replace(SMOKE, emotion="resnet50", dino_key=recipe.dino_key)
    recipe = recipe.with_source("emotion", f"dino_resnet50@{folder / 'full.pth'}")
    network = build(recipe)
    report = starting.start_branches(network, recipe, "none")["emotion"]
    expected = resnet50_state(2)["conv1.weight"] + network_of
    assert network.emotion.backbone.graph.conv1.weight.equal(expected)
    assert (report["missing"], report["unexpected"], report["reshaped"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("emotion", "source", "belongs"),
    [
        ("resnet50", "vggface2_ft@{}/vgg.pkl", "vggface2_resnet50"),  # the same key names, another graph
        ("vggface2_resnet50", "dino_resnet50@{}/flat.pth", "resnet50"),
        ("vggface2_resnet50", "torchvision_resnet50_v1@{}/flat.pth", "resnet50"),
        ("narrow_caffe", "vggface2_ft@{}/vgg.pkl", "vggface2_resnet50"),
        ("narrow", "dan_affectnet8@{}/affecnet8.pth", r"dan_resnet18.*'random\+dan_affectnet8"),
        ("narrow", "timm:mobilevitv2_050.cvnets_in1k", r"mobilevitv2_050\.cvnets_in1k"),
    ],
)
def test_another_backbones_weights_are_refused(folder, emotion, source, belongs):
    recipe = replace(SMOKE, emotion=emotion).with_source("emotion", source.format(folder))
    with pytest.raises(ValueError, match=f"its backbone {emotion}, but .* belongs to {belongs}"):
        starting.start_branches(build(recipe), recipe, "none")


def test_a_file_that_is_not_what_its_source_says(folder):
    recipe = replace(SMOKE, emotion="resnet50").with_source("emotion", f"dino_resnet50@{folder / 'affecnet8.pth'}")
    with pytest.raises(ValueError, match=r"dino_resnet50@.* to fit the network, but 0 loaded"):
        starting.start_branches(build(recipe), recipe, "none")


def test_tensors_that_stay_random_are_told(folder, tmp_path):
    state = {key: value for key, value in resnet50_state(2).items() if key != "bn1.weight" and key[:3] != "fc."}
    torch.save(state, tmp_path / "part.pth")
    recipe = replace(SMOKE, emotion="resnet50").with_source("emotion", f"dino_resnet50@{tmp_path / 'part.pth'}")
    with pytest.warns(UserWarning, match=r"1 tensors stay random, such as backbone\.bn1\.weight"):
        report = starting.start_branches(build(recipe), recipe, "none")["emotion"]
    assert report["detail"]["missing"] == ["backbone.bn1.weight"]


def test_timm_weights_bring_their_tags_input(tmp_path):
    """A tag whose mean is 0 and deviation 1, of an architecture whose default tag has ImageNet's."""
    tag = "mobilenetv3_large_100.miil_in21k_ft_in1k"
    model = timm.create_model(tag).eval()
    assert model.pretrained_cfg["mean"] != timm.get_pretrained_cfg("mobilenetv3_large_100").mean
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    recipe = replace(SMOKE, appearances=(("mobile", "mobilenetv3_large_100"),))
    recipe = recipe.with_source("mobile", f"timm:{tag}@{tmp_path / 'w.safetensors'}")
    network = build(recipe, "mobile")
    report = starting.start_branches(network, recipe, "mobile")["appearance"]
    assert (report["missing"], report["reshaped"]) == (0, 0)
    assert set(report["detail"]["unexpected"]) == {"classifier.weight", "classifier.bias"}
    faces = torch.rand(2, 3, 64, 64, generator=torch_generator(0, "faces"))
    mean, std = (torch.tensor(model.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        expected = model.forward_features((faces - mean) / std)
        torch.testing.assert_close(network.eval().appearance.backbone(faces), expected)


# DAN


def wide(**changes):
    """A recipe with the sizes of the official attention heads."""
    return replace(SMOKE, features=512, head_features=256, **changes)


def test_dans_heads_on_another_backbone(folder):
    source = f"vggface2_ft@{folder / 'vgg.pkl'}+dan_affectnet8@{folder / 'affecnet8.pth'}"
    recipe = wide(emotion="vggface2_resnet50").with_source("emotion", source)
    network, official = build(recipe), from_official(folder / "affecnet8.pth")
    report = starting.start_branches(network, recipe, "none")["emotion"]
    assert network.emotion.backbone.graph.conv1.weight.equal(resnet50_state(1)["conv1.weight"])
    for number, head in enumerate(network.emotion.heads):
        expected = getattr(official, f"cat_head{number}").state_dict()
        assert all(value.equal(expected[key]) for key, value in head.state_dict().items())
    assert report["file"] == "vgg.pkl+affecnet8.pth"
    assert report["reshaped"] == 0
    assert {name.split(".")[0] for name in report["detail"]["loaded"]} == {"backbone"}


def test_dans_heads_alone(folder):
    recipe = wide().with_source("emotion", f"random+dan_affectnet8@{folder / 'affecnet8.pth'}")
    network = build(recipe)
    report = starting.start_branches(network, recipe, "none")["emotion"]
    tensors = len(CrossAttentionHead(512, 256).state_dict())
    assert [report[name] for name in COUNTS] == [4 * tensors, 0, 0, 0]
    assert report["detail"]["loaded"][0] == "heads.0.sa.conv1x1.0.weight"
    assert report["sha256"] == files.sha256(folder / "affecnet8.pth")


def test_a_whole_dan_as_emotion_branch(folder):
    """On its own backbone its features and heads are those of the official network on the same faces."""
    recipe = wide(emotion="dan_resnet18").with_source("emotion", f"dan_affectnet8@{folder / 'affecnet8.pth'}")
    network, official = build(recipe).eval(), from_official(folder / "affecnet8.pth")
    report = starting.start_branches(network, recipe, "none")["emotion"]
    assert set(report["detail"]["unexpected"]) == {
        *("fc.weight", "fc.bias", "bn.weight", "bn.bias"),
        *("bn.running_mean", "bn.running_var", "bn.num_batches_tracked"),
    }
    assert (report["missing"], report["reshaped"]) == (0, 0)
    network, official = network.double(), official.double()
    faces = torch.rand(2, 3, 64, 64, generator=torch_generator(0, "faces"), dtype=torch.float64)
    with torch.no_grad():
        out, (_, feature_map, heads) = network.forward_emotion(faces), official(official.normalise(faces))
    torch.testing.assert_close(out.features, feature_map.mean(dim=(2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.heads.log_softmax(dim=1), heads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("change", [{"features": 256}, {"head_features": 128}, {"heads": 2}])
def test_dans_heads_need_its_sizes(folder, change):
    recipe = replace(wide(), **change).with_source("emotion", f"random+dan_rafdb@{folder / 'affecnet8.pth'}")
    with pytest.raises(ValueError, match="'features': 512, 'head_features': 256, 'heads': 4"):
        starting.start_branches(build(recipe), recipe, "none")


def test_heads_are_for_the_emotion_branch(folder):
    recipe = wide().with_source("dino", f"random+dan_affectnet8@{folder / 'affecnet8.pth'}")
    with pytest.raises(ValueError, match="for the emotion branch only, but dino got"):
        starting.start_branches(build(recipe, "dino"), recipe, "dino")


# Sets that pip brings


@pytest.fixture
def packages():
    for name in ("dlib_face", "efficientnet_lite0"):
        try:
            published.locate(name)
        except FileNotFoundError as error:
            pytest.skip(str(error))


@pytest.mark.parametrize("name", ["demo", "workshop", "tiny"])
def test_small_recipes_start_from_what_the_installation_brings(name):
    recipe = find_recipe(name)
    roles = {"emotion": "dlib_face", "vggface2": "dlib_face"}
    roles |= {"dino": "dino_open", "mobilevitv2": "efficientnet_lite0"}
    assert {role: recipe.source(role) for role in roles} == roles
    for role, source in roles.items():
        for part in published.parse(source):
            assert part.published.backbone == backbone_for(recipe, role)
            assert part.published.package
    assert dict(recipe.frozen) == {"dlib_face": 11, "tf_efficientnet_lite0": 3}
    assert (recipe.landmark_start, recipe.statistics) == ("mean", "measured")


@pytest.mark.parametrize("name", ["small", "smoke"])
def test_the_smallest_recipes_need_no_file(name):
    recipe = find_recipe(name)
    assert (recipe.weights, recipe.frozen) == ((), ())


@pytest.mark.parametrize("appearance", ["vggface2", "mobilevitv2", "dino"])
def test_the_demos_branches_hold_what_the_installation_brings(packages, appearance):
    recipe = find_recipe("demo")
    network, untouched = build(recipe, appearance), build(recipe, appearance)
    report = starting.start_branches(network, recipe, appearance)
    (dlib,), (own,) = (published.parse(recipe.source(role)) for role in ("emotion", appearance))
    roles = {"emotion": dlib, "appearance": own}
    for role, part in roles.items():
        graph = getattr(network, role).backbone.graph
        tensors = published.tensors(part)
        state = {k: v for k, v in getattr(graph, "model", graph).state_dict().items() if k in tensors}
        assert state
        assert all(value.equal(tensors[key]) for key, value in state.items())
        told = report[role]
        assert (told["loaded"], told["reshaped"]) == (len(state), 0)
        assert all(key.endswith("num_batches_tracked") for key in told["detail"]["missing"])
        assert told["unexpected"] == len(tensors) - len(state)
        assert told["sha256"].startswith(part.published.sha256)
    kept = {name: value for name, value in untouched.named_parameters() if ".backbone." not in name}
    assert rest_is_random(network, kept)
    still = {name for name, each in network.named_parameters() if not each.requires_grad}
    lite = tuple(f"appearance.backbone.graph.model.{part}." for part in ("conv_stem", "bn1", "blocks"))
    places = ("emotion.backbone.", *{"vggface2": ("appearance.backbone.",), "mobilevitv2": lite}.get(appearance, ()))
    assert still == {name for name, _ in network.named_parameters() if name.startswith(places)}


def test_sets_that_pip_brings_are_for_their_own_backbones(packages):
    for source, belongs in (("dlib_face", "dlib_face"), ("efficientnet_lite0", "tf_efficientnet_lite0")):
        recipe = replace(SMOKE, emotion="narrow").with_source("emotion", source)
        with pytest.raises(ValueError, match=f"its backbone narrow, but {source} belongs to {belongs}, another graph"):
            starting.start_branches(build(recipe), recipe, "none")


# Own runs


def leave_run(path, recipe, appearance, seed=7):
    """A finished run's result and weights, without training one."""
    member = Member(recipe=recipe, appearance=appearance)
    network = MultiTask.build(member, torch_generator(seed, "weights"))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, 0.1, 0.9)
    path.mkdir()
    checkpoints.save_weights(path, {"format": FORMAT, "member": member.spec(), "state": network.state_dict()})
    write_run(Run(folder=path, member=member, kind="rendered", store="", checksums={}))
    return network


@pytest.mark.parametrize(("learned", "classes"), [(8, 6), (7, 6), (6, 6), (6, 8)])
def test_emotion_from_an_own_run(tmp_path, learned, classes):
    donor = leave_run(tmp_path / "run", replace(SMOKE, classes=learned), "none")
    recipe = replace(SMOKE, classes=classes).with_source("emotion", str(tmp_path / "run"))
    network, untouched = build(recipe, "dino"), build(recipe, "dino")
    report = starting.start_branches(network, recipe, "dino")
    for module in ("emotion", "shared"):
        expected = getattr(donor, module).state_dict()
        assert all(value.equal(expected[key]) for key, value in getattr(network, module).state_dict().items())
    for key, value in network.expression.state_dict().items():
        theirs, random = donor.expression.state_dict()[key], untouched.expression.state_dict()[key]
        rows = min(learned, classes) if value.ndim else None
        assert value[:rows].equal(theirs[:rows]) if rows else value.equal(theirs)
        assert rows is None or value[rows:].equal(random[rows:])
    assert rest_is_random(network, {k: v for k, v in untouched.named_parameters() if k.startswith("appearance.")})
    emotion = report["emotion"]
    assert emotion["rows"] == f"{min(learned, classes)} of the run's {learned}, for {classes}"
    assert emotion["kind"] == "run"
    assert emotion["file"] == "weights.pt"
    assert emotion["sha256"] == files.sha256(tmp_path / "run" / "weights.pt")
    assert (emotion["missing"], emotion["unexpected"], emotion["reshaped"]) == (0, 0, 0)
    assert report["appearance"]["kind"] == "random"


def test_appearance_from_an_own_run(tmp_path):
    donor = leave_run(tmp_path / "run", SMOKE, "dino")
    recipe = SMOKE.with_source("dino", str(tmp_path / "run"))
    network, untouched = build(recipe, "dino"), build(recipe, "dino")
    report = starting.start_branches(network, recipe, "dino")["appearance"]
    expected = donor.appearance.state_dict()
    assert all(value.equal(expected[key]) for key, value in network.appearance.state_dict().items())
    kept = {k: v for k, v in untouched.named_parameters() if not k.startswith("appearance.")}
    assert rest_is_random(network, kept)
    assert report["loaded"] == len(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emotion": "narrow"}, "backbone is narrow_caffe, not narrow"),
        ({"normalisation": "imagenet"}, "preprocessing"),
        ({"features": 64}, "features is 32, not 64"),
        ({"shared": (32, 8)}, r"shared is \(32, 16\), not \(32, 8\)"),
    ],
)
def test_a_run_of_another_branch_is_refused(tmp_path, change, message):
    leave_run(tmp_path / "run", SMOKE, "none")
    recipe = replace(SMOKE, **change).with_source("emotion", str(tmp_path / "run"))
    with pytest.raises(ValueError, match=message):
        starting.start_branches(build(recipe), recipe, "none")


def test_a_backbone_of_ones_own_is_not_called_published(tmp_path):
    """A folder as `lsdkit pretrain dino` leaves it."""
    backbone = create("narrow")
    save_file(backbone.graph.state_dict(), tmp_path / published.MADE_WEIGHTS)
    made = published.Published(
        name="dino", backbone="narrow", what="", origin="", licence="", file=published.MADE_WEIGHTS
    )
    files.write_json(tmp_path / published.MADE, {"published": asdict(made)})
    recipe = SMOKE.with_source("dino", str(tmp_path))
    network = build(recipe, "dino")
    report = starting.start_branches(network, recipe, "dino")["appearance"]
    assert report["kind"] == "self-supervised"
    assert report["file"] == published.MADE_WEIGHTS
    assert (report["loaded"], report["missing"]) == (len(backbone.graph.state_dict()), 0)
    assert network.appearance.backbone.graph.conv1.weight.equal(backbone.graph.conv1.weight)


@pytest.mark.parametrize("kind", ["published", "self-supervised", "run", "random"])
def test_a_result_keeps_the_kind_that_it_was_written_with(tmp_path, kind):
    """Results of earlier versions call a backbone of one's own published."""
    leave_run(tmp_path / "run", SMOKE, "dino")
    run = replace(read_run(tmp_path / "run"), started_from={"appearance": {"source": "runs/dino", "kind": kind}})
    write_run(run)
    assert read_run(run.folder).started_from["appearance"]["kind"] == kind
    assert read_run(run.folder).weights_source("appearance") == "run dino"


def test_a_single_task_run_has_no_appearance_branch(tmp_path):
    leave_run(tmp_path / "run", SMOKE, "none")
    recipe = SMOKE.with_source("dino", str(tmp_path / "run"))
    with pytest.raises(ValueError, match="appearance branch, but it is a single-task run"):
        starting.start_branches(build(recipe, "dino"), recipe, "dino")


def test_a_damaged_run_is_named(tmp_path):
    leave_run(tmp_path / "run", SMOKE, "none")
    content = (tmp_path / "run" / "weights.pt").read_bytes()
    (tmp_path / "run" / "weights.pt").write_bytes(content[:-10])
    recipe = SMOKE.with_source("emotion", str(tmp_path / "run"))
    with pytest.raises(checkpoints.Damaged, match=r"weights\.pt are truncated or damaged"):
        starting.start_branches(build(recipe), recipe, "none")
