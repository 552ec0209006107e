"""Work on a batch, shared out among torch's threads by blocks that each of them does alone.

torch shares out each operation, and its threads wait for one another after every one: beside other work on the machine
most of the time is waiting. Here they wait once, for the last block.
"""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def share_out(work: Callable[[slice], object], count: int, block: int) -> None:
    """Do `work` for each block of 0..count-1, at most `block` long, on as many threads as torch has; then return.

    The blocks are independent: `work` writes what belongs to its own. An exception of one is raised.

    >>> done = torch.zeros(5)
    >>> share_out(lambda rows: done[rows].add_(1), 5, block=2)
    >>> done.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    blocks = [slice(start, min(start + block, count)) for start in range(0, count, block)]
    if torch.get_num_threads() == 1 or len(blocks) < 2:
        for rows in blocks:
            work(rows)
        return
    inference = torch.is_inference_mode_enabled()  # torch keeps it for each thread

    def work_alike(rows: slice) -> None:
        with torch.inference_mode(inference):
            work(rows)

    for _ in _workers(torch.get_num_threads(), os.getpid()).map(work_alike, blocks):
        pass


@functools.cache
def _workers(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process (a fork has none of its parent's), each of which does torch's operations alone."""
    return ThreadPoolExecutor(threads, "lsdkit", initializer=_work_alone)


def _work_alone() -> None:
    from threadpoolctl import threadpool_limits

    torch.get_num_threads()  # the first call sets this thread's number to torch's own, and later ones leave it
    threadpool_limits(1, user_api="openmp")  # of this thread: `torch.set_num_threads` would be for all to come
