"""Backbones (paper section 2.2): an architecture and the preprocessing that its weights need, as one thing.

`create(name)` gives a network, with random weights, from RGB faces in [0, 1] to a feature map; `backbone_for` says
which one a recipe has where. Two weight conventions exist: *Caffe* (VGGFace2-ResNet50, Cao et al. 2018,
https://arxiv.org/abs/1710.08092): BGR, 0-255, minus the mean; and *torchvision*: RGB, ImageNet mean and standard
deviation. timm models say their own, for each published tag of one. CONTRIBUTING.md says how to add one. timm and
torchvision, which take longer to load than torch, are loaded where a backbone of theirs is asked for.
"""

import difflib
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdkit.method import recognition
from lsdkit.method.gradients import BLOCK, CELLS, CHANNELS, OrientedGradients, Projection, gradients
from lsdkit.recipes import Recipe, check_choice

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of [0, 1]
VGGFACE2_MEAN_BGR = (91.4953, 103.8827, 131.0912)  # of 0-255
INNER = (0.2, 0.28, 0.6, 72)  # left, top and side of the inner face in an aligned crop, and the pixels it is seen with
FACE_DROPOUT = 0.9  # of the projection of the face network's map and the histograms
NARROW = (24, 48, 96)  # channels of the small residual networks' three stages, one basic block each


