"""dlib's face-recognition network as a backbone: the small stand-in for VGGFace2's ResNet50 (paper section 2.2).

A residual network of 29 convolutions that was trained to tell the people of three million photographs apart; each
convolution is followed by a fixed gain and offset for each channel, what is left of a batch norm. Source: dlib's
example dnn_face_recognition_ex.cpp (http://dlib.net/dnn_face_recognition_ex.cpp.html); its weights are in the public
domain.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN = (122.782, 117.001, 104.298)  # RGB, of 0-255
WINDOW = (
    0.1,
    0.12,
    0.8,
    118,
)  # left, top and side of the part of our aligned crop that stands for dlib's, and its pixels
BLOCKS = (32, 32, 32, -64, 64, 64, 64, -128, 128, 128, -256, 256, 256, -256)  # channels; negative: half the size
TRUNK = 10  # the first blocks: beyond them the maps of a picture of 118 px are smaller than 6 x 6
SIDE = 6  # of that map
CHIP, CHIP_SIDE = 150, 8  # pixels of dlib's own crops, which show more, and the side of the map of these


class Affine(nn.Module):
    """A gain and an offset for each channel of the convolution before it, which takes them into its own numbers."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """gain conv(x) + offset: (B, 3 or C, h, w) -> (B, C, h', w'), in one pass over the map."""
        weight, bias = conv.weight * self.gain[:, None, None, None], conv.bias * self.gain + self.offset
        return F.conv2d(x, weight, bias, conv.stride, conv.padding)


class Stem(nn.Module):
    """A 7x7 convolution and a maximum, which quarter the size: RGB (B, 3, S, S) -> (B, C, h, w)."""

    def __init__(self, outputs: int):
        super().__init__()
        self.conv, self.affine = nn.Conv2d(3, outputs, 7, 2), Affine(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.affine(x, self.conv).relu_(), 3, 2)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; where it halves the size, the shortcut is an average over 2 x 2.

    Channels that the shortcut lacks are zeros; so are the last row and column of the smaller of the two maps.
    """

    def __init__(self, inputs: int, outputs: int, *, halve: bool):
        super().__init__()
        stride, padding = (2, 0) if halve else (1, 1)
        self.conv1, self.affine1 = nn.Conv2d(inputs, outputs, 3, stride, padding), Affine(outputs)
        self.conv2, self.affine2 = nn.Conv2d(outputs, outputs, 3, 1, 1), Affine(outputs)
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        y = self.affine2(self.affine1(x, self.conv1).relu_(), self.conv2)
        if self.halve:
            x = F.avg_pool2d(x, 2)
            h, w = (max(a, b) for a, b in zip(x.shape[2:], y.shape[2:], strict=True))
            x, y = (F.pad(z, (0, w - z.shape[3], 0, h - z.shape[2], 0, y.shape[1] - z.shape[1])) for z in (x, y))
        return y.add_(x).relu_()


def make_graph(blocks: int = TRUNK) -> tuple[nn.Sequential, int]:
    """The stem and the first blocks, and their channels: RGB (B, 3, S, S) -> (B, C, h, w); 14 blocks are all."""
    parts, inputs = OrderedDict(), abs(BLOCKS[0])
    parts["stem"] = Stem(inputs)
    for number, channels in enumerate(BLOCKS[:blocks], start=1):
        parts[f"block{number}"] = Block(inputs, abs(channels), halve=channels < 0)
        inputs = abs(channels)
    return nn.Sequential(parts), inputs
