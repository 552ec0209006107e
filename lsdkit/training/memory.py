"""A step in less memory: what backward needs is computed a second time instead of being kept (`memory` of a recipe).

The backbones make nearly all of it, so only they are treated. Adapters, attention heads, shared layers and every loss
see the whole batch at once, whatever the setting: partners, class weights, centres and missing landmarks belong to it.

- "plain": all is kept.
- "recompute", activation checkpointing (Chen et al. 2016, https://arxiv.org/abs/1604.06174): each block of a backbone
  keeps its input alone, and is computed again when backward comes to it. Loss, gradients and the running statistics of
  batch norm are those of "plain".
- "split_N", gradient accumulation: the faces of a batch go through a backbone in N parts, one after the other, and each
  part is computed again when backward comes to it. The loss is still that of the whole batch, but batch norm inside the
  backbones sees a part at a time, and updates its running statistics N times: another training than "plain".
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lsdkit.method.network import MultiTask
from lsdkit.training.forwards import replace_forwards


def less_memory(network: MultiTask, how: str) -> AbstractContextManager:
    """Within the block, passes through the network's backbones keep only what `how`, a recipe's `memory`, says.

    Backward may come after the block. What is random in a backbone is drawn once: the second time it is the same.
    """
    parts = split_into(how)
    return replace_forwards(pieces(network, how), lambda module, forward: _computed_again(module, forward, parts))


def split_into(how: str) -> int:
    """How many parts of a batch go through a backbone one after the other.

    >>> split_into("recompute"), split_into("split_4")
    (1, 4)
    """
    return int(how.removeprefix("split_")) if how.startswith("split_") else 1


def pieces(network: MultiTask, how: str) -> list[nn.Module]:
    """The modules that are computed a second time, each as a whole: nothing, the backbones' blocks, or the backbones.

    A block stands in a sequence of such, as those of residual networks and transformers do, and has layers of its own.
    A backbone without blocks is one.
    """
    if how == "plain":
        return []
    found = network.backbones()
    return found if how != "recompute" else [block for each in found for block in (_blocks(each) or [each])]


def _blocks(module: nn.Module) -> list[nn.Module]:
    found = []
    for child in module.children():
        whole = isinstance(module, nn.Sequential) and not isinstance(child, nn.Sequential) and any(child.children())
        found += [child] if whole else _blocks(child)
    return found


def _computed_again(module: nn.Module, forward: Callable, parts: int) -> Callable:
    trained = any(parameter.requires_grad for parameter in module.parameters())

    def run(x: Tensor) -> Tensor:
        if not (trained or x.requires_grad):  # a frozen piece before all others: backward never comes to it
            return forward(x)
        parted = x.tensor_split(max(1, min(parts, len(x) // 2)))  # batch norm needs two faces
        options = {"use_reentrant": False, "context_fn": lambda: (nullcontext(), _buffers_kept(module))}
        done = [checkpoint(forward, part, **options) for part in parted]
        return done[0] if len(done) == 1 else torch.cat(done)

    return run


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """The second time changes no running statistics."""
    buffers = list(module.buffers())
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
