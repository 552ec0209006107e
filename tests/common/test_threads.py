"""Blocks shared out among threads: each once, each alone, and what goes wrong in one is told."""

import threading
from collections.abc import Iterator

import pytest
import torch

from lsdkit.common.threads import share_out


@pytest.fixture(params=[1, 3])
def threads(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "block"), [(0, 4), (3, 4), (10, 4), (12, 4), (7, 1)])
def test_every_block_is_done_once(threads, count, block):
    done, lengths = torch.zeros(count), []

    def work(rows: slice) -> None:
        lengths.append(rows.stop - rows.start)
        done[rows] += 1

    share_out(work, count, block)
    assert (done == 1).all()
    assert sum(lengths) == count
    assert max(lengths, default=0) <= block


def test_a_block_is_one_threads_work_and_torch_keeps_its_threads(threads):
    seen, together = {}, threading.Barrier(threads)

    def work(rows: slice) -> None:
        together.wait(60)  # as many blocks are under way as there are threads
        seen[rows.start] = threading.current_thread().name, torch.get_num_threads()

    share_out(work, threads, 1)
    assert len({name for name, _ in seen.values()}) == threads
    assert {number for _, number in seen.values()} == {1}
    assert torch.get_num_threads() == threads


def test_what_goes_wrong_in_a_block_is_raised(threads):
    with pytest.raises(ValueError, match="the second block"):
        share_out(lambda rows: int("the second block" if rows.start else 0), 4, 2)


def test_blocks_are_in_inference_mode_where_their_caller_is(threads):
    with torch.inference_mode():
        made = torch.zeros(6)
        share_out(lambda rows: made[rows].add_(1), 6, 2)
    assert made.is_inference()
    assert made.tolist() == [1] * 6
    share_out(lambda rows: torch.ones(1, requires_grad=True).mul(2).sum().backward(), 6, 2)
