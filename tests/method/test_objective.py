"""The step's loss against the formula written out: three two-branch passes, in float64, loss and gradients."""

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.method import objective
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import loss_total, step_loss
from lsdkit.recipes import Member, find_recipe

B, SIZE = 6, 32
SMOKE = replace(find_recipe("smoke"), alpha=1.0)
AUTHORS = replace(
    SMOKE,
    basic_aug_off="jitter_removed",
    draws="per_batch",
    shared_jitter=True,
    normalisation="imagenet",
    head_log_softmax=False,
    partition="log_mean",
    partition_passes="all",
    affinity="partner",
)


def batch(dtype=torch.float64):
    generator = torch_generator(0, "batch")
    emotion, appearance = (torch.rand(B, 3, SIZE, SIZE, generator=generator, dtype=dtype) for _ in range(2))
    labels = torch.tensor([0, 3, 4, 4, 2, 5])
    landmarks = 2 * torch.rand(B, 68, 2, generator=generator, dtype=dtype) - 1
    landmarks[2] = math.nan
    return emotion, appearance, labels, landmarks, torch.tensor([3, 0, 5, 1, 4, 2])


def build(recipe, mix="mixaugment"):
    member = Member(recipe=recipe, mix=mix)
    return member, MultiTask.build(member, torch_generator(0, "weights")).double().train()


def naive_affinity(network, out, labels):
    """Hard labels: distance to the own centre."""
    centres = network.affinity.centres
    return ((out.features - centres[labels]) ** 2).sum(dim=1).mean() / centres.var(dim=0, unbiased=True).sum()


def naive_partition(out, recipe):
    variance = out.heads.var(dim=1, unbiased=True) + 1e-8
    if recipe.partition == "log_mean":
        return torch.log(1 + recipe.heads / variance.mean())
    return torch.log(1 + recipe.heads / variance).mean()


def naive_mixaugment(network, recipe, lam, weights):
    """L_v + L_ri + L_rj as three passes through both branches, the landmark loss on the first."""
    emotion, appearance, labels, landmarks, partner = batch()
    passes = []
    for faces in (lam * emotion + (1 - lam) * emotion[partner], emotion, emotion[partner]):
        passes.append((network.forward_emotion(faces), network.forward_landmarks(appearance)))
    (virtual, points), (first, _), (second, _) = passes
    loss = lam * F.cross_entropy(virtual.logits, labels, weights)
    loss = loss + (1 - lam) * F.cross_entropy(virtual.logits, labels[partner], weights)
    loss = loss + F.cross_entropy(first.logits, labels, weights)
    loss = loss + F.cross_entropy(second.logits, labels[partner], weights)
    loss = loss + naive_affinity(network, first, labels)
    if recipe.affinity == "partner":
        loss = (
            loss + naive_affinity(network, virtual, labels[partner]) + naive_affinity(network, virtual, labels[partner])
        )
    loss = loss + naive_partition(first, recipe)
    if recipe.partition_passes == "all":
        loss = loss + naive_partition(virtual, recipe) + naive_partition(second, recipe)
    known = [i for i in range(B) if not landmarks[i].isnan().any()]
    return loss + ((points[known] - landmarks[known]) ** 2).mean()


@pytest.mark.parametrize("weights", [None, torch.tensor([0.9, 0.9, 0.8, 0.7, 0.4, 0.9], dtype=torch.float64)])
@pytest.mark.parametrize("recipe", [SMOKE, AUTHORS], ids=["paper", "authors"])
def test_two_emotion_passes_equal_three_two_branch_passes(recipe, weights):
    emotion, appearance, labels, landmarks, partner = batch()
    member, network = build(recipe)
    loss, parts = loss_total(
        network, emotion, appearance, labels, landmarks, lam=0.3, partner=partner, member=member, class_weights=weights
    )
    reference = naive_mixaugment(network, recipe, 0.3, weights)
    assert abs(loss - reference).item() < 1e-10
    assert sum(parts.values()).item() == pytest.approx(loss.item(), abs=1e-12)
    parameters = dict(network.named_parameters())
    ours = torch.autograd.grad(loss, list(parameters.values()))
    theirs = torch.autograd.grad(reference, list(parameters.values()))
    for name, a, b in zip(parameters, ours, theirs, strict=True):
        assert (a - b).abs().max() < 1e-10, name
    assert all(
        a.abs().max() > 1e-6 for name, a in zip(parameters, ours, strict=True) if name.endswith("graph.conv1.weight")
    )


