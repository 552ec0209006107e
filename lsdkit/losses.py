"""The losses, each a pure function of tensors. Every one is a mean over the batch; the total is their plain sum."""

import torch
from torch import nn
from torch.nn import functional as F

EPSILON = (
    1e-8  # added to the variance over the heads: identical heads then cost log(1 + k/1e-8), about 20, not infinity
)


def class_weights(counts: torch.Tensor, form: str = "one_minus_share") -> torch.Tensor:
    """A weight for each class, (K,), from its count n_c in the training set of N faces; none of them is infinite.

    `form` "one_minus_share": 1 - n_c / N (the `authors` recipe), which tells classes apart only where one holds much of
    the set. "balanced": N / (K n_c), K the classes that occur, scikit-learn's convention; 0 for a class without faces.

    >>> class_weights(torch.tensor([1, 3]))
    tensor([0.7500, 0.2500])
    >>> class_weights(torch.tensor([1, 3]), "balanced")
    tensor([2.0000, 0.6667])
    """
    if form == "one_minus_share":
        return 1 - counts / counts.sum()
    weights = counts.sum() / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0)


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean of -y~ . log softmax(logits): logits (B, K), soft labels (B, K) -> scalar (paper section 2.1, L_CCE)."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def mixed_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    partner_labels: torch.Tensor,
    lam: float,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """lambda CE(p, y_i) + (1 - lambda) CE(p, y_j): logits (B, K), labels int64 (B,) -> scalar.

    `smoothing` in [0, 1) is the share of each hard label that is spread evenly over the K classes.

    Without `weights` it equals `soft_cross_entropy` of the mixed labels. With class `weights` (K,) each of the two
    terms is divided by the summed weights of its own labels; torch's soft-label cross entropy divides by B instead.
    """
    own = F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    partner = F.cross_entropy(logits, partner_labels, weights, label_smoothing=smoothing)
    return lam * own + (1 - lam) * partner


def affinity(features: torch.Tensor, targets: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Pull features to their class centre, and centres apart (paper section 2.2, L_af; DAN, arXiv:2109.07270).

    features (B, D), soft labels (B, K), centres (K, D) -> scalar: the mean over the batch of
    sum_m y_m ||x - c_m||^2, divided by the variance of the centres (unbiased over classes, summed over D).
    One-hot targets give the paper's formula.
    """
    distances = (features.unsqueeze(1) - centres).square().sum(dim=2)  # (B, K)
    return (targets * distances).sum(dim=1).mean() / centres.var(dim=0).sum()


class Affinity(nn.Module):
    """`affinity` with its trainable class centres (K, D), drawn from N(0, 1)."""

    def __init__(self, classes: int, features: int):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, features))

    def forward(self, features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """features (B, D), soft labels (B, K) -> scalar."""
        return affinity(features, targets, self.centres)


def partition(heads: torch.Tensor, form: str = "mean_log") -> torch.Tensor:
    """Push the attention heads apart (paper section 2.2, L_pt; DAN, arXiv:2109.07270).

    heads (B, k, D) -> scalar: the mean over B and D of log(1 + k / var), var the unbiased variance over the k heads;
    `form` "log_mean" is log(1 + k / mean var) instead. A single head has nothing to be apart from: zero.
    The log-softmax over heads shifts all heads of a channel alike, so it does not change this loss.
    """
    k = heads.shape[1]
    if k == 1:
        return heads.sum() * 0
    variance = heads.var(dim=1)  # (B, D)
    if form == "log_mean":
        variance = variance.mean()
    return torch.log1p(k / (variance + EPSILON)).mean()


def landmark_mse(predicted: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    """Mean square error over the points that are there: both (B, 68, 2), [-1, 1] of the crop -> scalar (L_Ap).

    A point with a NaN coordinate is missing and is left out, as is a whole face; nothing left is a loss of zero.
    """
    present = landmarks.isfinite().all(dim=2, keepdim=True)  # (B, 68, 1)
    errors = torch.where(present, predicted - landmarks.nan_to_num(), 0).square()
    return errors.sum() / (2 * present.sum()).clamp(min=1)
