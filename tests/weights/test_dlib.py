"""dlib's weights: read from its file format, against dlib itself and against files that the test writes."""

import math

import numpy as np
import pytest
import torch
from skimage import data

from lsdkit.data.store import Store
from lsdkit.method import backbones
from lsdkit.method.recognition import BLOCKS, make_graph
from lsdkit.weights import dlib as reading
from lsdkit.weights.dlib import read_dlib
from lsdkit.weights.published import PUBLISHED, locate

SIDE = 150  # pixels of the faces that dlib describes


# dlib itself


@pytest.fixture(scope="module")
def published_file():
    try:
        return locate("dlib_face")
    except FileNotFoundError as error:
        pytest.skip(str(error))


def pictures():
    """Faces of 150 x 150 pixels and what is none: uint8 (N, 150, 150, 3)."""
    generator, photograph = np.random.default_rng(0), data.astronaut()
    noise = generator.integers(0, 256, (SIDE, SIDE, 3))
    smooth = np.kron(generator.integers(0, 256, (10, 10, 3)), np.ones((15, 15, 1)))
    crops = [photograph[0:150, 150:300], photograph[0:300:2, 100:400:2], photograph[300:450, 300:450]]
    black, white = np.zeros_like(noise), np.full_like(noise, 255)
    return np.stack([*crops, noise, smooth, black, white]).astype(np.uint8)


def describe(faces, tensors):
    """128 numbers of each face: the whole graph, the mean over positions, the linear layer."""
    graph, channels = make_graph(len(BLOCKS))
    tensors = dict(tensors)
    last = tensors.pop("fc.weight")
    graph.load_state_dict(tensors)
    assert last.shape == (reading.DESCRIPTOR, channels)
    normalise = backbones.create("dlib_face").normalise
    with torch.no_grad():
        return (graph(normalise(torch.from_numpy(faces).movedim(3, 1) / 255)).mean((2, 3)) @ last.T).numpy()


def test_faces_are_described_as_by_dlib(published_file):
    dlib = pytest.importorskip("dlib")
    network = dlib.face_recognition_model_v1(str(published_file))
    faces = pictures()
    theirs = np.array([network.compute_face_descriptor(face) for face in faces])
    ours = describe(faces, read_dlib(published_file))
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    assert np.abs(theirs[0] - theirs[3]).max() > 0.1  # what differs is told apart


def test_pictures_of_a_store_are_described_as_by_dlib(published_file, tiny_store: Store):
    """Brought to dlib's size."""
    dlib = pytest.importorskip("dlib")
    network = dlib.face_recognition_model_v1(str(published_file))
    faces = tiny_store.images[[0, 40]].repeat(4, axis=1).repeat(4, axis=2)[:, :SIDE, :SIDE]
    faces = np.ascontiguousarray(faces)
    theirs = np.array([network.compute_face_descriptor(face) for face in faces])
    np.testing.assert_allclose(describe(faces, read_dlib(published_file)), theirs, atol=1e-5, rtol=0)


def test_the_published_file_fills_the_backbone(published_file):
    tensors = read_dlib(published_file)
    graph = backbones.create("dlib_face").graph
    own = {key: value.shape for key, value in graph.state_dict().items()}
    assert {key: tensors[key].shape for key in own} == own
    assert len(tensors) == 2 * 58 + 1
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in tensors.values())


# Files in its format


def packed(value):
    """A whole number as dlib packs it: how many bytes follow (0x80: negative), and they, the lowest first."""
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def named(text):
    return packed(len(text)) + text.encode()


def tensor(values, *, sizes=None):
    sizes = sizes or (len(values), 1, 1, 1)
    return packed(2) + b"".join(map(packed, sizes)) + np.asarray(values, "<f4").tobytes()


def draw_tensors(seed=0):
    """Random numbers under the names and shapes of dlib's network, written down from its description."""
    generator, shapes, inputs = np.random.default_rng(seed), {}, 32

    def layer(at, number, outputs, inputs, side):
        shapes[f"{at}.conv{number}.weight"], shapes[f"{at}.conv{number}.bias"] = (
            (outputs, inputs, side, side),
            (outputs,),
        )
        shapes[f"{at}.affine{number}.gain"] = shapes[f"{at}.affine{number}.offset"] = (outputs,)

    layer("stem", "", 32, 3, 7)
    for number, outputs in enumerate((32, 32, 32, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256, 256), start=1):
        layer(f"block{number}", 1, outputs, inputs, 3)
        layer(f"block{number}", 2, outputs, outputs, 3)
        inputs = outputs
    shapes["fc.weight"] = (128, 256)
    return {key: generator.standard_normal(shape, np.float32) for key, shape in shapes.items()}