@pytest.mark.parametrize("affinity", ["soft", "partner"])
def test_mixup_is_the_formula(affinity):
    emotion, appearance, labels, landmarks, partner = batch()
    member, network = build(replace(SMOKE, affinity=affinity), "mixup")
    loss, parts = loss_total(network, emotion, appearance, labels, landmarks, lam=0.3, partner=partner, member=member)
    out = network.forward_emotion(0.3 * emotion + 0.7 * emotion[partner])
    log_probability = out.logits.log_softmax(dim=1)
    own, other = (sum(-log_probability[i, y[i]] for i in range(B)) / B for y in (labels, labels[partner]))
    torch.testing.assert_close(parts["expression"], (0.3 * own + 0.7 * other).detach())
    near, far = naive_affinity(network, out, labels), naive_affinity(network, out, labels[partner])
    torch.testing.assert_close(parts["affinity"], (0.3 * near + 0.7 * far if affinity == "soft" else far).detach())
    torch.testing.assert_close(parts["partition"], naive_partition(out, SMOKE).detach())
    assert sum(parts.values()).item() == pytest.approx(loss.item())


@pytest.mark.parametrize(("mix", "passes"), [("mixup", 1), ("mixaugment", 2)])
def test_number_of_passes(mix, passes):
    emotion, appearance, labels, landmarks, partner = batch()
    member, network = build(SMOKE, mix)
    seen = {"emotion": [], "appearance": []}
    network.emotion.register_forward_pre_hook(lambda _, inputs: seen["emotion"].append(inputs[0]))
    network.appearance.register_forward_pre_hook(lambda _, inputs: seen["appearance"].append(inputs[0]))
    loss_total(network, emotion, appearance, labels, landmarks, lam=0.3, partner=partner, member=member)
    assert len(seen["emotion"]) == passes
    assert len(seen["appearance"]) == 1
    assert seen["appearance"][0] is appearance  # never mixed


@pytest.mark.parametrize("shared_statistics", [False, True])
@pytest.mark.parametrize(("mix", "emotion_updates"), [("mixup", 1), ("mixaugment", 2)])
def test_number_of_updates_of_running_averages(mix, emotion_updates, shared_statistics):
    emotion, appearance, labels, landmarks, partner = batch()
    member, network = build(replace(SMOKE, shared_statistics=shared_statistics), mix)
    loss_total(network, emotion, appearance, labels, landmarks, lam=0.3, partner=partner, member=member)
    updates = {name: int(n) for name, n in network.named_buffers() if name.endswith("num_batches_tracked")}
    expected = {"emotion": emotion_updates, "expression": emotion_updates, "appearance": 1}
    expected |= {"shared": emotion_updates + shared_statistics, "shared_appearance": emotion_updates + 1}
    if not shared_statistics:
        expected["shared_appearance"] = 1
    assert {name: expected[name.split(".")[0]] for name in updates} == updates
    assert {"emotion", "appearance", "shared", "expression"} <= {name.split(".")[0] for name in updates}