class Backbone(nn.Module):
    """RGB faces (B, 3, S, S) in [0, 1] -> feature map (B, C, h, w); `channels` is C.

    The preprocessing is one multiplication and one addition: y = gain x + offset, after RGB -> BGR where `bgr`.
    `window`: (left, top, side, pixels), the part of an aligned crop that the weights take, and its side in pixels; of
    faces that are not `aligned` as our crops are, the whole picture is taken. `frozen`: how many of the graph's first
    parts are not trained: they get no gradient, their batch norms keep what they hold, and training stores no
    activations for them.
    """

    def __init__(
        self,
        graph: nn.Module,
        channels: int,
        *,
        mean: tuple,
        std: tuple,
        scale: float = 1,
        bgr: bool = False,
        window: tuple = (),
        frozen: int = 0,
        name: str = "",
    ):
        super().__init__()
        self.graph, self.channels, self.bgr, self.window, self.name = graph, channels, bgr, window, name
        self.aligned = True
        parts = list(getattr(graph, "model", graph).children())
        if frozen > len(parts):
            raise ValueError(f"Expected at most {len(parts)} `frozen` parts of this backbone, but got {frozen}")
        self.frozen = parts[:frozen]  # in a list, which registers no module twice
        for part in self.frozen:
            part.requires_grad_(False).eval()
        mean, std = (torch.tensor(value, dtype=torch.float64).view(1, 3, 1, 1) for value in (mean, std))
        self.register_buffer("gain", (scale / std).float(), persistent=False)
        self.register_buffer("offset", (-mean / std).float(), persistent=False)

    def normalise(self, x: Tensor) -> Tensor:
        """RGB in [0, 1] -> what the weights expect; the same shape."""
        return (x.flip(1) if self.bgr else x) * self.gain + self.offset

    def look(self, x: Tensor) -> Tensor:
        """What the weights see of faces (B, C, S, S): all, or their window at its size."""
        if not self.window:
            return x
        *place, pixels = self.window
        left, top, side = (round(part * x.shape[-1]) for part in (place if self.aligned else (0, 0, 1)))
        x = x[:, :, top : top + side, left : left + side]
        return F.interpolate(x, (pixels, pixels), mode="bilinear", antialias=True, align_corners=False)

    def find(self, name: str) -> nn.Module | None:
        """The graph that weights of the backbone `name` belong to: its own, or that of one which it begins with."""
        found = [each.graph for each in self.modules() if isinstance(each, Backbone) and each.name == name]
        return getattr(found[0], "model", found[0]) if found else None

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C, h, w)."""
        return self.graph(self.normalise(self.look(x)))


def create(name: str, *, normalisation: str = "backbone", frozen: int = 0) -> Backbone:
    """The backbone of this name, with random weights from torch's current generator.

    A timm model's name may carry a tag ("mobilevitv2_200.cvnets_in22k_ft_in1k"), which decides the preprocessing.
    `normalisation`: "backbone" (what its weights expect) or "imagenet" (ImageNet's, RGB, whatever the backbone).
    `frozen`: how many of the graph's first parts are not trained. Raises `ValueError` for an unknown name, with the
    valid ones, and for more frozen parts than there are.

    >>> create("narrow").channels
    96
    """
    options = preprocessing(name, normalisation)
    graph, channels = OWN[name][0]() if name in OWN else _timm(name)
    return Backbone(graph, channels, **options, frozen=frozen, name=name)


def create_for(recipe: Recipe, role: str) -> Backbone:
    """The backbone that a recipe has for "emotion" or for the name of an appearance backbone, with random weights."""
    name = backbone_for(recipe, role)
    frozen = dict(recipe.frozen).get(name.partition(".")[0], 0)
    return create(name, normalisation=recipe.normalisation, frozen=frozen)


def mark_aligned(network: nn.Module, aligned: bool) -> None:
    """Tell every backbone of a network whether the faces to come are cut as our alignment cuts them."""
    for module in network.modules():
        if isinstance(module, Backbone):
            module.aligned = aligned


def backbone_for(recipe: Recipe, role: str) -> str:
    """Which backbone? The name of the one that a recipe has for "emotion" or for the name of an appearance backbone.

    Where its weights are timm's, the name carries their very tag, which decides the preprocessing. Raises `ValueError`
    for a tag that timm lacks; other names are checked by `create`.

    >>> from lsdkit.recipes import PAPER
    >>> [backbone_for(PAPER, role) for role in ("emotion", "dino", "mobilevitv2")]
    ['vggface2_resnet50', 'resnet50', 'mobilevitv2_200.cvnets_in22k_ft_in1k']
    """
    name = recipe.emotion if role == "emotion" else recipe.appearance_backbone(role)
    source = recipe.source(role)
    if source.startswith("timm:"):
        config = timm_config(source.removeprefix("timm:").partition("@")[0])
        if config.architecture == name:
            return f"{name}.{config.tag}"
    return name


def timm_config(tag: str) -> "PretrainedCfg":
    """What timm knows of the weights that it publishes under a tag: `architecture`, `tag`, `url`, `license` and more.

    A name without a tag stands for timm's default tag of it. Raises `ValueError` for a tag that timm has no weights of.

    >>> timm_config("mobilevitv2_200").tag
    'cvnets_in1k'
    """
    import timm

    tags = timm.list_pretrained()
    config = timm.get_pretrained_cfg(tag) if tag in tags or ("." not in tag and timm.is_model(tag)) else None
    if config is None or not config.has_weights:
        close = ", ".join(difflib.get_close_matches(tag, tags, n=5))
        raise ValueError(f"Expected a model that timm has weights of, but got {tag!r}; close: {close or 'none'}")
    return config


def preprocessing(name: str, normalisation: str = "backbone") -> dict:
    """What a backbone of this name does to RGB faces in [0, 1]: the arguments of `Backbone` after the channels.

    >>> preprocessing("vggface2_resnet50")["bgr"], preprocessing("mobilevitv2_200")["std"]
    (True, (1.0, 1.0, 1.0))
    """
    check_name(name)
    check_choice("normalisation", normalisation, ("backbone", "imagenet"))
    if normalisation == "imagenet":
        return _TORCHVISION
    if name in OWN:
        return OWN[name][1]
    import timm

    config = timm.get_pretrained_cfg(name)
    return {"mean": config.mean, "std": config.std}


def check_name(name: str) -> None:
    """Raise `ValueError`, with the valid names and those close to it, for one that is no backbone's."""
    if name in OWN:
        return
    import timm

    if name not in (valid := [*timm.list_models(), *timm.list_pretrained()]):
        close = difflib.get_close_matches(name, [*OWN, *valid], n=5)
        raise ValueError(
            f"Expected a backbone to be one of {', '.join(OWN)} or a timm model, but got {name!r}."
            + (f" Close: {', '.join(close)}." if close else "")
        )


def _vggface2_resnet50() -> tuple[nn.Module, int]:
    """The Caffe graph under torchvision's key names: a stage strides in its first 1x1, the pooling rounds up."""
    network = _resnet("resnet50")
    for stage in (network.layer2, network.layer3, network.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    network.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    return _without_head(network)


def _dan_resnet18() -> tuple[nn.Module, int]:
    """ResNet18 without its last two children, numbered as in the official DAN's `features`."""
    return nn.Sequential(*list(_resnet("resnet18").children())[:-2]), 512


def _resnet(name: str) -> nn.Module:
    """torchvision's, with random weights."""
    import torchvision

    return getattr(torchvision.models, name)(weights=None)


def _without_head(network: nn.Module) -> tuple[nn.Module, int]:
    """All but `avgpool` and `fc`, under the same names, so that published weights fit by key."""
    return nn.Sequential(OrderedDict(list(network.named_children())[:-2])), network.fc.in_features


class FaceGradients(nn.Module):
    """dlib's face-recognition map and histograms of gradients side by side, each of its own part of an aligned crop.

    Two views of a face that err differently: one learned from photographs who people are, the other learned nothing.
    Their projection begins with `Directions`, which are to be fitted. (B, 3, S, S) in [0, 1] -> (B, 96, 3, 3).
    """

    def __init__(self):
        super().__init__()
        self.face = create("dlib_face")
        self.face.window = (*self.face.window[:3], recognition.CHIP)
        self.histograms = Backbone(OrientedGradients(), BLOCK, **_AS_IT_IS, window=INNER)
        sizes = (self.face.channels, recognition.CHIP_SIDE), (BLOCK, CELLS - 1)
        self.projection = Projection(*sizes, dropout=FACE_DROPOUT, fixed=True)

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the projection sees: the maps (B, 128, 8, 8) and (B, 36, 8, 8)."""
        return self.face(x), self.histograms(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(*self.measure(x))


def _narrow(padding: int = 1, ceil_mode: bool = False) -> tuple[nn.Module, int]:
    """A residual network for two CPU cores: 16 times fewer positions than pixels a side (48 px -> 3 x 3).

    With VGGFace2's pooling (and its input) it is the small stand-in for that graph.
    """
    from torchvision.models.resnet import BasicBlock

    inputs, parts = NARROW[0], OrderedDict()
    parts["conv1"] = nn.Conv2d(3, inputs, 5, stride=2, padding=2, bias=False)
    parts["bn1"] = nn.BatchNorm2d(inputs)
    parts["relu"] = nn.ReLU()
    parts["maxpool"] = nn.MaxPool2d(3, 2, padding, ceil_mode=ceil_mode)
    for number, outputs in enumerate(NARROW, start=1):
        stride = 1 if number == 1 else 2
        shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
        block = BasicBlock(inputs, outputs, stride, None if number == 1 else nn.Sequential(*shortcut))
        parts[f"layer{number}"] = nn.Sequential(block)
        inputs = outputs
    network = nn.Sequential(parts)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network, inputs


class _TimmMap(nn.Module):
    """A timm model's last feature map as (B, C, h, w), be it a convolutional one or one of tokens."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        y = self.model.forward_features(x)
        if y.ndim == 3:  # tokens (B, T, C), the first of them no patches
            y = y[:, getattr(self.model, "num_prefix_tokens", 0) :].transpose(1, 2)
            return y.unflatten(2, (int(y.shape[2] ** 0.5), -1))
        return y.permute(0, 3, 1, 2) if getattr(self.model, "output_fmt", "NCHW") == "NHWC" else y


def _timm(name: str) -> tuple[nn.Module, int]:
    import timm

    model = timm.create_model(name, pretrained=False, num_classes=0)
    return _TimmMap(model), model.num_features


_TORCHVISION = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_CAFFE = {"mean": VGGFACE2_MEAN_BGR, "std": (1.0, 1.0, 1.0), "scale": 255.0, "bgr": True}
_AS_IT_IS = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
OWN = {  # name -> what makes its graph and says its channels, and its preprocessing
    "vggface2_resnet50": (_vggface2_resnet50, _CAFFE),
    "resnet50": (lambda: _without_head(_resnet("resnet50")), _TORCHVISION),
    "dan_resnet18": (_dan_resnet18, _TORCHVISION),
    "narrow_caffe": (partial(_narrow, padding=0, ceil_mode=True), _CAFFE),
    "narrow": (_narrow, _TORCHVISION),
    "dlib_face": (
        recognition.make_graph,
        {
            "mean": tuple(value / 256 for value in recognition.MEAN),
            "std": (1.0,) * 3,
            "scale": 255 / 256,
            "window": recognition.WINDOW,
        },
    ),
    "gradients": (gradients, _AS_IT_IS),
    "face_gradients": (lambda: (FaceGradients(), CHANNELS), _AS_IT_IS),
}
