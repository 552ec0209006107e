"""The network of figure 1a (paper section 2.2): emotion branch, appearance branch, and the shared layers after them.

The branches meet in layers whose *weights are shared*: one stack is applied to each branch's vector separately,
so an expression is predicted without running, or even holding, the appearance branch. Batch norm's running statistics
are kept for each branch: the two vectors differ in mean and spread, and an average of both fits neither at inference
(docs/deviations.md; `shared_statistics` keeps one set, as the authors' scripts do). In training nothing differs.
"""

import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from lsdkit.common.landmarks import POINTS
from lsdkit.common.seeds import global_draws
from lsdkit.method.attention import CrossAttentionHead, adapters, conv_bn_relu, fuse
from lsdkit.method.backbones import Backbone, create_for
from lsdkit.method.losses import AffinityLoss
from lsdkit.recipes import NO_APPEARANCE, Member, Recipe


class EmotionOutput(NamedTuple):
    """What the emotion branch gives for B faces."""

    logits: Tensor  # (B, K), K = 6 unless the recipe learns neutral and contempt as well
    features: Tensor  # (B, D), the adapters' output averaged over positions: what the affinity loss sees
    heads: Tensor  # (B, k, D), one vector of each attention head: what the partition loss sees

    def to(self, like: Tensor) -> Self:
        """The three in the type and on the device of `like`."""
        return EmotionOutput(*(value.to(like) for value in self))


class EmotionBranch(nn.Module):
    """DAN: backbone and adapters (its FCN), and the k cross-attention heads of MAN."""

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.backbone = create_for(recipe, "emotion")
        self.adapters = adapters(self.backbone.channels, recipe.features)
        self.heads = nn.ModuleList(
            CrossAttentionHead(recipe.features, recipe.head_features) for _ in range(recipe.heads)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RGB (B, 3, S, S) in [0, 1] -> features (B, D), heads (B, k, D)."""
        y = self.adapters(self.backbone(x))  # (B, D, h, w)
        return y.mean(dim=(2, 3)), torch.stack([head(y) for head in self.heads], dim=1)


class AppearanceBranch(nn.Module):
    """One of the paper's backbones a), b), c), or any other; one 1x1 conv-BN-ReLU; global average."""

    def __init__(self, recipe: Recipe, appearance: str):
        super().__init__()
        self.backbone = create_for(recipe, appearance)
        self.adapter = conv_bn_relu(self.backbone.channels, recipe.features)

    def forward(self, x: Tensor) -> Tensor:
        """RGB (B, 3, S, S) in [0, 1] -> (B, D)."""
        return self.adapter(self.backbone(x)).mean(dim=(2, 3))


def shared_layers(recipe: Recipe) -> nn.Sequential:
    """Linear-BN-Linear-BN without activation: (B, D) -> (B, shared[-1])."""
    hidden, out = recipe.shared
    return nn.Sequential(
        nn.Linear(recipe.features, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, out), nn.BatchNorm1d(out)
    )


def share_weights(layers: nn.Sequential) -> nn.Sequential:
    """A second stack with the very parameters of `layers` (trained as one) and running statistics of its own."""
    return copy.deepcopy(layers, {id(parameter): parameter for parameter in layers.parameters()})  # kept as they are


class MultiTask(nn.Module):
    """Both branches, the shared layers, the two outputs and the class centres of the affinity loss.

    `appearance` is the paper's name of the appearance backbone (or any backbone's); "none" leaves that branch and the
    landmarks away (single-task training); "" builds the part that predicts expressions and nothing else, whose state
    is `emotion_state()` of a whole network.
    """

    def __init__(self, recipe: Recipe, appearance: str = ""):
        super().__init__()
        out = recipe.shared[-1]
        self.log_softmax = recipe.head_log_softmax
        self.emotion = EmotionBranch(recipe)
        self.shared = shared_layers(recipe)
        self.expression = nn.Sequential(nn.Linear(out, recipe.classes), nn.BatchNorm1d(recipe.classes))
        self.multitask = appearance not in ("", NO_APPEARANCE)
        if self.multitask:
            self.appearance = AppearanceBranch(recipe, appearance)
            self.shared_appearance = self.shared if recipe.shared_statistics else share_weights(self.shared)
            self.landmarks = nn.Linear(out, POINTS * 2)
        if appearance:
            self.affinity = AffinityLoss(recipe.classes, recipe.features)

    @classmethod
    def build(cls, member: Member, generator: torch.Generator) -> Self:
        """The network that a member trains; its random weights are a function of `generator` alone."""
        with global_draws(generator):
            return cls(member.recipe, member.appearance)

    @torch.no_grad()
    def start_landmarks(self, mean: Tensor) -> None:
        """Have the landmark layer begin with the answer `mean` (68, 2) for every face, whatever it sees."""
        self.landmarks.weight.zero_()
        self.landmarks.bias.copy_(mean.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """RGB faces (B, 3, S, S) in [0, 1] -> expression logits (B, K): inference."""
        return self.forward_emotion(x).logits

    def forward_emotion(self, x: Tensor) -> EmotionOutput:
        """To y_expr: RGB (B, 3, S, S) in [0, 1] -> its logits and more; never touches the appearance branch."""
        features, heads = self.emotion(x)
        return EmotionOutput(self.expression(self.shared(fuse(heads, self.log_softmax))), features, heads)

    def forward_landmarks(self, x: Tensor) -> Tensor:
        """To y_land: RGB (B, 3, S, S) in [0, 1] -> points (B, 68, 2), about [-1, 1] of the crop."""
        return self.landmarks(self.shared_appearance(self.appearance(x))).unflatten(1, (POINTS, 2))

    def backbones(self) -> list[Backbone]:
        """The emotion branch's, and the appearance branch's where there is one."""
        return [self.emotion.backbone, *([self.appearance.backbone] if self.multitask else [])]

    def emotion_state(self) -> dict[str, Tensor]:
        """The tensors that predicting expressions needs: loads strictly into `MultiTask(recipe)`."""
        training_only = ("appearance.", "shared_appearance.", "landmarks.", "affinity.")
        return {key: value for key, value in self.state_dict().items() if not key.startswith(training_only)}
