"""One training step's loss: draw the views, mix, pass through the network, sum the losses (paper section 2.2).

Mix-up takes one emotion pass, over the virtual (mixed) faces. Mix-augment adds the real ones:
L_Ma = L_v + L_ri + L_rj. As j is a permutation of the same batch, L_ri = L_rj in train mode where no layer is
random, so one real pass counts twice: two emotion passes and one appearance pass stand for the three
two-branch passes of the formula. Loss and gradients are the same; batch norm's running statistics see each
batch once and not twice.
"""

import torch
from torch.nn import functional as F

from lsdkit.augment import emotion_view, to_float, views
from lsdkit.losses import landmark_mse, mixed_cross_entropy, partition
from lsdkit.mix import draw_lambda, draw_partner, mix
from lsdkit.multitask import EmotionOutput, MultiTask
from lsdkit.recipes import Member
from lsdkit.seeds import global_draws


def step_loss(
    network: MultiTask,
    images: torch.Tensor,
    labels: torch.Tensor,
    landmarks: torch.Tensor,
    *,
    member: Member,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    class_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of one batch, to call backward on, and its parts: expression, affinity, partition, landmarks.

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
    with global_draws(generator, x.device):
        return batch_loss(
            network,
            emotion,
            appearance,
            labels.to(device),
            landmarks.to(x),
            lam=lam,
            partner=partner,
            member=member,
            class_weights=weights,
        )


def batch_loss(
    network: MultiTask,
    emotion: torch.Tensor,
    appearance: torch.Tensor | None,
    labels: torch.Tensor,
    landmarks: torch.Tensor,
    *,
    lam: float,
    partner: torch.Tensor,
    member: Member,
    class_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """`step_loss` after every draw: views (B, 3, S, S) in [0, 1], lambda, partner int64 (B,), all on one device.

    `appearance` is None for a single-task network.
    """
    recipe, augmented = member.recipe, member.mix == "mixaugment"
    with torch.autocast(emotion.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        virtual = network.forward_emotion(mix(emotion, lam, partner))
        real = network.forward_emotion(emotion) if augmented else None
        points = network.forward_landmarks(appearance) if network.multitask else None
    virtual = EmotionOutput(*map(_full, virtual))
    real = EmotionOutput(*map(_full, real)) if augmented else None
    one_hot = F.one_hot(labels, recipe.classes).to(virtual.features)
    smoothing = recipe.label_smoothing

    expression = mixed_cross_entropy(virtual.logits, labels, labels[partner], lam, class_weights, smoothing)
    if augmented:
        expression = expression + 2 * F.cross_entropy(real.logits, labels, class_weights, label_smoothing=smoothing)
        apart = partition(real.heads, recipe.partition)
        if recipe.partition_passes == "all":
            apart = 2 * apart + partition(virtual.heads, recipe.partition)
        near = network.affinity(real.features, one_hot)
    else:
        apart = partition(virtual.heads, recipe.partition)
        targets = mix(one_hot, lam, partner) if recipe.affinity == "soft" else one_hot[partner]
        near = network.affinity(virtual.features, targets)
    parts = {
        "expression": expression,
        "affinity": near,
        "partition": apart,
        "landmarks": landmark_mse(_full(points), landmarks) if network.multitask else expression.new_zeros(()),
    }
    return sum(parts.values()), {name: value.detach() for name, value in parts.items()}


def _full(x: torch.Tensor) -> torch.Tensor:
    """bfloat16 to float32: losses are computed in full precision, in that of the network where it is higher."""
    return x.float() if x.dtype == torch.bfloat16 else x
