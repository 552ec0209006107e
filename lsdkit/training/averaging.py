"""A running mean of a network's weights, which is scored and kept in their place where a recipe asks for it.

The last steps of a training wander around a good place, and their mean lies nearer to it than each of them: Polyak and
Juditsky, "Acceleration of stochastic approximation by averaging" (SIAM J. Control Optim. 1992); for faces of another
kind than those that were learnt, Cha et al., "SWAD: Domain Generalization by Seeking Flat Minima" (NeurIPS 2021).
"""

from collections.abc import Callable, Iterable

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


@torch.no_grad()
def measure_statistics(network: nn.Module, passes: Iterable[Callable[[], object]]) -> None:
    """Replace the batch norms' running statistics by the plain means over these passes through the network.

    Averaged weights need it: the statistics that were averaged beside them are those of other weights. Source: Izmailov
    et al., "Averaging Weights Leads to Wider Optima and Better Generalization" (UAI 2018), section 3.2.
    """
    network.train()
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain mean
    try:
        for run in passes:
            run()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
