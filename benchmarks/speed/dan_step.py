"""A training step of the kit's DAN against a plain one: ResNet18, four heads, the three losses, Adam.

The plain network is written here as the papers read: channels first, a head after the other, each loss from its
formula. It gets the kit's weights, and both losses are printed first. Both spend most of a step in the same
convolutions of the same library and in the same optimiser, so that the target is out of reach.
"""

import lsdkit  # isort: skip: before torch, which reads how its threads wait when it is loaded

import argparse
from dataclasses import replace

import torch
from measuring import Line, time_in_turn
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from lsdkit.common.seeds import torch_generator
from lsdkit.method.backbones import IMAGENET_MEAN, IMAGENET_STD
from lsdkit.method.losses import loss_partition
from lsdkit.method.network import MultiTask
from lsdkit.recipes import PAPER, Member


class PlainHead(nn.Module):
    """One cross-attention head on 512 channels."""

    def __init__(self):
        super().__init__()
        self.narrow, self.narrow_norm = nn.Conv2d(512, 256, 1), nn.BatchNorm2d(256)
        self.square, self.square_norm = nn.Conv2d(256, 512, 3, padding=1), nn.BatchNorm2d(512)
        self.row, self.row_norm = nn.Conv2d(256, 512, (1, 3), padding=(0, 1)), nn.BatchNorm2d(512)
        self.column, self.column_norm = nn.Conv2d(256, 512, (3, 1), padding=(1, 0)), nn.BatchNorm2d(512)
        self.first, self.norm, self.second = nn.Linear(512, 32), nn.BatchNorm1d(32), nn.Linear(32, 512)

    def forward(self, x):
        y = self.narrow_norm(self.narrow(x))
        y = self.square_norm(self.square(y)) + self.row_norm(self.row(y)) + self.column_norm(self.column(y))
        pooled = (x * F.relu(y).sum(1, keepdim=True)).mean((2, 3))
        return pooled * torch.sigmoid(self.second(F.relu(self.norm(self.first(pooled)))))


class Plain(nn.Module):
    """DAN on ResNet18, then the kit's shared layers and the six logits; the class centres of the affinity loss."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(*list(resnet18().children())[:-2])
        self.heads = nn.ModuleList(PlainHead() for _ in range(4))
        self.shared = nn.Sequential(nn.Linear(512, 256), nn.BatchNorm1d(256), nn.Linear(256, 128), nn.BatchNorm1d(128))
        self.expression = nn.Sequential(nn.Linear(128, 6), nn.BatchNorm1d(6))
        self.centres = nn.Parameter(torch.zeros(6, 512))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def loss(self, x, labels):
        x = self.backbone((x - self.mean) / self.std)
        heads = torch.stack([head(x) for head in self.heads], 1)  # (B, 4, 512)
        logits = self.expression(self.shared(F.log_softmax(heads, 1).sum(1)))
        features = x.mean((2, 3))
        affinity = ((features - self.centres[labels]) ** 2).sum(1).mean() / self.centres.var(0).sum()
        partition = torch.log(1 + 4 / (heads.var(1) + 1e-8)).mean()
        return F.cross_entropy(logits, labels) + affinity + partition

    def copy(self, network: MultiTask) -> None:
        """Take the kit's weights, tensor by tensor in their order."""
        own = [value for name, value in self.state_dict().items() if name not in ("mean", "std", "centres")]
        parts = (network.emotion.backbone.graph, network.emotion.heads, network.shared, network.expression)
        theirs = [value for part in parts for value in part.state_dict().values()]
        for mine, other in zip(own, theirs, strict=True):
            mine.copy_(other)
        self.centres.data.copy_(network.affinity.centres)


def our_loss(network: MultiTask, x, labels):
    """The kit's losses of one pass, without mixing."""
    answer = network.forward_emotion(x)
    one_hot = F.one_hot(labels, 6).to(answer.features)
    affinity = network.affinity(answer.features, one_hot)
    return F.cross_entropy(answer.logits, labels) + affinity + loss_partition(answer.heads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=112, help="pixels")
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    recipe = replace(PAPER, name="dan", emotion="resnet18", weights=())
    network, plain = MultiTask.build(Member(recipe=recipe, appearance="none"), torch_generator(0, "weights")), Plain()
    plain.copy(network)
    network.to(memory_format=torch.channels_last)  # as training lays it
    generator = torch_generator(0, "benchmark")
    x = torch.rand(arguments.batch, 3, arguments.size, arguments.size, generator=generator)
    labels = torch.randint(0, 6, (arguments.batch,), generator=generator)
    networks = {"kit": network.train(), "plain": plain.train()}
    losses = {"kit": lambda: our_loss(network, x, labels), "plain": lambda: plain.loss(x, labels)}
    print({name: loss().item() for name, loss in losses.items()})
    optimisers = {name: torch.optim.Adam(each.parameters(), 1e-4) for name, each in networks.items()}

    def step(name: str):
        optimisers[name].zero_grad(set_to_none=True)
        losses[name]().backward()
        optimisers[name].step()

    seconds = time_in_turn({name: lambda name=name: step(name) for name in networks}, arguments.repeats, warming=2)
    print(f"lsdkit {lsdkit.__version__}, {torch.get_num_threads()} threads, batches of {arguments.batch}")
    print(", ".join(f"{name} {1000 * each:.0f} ms" for name, each in seconds.items()))
    what = f"DAN step, ResNet18 at {arguments.size} px"
    print(Line(what, "a plain implementation", seconds["plain"] / seconds["kit"], 1.25))


if __name__ == "__main__":
    main()
