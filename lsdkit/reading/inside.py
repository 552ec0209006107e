"""What the networks of a model compute of one face on the way to their answer, for a look at each step."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.alignment import align
from lsdkit.data.viewing import View
from lsdkit.method.backbones import Backbone, mark_aligned
from lsdkit.method.gradients import Projection
from lsdkit.method.network import MultiTask
from lsdkit.prediction import Panel, Voter
from lsdkit.reading.reading import FaceReading
from lsdkit.training.bundles import Packed
from lsdkit.training.evaluation import load_faces, softmax

Window = tuple[float, float, float, float]  # left, top, right and bottom of a part of the crop, in shares of its side


@dataclass(frozen=True, eq=False)
class MemberInside:
    """What one network makes of a face.

    seen: what it is shown of the aligned crop, uint8 (s, s, 3). window: the part of the crop that the map of the
    emotion branch covers, None where its places are no parts of the face. attention: (k, h, w), the map of each head,
    in shares of the head's sum; zeros where a head attends to nothing. probabilities: (6,).
    """

    name: str
    seen: np.ndarray
    window: Window | None
    attention: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Inside:
    """What a model makes of a face: its aligned crop, uint8 (S, S, 3), and a `MemberInside` for each voter.

    Landmarks are (68, 2) in [-1, 1] of the crop: `landmarks` as they are known (of a photograph by dlib, which the crop
    was aligned by); `predicted` by the appearance branch of the first voter that has one, None where none has.
    """

    crop: np.ndarray
    members: tuple[MemberInside, ...]
    landmarks: np.ndarray
    predicted: np.ndarray | None


def look_inside(picture: Image.Image, face: FaceReading, panel: Panel) -> Inside:
    """Every step from a face that `lsdkit.read` found in the upright RGB `picture` to the votes of `panel` on it."""
    cut = {side: align(picture, face.landmarks, side) for side in panel.sizes}
    crops = {side: np.array(crop) for side, (crop, _) in cut.items()}
    return look_at_crops(crops, cut[panel.sizes[0]][1], panel)


def look_at_crops(
    crops: Mapping[int, np.ndarray], landmarks: np.ndarray, panel: Panel, *, aligned: bool = True
) -> Inside:
    """The same of a face that was cut out before, such as a store's.

    crops: uint8 (S, S, 3) by the sides that `panel` asks for; one that has the side of what a network is shown was cut
    to it already. landmarks: (68, 2) in [-1, 1] of the first. aligned: whether they are cut as our alignment cuts.
    """
    asked = zip(panel.voters, panel.networks, panel.views, strict=True)
    members = tuple(
        _follow(voter, network, *_fit(view, crops[view.pixels], aligned), crops[view.pixels], panel.device)
        for voter, network, view in asked
    )
    return Inside(crops[panel.sizes[0]], members, landmarks, _place_landmarks(panel, crops, aligned))


def find_evidence(
    panel: Panel, crops: Mapping[int, np.ndarray], expression: int, *, aligned: bool = True
) -> np.ndarray:
    """Grad-CAM of a panel's first network: what speaks for `expression`, 0..5, (h, w) in shares of the sum.

    Of the map that the heads attend to, the channels weighted by the mean gradient of the class's logit, where that is
    above 0; zeros where nothing speaks for the class. Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391, by
    captum. `crops` and `aligned` as of `look_at_crops`. Raises `ModuleNotFoundError` where captum is not installed.
    """
    try:
        from captum.attr import LayerGradCam  # an optional extra, so not at the head of the file
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Grad-CAM needs captum, which is not installed: pip install 'lsdkit[explain]'"
        ) from error
    voter, network, view = panel.voters[0], panel.networks[0], panel.views[0]
    crop = crops[view.pixels]
    _, x = _show(voter, network, *_fit(view, crop, aligned), crop, panel.device)
    found = LayerGradCam(network, network.emotion.adapters).attribute(x, expression, relu_attributions=True)
    return _share(found[0].detach().float().cpu().numpy())[0]


def find_window(network: MultiTask, view: View, aligned: bool = True) -> Window | None:
    """The part of a crop, `aligned` as ours are, that the map of a network's emotion branch covers, shown `view` of it.

    Where parts of a backbone take windows of their own, the smallest rectangle that holds them. None where a place of
    the map is made of features of the whole face (`lsdkit.method.gradients.Projection`): it covers no part of it.
    """
    if any(isinstance(each, Projection) for each in network.emotion.modules()):
        return None
    left, top, side = (value / view.pixels for value in view.window)
    windows = [each.window for each in network.emotion.modules() if isinstance(each, Backbone) and each.window]
    if not (view.whole and aligned) or not windows:  # a part of a crop is taken as it is
        return left, top, left + side, top + side
    lefts, tops, sides, _ = np.array(windows).T
    return tuple(float(value) for value in (lefts.min(), tops.min(), (lefts + sides).max(), (tops + sides).max()))


@torch.no_grad()
def weigh_places(network: MultiTask, x: Tensor) -> np.ndarray:
    """The map of each attention head, (B, k, h, w), for faces x (B, 3, S, S) as the network takes them.

    In shares of the head's sum; zeros where a head attends to nothing. The network is to be in evaluation mode.
    """
    y = network.emotion.adapters(network.emotion.backbone(x))
    maps = torch.cat([head.sa.weigh(y) for head in network.emotion.heads], dim=1).float().cpu().numpy()
    sums = maps.sum((2, 3), keepdims=True)
    return np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0)


def _fit(view: View, crop: np.ndarray, aligned: bool) -> tuple[View, bool]:
    """What of this very picture a network is shown, and whether windows of aligned crops fit it."""
    if not view.whole and len(crop) == view.window[2]:  # cut before
        return View(len(crop), grey=view.grey), False
    return view, aligned and view.whole


def _share(maps: np.ndarray) -> np.ndarray:
    """Maps (k, h, w) in shares of their sums; zeros where that is 0."""
    sums = maps.sum((1, 2), keepdims=True)
    return np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0)


@torch.no_grad()
def _follow(
    voter: Voter, network: MultiTask, view: View, aligned: bool, crop: np.ndarray, device: torch.device
) -> MemberInside:
    seen, x = _show(voter, network, view, aligned, crop, device)
    y = network.emotion.adapters(network.emotion.backbone(x))
    maps = torch.cat([head.sa.weigh(y)[:, 0] for head in network.emotion.heads]).float().cpu().numpy()  # (k, h, w)
    logits = network(x)[:, : len(EXPRESSIONS)].float().cpu().numpy()
    return MemberInside(voter.name, seen, find_window(network, view, aligned), _share(maps), softmax(logits)[0])


def _show(
    voter: Voter, network: MultiTask, view: View, aligned: bool, crop: np.ndarray, device: torch.device
) -> tuple[np.ndarray, Tensor]:
    """A face as a network is shown it: as a picture, and as it takes it, (1, 3, S, S)."""
    seen = view.show(crop[None])
    mark_aligned(network, aligned)
    return seen[0], load_faces(seen, np.arange(1), voter.member, device)


@torch.no_grad()
def _place_landmarks(panel: Panel, crops: Mapping[int, np.ndarray], aligned: bool) -> np.ndarray | None:
    """Where the first appearance branch of a panel places the 68 points, (68, 2) in [-1, 1] of the crop."""
    for voter, network, own in zip(panel.voters, panel.networks, panel.views, strict=True):
        if isinstance(voter, Packed) and voter.landmarks:  # a panel holds what expressions need
            network = _load_both(voter, panel.device)
        if network.multitask:
            crop = crops[own.pixels]
            view, whole = _fit(own, crop, aligned)
            _, x = _show(voter, network, view, whole, crop, panel.device)
            left, top, side = view.window
            points = (network.forward_landmarks(x)[0].float().cpu().numpy() + 1) / 2 * side + (left, top)  # pixels
            return 2 * points / view.pixels - 1
    return None


@lru_cache(maxsize=1)
def _load_both(voter: Packed, device: torch.device) -> MultiTask:
    return voter.build(device, landmarks=True)
