"""Losses against naive loops in float64, values and gradients, and their degenerate cases."""

import math
from functools import partial

import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.method import losses
from lsdkit.method.mixing import mixup

B, K, D, M = 5, 6, 7, 4


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch_generator(seed, *shape), dtype=torch.float64).requires_grad_()


def assert_same(loss, reference, *inputs):
    """Equal values and equal gradients, which are not all zero."""
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(reference, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
        assert ours.abs().max() > 0


def soft_labels():
    return rand(B, K, seed=3).detach().softmax(dim=1)


def naive_log_probability(logits, i, k):
    return torch.log(torch.exp(logits[i, k]) / sum(torch.exp(logits[i, m]) for m in range(K)))


def naive_soft_cross_entropy(logits, targets):
    """E[-y~ . log y_bar], one logarithm at a time."""
    return sum(-targets[i, k] * naive_log_probability(logits, i, k) for i in range(B) for k in range(K)) / B


def test_cross_entropy_of_virtual_faces_is_that_of_soft_labels():
    logits, labels, partner = rand(B, K), torch.tensor([0, 1, 2, 2, 5]), torch.tensor([4, 3, 1, 0, 2])
    targets = mixup(torch.eye(K, dtype=torch.float64)[labels], 0.3, partner)
    for reference in (naive_soft_cross_entropy, F.cross_entropy):
        loss = losses.loss_cce_virtual(logits, labels, labels[partner], 0.3)
        assert_same(loss, reference(logits, targets), logits)


@pytest.mark.parametrize("weighted", [False, True])
def test_mix_augment_adds_the_real_faces_twice(weighted):
    """L_v + L_ri + L_rj, each written out; j is a permutation of i, so that the last two agree."""
    virtual, real = rand(B, K), rand(B, K, seed=1)
    labels, partner = torch.tensor([0, 1, 2, 2, 5]), torch.tensor([4, 3, 1, 0, 2])
    weights = torch.tensor([0.9, 0.5, 0.2, 0.7, 0.4, 0.8], dtype=torch.float64) if weighted else None
    loss = losses.loss_mix_augment(
        virtual, real, labels, labels[partner], 0.3, partial(F.cross_entropy, weight=weights, label_smoothing=0.1)
    )
    own, other = (naive_smoothed(virtual, y, 0.1, weights) for y in (labels, labels[partner]))
    both = naive_smoothed(real, labels, 0.1, weights) + naive_smoothed(real[partner], labels[partner], 0.1, weights)
    assert_same(loss, 0.3 * own + 0.7 * other + both, virtual, real)


def test_class_weights_divide_each_term_by_its_own_sum():
    logits, labels, partner = rand(B, K), torch.tensor([0, 1, 2, 2, 5]), torch.tensor([4, 3, 1, 0, 2])
    weights = torch.tensor([0.9, 0.5, 0.2, 0.7, 0.4, 0.8], dtype=torch.float64)

    def term(y):
        total = sum(-weights[y[i]] * naive_log_probability(logits, i, y[i]) for i in range(B))
        return total / sum(weights[y[i]] for i in range(B))

    reference = 0.3 * term(labels) + 0.7 * term(labels[partner])
    cce = partial(F.cross_entropy, weight=weights)
    assert_same(losses.loss_cce_virtual(logits, labels, labels[partner], 0.3, cce), reference, logits)


def naive_smoothed(logits, labels, smoothing, weights=None):
    """Mean over the batch of -sum_k y_k log p_k, where y keeps 1 - s of the label and spreads s over all K classes.

    Class weights multiply each class's term, and the mean is over the weights of the labels, as in torch.
    """
    total, share = 0, 0
    for i in range(B):
        for k in range(K):
            target = smoothing / K + (1 - smoothing if k == labels[i] else 0)
            weight = 1 if weights is None else weights[k]
            total = total - weight * target * naive_log_probability(logits, i, k)
        share = share + (1 if weights is None else weights[labels[i]])
    return total / share


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_of_virtual_faces_with_smoothed_labels(smoothing, weighted):
    logits, labels, partner = rand(B, K), torch.tensor([0, 1, 2, 2, 5]), torch.tensor([4, 3, 1, 0, 2])
    weights = torch.tensor([0.9, 0.5, 0.2, 0.7, 0.4, 0.8], dtype=torch.float64) if weighted else None
    cce = partial(F.cross_entropy, weight=weights, label_smoothing=smoothing)
    loss = losses.loss_cce_virtual(logits, labels, labels[partner], 0.3, cce)
    own, other = (naive_smoothed(logits, y, smoothing, weights) for y in (labels, labels[partner]))
    assert_same(loss, 0.3 * own + 0.7 * other, logits)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_a_mixture_of_one_face_is_that_face(lam):
    logits, labels, partner = rand(B, K), torch.tensor([0, 1, 2, 2, 5]), torch.tensor([4, 3, 1, 0, 2])
    loss = losses.loss_cce_virtual(logits, labels, labels[partner], lam)
    assert_same(loss, naive_smoothed(logits, labels if lam else labels[partner], 0.0), logits)


def test_balanced_class_weights_are_those_of_scikit_learn():
    labels = [0] * 7 + [1] * 2 + [3] * 11 + [4] + [5] * 3
    weights = losses.class_weights(torch.bincount(torch.tensor(labels), minlength=K), "balanced")
    expected = compute_class_weight("balanced", classes=torch.unique(torch.tensor(labels)).numpy(), y=labels)
    assert weights[2] == 0
    torch.testing.assert_close(weights[[0, 1, 3, 4, 5]].double(), torch.tensor(expected), rtol=1e-6, atol=0)


def test_class_weights_are_one_minus_the_share():
    counts = torch.tensor([18286, 15150, 10923, 73285, 144631, 14976])
    expected = [1 - n / 277251 for n in counts.tolist()]
    torch.testing.assert_close(losses.class_weights(counts), torch.tensor(expected))


def naive_affinity(features, targets, centres):
    variance = 0
    for d in range(D):
        mean = sum(centres[k, d] for k in range(K)) / K
        variance = variance + sum((centres[k, d] - mean) ** 2 for k in range(K)) / (K - 1)
    total = 0
    for i in range(B):
        for k in range(K):
            total = total + targets[i, k] * sum((features[i, d] - centres[k, d]) ** 2 for d in range(D))
    return total / B / variance


def test_affinity():
    features, centres, targets = rand(B, D), rand(K, D), soft_labels()
    assert_same(
        losses.loss_affinity(features, targets, centres), naive_affinity(features, targets, centres), features, centres
    )


def test_affinity_of_hard_labels_is_the_distance_to_the_own_centre():
    features, centres, labels = rand(B, D), rand(K, D), torch.tensor([0, 1, 2, 2, 5])
    one_hot = torch.eye(K, dtype=torch.float64)[labels]
    reference = (features - centres[labels]).square().sum() / B / centres.var(dim=0).sum()
    assert_same(losses.loss_affinity(features, one_hot, centres), reference, features, centres)
    at_centre = losses.loss_affinity(centres[labels], one_hot, centres)
    assert at_centre.item() == 0


def test_affinity_module_trains_its_centres():
    module = losses.AffinityLoss(K, D)
    module(torch.randn(B, D), torch.eye(K)[:B]).backward()
    assert module.centres.grad.abs().sum() > 0


def naive_partition(heads, form):
    variances = []
    for i in range(B):
        for d in range(D):
            mean = sum(heads[i, m, d] for m in range(M)) / M
            variances.append(sum((heads[i, m, d] - mean) ** 2 for m in range(M)) / (M - 1) + losses.EPSILON)
    if form == "log_mean":
        return torch.log(1 + M / (sum(variances) / len(variances)))
    return sum(torch.log(1 + M / v) for v in variances) / len(variances)


@pytest.mark.parametrize("form", ["mean_log", "log_mean"])
def test_partition(form):
    heads = rand(B, M, D)
    assert_same(losses.loss_partition(heads, form), naive_partition(heads, form), heads)


def test_partition_falls_as_heads_part():
    heads = rand(B, M, D).detach()
    assert losses.loss_partition(10 * heads) < losses.loss_partition(heads)


def test_partition_of_equal_heads_is_finite_and_of_one_head_zero():
    heads = torch.ones(B, M, D, requires_grad=True)
    loss = losses.loss_partition(heads)
    assert loss.item() == pytest.approx(math.log(1 + M / losses.EPSILON), rel=1e-5)
    assert torch.autograd.grad(loss, heads)[0].isfinite().all()
    assert losses.loss_partition(torch.rand(B, 1, D)).item() == 0


def test_partition_does_not_see_the_log_softmax_over_heads():
    heads = rand(B, M, D)
    torch.testing.assert_close(losses.loss_partition(heads.log_softmax(dim=1)), losses.loss_partition(heads))


def test_loss_appearance_leaves_missing_points_out():
    predicted, landmarks = rand(3, 68, 2), rand(3, 68, 2, seed=1).detach()
    landmarks[0] = math.nan  # a face without landmarks
    landmarks[1, 5, 0] = math.nan  # half a point is no point
    total, count = 0, 0
    for i in range(3):
        for p in range(68):
            if not landmarks[i, p].isnan().any():
                total, count = total + ((predicted[i, p] - landmarks[i, p]) ** 2).sum(), count + 2
    assert count == 2 * (2 * 68 - 1)
    loss = losses.loss_appearance(predicted, landmarks)
    assert_same(loss, total / count, predicted)
    gradient = torch.autograd.grad(losses.loss_appearance(predicted, landmarks), predicted)[0]
    assert gradient[0].eq(0).all()
    assert gradient[1, 5].eq(0).all()


def test_loss_appearance_of_a_batch_without_landmarks_is_zero_with_zero_gradient():
    predicted = rand(3, 68, 2)
    loss = losses.loss_appearance(predicted, torch.full((3, 68, 2), math.nan, dtype=torch.float64))
    assert loss.item() == 0
    assert torch.autograd.grad(loss, predicted)[0].eq(0).all()
