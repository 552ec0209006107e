"""The losses of paper section 2 in its order, each a pure function of tensors and a mean over the batch.

`lsdkit.method.objective` puts them together: L_Em of either mixing, and L_Total. DAN is arXiv:2109.07270.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdkit.recipes import check_choice

EPSILON = 1e-8  # added to the variance over the heads: equal heads then cost log(1 + k/1e-8), about 20, not infinity


def loss_cce_virtual(
    logits: Tensor, labels: Tensor, partner_labels: Tensor, lam: float, cce: Callable = F.cross_entropy
) -> Tensor:
    """L_CCE^v = E[-y~ . log y_bar] of virtual faces, y_bar the softmax of their logits (section 2.1), written as
    lambda CCE(y_bar, y_i) + (1 - lambda) CCE(y_bar, y_j).

    logits (B, K), labels y_i and y_j int64 (B,) -> scalar. `cce` is torch's cross entropy, or a partial of it with
    class weights or label smoothing. With weights each term is divided by the summed weights of its own labels; torch's
    cross entropy of soft labels divides by B instead.
    """
    return lam * cce(logits, labels) + (1 - lam) * cce(logits, partner_labels)


def loss_mix_augment(
    virtual: Tensor, real: Tensor, labels: Tensor, partner_labels: Tensor, lam: float, cce: Callable = F.cross_entropy
) -> Tensor:
    """L_Ma = L_CCE^v + L_CCE^ri + L_CCE^rj (section 2.1), from the logits (B, K) of the virtual and of the real faces.

    j is a permutation of the same batch, so that L_CCE^rj = L_CCE^ri where no layer is random: the real faces count
    twice. Labels and `cce` as in `loss_cce_virtual`.
    """
    return loss_cce_virtual(virtual, labels, partner_labels, lam, cce) + 2 * cce(real, labels)


def loss_affinity(features: Tensor, targets: Tensor, centres: Tensor) -> Tensor:
    """L_af = sum_i ||x'_i - c_yi||^2 / sigma_c^2: pull features to their class centre (section 2.2, after DAN).

    features x' (B, D), targets y (B, K), centres c (K, D) -> scalar: the mean over the batch, and not the sum, of
    sum_k y_k ||x' - c_k||^2, divided by the variance of the centres (unbiased over classes, summed over D), which are
    trained, so that it pushes them apart. One-hot targets give the paper's formula.
    """
    distances = (features.unsqueeze(1) - centres).square().sum(dim=2)  # (B, K)
    return (targets * distances).sum(dim=1).mean() / centres.var(dim=0).sum()


class AffinityLoss(nn.Module):
    """`loss_affinity` with its trainable class centres (K, D), drawn from N(0, 1)."""

    def __init__(self, classes: int, features: int):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, features))

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """features (B, D), targets (B, K) -> scalar."""
        return loss_affinity(features, targets, self.centres)


def loss_partition(heads: Tensor, form: str = "mean_log") -> Tensor:
    """L_pt = 1/(NC) sum_i sum_j log(1 + k / sigma_ij^2): push the attention heads apart (section 2.2, after DAN).

    heads (B, k, D) -> scalar: sigma^2 is the unbiased variance over the k heads of each face (N = B) and channel
    (C = D); `form` "log_mean" is log(1 + k / mean sigma^2) instead. A single head has nothing to be apart from: zero.
    The log-softmax over heads shifts all heads of a channel alike, so it does not change this loss.
    """
    check_choice("form", form, ("mean_log", "log_mean"))
    k = heads.shape[1]
    if k == 1:
        return heads.sum() * 0
    variance = heads.var(dim=1)  # (B, D)
    if form == "log_mean":
        variance = variance.mean()
    return torch.log1p(k / (variance + EPSILON)).mean()


def loss_appearance(points: Tensor, landmarks: Tensor) -> Tensor:
    """L_Ap, the mean square error of the landmarks (section 2.2): both (B, 68, 2), [-1, 1] of the crop -> scalar.

    A point with a NaN coordinate is missing and is left out, as is a whole face; nothing left is a loss of zero.
    """
    present = landmarks.isfinite().all(dim=2, keepdim=True)  # (B, 68, 1)
    errors = torch.where(present, points - landmarks.nan_to_num(), 0).square()
    return errors.sum() / (2 * present.sum()).clamp(min=1)


def class_weights(counts: Tensor, form: str = "one_minus_share") -> Tensor:
    """A weight for each class, (K,), from its count n_c in the training set of N faces; none of them is infinite.

    `form` "one_minus_share": 1 - n_c / N (the `authors` recipe), which tells classes apart only where one holds much of
    the set. "balanced": N / (K n_c), K the classes that occur, scikit-learn's convention; 0 for a class without faces.

    >>> class_weights(torch.tensor([1, 3]))
    tensor([0.7500, 0.2500])
    >>> class_weights(torch.tensor([1, 3]), "balanced")
    tensor([2.0000, 0.6667])
    """
    check_choice("form", form, ("one_minus_share", "balanced"))
    if form == "one_minus_share":
        return 1 - counts / counts.sum()
    weights = counts.sum() / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0)
