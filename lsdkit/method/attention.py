"""DAN's attention parts on the feature map of any backbone (paper section 2.2): MAN's heads, and their fusion, AFN.

Wen et al. 2021, "Distract Your Attention", https://arxiv.org/abs/2109.07270. Parts are named as in the official
checkpoints (`sa.conv1x1`, ..., `ca.attention`), so that a head of theirs loads into a head here.
"""

from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU: (B, inputs, h, w) -> (B, outputs, h, w)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def adapters(channels: int, features: int) -> nn.Sequential:
    """1x1 conv-BN-ReLU layers that halve the channels until `features` is reached (2048 -> 1024 -> 512).

    Empty where the backbone has `features` channels already, as in the official DAN (ResNet18, 512).

    >>> [layer[0].out_channels for layer in adapters(2048, 512)]
    [1024, 512]
    """
    layers = []
    while channels != features:
        narrower = channels // 2 if channels // 2 > features else features
        layers.append(conv_bn_relu(channels, narrower))
        channels = narrower
    return nn.Sequential(*layers)


class SpatialAttention(nn.Module):
    """One attention map over positions, multiplied onto the input: (B, D, h, w) -> the same."""

    def __init__(self, features: int, inner: int):
        super().__init__()

        def widen(height: int, width: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inner, features, (height, width), padding="same"), nn.BatchNorm2d(features))

        self.conv1x1 = nn.Sequential(nn.Conv2d(features, inner, 1), nn.BatchNorm2d(inner))
        self.conv_3x3 = widen(3, 3)
        self.conv_1x3 = widen(1, 3)
        self.conv_3x1 = widen(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        return x * self.weigh(x)

    def weigh(self, x: Tensor) -> Tensor:
        """The map that is multiplied onto x: (B, D, h, w) -> (B, 1, h, w), of at least 0."""
        y = self.conv1x1(x)  # no ReLU here
        y = F.relu(self.conv_3x3(y) + self.conv_1x3(y) + self.conv_3x1(y))
        return y.sum(dim=1, keepdim=True)


class ChannelAttention(nn.Module):
    """Average over positions, then one gate per channel: (B, D, h, w) -> (B, D)."""

    def __init__(self, features: int):
        super().__init__()
        inner = max(features // 16, 8)  # 512 -> 32 in the official DAN
        self.attention = nn.Sequential(
            nn.Linear(features, inner), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, features), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D)."""
        pooled = x.mean(dim=(2, 3))
        return pooled * self.attention(pooled)


class CrossAttentionHead(nn.Module):
    """One unit of MAN, the multi-head cross attention network: spatial, then channel attention, (B, D, h, w) -> (B, D).

    Convolutions start from Kaiming-normal (fan-out), linear layers from N(0, 0.001), biases from zero.
    """

    def __init__(self, features: int, inner: int):
        super().__init__()
        self.sa = SpatialAttention(features, inner)
        self.ca = ChannelAttention(features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D)."""
        return self.ca(self.sa(x))


def fuse(heads: Tensor, log_softmax: bool = True) -> Tensor:
    """AFN, the attention fusion network: heads (B, k, D) -> one vector (B, D), their sum, after a log-softmax over the
    k heads where asked for. The partition loss keeps them from overlapping.

    With a single head the log-softmax would be zero throughout; it is left out, as in the official DAN.
    """
    if log_softmax and heads.shape[1] > 1:
        heads = F.log_softmax(heads, dim=1)
    return heads.sum(dim=1)