def write_dlib(path, tensors, *, leave_out="", grow=""):
    """A file of these tensors as dlib writes one, with what it puts between the layers; where each layer begins.

    `leave_out`: a layer whose name is not written; `grow`: one that has a number too many.
    """
    keys, parts, starts = [*tensors][:-1], [b"\x01\x01", packed(1), named("loss_metric_2"), packed(-3), packed(0)], {}
    parts += [named("input_rgb_image_sized"), b"\x03\x62\x90\xf5\x81\x11", packed(150)]
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        layer = first.rpartition(".")[0]
        numbers = np.concatenate([tensors[first].ravel(), tensors[second].ravel(), [0.5] * (layer == grow)])
        sizes = (1, len(numbers), 1, 1) if "affine" in layer and "block" in layer else None
        starts[layer] = sum(map(len, parts))
        parts.append(packed(1) + (named("affine_" if "affine" in layer else "con_4") if layer != leave_out else b""))
        parts += [packed(1) * (layer != "stem.affine"), tensor(numbers, sizes=sizes)]
        if "affine" in layer:
            parts += [packed(1), named("relu_110"), bytes([1, 2, 1, 0, 1, 0]) * 3]
            parts += [packed(1), named("avg_pool_2"), packed(-128), b"110", packed(70000)]
    starts["fc"] = sum(map(len, parts))
    last = tensors["fc.weight"].T  # a column for each of the 128
    parts += [packed(1), named("fc_2"), packed(128), packed(0), tensor(last.ravel(), sizes=(256, 128, 1, 1))]
    starts["end"] = sum(map(len, parts))
    path.write_bytes(b"".join(parts) + b"\x01\x00tail")
    return starts


def test_every_number_of_a_file_lands_under_its_name(tmp_path):
    tensors = draw_tensors()
    write_dlib(tmp_path / "made.dat", tensors)
    read = read_dlib(tmp_path / "made.dat")
    assert list(read) == list(tensors)
    for key, value in tensors.items():
        assert read[key].dtype == torch.float32, key
        np.testing.assert_array_equal(read[key].numpy(), value, err_msg=key)
    assert math.prod(read["block14.conv2.weight"].shape) == 256 * 256 * 9
    read["stem.conv.weight"].add_(1)  # the file's bytes are not what the tensors live in
    assert read_dlib(tmp_path / "made.dat")["fc.weight"].equal(read["fc.weight"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("dlib") / "made.dat"
    starts = write_dlib(path, draw_tensors())
    return path.read_bytes(), starts


@pytest.mark.parametrize("layer", ["stem.conv", "stem.affine", "block1.conv1", "block8.affine2", "block14.conv2", "fc"])
@pytest.mark.parametrize("after", [0, 4, 20])
def test_a_cut_file_names_the_layer_that_it_lacks(made, tmp_path, layer, after):
    """Before the layer, inside its name, inside its numbers."""
    content, starts = made
    (tmp_path / "cut.dat").write_bytes(content[: starts[layer] + after])
    with pytest.raises(ValueError, match=rf"for {layer} of .*cut\.dat, but they are not there: the file is cut"):
        read_dlib(tmp_path / "cut.dat")


def test_a_file_cut_anywhere_is_refused(made, tmp_path):
    content, starts = made
    ends = np.random.default_rng(0).integers(0, starts["end"], 12).tolist()
    for end in (0, 1, 2, starts["end"] - 1, *ends):
        (tmp_path / "cut.dat").write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"of .*cut\.dat, but they are not there"):
            read_dlib(tmp_path / "cut.dat")


@pytest.mark.parametrize("layer", ["stem.conv", "stem.affine", "block3.conv2", "block10.affine1", "block14.affine2"])
@pytest.mark.parametrize("damage", ["leave_out", "grow"])
def test_a_layer_without_name_or_of_another_size_is_refused(tmp_path, layer, damage):
    """The layer told is that one, or a later one where the next of its name has as many numbers."""
    tensors = draw_tensors()
    write_dlib(tmp_path / "damaged.dat", tensors, **{damage: layer})
    with pytest.raises(
        ValueError, match=r"Expected \d+ numbers of a layer (con_4|affine_) for .* of .*damaged\.dat"
    ) as told:
        read_dlib(tmp_path / "damaged.dat")
    layers = [*dict.fromkeys(key.rpartition(".")[0] for key in tensors)]
    found = next(name for name in layers if f"for {name} of" in str(told.value))
    assert layers.index(found) >= layers.index(layer)
    assert damage != "grow" or found == layer


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 5000, b"\xff" * 5000, b"\x01\x05con_4" * 500, b"PK\x03\x04 a zip archive"]
)
def test_what_is_no_such_file_is_refused(tmp_path, content):
    (tmp_path / "other.dat").write_bytes(content)
    with pytest.raises(ValueError, match=r"for stem\.conv of .*other\.dat, but they are not there"):
        read_dlib(tmp_path / "other.dat")


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.dat"):
        with pytest.raises(FileNotFoundError, match=f"there is no file at {path}$"):
            read_dlib(path)
    assert PUBLISHED["dlib_face"].backbone == "dlib_face"