def step(recipe=SMOKE, seed=0, landmarks=None, class_weights=None, **options):
    member = Member(recipe=recipe, **options)
    network = MultiTask.build(member, torch_generator(0, "weights")).train()
    generator = torch_generator(1, "images")
    images = torch.randint(0, 256, (B, 40, 40, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 6, (B,), generator=generator)
    if landmarks is None:
        landmarks = 2 * torch.rand(B, 68, 2, generator=generator) - 1
    loss, parts = step_loss(
        network,
        images,
        labels,
        landmarks,
        member=member,
        generator=torch_generator(seed, "step"),
        class_weights=class_weights,
    )
    loss.backward()
    return network, loss, parts


def test_dropout_draws_from_the_generator_of_the_step(monkeypatch):
    """With all other draws held still, the loss depends on the generator, and on nothing but it."""
    emotion, appearance, labels, landmarks, partner = batch(torch.float32)
    for name, value in (("views", (emotion, appearance)), ("draw_lambda", 0.7), ("draw_partner", partner)):
        monkeypatch.setattr(objective, name, lambda *_, value=value, **__: value)
    member = Member(recipe=find_recipe("gradients"))
    network = MultiTask.build(member, torch_generator(0, "weights")).train()
    images, before = torch.zeros(B, SIZE, SIZE, 3, dtype=torch.uint8), torch.get_rng_state()

    def loss(seed):
        generator = torch_generator(seed, "step")
        return step_loss(network, images, labels, landmarks, member=member, generator=generator)[0].item()

    assert loss(0) == loss(0)
    assert loss(0) != pytest.approx(loss(1), rel=1e-4)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("mix", ["mixup", "mixaugment"])
@pytest.mark.parametrize("basic_aug", [True, False])
@pytest.mark.parametrize("recipe", [SMOKE, AUTHORS], ids=["paper", "authors"])
def test_every_parameter_learns(recipe, mix, basic_aug):
    network, _, parts = step(recipe, mix=mix, basic_aug=basic_aug, class_weights=torch.rand(6))
    assert list(parts) == ["expression", "affinity", "partition", "landmarks"]
    assert all(value.isfinite() and not value.requires_grad for value in parts.values())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_same_generator_same_bits():
    (first, a, _), (second, b, _), (_, c, _) = step(), step(), step(seed=1)
    assert a.equal(b)
    assert not a.equal(c)
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert p.grad.equal(q.grad)


def test_without_any_landmarks_the_rest_still_learns():
    network, loss, parts = step(landmarks=torch.full((B, 68, 2), math.nan))
    assert parts["landmarks"].item() == 0
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert network.landmarks.weight.grad.eq(0).all()


@pytest.mark.parametrize("mix", ["mixup", "mixaugment"])
def test_a_single_task_network_has_the_same_loss_without_its_landmarks(mix):
    """Without the basic augmentation both see the same emotion view, and their emotion branches start alike."""
    member = Member(recipe=SMOKE, mix=mix, basic_aug=False)
    both = MultiTask.build(member, torch_generator(0, "weights")).train()
    alone = MultiTask(SMOKE, "none").train()
    alone.load_state_dict({k: v for k, v in both.state_dict().items() if k in alone.state_dict()})
    views = batch(torch.float32)
    options = {"lam": 0.3, "partner": views[4], "member": member}
    total, parts = loss_total(both, *views[:4], **options)
    single, alone_parts = loss_total(alone, views[0], None, *views[2:4], **options)
    assert alone_parts["landmarks"] == 0
    assert parts["landmarks"] > 0
    torch.testing.assert_close(single, total - parts["landmarks"])


def test_label_smoothing_is_the_cross_entropy_of_smoothed_labels():
    views = batch()
    recipe = replace(SMOKE, label_smoothing=0.2)
    member, network = build(recipe, "mixup")
    _, parts = loss_total(network, *views[:4], lam=0.3, partner=views[4], member=member)
    emotion, _, labels, _, partner = views
    logits = network.forward_emotion(0.3 * emotion + 0.7 * emotion[partner]).logits
    targets = torch.full((B, 6), 0.2 / 6, dtype=torch.float64)
    for row in range(B):
        targets[row, labels[row]] += 0.8 * 0.3
        targets[row, labels[partner[row]]] += 0.8 * 0.7
    expected = -(targets * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(parts["expression"], expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing_reaches_virtual_and_real_faces(smoothing):
    """Mix-augment's three cross entropies, each of smoothed labels written out."""
    emotion, appearance, labels, landmarks, partner = batch()
    member, network = build(replace(SMOKE, label_smoothing=smoothing))
    options = {"lam": 0.3, "partner": partner, "member": member}
    _, parts = loss_total(network, emotion, appearance, labels, landmarks, **options)

    def naive(faces, y, smoothing):
        probability = network.forward_emotion(faces).logits.detach().softmax(dim=1)
        total = 0.0
        for i in range(B):
            for k in range(6):
                share = smoothing / 6 + (1 - smoothing if k == y[i] else 0)
                total -= share * math.log(probability[i, k]) / B
        return total

    def three(of_virtual, of_real):
        virtual, other = 0.3 * emotion + 0.7 * emotion[partner], labels[partner]
        mixed = 0.3 * naive(virtual, labels, of_virtual) + 0.7 * naive(virtual, other, of_virtual)
        return mixed + naive(emotion, labels, of_real) + naive(emotion[partner], other, of_real)

    assert parts["expression"].item() == pytest.approx(three(smoothing, smoothing), abs=1e-10)
    if smoothing:
        for wrong in ((smoothing, 0), (0, smoothing)):
            assert abs(parts["expression"].item() - three(*wrong)) > 0.01


class Drawn(Exception):
    """Ends a step where its draws are known."""


def draws_of_steps(monkeypatch, alpha, count, faces=4):
    """Lambda and partners of the steps with seeds 0, 1, ..., as they reach the loss: (count,), (count, faces)."""
    seen = []

    def caught(*_, lam, partner, **__):
        seen.append((lam, partner.tolist()))
        raise Drawn

    monkeypatch.setattr(objective, "loss_total", caught)
    member, network = build(replace(SMOKE, alpha=alpha))
    images = torch.zeros(faces, SIZE, SIZE, 3, dtype=torch.uint8)
    options = {"member": member, "class_weights": None}
    labels, landmarks = torch.zeros(faces).long(), torch.zeros(faces, 68, 2)
    for seed in range(count):
        with pytest.raises(Drawn):
            step_loss(network, images, labels, landmarks, generator=torch_generator(seed, "step"), **options)
    return torch.tensor([lam for lam, _ in seen], dtype=torch.float64), [partner for _, partner in seen]


@pytest.mark.parametrize("alpha", [0.1, 1.0, 20.0])
def test_a_steps_lambda_follows_the_recipes_alpha(monkeypatch, alpha):
    """Beta(alpha, alpha) has the variance 1 / (4 (2 alpha + 1)): .208, .083 and .006."""
    draws, _ = draws_of_steps(monkeypatch, alpha, 400)
    assert draws.mean().item() == pytest.approx(0.5, abs=0.07)
    assert draws.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_a_steps_partners_are_any_permutation(monkeypatch):
    """All 24 of four faces, about equally often: chi-squared with 23 degrees of freedom, 99.9% below 49.7."""
    _, partners = draws_of_steps(monkeypatch, 1.0, 600)
    counts = [partners.count(list(order)) for order in permutations(range(4))]
    assert sum(counts) == 600
    assert min(counts) > 0
    assert sum((count - 25) ** 2 / 25 for count in counts) < 49.7


def test_bf16_is_close_and_its_losses_are_full_precision():
    _, full, _ = step()
    _, half, parts = step(replace(SMOKE, precision="bf16"))
    assert half.item() == pytest.approx(full.item(), rel=0.1)
    assert half.item() != full.item()
    assert all(value.dtype == torch.float32 for value in parts.values())


def test_a_batch_of_one_and_a_wrong_label_are_named():
    member, network = build(SMOKE)
    network = network.float()
    options = {"member": member, "generator": torch_generator(0, "x")}
    images = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 2 faces"):
        step_loss(network, images[:1], torch.zeros(1).long(), torch.zeros(1, 68, 2), **options)
    with pytest.raises(ValueError, match=r"labels in 0\.\.5"):
        step_loss(network, images, torch.tensor([0, 6]), torch.zeros(2, 68, 2), **options)
