"""A fixed part of `benchmarks/fuzz.py`: mutated files of every kind end in words that name them."""

import pytest


@pytest.fixture(scope="module")
def fuzz(load_benchmark):
    return load_benchmark("fuzz")


def test_mutated_files_are_told_by_name_or_read_as_the_sound_ones(fuzz):
    outcomes = fuzz.fuzz(150, 0)
    wrong = [
        f"{each.sort}: {each.kind.name}, {each.change}: {each.said}" for each in outcomes if each.sort in fuzz.WRONG
    ]
    assert not wrong, "\n".join(wrong)
    assert {each.kind.name for each in outcomes} == {kind.name for kind in fuzz.kinds()}
    assert len(outcomes) > 100
