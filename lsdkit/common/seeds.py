"""Randomness from explicit generators: each is a function of a seed and a purpose, never of a global state.

Because a generator is derived afresh for each (seed, purpose, epoch, step), a run that was killed resumes with
the same draws without any generator state on disk.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every part of `purpose`, the same on every machine.

    >>> derive(0, "order", 1) == derive(0, "order", 1), derive(0, "order", 1) == derive(0, "order", 2)
    (True, False)
    """
    text = "\x1f".join([str(int(seed)), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def torch_generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """A CPU generator for (seed, purpose). Draws are made on the CPU and moved, so that every device sees the same.

    >>> import torch
    >>> torch.rand(2, generator=torch_generator(0, "demo")).equal(torch.rand(2, generator=torch_generator(0, "demo")))
    True
    """
    import torch  # here: processes that render faces do without its seconds and its 400 MiB

    return torch.Generator().manual_seed(derive(seed, *purpose))


@contextmanager
def global_draws(generator: "torch.Generator", device: "torch.device | str" = "cpu") -> Iterator[None]:
    """Let code that only knows torch's global generators, such as dropout and the first weights of layers, draw from
    `generator`: within the block those of the CPU and of `device` are seeded from it, and after it put back.

    These draws are made on the device: a CUDA device's are not those of the CPU.
    """
    import torch

    device, seed = torch.device(device), int(torch.randint(2**63 - 1, (), generator=generator))
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed every GPU
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A numpy generator for (seed, purpose).

    >>> int(numpy_generator(0, "demo").integers(100)) == int(numpy_generator(0, "demo").integers(100))
    True
    """
    return np.random.default_rng(derive(seed, *purpose))
