"""What the networks of a model compute of one face on the way to their answer, for a look at each step."""

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

    Landmarks are (68, 2) in [-1, 1] of the crop: `landmarks` by dlib, which the crop was aligned by; `predicted` by
    the appearance branch of the first voter that has one, None where none has.
    """

    crop: np.ndarray
    members: tuple[MemberInside, ...]
    landmarks: np.ndarray
    predicted: np.ndarray | None


def look_inside(picture: Image.Image, face: FaceReading, panel: Panel) -> Inside:
    """Every step from a face that `lsdkit.read` found in the upright RGB `picture` to the votes of `panel` on it."""
    cut = {side: align(picture, face.landmarks, side) for side in panel.sizes}
    crops = {side: np.array(crop) for side, (crop, _) in cut.items()}
    first = panel.sizes[0]
    members = tuple(
        _follow(voter, network, view, crops[view.pixels], panel.device)
        for voter, network, view in zip(panel.voters, panel.networks, panel.views, strict=True)
    )
    return Inside(crops[first], members, cut[first][1], _place_landmarks(panel, crops))


def find_window(network: MultiTask, view: View) -> Window | None:
    """The part of an aligned crop that the map of a network's emotion branch covers, of which it is shown `view`.

    Where parts of a backbone take windows of their own, the smallest rectangle that holds them. None where a place of
    the map is made of features of the whole face (`lsdkit.method.gradients.Projection`): it covers no part of it.
    """
    if any(isinstance(each, Projection) for each in network.emotion.modules()):
        return None
    left, top, side = (value / view.pixels for value in view.window)
    windows = [each.window for each in network.emotion.modules() if isinstance(each, Backbone) and each.window]
    if not view.whole or not windows:  # a part of a crop is taken as it is
        return left, top, left + side, top + side
    lefts, tops, sides, _ = np.array(windows).T
    return tuple(float(value) for value in (lefts.min(), tops.min(), (lefts + sides).max(), (tops + sides).max()))


@torch.no_grad()
def _follow(voter: Voter, network: MultiTask, view: View, crop: np.ndarray, device: torch.device) -> MemberInside:
    seen, x = _show(voter, network, view, crop, device)
    y = network.emotion.adapters(network.emotion.backbone(x))
    maps = torch.cat([head.sa.weigh(y)[:, 0] for head in network.emotion.heads]).float().cpu().numpy()  # (k, h, w)
    sums = maps.sum((1, 2), keepdims=True)
    shares = np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0)
    logits = network(x)[:, : len(EXPRESSIONS)].float().cpu().numpy()
    return MemberInside(voter.name, seen, find_window(network, view), shares, softmax(logits)[0])


def _show(
    voter: Voter, network: MultiTask, view: View, crop: np.ndarray, device: torch.device
) -> tuple[np.ndarray, Tensor]:
    """A face as a network is shown it: as a picture, and as it takes it, (1, 3, S, S)."""
    seen = view.show(crop[None])
    mark_aligned(network, view.whole)
    return seen[0], load_faces(seen, np.arange(1), voter.member, device)


@torch.no_grad()
def _place_landmarks(panel: Panel, crops: dict[int, np.ndarray]) -> np.ndarray | None:
    """Where the first appearance branch of a panel places the 68 points, (68, 2) in [-1, 1] of the crop."""
    for voter, network, view in zip(panel.voters, panel.networks, panel.views, strict=True):
        if isinstance(voter, Packed) and voter.landmarks:  # a panel holds what expressions need
            network = _load_both(voter, panel.device)
        if network.multitask:
            _, x = _show(voter, network, view, crops[view.pixels], panel.device)
            left, top, side = view.window
            points = (network.forward_landmarks(x)[0].float().cpu().numpy() + 1) / 2 * side + (left, top)  # pixels
            return 2 * points / view.pixels - 1
    return None


@lru_cache(maxsize=1)
def _load_both(voter: Packed, device: torch.device) -> MultiTask:
    return voter.build(device, landmarks=True)
