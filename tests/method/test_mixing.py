"""Mixing: the formula, what it conserves, and the distribution of lambda."""

from itertools import permutations

import numpy as np
import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.method.mixing import draw_lambda, draw_partner, mixup


def test_mixup_is_the_formula_face_by_face():
    generator = torch_generator(0, "test")
    x = torch.rand(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    targets = torch.eye(6, dtype=torch.float64)[[0, 3, 3, 5, 1]]
    partner = draw_partner(5, generator)
    mixed, soft = mixup(x, 0.3, partner), mixup(targets, 0.3, partner)
    for i, j in enumerate(partner.tolist()):
        torch.testing.assert_close(mixed[i], 0.3 * x[i] + 0.7 * x[j])
        torch.testing.assert_close(soft[i], 0.3 * targets[i] + 0.7 * targets[j])


@pytest.mark.parametrize("lam", [0.0, 0.25, 1.0])
def test_labels_are_conserved(lam):
    targets = torch.eye(6)[torch.randint(0, 6, (32,), generator=torch_generator(1, "test"))]
    soft = mixup(targets, lam, draw_partner(32, torch_generator(2, "test")))
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(32))
    torch.testing.assert_close(soft.sum(dim=0), targets.sum(dim=0))  # a permutation moves no mass between classes


def test_lambda_one_leaves_the_batch_and_zero_permutes_it():
    x, partner = torch.rand(4, 2), torch.tensor([2, 0, 3, 1])
    assert mixup(x, 1.0, partner).equal(x)
    assert mixup(x, 0.0, partner).equal(x[partner])


def test_the_input_is_not_written_to():
    x = torch.rand(4, 2)
    before = x.clone()
    mixup(x, 0.5, torch.tensor([1, 0, 3, 2]))
    assert x.equal(before)


def test_partner_is_a_permutation():
    assert draw_partner(50, torch_generator(0, "p")).sort().values.equal(torch.arange(50))


def test_every_permutation_is_drawn_about_equally_often():
    draws = [tuple(draw_partner(3, torch_generator(0, "p", i)).tolist()) for i in range(1200)]
    counts = [draws.count(order) for order in permutations(range(3))]
    assert sum(counts) == 1200
    assert sum((count - 200) ** 2 / 200 for count in counts) < 20.5  # 5 degrees of freedom, 99.9%


def test_lambda_follows_the_beta_distribution():
    draws = np.array([draw_lambda(0.1, torch_generator(0, "lambda", i)) for i in range(3000)])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert draws.mean() == pytest.approx(0.5, abs=0.03)
    assert draws.var() == pytest.approx(0.25 / 1.2, abs=0.01)  # 1 / (4 (2 alpha + 1))
    assert np.mean((draws < 0.01) | (draws > 0.99)) > 0.5


def test_same_generator_same_draws():
    first, second = (torch_generator(7, "x") for _ in range(2))
    assert draw_lambda(0.4, first) == draw_lambda(0.4, second)
    assert draw_partner(9, first).equal(draw_partner(9, second))
    assert draw_lambda(0.4, first) != draw_lambda(0.4, torch_generator(8, "x"))


def test_alpha_has_to_be_above_zero():
    with pytest.raises(ValueError, match="alpha"):
        draw_lambda(0, torch_generator(0, "x"))
