"""Mix-up and what Mix-augment adds to it: pure functions of a batch, a lambda and a permutation.

Mix-up: Zhang et al. 2018, https://arxiv.org/abs/1710.09412. Mix-augment: Psaroudakis and Kollias 2022,
https://arxiv.org/abs/2205.04442. As used here: paper section 2.1. Mix-augment trains on the mixed batch and on
the batch itself; which passes that takes is `lsdkit.objective`'s matter, the mixing is the same.
"""

import numpy as np
import torch


def draw_lambda(alpha: float, generator: torch.Generator) -> float:
    """One lambda in [0, 1] from Beta(alpha, alpha); at alpha 0.1 most draws lie close to 0 or 1.

    Raises `ValueError` where `alpha` is not above 0.

    >>> 0 <= draw_lambda(0.1, torch.Generator().manual_seed(0)) <= 1
    True
    """
    if not alpha > 0:
        raise ValueError(f"Expected `alpha` above 0, but got {alpha}")
    seed = int(torch.randint(2**63 - 1, (), generator=generator))  # numpy's beta stays exact where gammas underflow
    return float(np.random.default_rng(seed).beta(alpha, alpha))


def draw_partner(batch: int, generator: torch.Generator) -> torch.Tensor:
    """Which face each face of a batch is mixed with: a permutation, int64 (B,); a face may draw itself."""
    return torch.randperm(batch, generator=generator)


def mix(x: torch.Tensor, lam: float, partner: torch.Tensor) -> torch.Tensor:
    """x~ = lambda x_i + (1 - lambda) x_j with j = partner[i]; any shape (B, ...), any float type.

    >>> mix(torch.tensor([0.0, 8.0]), 0.75, torch.tensor([1, 0]))
    tensor([2., 6.])
    """
    return lam * x + (1 - lam) * x[partner]


def mixup(
    x: torch.Tensor, targets: torch.Tensor, lam: float, partner: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The virtual batch (x~, y~): images (B, C, H, W) and soft labels (B, K) mixed alike; rows of y~ still sum to 1."""
    return mix(x, lam, partner), mix(targets, lam, partner)
