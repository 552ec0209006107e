"""Mix-up (paper section 2.1): what is drawn for a batch, and the virtual batch that follows from it.

Mix-up: Zhang et al. 2018, https://arxiv.org/abs/1710.09412. Mix-augment (Psaroudakis and Kollias 2022,
https://arxiv.org/abs/2205.04442) mixes alike and trains on the batch itself as well: `lsdkit.method.objective` has
L_Em of either.
"""

import numpy as np
import torch
from torch import Tensor


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


def draw_partner(batch: int, generator: torch.Generator) -> Tensor:
    """The j of each i, which face each face of a batch is mixed with: a permutation, int64 (B,); i may draw itself."""
    return torch.randperm(batch, generator=generator)


def mixup(x: Tensor, lam: float, partner: Tensor) -> Tensor:
    """x~ = lambda x_i + (1 - lambda) x_j and, of one-hot labels, y~ = lambda y_i + (1 - lambda) y_j; j is partner[i].

    Any shape (B, ...) and float type: images (B, 3, S, S), or labels (B, K), whose rows still sum to 1.

    >>> mixup(torch.tensor([0.0, 8.0]), 0.75, torch.tensor([1, 0]))
    tensor([2., 6.])
    """
    return lam * x + (1 - lam) * x[partner]
