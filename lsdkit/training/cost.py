"""What a training costs before it is run: steps, parameters, operations, memory, time.

Steps and parameters are exact. Operations are those of convolutions and matrix products, two for a multiply-add,
counted by `torch.utils.flop_counter` on the very passes that a step makes, over tensors without content (torch's meta
device): batch norm, activations and the making of the views are not among them. Memory is that of the tensors that
backward needs, and of the largest piece that is computed again where the recipe's `memory` says so.
`lsdkit.reproduce.estimate` puts these together for a sweep.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from heapq import heapreplace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lsdkit.method.bagging import draw_bag
from lsdkit.method.network import MultiTask
from lsdkit.recipes import NO_APPEARANCE, Member, Recipe
from lsdkit.training.memory import less_memory, pieces, split_into
from lsdkit.training.sampling import batches

PROBE = 2  # faces in the batch that is counted: the least that batch norm takes
_FLOAT = 4  # bytes


@dataclass(frozen=True)
class Parameters:
    """Weights, frozen ones too: in the emotion branch, in the appearance branch, in all; and those for inference."""

    emotion: int
    appearance: int
    total: int
    inference: int


@dataclass(frozen=True)
class Pass:
    """One pass of a face through a branch and all that follows it: operations, and bytes kept for backward."""

    forward: float  # operations a face
    training: float  # operations a face, forward and backward
    kept: float  # bytes a face, float32
    again: float  # bytes a face, float32, of the largest piece that backward computes again; 0 where there is none


@dataclass(frozen=True)
class Cost:
    """What a step of a member costs for each of its faces, and what its network weighs."""

    parameters: Parameters
    training: float  # operations a face and step
    inference: float  # operations a face
    fixed: int  # bytes of parameters, gradients, Adam's two averages, and buffers; and of the mean of weights
    activations: float  # bytes for a batch of the recipe's size

    @property
    def memory(self) -> float:
        """Bytes that a training holds, without what the framework itself and the choice of algorithms add."""
        return self.fixed + self.activations


def measure_cost(member: Member) -> Cost:
    """The cost of a member's step; no weight file is needed and nothing is trained.

    >>> from lsdkit.recipes import SMOKE
    >>> mixup, mixaugment = (measure_cost(Member(recipe=SMOKE, mix=name)) for name in ("mixup", "mixaugment"))
    >>> mixaugment.training > mixup.training
    True
    """
    recipe = replace(member.recipe, batch_size=PROBE, precision="float32")  # as far as it decides the network
    parameters, buffers = _parameters(recipe, member.appearance)
    emotion = _pass(recipe, "")
    passes = 2 if member.mix == "mixaugment" else 1
    training, kept, again = passes * emotion.training, passes * emotion.kept, emotion.again
    if member.appearance != NO_APPEARANCE:
        appearance = _pass(recipe, member.appearance)
        training, kept = training + appearance.training, kept + appearance.kept
        again = max(again, appearance.again)
    activations = member.recipe.batch_size * (kept + again)
    if member.recipe.precision == "bf16":  # half of it, and each weight once more in two bytes
        activations = activations / 2 + 2 * parameters.total
    mean = _FLOAT * parameters.total + buffers if member.recipe.averaging else 0
    trained = sum(each.numel() for each in _network(recipe, member.appearance).parameters() if each.requires_grad)
    fixed = _FLOAT * (parameters.total + 3 * trained) + buffers + mean
    return Cost(parameters, training, emotion.forward, fixed, activations)


def count_steps(member: Member, labels: np.ndarray) -> tuple[int, int, int]:
    """(faces trained on, steps, faces seen in them) of a member over training faces with these labels (N,)."""
    rows = draw_bag(labels, member.bag, member.seed, member.recipe)
    parts = batches(member, rows, labels[rows], 0)
    return len(rows), member.epochs * len(parts), member.epochs * sum(map(len, parts))


def estimate_end(times: Sequence[float], places: int) -> float:
    """The time after which runs of these times end on so many places, the longest run first on the next free place.

    >>> estimate_end([3, 2, 2, 1], 2)
    4.0
    """
    ends = [0.0] * places
    for time in sorted(times, reverse=True):
        heapreplace(ends, ends[0] + time)
    return max(ends)


@lru_cache
def _network(recipe: Recipe, appearance: str) -> MultiTask:
    with torch.device("meta"):
        return MultiTask(recipe, appearance).train()


@lru_cache
def _parameters(recipe: Recipe, appearance: str) -> tuple[Parameters, int]:
    """The counts, and the bytes of the buffers."""
    network = _network(recipe, appearance)

    def count(module: torch.nn.Module) -> int:
        return sum(tensor.numel() for tensor in module.parameters())

    appearance = count(network.appearance) if network.multitask else 0
    sizes = count(network.emotion), appearance, count(network), count(_network(recipe, ""))
    return Parameters(*sizes), sum(tensor.nbytes for tensor in network.buffers())


@lru_cache
def _pass(recipe: Recipe, appearance: str) -> Pass:
    """Count one pass of the emotion branch (`appearance` ""), or of an appearance branch."""
    network = _network(recipe, appearance or next(iter(dict(recipe.appearances)), NO_APPEARANCE))
    forward, training, kept = _count(network, appearance, recipe)
    return Pass(forward, training, kept, _largest_piece(network, appearance, recipe))


def _count(network: MultiTask, appearance: str, recipe: Recipe) -> tuple[float, float, float]:
    """Operations of a face's pass forward, and forward and backward; bytes kept in between."""
    with FlopCounterMode(display=False) as counter:
        kept = _Kept(network)
        with kept.watch(), less_memory(network, recipe.memory):
            output = _answer(network, appearance, recipe.image_size)
        forward = counter.get_total_flops()
        output.sum().backward()
    network.zero_grad(set_to_none=True)
    return forward / PROBE, counter.get_total_flops() / PROBE, kept.nbytes() / PROBE


def _largest_piece(network: MultiTask, appearance: str, recipe: Recipe) -> float:
    """Bytes a face that the largest of the pieces that are computed again keeps for backward."""
    found, started, hooks = [0], [], []
    kept = _Kept(network)
    with kept.watch():
        for piece in pieces(network, recipe.memory):
            hooks.append(piece.register_forward_pre_hook(lambda *_: started.append(kept.nbytes())))
            hooks.append(piece.register_forward_hook(lambda *_: found.append(kept.nbytes() - started.pop())))
        _answer(network, appearance, recipe.image_size)
    for hook in hooks:
        hook.remove()
    return max(found) / PROBE / split_into(recipe.memory)


def _answer(network: MultiTask, appearance: str, side: int) -> torch.Tensor:
    faces = torch.empty(PROBE, 3, side, side, device="meta")
    if appearance:
        return network.forward_landmarks(faces)
    return torch.cat([part.flatten() for part in network.forward_emotion(faces)])


class _Kept:
    """What is kept for backward, but for the network's parameters."""

    def __init__(self, network: MultiTask):
        self._own = {tensor.untyped_storage()._cdata for tensor in network.parameters()}
        self._kept = {}  # one entry a storage, which stays alive so that no other takes its name

    def watch(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own:
            self._kept[storage._cdata] = storage
        return tensor

    def nbytes(self) -> int:
        return sum(storage.nbytes() for storage in self._kept.values())
