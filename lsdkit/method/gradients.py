"""Fixed features and one learned projection: how networks that saw renders alone begin, to read photographs.

Rendered and photographed skin differ most in what a convolution learns first: texture, noise and sharpness. Histograms
of gradient directions, normalised in their neighbourhood, keep the outlines and lose most of the rest, so that what is
learnt on renders carries over to photographs (docs/benchmark.md has the figures). They also train fast on a CPU. So
does what a network that learned from photographs, and is not trained further, makes of a face.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELLS, DIRECTIONS = 9, 9  # cells a side; directions of half a turn
BLOCK = 4 * DIRECTIONS  # numbers of a block of 2 x 2 cells
CLIP = 0.2  # a histogram's largest share after the first normalisation
PLACES, CHANNELS = 3, 96  # of the projection's map
RANK, DROPOUT = 64, 0.5  # of the projection


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
    brought to `RANK` numbers: with a tenth of the weights of a full projection it reads photographs no worse, and
    better than one in which each place sees only its own part of the maps. Features are standardised, and a share
    `dropout` of them left out at random in training.
    """

    def __init__(self, *maps: tuple[int, int], dropout: float = DROPOUT):
        """`maps`: channels and side of each."""
        super().__init__()
        self.standardise = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels, _ in maps)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(sum(channels * side**2 for channels, side in maps), RANK, bias=False)
        self.widen = nn.Linear(RANK, CHANNELS * PLACES**2, bias=False)
        self.norm = nn.BatchNorm2d(CHANNELS)

    def forward(self, *maps: Tensor) -> Tensor:
        parts = [standardise(x).flatten(1) for standardise, x in zip(self.standardise, maps, strict=True)]
        y = self.widen(self.narrow(self.dropout(torch.cat(parts, 1))))
        return F.relu(self.norm(y.unflatten(1, (CHANNELS, PLACES, PLACES))))


def gradients() -> tuple[nn.Module, int]:
    """The backbone's graph, (B, 3, S, S) in [0, 1] -> (B, 96, 3, 3), and its channels."""
    return nn.Sequential(OrientedGradients(), Projection((BLOCK, CELLS - 1))), CHANNELS
