"""DINO, self-distillation with no labels (Caron et al. 2021, "Emerging Properties in Self-Supervised Vision
Transformers", https://arxiv.org/abs/2104.14294): the loss, the centre, the head, the schedules.

A student sees all crops of a face, a teacher the two large ones; the student learns to say of each crop what the
teacher says of another. The teacher is a running mean of students. Nothing but the centre and the teacher's low
temperature keeps them from saying the same of every face (section 3.1, "Avoiding collapse").
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdkit.method.backbones import Backbone


class Head(nn.Module):
    """Projection head (section 3.1, "Network architecture"; appendix C): (B, C) -> logits (B, K).

    Three linear layers, a vector of length 1, and K prototypes of length 1: a weight-normalised layer whose gains are
    fixed to 1. Batch norm stands between the layers (the official code's `use_bn_in_head`): without it a fresh
    convolutional backbone's faces, all of nearly one direction, begin on one prototype.
    """

    def __init__(self, channels: int, hidden: int, bottleneck: int, prototypes: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.GELU()),
            *(nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.GELU()),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.layers[::3]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(F.normalize(torch.randn(prototypes, bottleneck), dim=1))  # directions

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(self.layers(x), dim=1), F.normalize(self.prototypes, dim=1))


class Network(nn.Module):
    """A backbone, averaged over positions, and its head: what student and teacher both are."""

    def __init__(self, backbone: Backbone, head: Head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def features(self, x: Tensor) -> Tensor:
        """RGB (B, 3, S, S) in [0, 1] -> (B, C)."""
        return self.backbone(x).mean(dim=(2, 3))

    def forward(self, crops: Sequence[Tensor]) -> Tensor:
        """V crops (B, 3, S, S), those of one size side by side in the list -> logits (V, B, K)."""
        sizes = [crop.shape[3] for crop in crops]
        groups = [torch.cat([c for c in crops if c.shape[3] == size]) for size in dict.fromkeys(sizes)]  # one pass each
        return self.head(torch.cat([self.features(group) for group in groups])).unflatten(0, (len(crops), -1))


def aim(teacher: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The teacher's centred and sharpened distribution (equation 1 and section 3.1): (..., K) -> (..., K)."""
    return ((teacher - centre) / temperature).softmax(-1)


def dino_loss(
    student: Tensor, teacher: Tensor, centre: Tensor, *, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of the student's answer to one crop and the teacher's to another (equation 3 and algorithm 1).

    student: logits (V, B, K), the teacher's G crops first; teacher: logits (G, B, K); centre: (K,). The mean over faces
    and the G (V - 1) pairs of two crops.
    """
    target, answer = aim(teacher, centre, teacher_temperature), (student / student_temperature).log_softmax(-1)
    pairs = -torch.einsum("gbk,vbk->gv", target, answer) / student.shape[1]
    return pairs[~torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)].mean()


def move_centre(centre: Tensor, teacher: Tensor, momentum: float) -> Tensor:
    """The centre (K,) after a step whose teacher's logits were (G, B, K) (equation 4)."""
    return momentum * centre + (1 - momentum) * teacher.mean(dim=(0, 1))


@torch.no_grad()
def move_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """The teacher's parameters become momentum * theirs + (1 - momentum) * the student's, in place (section 3.1).

    Buffers, such as running statistics, stay the teacher's own: it sees other crops.
    """
    for mean, new in zip(teacher.parameters(), student.parameters(), strict=True):
        mean.lerp_(new, 1 - momentum)


def follow_cosine(start: float, end: float, share: float) -> float:
    """From `start` to `end` along half a cosine, where `share` in [0, 1] of the training is done.

    >>> follow_cosine(0.99, 1.0, 0.0), follow_cosine(0.99, 1.0, 0.5), follow_cosine(0.99, 1.0, 1.0)
    (0.99, 0.995, 1.0)
    """
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def follow_line(start: float, end: float, step: float, steps: float) -> float:
    """From `start` at step 0 to `end` at `steps`, and `end` from then on.

    >>> [follow_line(0.5, 1.0, step, 2) for step in range(4)]
    [0.5, 0.75, 1.0, 1.0]
    """
    return end if step >= steps else start + (end - start) * step / steps
