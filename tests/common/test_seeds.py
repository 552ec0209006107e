import numpy as np
import pytest
import torch

from lsdkit.common.seeds import derive, global_draws, numpy_generator, torch_generator


def test_derived_seeds_are_the_same_everywhere():
    assert derive(0, "order", 1, 2) == 2583993249979974109  # fixed: runs of earlier versions must come out again


def test_every_part_of_the_purpose_counts():
    purposes = [("a",), ("a", 0), ("a", 1), ("a", 1, 1), ("a", 11), ("b", 1), ("a1",)]
    seeds = {derive(seed, *purpose) for seed in range(3) for purpose in purposes}
    assert len(seeds) == 3 * len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_generators_leave_the_global_state_alone():
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is what this test looks at)
    first = torch.rand(3, generator=torch_generator(0, "x"))
    assert first.equal(torch.rand(3, generator=torch_generator(0, "x")))
    assert not first.equal(torch.rand(3, generator=torch_generator(0, "y")))
    drawn = numpy_generator(0, "x").random(3)
    assert (drawn == numpy_generator(0, "x").random(3)).all()
    assert torch.get_rng_state().equal(before)
    assert (np.random.get_state()[1] == before_numpy).all()  # noqa: NPY002 (the global state is what this test looks at)


def test_global_draws_are_the_generators_and_are_put_back():
    def draw(*purpose):
        with global_draws(torch_generator(0, *purpose)):
            return torch.rand(4)

    before = torch.get_rng_state()
    assert draw("x").equal(draw("x"))
    assert not draw("x").equal(draw("y"))
    generator = torch_generator(0, "x")
    with global_draws(generator):
        first = torch.rand(4)
    with global_draws(generator):  # the generator has moved on
        assert not torch.rand(4).equal(first)
    with pytest.raises(KeyError), global_draws(generator):
        raise KeyError
    assert torch.get_rng_state().equal(before)
