"""Fixed features and one learned projection: how networks that saw renders alone begin, to read photographs.

Rendered and photographed skin differ most in what a convolution learns first: texture, noise and sharpness. Histograms
of gradient directions, normalised in their neighbourhood, keep the outlines and lose most of the rest, so that what is
learnt on renders carries over to photographs (docs/benchmark.md has the figures). They also train fast on a CPU. So
does what a network that learned from photographs, and is not trained further, makes of a face.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdkit.common.expressions import EXPRESSIONS

CELLS, DIRECTIONS = 9, 9  # cells a side; directions of half a turn
BLOCK = 4 * DIRECTIONS  # numbers of a block of 2 x 2 cells
CLIP = 0.2  # a histogram's largest share after the first normalisation
PLACES, CHANNELS = 3, 96  # of the projection's map
RANK, DROPOUT = 64, 0.5  # of the projection
RIDGE = 100.0  # for each feature: how strongly the weights of fixed directions are drawn to 0


class OrientedGradients(nn.Module):
    """Histograms of oriented gradients: (B, 3, S, S) in [0, 1] -> (B, 36, 8, 8), each of length 1 (0 where even).

    As Dalal and Triggs (CVPR 2005), of the square root of the mean of the three channels: 9 x 9 cells, 9 directions
    without sign, blocks of 2 x 2 cells moved by one, normalised, clipped and normalised again. A gradient votes for the
    two nearest directions of its own cell. Nothing in it is learned. Raises `ValueError` for a picture of less than 9
    pixels.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("centres", (torch.arange(DIRECTIONS) + 0.5).view(1, -1, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] < CELLS:
            raise ValueError(f"Expected pictures of at least {CELLS} pixels, but got {x.shape[2]}")
        grey = x.float().mean(1, keepdim=True).clamp_(min=0).sqrt_()  # dark and light edges count alike
        x = F.pad(grey, (1, 1, 1, 1), mode="replicate")
        across, down = x[:, :, 1:-1, 2:] - x[:, :, 1:-1, :-2], x[:, :, 2:, 1:-1] - x[:, :, :-2, 1:-1]
        size = (across.square() + down.square()).sqrt()  # (B, 1, S, S)
        direction = torch.atan2(down, across) / torch.pi * DIRECTIONS % DIRECTIONS
        apart = (direction - self.centres).abs()  # (B, 9, S, S)
        votes = (1 - torch.minimum(apart, DIRECTIONS - apart)).clamp_(min=0) * size
        cells = F.adaptive_avg_pool2d(votes, CELLS)
        corners = (cells[:, :, i : CELLS - 1 + i, j : CELLS - 1 + j] for i in (0, 1) for j in (0, 1))  # row, column
        blocks = torch.cat(list(corners), 1)  # (B, 36, 8, 8)
        return F.normalize(F.normalize(blocks, eps=1e-2).clamp(max=CLIP), eps=1e-3)


class Projection(nn.Module):
    """Whole maps at once -> each place of a smaller one: (B, C, h, w), one or several, -> (B, 96, 3, 3).

    Faces are aligned, so a place means a part of the face, and each has weights of its own. All features are first
    brought to a few numbers: with a tenth of the weights of a full projection it reads photographs no worse, and better
    than one in which each place sees only its own part of the maps. Features are standardised, and a share `dropout` of
    them left out at random in training.

    The directions of these numbers are learned, `RANK` of them; or they are `fixed`: what ridge regressions on each of
    the maps, and on all of them, say of the six expressions. These are drawn to 0 strongly, which photographs want and
    a few steps cannot learn; `fit` sets them once, before training, and they are random until then.
    """

    def __init__(self, *maps: tuple[int, int], dropout: float = DROPOUT, fixed: bool = False):
        """`maps`: channels and side of each."""
        super().__init__()
        self.standardise = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels, _ in maps)
        self.dropout = nn.Dropout(dropout)
        rank = len(EXPRESSIONS) * len(_choices(len(maps))) if fixed else RANK
        self.narrow = nn.Linear(sum(channels * side**2 for channels, side in maps), rank, bias=False)
        self.narrow.requires_grad_(not fixed)
        self.widen = nn.Linear(rank, CHANNELS * PLACES**2, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [standardise(x).flatten(1) for standardise, x in zip(self.standardise, maps, strict=True)]
        y = self.widen(self.narrow(self.dropout(torch.cat(parts, 1))))
        return F.relu(self.norm(y.unflatten(1, (CHANNELS, PLACES, PLACES))))

    @torch.no_grad()
    def fit(self, *maps: Tensor, labels: Tensor) -> None:
        """Set fixed directions, each of length 1, from the maps (N, C, h, w) and labels int64 (N,) of training faces.

        For features Z (N, D), standardised and centred, and classes T (N, 6), one-hot and centred, they are the columns
        of Z' (Z Z' + `RIDGE` D)^-1 T: the weights of the ridge regression of T on Z. Faces of other classes than the
        six have zeros in T.
        """
        targets = (labels[:, None] == torch.arange(len(EXPRESSIONS))).double()
        targets -= targets.mean(0)
        features = [F.batch_norm(x, None, None, training=True).flatten(1) for x in maps]
        features = [z - z.mean(0) for z in features]
        likeness = [(z @ z.T).double() for z in features]  # (N, N)
        rows = []
        for chosen in _choices(len(maps)):
            ridge = RIDGE * sum(features[number].shape[1] for number in chosen)
            total = sum(likeness[number] for number in chosen) + ridge * torch.eye(len(targets), dtype=torch.double)
            weights = torch.linalg.solve(total, targets).float()  # (N, 6)
            parts = [weights.T @ z * (number in chosen) for number, z in enumerate(features)]  # (6, C h w) each
            rows.append(F.normalize(torch.cat(parts, 1)))
        self.narrow.weight.copy_(torch.cat(rows))


def _choices(maps: int) -> list[tuple[int, ...]]:
    """Which maps the regressions of fixed directions read: each alone and, of several, all of them."""
    return [*((number,) for number in range(maps)), *([tuple(range(maps))] if maps > 1 else [])]


def gradients() -> tuple[nn.Module, int]:
    """The backbone's graph, (B, 3, S, S) in [0, 1] -> (B, 96, 3, 3), and its channels."""
    return nn.Sequential(OrientedGradients(), Projection((BLOCK, CELLS - 1))), CHANNELS
