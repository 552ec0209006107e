"""A member's optimiser against Adam written out in float64, from the gradients that the steps saw."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lsdkit.recipes import SMOKE, Member
from lsdkit.training.member import MemberTask

STEPS = 4


def naive_adam(start, gradients, rate, decay, betas=(0.9, 0.999), epsilon=1e-8):
    """Kingma and Ba 2015, algorithm 1, with the weight decay added to the gradient; (n,) after `gradients` [(n,)]."""
    weights, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, gradient in enumerate(gradients, start=1):
        gradient = gradient + decay * weights
        first = betas[0] * first + (1 - betas[0]) * gradient
        second = betas[1] * second + (1 - betas[1]) * gradient**2
        corrected = first / (1 - betas[0] ** t), second / (1 - betas[1] ** t)
        weights = weights - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon)
    return weights


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).double().numpy()


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_adams(tiny_store, weight_decay):
    recipe = replace(SMOKE, weight_decay=weight_decay, learning_rate=1e-3)
    task = MemberTask(Member(recipe=recipe, mix="mixup"), tiny_store, torch.device("cpu"))
    task.network.double()
    task.start_epoch(0)
    parameters = list(task.network.parameters())
    start, gradients = flat(parameters), []
    update = task.optimiser.step

    def noting():
        gradients.append(flat(parameter.grad for parameter in parameters))
        update()

    task.optimiser.step = noting
    for step in range(STEPS):
        task.step(task.rows[step::7][:8], 0, step)
    expected = naive_adam(start, gradients, 1e-3, weight_decay)
    moved = flat(parameters) - start
    assert len(gradients) == STEPS
    assert np.abs(moved).mean() > 1e-4
    np.testing.assert_allclose(moved, expected - start, atol=1e-10)
    for betas in ((0.5, 0.9), (0.9, 0.99), (0.8, 0.999)):
        other = naive_adam(start, gradients, 1e-3, weight_decay, betas) - start
        assert np.abs(moved - other).max() > 5e-6, betas


def test_every_parameter_is_the_optimisers_once(tiny_store):
    task = MemberTask(Member(recipe=SMOKE), tiny_store, torch.device("cpu"))
    ours = [id(parameter) for group in task.optimiser.param_groups for parameter in group["params"]]
    assert sorted(ours) == sorted(id(parameter) for parameter in task.network.parameters())
