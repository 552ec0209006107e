"""What is shown of the networks' inside is what they compute: maps, votes, landmarks, what of a crop they take in."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lsdkit.common.landmarks import denormalise, normalise
from lsdkit.data.viewing import View
from lsdkit.method.attention import SpatialAttention
from lsdkit.method.network import MultiTask
from lsdkit.prediction import Panel
from lsdkit.reading.inside import find_evidence, find_window, look_at_crops, look_inside
from lsdkit.reading.reading import read
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.bundles import pack
from lsdkit.training.evaluation import load_faces
from lsdkit.training.member import train_member
from lsdkit.training.runs import read_run

WHOLE, INNER = View(40), View(40, (8, 12, 24), grey=True)


@pytest.fixture(scope="module")
def both_branches(inner, tmp_path_factory):
    """The folder of a run that learned expressions and landmarks from the inner part of its crops."""
    recipe, folder = replace(SMOKE, averaging=0.9, epochs=1), tmp_path_factory.mktemp("both") / "run"
    train_member(Member(recipe=recipe), inner, folder, device="cpu", progress=False)
    return folder


def look(photograph, model):
    panel = Panel.load(model, "cpu")
    (face,) = read(photograph, model=panel).faces
    return look_inside(photograph, face, panel), face, panel


def test_a_map_is_what_a_head_multiplies_onto_its_input():
    torch.manual_seed(0)
    attention = SpatialAttention(8, 4).eval()
    for module in attention.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
    x = torch.randn(2, 8, 5, 3)
    drawn = attention.weigh(x)
    assert drawn.shape == (2, 1, 5, 3)
    assert drawn.min() >= 0
    torch.testing.assert_close(attention(x), x * drawn)


def test_members_answer_as_they_vote(photograph, model):
    inside, face, _ = look(photograph, model)
    assert [each.name for each in inside.members] == ["inner", "whole"]
    votes = np.array([each.probabilities for each in inside.members])
    np.testing.assert_allclose(votes.mean(0), face.probabilities, atol=1e-6)
    assert np.abs(votes[0] - votes[1]).max() > 0.01
    for each, seen, view in zip(inside.members, face.seen, (INNER, WHOLE), strict=True):
        np.testing.assert_array_equal(each.seen, seen)
        assert each.seen.shape[0] == view.window[2]
    np.testing.assert_array_equal(inside.crop, face.crop)


def test_maps_are_shares_of_what_the_heads_multiply(photograph, model):
    inside, _, panel = look(photograph, model)
    for each, network, voter in zip(inside.members, panel.networks, panel.voters, strict=True):
        assert each.attention.shape == (4, 2, 2)
        np.testing.assert_allclose(each.attention.sum((1, 2)), 1, rtol=1e-5)
        with torch.no_grad():
            x = load_faces(each.seen[None], np.arange(1), voter.member, panel.device)
            y = network.emotion.adapters(network.emotion.backbone(x))
            maps = np.array([(head.sa(y).sum(1) / y.sum(1))[0].numpy() for head in network.emotion.heads])
        np.testing.assert_allclose(each.attention, maps / maps.sum((1, 2), keepdims=True), rtol=1e-3)


def test_a_head_that_attends_to_nothing_has_no_shares(photograph, model):
    panel = Panel.load(model, "cpu")
    (face,) = read(photograph, model=panel).faces
    for name in ("conv_3x3", "conv_1x3", "conv_3x1"):
        norm = getattr(panel.networks[0].emotion.heads[1].sa, name)[1]
        torch.nn.init.zeros_(norm.weight)
        torch.nn.init.constant_(norm.bias, -1)
    attention = look_inside(photograph, face, panel).members[0].attention
    assert (attention[1] == 0).all()
    np.testing.assert_allclose(attention[[0, 2, 3]].sum((1, 2)), 1, rtol=1e-5)


def test_the_part_of_a_crop_that_reaches_the_networks(photograph, model):
    inside, _, _ = look(photograph, model)
    assert [each.window for each in inside.members] == [pytest.approx((0.2, 0.3, 0.8, 0.9)), (0, 0, 1, 1)]
    network = MultiTask.build(Member.of("demo", appearance="none"), torch.Generator())
    assert find_window(network, View()) == pytest.approx((0.1, 0.12, 0.9, 0.92))
    mixed = MultiTask.build(Member.of("face_gradients", appearance="none"), torch.Generator())
    assert find_window(mixed, View()) is None  # a place is made of the whole face
    assert find_window(network, View(100, (10, 20, 50))) == pytest.approx((0.1, 0.2, 0.6, 0.7))  # taken as it is


def test_landmarks_are_moved_from_what_is_shown_to_the_crop(photograph, both_branches, runs, tmp_path):
    inside, face, panel = look(photograph, both_branches)
    view, member = panel.views[0], panel.voters[0].member
    assert view == INNER
    x = load_faces(view.show(inside.crop[None]), np.arange(1), member, panel.device)
    with torch.no_grad():
        shown = panel.networks[0].forward_landmarks(x)[0].numpy()
    expected = normalise(denormalise(shown, 24, 24) + np.array([8, 12]), 40, 40)
    np.testing.assert_allclose(inside.predicted, expected, atol=1e-5)
    eyes = inside.landmarks[36:48].mean(0)
    np.testing.assert_allclose((eyes + 1) / 2, (0.5, 0.4), atol=0.03)  # where the alignment puts them
    assert face.landmarks.max() > 1  # and those of the photograph are pixels
    file = pack([read_run(runs / "whole"), read_run(both_branches)], tmp_path / "m.safetensors", name="m", half=False)
    np.testing.assert_allclose(look(photograph, file)[0].predicted, expected, atol=1e-5)


def test_without_an_appearance_branch_there_are_no_landmarks(photograph, runs):
    assert look(photograph, runs / "whole")[0].predicted is None


def test_a_face_cut_out_before_is_followed_alike(photograph, both_branches):
    inside, _, panel = look(photograph, both_branches)
    again = look_at_crops({40: inside.crop}, inside.landmarks, panel)
    part = look_at_crops({40: INNER.show(inside.crop[None])[0]}, inside.landmarks, panel)  # of a store of such parts
    for other in (again, part):
        np.testing.assert_allclose(other.members[0].attention, inside.members[0].attention, rtol=1e-5)
        np.testing.assert_allclose(other.members[0].probabilities, inside.members[0].probabilities, rtol=1e-5)
        np.testing.assert_array_equal(other.members[0].seen, inside.members[0].seen)
    assert again.members[0].window == inside.members[0].window
    assert part.members[0].window == (0, 0, 1, 1)
    shown = normalise(denormalise(part.predicted, 24, 24) + np.array([8, 12]), 40, 40)
    np.testing.assert_allclose(shown, inside.predicted, atol=1e-5)


def test_evidence_is_the_class_activation_map_of_its_gradient(photograph, both_branches):
    inside, _, panel = look(photograph, both_branches)
    network, member = panel.networks[0], panel.voters[0].member
    x = load_faces(inside.members[0].seen[None], np.arange(1), member, panel.device)
    y = network.emotion.adapters(network.emotion.backbone(x)).detach().requires_grad_()
    fused = torch.stack([head(y) for head in network.emotion.heads], 1).log_softmax(1).sum(1)
    logits = network.expression(network.shared(fused))
    torch.testing.assert_close(logits, network(x))
    found = 0
    for expression in range(6):
        (slope,) = torch.autograd.grad(logits[0, expression], y, retain_graph=True)
        expected = (slope.mean((2, 3), keepdim=True) * y).sum(1)[0].relu().detach().numpy()
        evidence = find_evidence(panel, {40: inside.crop}, expression)
        assert evidence.shape == expected.shape
        np.testing.assert_allclose(evidence * expected.sum(), expected, rtol=1e-3, atol=1e-6)
        found += expected.sum() > 0
    assert found


def test_without_captum_that_is_said(photograph, both_branches, monkeypatch):
    inside, _, panel = look(photograph, both_branches)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs captum, which is not installed: pip install 'lsdkit\[explain"
    ):
        find_evidence(panel, {40: inside.crop}, 0)
