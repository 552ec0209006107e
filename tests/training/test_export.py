"""A member as an ONNX file: onnxruntime's answers are the kit's own, whatever the backbone; and what is refused."""

import importlib.util
import json
import re
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from lsdkit.cli import main
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import denormalise
from lsdkit.common.seeds import torch_generator
from lsdkit.data.viewing import View
from lsdkit.method.network import MultiTask
from lsdkit.prediction import predict
from lsdkit.recipes import DEMO, RECIPES, SMOKE, Member
from lsdkit.training import checkpoints, evaluation, export
from lsdkit.training.runs import write_run
from lsdkit.training.starting import start_branches
from tests.fake_runs import make_run, store_of
from tests.schematic import face

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

BATCH_NORMS = torch.nn.BatchNorm1d | torch.nn.BatchNorm2d
SINGLE = Member(recipe=replace(SMOKE, emotion="narrow"), appearance="none")
MEMBERS = {  # one for each emotion branch that the small recipes have, and one of timm's
    **{recipe.emotion: Member(recipe=recipe) for recipe in RECIPES.values() if recipe.image_size <= 112},
    "MobileViTv2": Member(recipe=replace(SMOKE, emotion="mobilevitv2_050", image_size=64), appearance="none"),
}


def draw_faces(size, seed=0):
    """uint8 (6, S, S, 3): three of noise, and three with shades, edges and some grain, as renders have."""
    generator = np.random.default_rng(seed)
    faces = list(generator.integers(0, 256, (3, size, size, 3), dtype=np.uint8))
    points = denormalise(face(), 4 * size, 4 * size)
    for number in range(3):
        skin, hair, lips = (tuple(map(int, colour)) for colour in generator.integers(0, 256, (3, 3)))
        picture = Image.new("RGB", (4 * size, 4 * size), hair)
        pencil = ImageDraw.Draw(picture)
        pencil.polygon([*map(tuple, points[:17]), (3 * size, size // 2), (size, size // 2)], skin)
        for part in (points[36:42], points[42:48], points[48:60]):
            pencil.polygon([tuple(point + number * 3) for point in part], lips)
        picture = picture.filter(ImageFilter.GaussianBlur(4 * number))
        picture = np.asarray(picture.resize((size, size), Image.Resampling.BOX), float)
        faces.append((picture + generator.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8))
    return np.stack(faces)


def measure(norm, inputs):
    """Have a batch norm's statistics be those of what it is given.

    What hardly varies, such as the channels of an untrained head, would come out as rounding noise: the deviation is at
    least a tenth of the mean, as of a network that learned.
    """
    dims = [0, *range(2, inputs[0].ndim)]
    mean, variance = inputs[0].mean(dims), inputs[0].var(dims, correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance.maximum((mean / 10) ** 2))


def leave_run(folder, member, **changes):
    """A finished run whose network starts as its recipe says, with batch norm's statistics of the drawn faces."""
    network = MultiTask.build(member, torch_generator(1, "test"))
    start_branches(network, member.recipe, member.appearance)
    faces = np.concatenate([draw_faces(member.recipe.image_size, seed) for seed in range(1, 9)])
    faces = torch.from_numpy(faces).permute(0, 3, 1, 2) / 255
    norms = [module for module in network.eval().modules() if isinstance(module, BATCH_NORMS)]
    hooks = [module.register_forward_pre_hook(measure) for module in norms]
    with torch.no_grad():
        network(faces)
        if network.multitask:
            network.forward_landmarks(faces)
    for hook in hooks:
        hook.remove()
    checkpoints.save_weights(folder, {"format": 1, "member": member.spec(), "state": network.state_dict()})
    write_run(make_run(folder, member, **changes))
    return folder


def ask(file, faces):
    """What onnxruntime answers by name for uint8 faces, one at a time and five at once."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    x = np.ascontiguousarray(faces.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    batches = [x[:1], x[1:]]
    assert [len(batch) for batch in batches] == [1, 5]
    parts = [session.run(None, {"faces": batch}) for batch in batches]
    return dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))


def apart(theirs, ours):
    """The largest distance, as a share of the largest of ours where that is above 1."""
    ours = np.asarray(ours)
    assert theirs.shape == ours.shape
    return np.abs(theirs - ours).max() / max(1, np.abs(ours).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_onnxruntime_answers_as_the_run_does(tmp_path, name):
    member = MEMBERS[name]
    run, file, faces = leave_run(tmp_path / "run", member), tmp_path / "a.onnx", draw_faces(member.recipe.image_size)
    part = "emotion" if member.appearance == "none" else "member"
    export.export_run(run, file, part=part)
    onnx.checker.check_model(file, full_check=True)
    answers, network = ask(file, faces), evaluation.load_network(run)
    assert tuple(answers) == export.PARTS[part]
    assert apart(answers["probabilities"], predict(run, faces)) < 1e-4
    assert predict(run, faces).std(0).max() > 1e-3  # which are not the same for all faces
    x = torch.from_numpy(faces).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        assert apart(answers["logits"], network(x)) < 1e-4
        if part == "member":
            assert apart(answers["landmarks"], network.forward_landmarks(x)) < 1e-4


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A run with the same frozen trunk in both branches, on inner crops without colour, and its two files."""
    folder = tmp_path_factory.mktemp("frozen")
    recipe = replace(DEMO, image_size=48)
    view = View(112, (22, 31, 67), grey=True)
    sources = {role: {"source": f"dlib_face@{folder}/weights.dat"} for role in ("emotion", "appearance")}
    run = leave_run(folder / "run", Member(recipe=recipe), view=view, started_from=sources)
    for part in export.PARTS:
        export.export_run(run, folder / f"{part}.onnx", part=part)
    return run, folder


@pytest.mark.slow
def test_the_file_says_whose_it_is_and_what_it_takes(frozen):
    _, folder = frozen
    model = onnx.load(folder / "member.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["expressions"].split(",") == list(EXPRESSIONS)
    assert told["name"] == "demo-mixaugment-vggface2-basic-bag0-seed0-image_size_48"
    assert (told["part"], told["image_size"]) == ("member", "48")
    assert json.loads(told["crop"]) == {"aligned": True, "pixels": 112, "window": [22, 31, 67], "grey": True}
    assert told["trained_on"].startswith("rendered faces")
    assert json.loads(told["weights"]) == {"emotion": "dlib_face", "appearance": "dlib_face"}
    assert told["weights_sha256"] == "0" * 64
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "faces": ["batch", 3, 48, 48],
        "probabilities": ["batch", 6],
        "logits": ["batch", 6],
        "landmarks": ["batch", 68, 2],
    }


@pytest.mark.slow
def test_nothing_is_in_it_twice_and_no_path_of_this_machine(frozen):
    run, folder = frozen
    content = {part: (folder / f"{part}.onnx").read_bytes() for part in export.PARTS}
    assert not any(str(place).encode() in text for text in content.values() for place in (folder, export.__file__))
    assert b"lsdkit/" not in content["member"]
    weights = [tensor.raw_data for tensor in onnx.load_from_string(content["member"]).graph.initializer]
    large = [data for data in weights if len(data) > 1000]
    assert len(large) == len(set(large))
    trunk = evaluation.load_network(run).appearance.backbone
    numbers = sum(tensor.numel() for tensor in trunk.state_dict().values())
    assert len(content["member"]) - len(content["emotion"]) < 4 * numbers / 10
    export.export_run(run, folder / "again.onnx", part="member")
    assert (folder / "again.onnx").read_bytes() == content["member"]


@pytest.mark.slow
def test_what_the_page_shows_gives_the_runs_answers(frozen, tmp_path, monkeypatch):
    run, folder = frozen
    crop = draw_faces(112)[4]
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "emotion.onnx", tmp_path / "member.onnx")
    Image.fromarray(crop).save(tmp_path / "crop.png")
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    (code,) = re.findall(r"(?m)^    import json\n(?:(?:    .*)?\n)+", page)
    names = {}
    exec(textwrap.dedent(code), names)
    np.testing.assert_allclose(names["probabilities"], predict(run, crop[None]), atol=0.02)  # pixels round apart


@pytest.mark.slow
def test_the_parts_agree_on_expressions(frozen):
    _, folder = frozen
    emotion, member = (ask(folder / f"{part}.onnx", draw_faces(48)) for part in export.PARTS)
    np.testing.assert_allclose(emotion["logits"], member["logits"], atol=1e-4)
    assert set(member) - set(emotion) == {"landmarks"}


@pytest.mark.slow
def test_faces_that_are_not_aligned_are_seen_whole_and_six_of_eight_classes_are_left(tiny_store, tmp_path):
    recipe = replace(SMOKE, emotion="dlib_face", weights=(("emotion", "dlib_face"),), classes=8, image_size=200)
    run = leave_run(tmp_path / "run", Member(recipe=recipe, appearance="none"), store=store_of(tiny_store))
    faces = draw_faces(200)  # larger than the weights' pixels
    whole, cut = predict(run, faces, aligned=False), predict(run, faces, aligned=True)
    assert np.abs(whole - cut).max() > 1e-3
    for file, options, expected in ((tmp_path / "1.onnx", {}, whole), (tmp_path / "2.onnx", {"aligned": True}, cut)):
        export.export_run(run, file, **options)
        answers = ask(file, faces)
        assert apart(answers["probabilities"], expected) < 1e-4
        np.testing.assert_allclose(answers["probabilities"].sum(1), 1, atol=1e-6)
        told = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
        assert json.loads(told["crop"])["aligned"] == bool(options)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return leave_run(tmp_path_factory.mktemp("single") / "run", SINGLE)


@pytest.mark.slow
def test_the_command_writes_says_so_and_never_overwrites(single, tmp_path, capsys):
    file = tmp_path / "a.onnx"
    command = ["export", str(single), "--out", str(file)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert f"{file}: {SINGLE.name}" in said
    assert "probabilities, logits; at most" in said
    written = file.read_bytes()
    assert main(command) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert file.read_bytes() == written


@pytest.mark.slow
def test_a_file_whose_answers_differ_gets_no_name(single, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"probabilities of .*run in ONNX within -1 of torch's"):
        export.export_run(single, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_torch_cannot_convert_is_told_in_words(single, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise torch.onnx.OnnxExporterError("Failed to export the model\n a page of advice") from ValueError("no sort")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match=r"convert to ONNX, but .*run's it cannot \(no sort\); take a member"):
        export.export_run(single, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused_before_any_work(single, tmp_path, monkeypatch, capsys):
    file = tmp_path / "a.onnx"
    with pytest.raises(ValueError, match=r"learned landmarks for the part 'member', but .*run did not"):
        export.export_run(single, file, part="member")
    with pytest.raises(ValueError, match="`part` to be one of 'emotion', 'member', but got 'landmarks'"):
        export.export_run(single, file, part="landmarks")
    with pytest.raises(ValueError, match=r"a file that ends in .onnx, but got a.json"):
        export.export_run(single, tmp_path / "a.json")
    assert main(["export", str(tmp_path), "--out", str(file)]) == 2
    assert f"Expected a finished run in {tmp_path}" in capsys.readouterr().err
    assert main(["export", str(single)]) == 2
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(ValueError, match=r"onnx, onnx_ir, onnxruntime, onnxscript is absent: pip install 'lsdkit"):
        export.export_run(single, file)
    assert not file.exists()
