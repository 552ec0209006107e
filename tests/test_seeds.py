import numpy as np
import torch

from lsdkit.seeds import derive, numpy_generator, torch_generator


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
