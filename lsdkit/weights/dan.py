"""The official DAN: its single-task network as a whole, read from a published checkpoint, rows in our order.

Wen et al. 2021, "Distract Your Attention", https://arxiv.org/abs/2109.07270, https://github.com/yaoing/DAN.
"""

import re
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from lsdkit.common.expressions import CLASSES
from lsdkit.method import backbones
from lsdkit.method.attention import CrossAttentionHead
from lsdkit.weights.loading import Report, fill, read_tensors

FEATURES, INNER, HEADS = 512, 256, 4  # sizes of the official DAN
_AFFECTNET = ("NEUTRAL", "HAPPINESS", "SADNESS", "SURPRISE", "FEAR", "DISGUST", "ANGER", "CONTEMPT")
ROWS = {  # what each row of the official classifiers stands for
    "affectnet8": _AFFECTNET,
    "affectnet7": _AFFECTNET[:7],
    "rafdb": ("SURPRISE", "FEAR", "DISGUST", "HAPPINESS", "SADNESS", "ANGER", "NEUTRAL"),
}


class DAN(nn.Module):
    """The single-task DAN on ResNet18, parts and keys named as in the official checkpoints.

    `classes`: number of expressions K, in the order of `lsdkit.common.expressions.CLASSES`. `report` says what became
    of each key of the file that it was read from.
    """

    def __init__(self, classes: int = 6, heads: int = HEADS):
        super().__init__()
        self.features = backbones.create("dan_resnet18").graph
        for name, value in (("mean", backbones.IMAGENET_MEAN), ("std", backbones.IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)
        self.num_heads, self.report = heads, Report()
        for number in range(heads):
            self.add_module(f"cat_head{number}", CrossAttentionHead(FEATURES, INNER))
        self.fc = nn.Linear(FEATURES, classes)
        self.bn = nn.BatchNorm1d(classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalised RGB (B, 3, S, S), as the official network takes it -> logits (B, K), map (B, 512, h, w), heads.

        The heads are (B, k, 512), after the log-softmax over them. For faces in [0, 1] call `probabilities`, or
        `normalise` first.
        """
        y = self.features(x)  # (B, 512, h, w)
        heads = torch.stack([getattr(self, f"cat_head{number}")(y) for number in range(self.num_heads)], dim=1)
        if self.num_heads > 1:
            heads = F.log_softmax(heads, dim=1)  # (B, k, 512)
        return self.bn(self.fc(heads.sum(dim=1))), y, heads

    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        """RGB (B, 3, S, S) in [0, 1], less ImageNet's mean, over its standard deviation: what `forward` takes."""
        return (x - self.mean) / self.std

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """RGB faces (B, 3, S, S) in [0, 1] -> probabilities (B, K) of the classes in our order."""
        return self(self.normalise(x))[0].softmax(dim=1)


def rows_to_ours(classes: str) -> list[int]:
    """For each of our classes in turn, its row in an official classifier.

    >>> rows_to_ours("affectnet8"), rows_to_ours("rafdb")
    ([6, 5, 4, 1, 2, 3, 0, 7], [5, 2, 1, 3, 4, 0, 6])
    """
    return [ROWS[classes].index(name) for name in CLASSES if name in ROWS[classes]]


def from_official(path: Path | str, classes: str = "auto") -> DAN:
    """The network of an official DAN checkpoint, in evaluation mode, its rows in our order: the six expressions of LSD,
    then neutral, then contempt.

    `classes`: the data set that says what the rows stand for, "affectnet8", "affectnet7" or "rafdb"; "auto" tells 8
    from 7 by their number, and the two of 7 by the official file names. Raises `ValueError` where that is not enough,
    where the number does not fit, and for a file that leaves a weight of the network random.
    """
    path = Path(path)
    tensors = read_tensors(path)
    if "fc.weight" not in tensors or "cat_head0.sa.conv1x1.0.weight" not in tensors:
        raise ValueError(f"Expected an official DAN checkpoint with fc and cat_head0 in {path}, but it has neither")
    count = len(tensors["fc.weight"])
    classes = _guess_classes(path, count) if classes == "auto" else classes
    if classes not in ROWS:
        raise ValueError(f"Expected `classes` to be 'auto' or one of {', '.join(ROWS)}, but got {classes!r}")
    if count != len(ROWS[classes]):
        raise ValueError(f"Expected {len(ROWS[classes])} rows for {classes} in {path}, but got {count}")
    check_name(path, classes)
    order = torch.tensor(rows_to_ours(classes))
    for key in ("fc.weight", "fc.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"):
        if key in tensors:
            tensors[key] = tensors[key][order]
    network = DAN(count, sum(key.endswith("sa.conv1x1.0.weight") for key in tensors))
    network.report = fill(network, tensors, path)
    if network.report.random():
        first = network.report.random()[0]
        raise ValueError(f"Expected {path} to hold the whole DAN, but {network.report} (random: {first})")
    return network.eval()


def check_name(path: Path, classes: str) -> None:
    """Raise `ValueError` where a checkpoint's name says that its rows stand for another data set's classes."""
    told = _read_name(path)
    if told and classes not in told:
        raise ValueError(
            f"Expected a file of {classes}, but the name of {path} says {' or '.join(told)}, whose rows stand for "
            "other expressions; name the set that it is, or give the file another name where it is this one"
        )


def _read_name(path: Path) -> list[str]:
    """The data sets that a file's name speaks of, as the official names do: affecnet8_epoch5.pth, rafdb_epoch21.pth."""
    name = path.name.lower()
    if ("affec" in name) == ("raf" in name):
        return []
    if "raf" in name:
        return ["rafdb"]
    number = re.search(r"affect?net[-_ ]?([78])(?!\d)", name)
    return [f"affectnet{number[1]}"] if number else ["affectnet7", "affectnet8"]


def _guess_classes(path: Path, count: int) -> str:
    fits = [name for name in _read_name(path) or (["affectnet8"] if count == 8 else []) if len(ROWS[name]) == count]
    if fits:
        return fits[0]
    if told := _read_name(path):
        raise ValueError(f"Expected rows as the name of {path} says, {' or '.join(told)}, but it has {count}")
    raise ValueError(
        f"Expected 8 rows (AffectNet), or 7 and a file name that says AffectNet or RAF-DB, but {path.name} has "
        f"{count}; say `classes`, one of {', '.join(ROWS)}"
    )
