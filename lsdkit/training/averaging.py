"""A running mean of a network's weights, which is scored and kept in their place where a recipe asks for it.

The last steps of a training wander around a good place, and their mean lies nearer to it than each of them: Polyak and
Juditsky, "Acceleration of stochastic approximation by averaging" (SIAM J. Control Optim. 1992); for faces of another
kind than those that were learnt, Cha et al., "SWAD: Domain Generalization by Seeking Flat Minima" (NeurIPS 2021).
"""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def running_mean(network: nn.Module, keep: float) -> AveragedModel | None:
    """A copy of a network that follows it: call `update_parameters(network)` after each step. None where `keep` is 0.

    `keep` is the most, 0 to 1, that the mean keeps of itself at a step. After n steps it keeps (1 + n) / (3 + n) where
    that is less (.99 after 197 steps), so that the first weights are soon forgotten: until then the k-th weights count
    about k times. Statistics of batch norm are averaged like weights, counts are copied.
    """

    def follow(means: list[torch.Tensor], values: list[torch.Tensor], count: torch.Tensor) -> None:
        if means[0].is_floating_point():
            share = min(keep, float((1 + count) / (3 + count)))
            torch._foreach_lerp_(means, values, 1 - share)
        else:
            torch._foreach_copy_(means, values)

    return AveragedModel(network, multi_avg_fn=follow, use_buffers=True) if keep else None
