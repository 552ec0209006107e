"""One training step's loss (paper section 2.2): L_Total = L_Em + L_Ap, and L_Em with Mix-augment or with Mix-up.

Mix-up takes one pass through the emotion branch, over the virtual faces. Mix-augment adds the real ones. As j is a
permutation of the same batch, L_CCE^ri = L_CCE^rj in train mode where no layer is random, so one real pass counts
twice: two emotion passes and one appearance pass stand for the three two-branch passes of the formula. Loss and
gradients are the same. Batch norm's running averages are updated once a pass: twice a step in the emotion branch, once
in the appearance branch, instead of three times each.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lsdkit.common.seeds import global_draws
from lsdkit.method.losses import loss_appearance, loss_cce_virtual, loss_mix_augment, loss_partition
from lsdkit.method.mixing import draw_lambda, draw_partner, mixup
from lsdkit.method.network import EmotionOutput, MultiTask
from lsdkit.method.views import emotion_view, to_float, views
from lsdkit.recipes import Member, Recipe


def step_loss(
    network: MultiTask,
    images: Tensor,
    labels: Tensor,
    landmarks: Tensor,
    *,
    member: Member,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    class_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_Total of one batch, to call backward on, and its parts: expression, affinity, partition, landmarks.

    images uint8 (B, H, W, 3); labels int64 (B,), below the recipe's `classes` K; landmarks (B, 68, 2) in [-1, 1] of the
    crop, NaN where missing; class_weights (K,) or none. Parts are detached scalars that sum to the loss; a single-task
    network has no landmarks to learn, a part of 0. All randomness comes from `generator`. Raises `ValueError` for a
    batch of one face (batch norm needs two) and for labels outside 0..K-1.
    """
    if len(images) < 2:
        raise ValueError(f"Expected a batch of at least 2 faces (batch norm needs two), but got {len(images)}")
    if labels.min() < 0 or labels.max() >= member.recipe.classes:
        raise ValueError(f"Expected labels in 0..{member.recipe.classes - 1}, but got {labels.unique().tolist()}")
    x = to_float(images, member.recipe.image_size, device)
    options = {"basic": member.basic_aug, "recipe": member.recipe}
    if network.multitask:
        emotion, appearance = views(x, generator, **options)
    else:
        emotion, appearance = emotion_view(x, generator, **options), None
    lam = draw_lambda(member.recipe.alpha, generator)
    partner = draw_partner(len(x), generator).to(device)
    weights = None if class_weights is None else class_weights.to(x)
    batch = emotion, appearance, labels.to(device), landmarks.to(x)
    with global_draws(generator, x.device):
        return loss_total(network, *batch, lam=lam, partner=partner, member=member, class_weights=weights)


def loss_total(
    network: MultiTask,
    emotion: Tensor,
    appearance: Tensor | None,
    labels: Tensor,
    landmarks: Tensor,
    *,
    lam: float,
    partner: Tensor,
    member: Member,
    class_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_Total = L_Em + L_Ap: `step_loss` after every draw, that is the views (B, 3, S, S) in [0, 1], lambda and the
    partner int64 (B,), all on one device.

    `appearance` is None for a single-task network, whose L_Ap is 0. Losses are computed in the precision of the views,
    where the network computes in bfloat16 as well.
    """
    with torch.autocast(emotion.device.type, torch.bfloat16, enabled=member.recipe.precision == "bf16"):
        virtual = network.forward_emotion(mixup(emotion, lam, partner)).to(emotion)
        real = network.forward_emotion(emotion).to(emotion) if member.mix == "mixaugment" else None
        points = network.forward_landmarks(appearance).to(landmarks) if network.multitask else None
    cce = partial(F.cross_entropy, weight=class_weights, label_smoothing=member.recipe.label_smoothing)
    if member.mix == "mixaugment":
        parts = loss_emotion_mix_augment(network, virtual, real, labels, lam, partner, member.recipe, cce)
    else:
        parts = loss_emotion_mixup(network, virtual, labels, lam, partner, member.recipe, cce)
    parts["landmarks"] = loss_appearance(points, landmarks) if network.multitask else emotion.new_zeros(())
    return sum(parts.values()), {name: value.detach() for name, value in parts.items()}  # L_Em + L_Ap


def loss_emotion_mix_augment(
    network: MultiTask,
    virtual: EmotionOutput,
    real: EmotionOutput,
    labels: Tensor,
    lam: float,
    partner: Tensor,
    recipe: Recipe,
    cce: Callable,
) -> dict[str, Tensor]:
    """L_Em = L_Ma + L_af + L_pt, "if mix-aug used": its three terms, L_af and L_pt of the real faces.

    With the recipe's `partition_passes` "all", L_pt is summed over the three passes of the formula. With its `affinity`
    "partner", L_af has three terms as well: of the virtual faces with labels y_j twice, and of the real faces. Labels
    int64 (B,); `cce` as in `loss_cce_virtual`.
    """
    one_hot = F.one_hot(labels, recipe.classes).to(real.features)
    affinity = network.affinity(real.features, one_hot)
    if recipe.affinity == "partner":
        affinity = affinity + 2 * network.affinity(virtual.features, one_hot[partner])
    partition = loss_partition(real.heads, recipe.partition)
    if recipe.partition_passes == "all":
        partition = 2 * partition + loss_partition(virtual.heads, recipe.partition)
    return {
        "expression": loss_mix_augment(virtual.logits, real.logits, labels, labels[partner], lam, cce),
        "affinity": affinity,
        "partition": partition,
    }


def loss_emotion_mixup(
    network: MultiTask,
    virtual: EmotionOutput,
    labels: Tensor,
    lam: float,
    partner: Tensor,
    recipe: Recipe,
    cce: Callable,
) -> dict[str, Tensor]:
    """L_Em = L_CCE^v + L_af + L_pt, "if mix-up used": its three terms, all of the virtual faces.

    L_af takes the labels y~, or y_j alone with the recipe's `affinity` "partner". Arguments as above.
    """
    one_hot = F.one_hot(labels, recipe.classes).to(virtual.features)
    targets = mixup(one_hot, lam, partner) if recipe.affinity == "soft" else one_hot[partner]
    return {
        "expression": loss_cce_virtual(virtual.logits, labels, labels[partner], lam, cce),
        "affinity": network.affinity(virtual.features, targets),
        "partition": loss_partition(virtual.heads, recipe.partition),
    }
