"""The processes that make one training: one alone, or several that torchrun has started, each with its device.

All of them make the same steps (`lsdkit.training.sharding`); the first one alone reads and writes the run's files,
scores, and tells of it. Lightning Fabric (extra `distributed`) sets the several up: devices, backend, process group.
"""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import distributed, nn

from lsdkit.common.devices import choose_device
from lsdkit.common.signals import Stopped
from lsdkit.method.network import MultiTask
from lsdkit.training.sharding import average_gradients, shard_backbones

PATIENCE = timedelta(days=1)  # while one process scores, the others wait
ERRORS = FileNotFoundError, OSError, FloatingPointError, MemoryError, ValueError  # that are passed on as they are
T = TypeVar("T")


class Alone:
    """A training in one process."""

    size, first = 1, True

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def on_first(self, do: Callable[[], T]) -> T:
        """What `do` gives in the first process, in all of them; what it raises is raised in all of them."""
        return do()

    def agree(self, signal: int | None) -> int | None:
        """The signal that one of the processes got, if any, in all of them."""
        return signal

    def wait(self) -> None:
        """Until all processes are here."""

    def align(self, network: nn.Module) -> None:
        """Give all processes the first one's tensors."""

    def share_step(self, network: MultiTask) -> AbstractContextManager:
        """A context for forward and backward of a step, see `sharding.shard_backbones`."""
        return nullcontext()

    def average_gradients(self, network: nn.Module) -> None:
        """After backward, see `sharding.average_gradients`."""


ALONE = Alone()


class Joined(Alone):
    """One of several processes of a training, which torchrun has started."""

    def __init__(self, device: str = "auto"):
        """`device`: "auto", "cpu" or "cuda"; each process takes one card. Raises `ValueError` where there are fewer."""
        here, size = int(os.environ["LOCAL_WORLD_SIZE"]), started()
        kind = check_devices(device, here)
        from lightning_fabric import Fabric  # takes seconds
        from lightning_fabric.plugins.environments import TorchElasticEnvironment
        from lightning_fabric.strategies import DDPStrategy

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        strategy = DDPStrategy(cluster_environment=TorchElasticEnvironment(), timeout=PATIENCE)
        self.fabric = Fabric(accelerator=kind, devices=here, num_nodes=size // here, strategy=strategy)
        self.fabric.launch()
        self.size, self.first = self.fabric.world_size, self.fabric.is_global_zero
        super().__init__(self.fabric.device)

    def on_first(self, do: Callable[[], T]) -> T:
        if not self.first:
            value, error = self.fabric.broadcast(None)
            if error is not None:
                raise error
            return value
        try:
            value = do()
        except Exception as error:
            self.fabric.broadcast((None, error if isinstance(error, Stopped) else simplify(error)))
            raise
        self.fabric.broadcast((value, None))
        return value

    def agree(self, signal: int | None) -> int | None:
        found = torch.tensor(signal or 0, device=self.device)
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found) or None

    def wait(self) -> None:
        self.fabric.barrier()

    @torch.no_grad()
    def align(self, network: nn.Module) -> None:
        for tensor in network.state_dict().values():
            whole = tensor.contiguous()
            distributed.broadcast(whole, 0)
            tensor.copy_(whole)

    def share_step(self, network: MultiTask) -> AbstractContextManager:
        return shard_backbones(network)

    def average_gradients(self, network: nn.Module) -> None:
        average_gradients(network)


def simplify(error: Exception) -> Exception:
    """The error as other processes can read it: of one of `ERRORS`, or a `RuntimeError`, with its text.

    >>> simplify(UnicodeError("no text")), simplify(KeyError("name"))
    (ValueError('no text'), RuntimeError("KeyError: 'name'"))
    """
    kind = next((each for each in ERRORS if isinstance(error, each)), None)
    return kind(str(error)) if kind else RuntimeError(f"{type(error).__name__}: {error}")


def started() -> int:
    """How many processes torchrun has started for this training; 1 where it did not start this one."""
    return int(os.environ["WORLD_SIZE"]) if distributed.is_available() and distributed.is_torchelastic_launched() else 1


def check_devices(device: str, devices: int) -> str:
    """ "cpu" or "cuda", of which there are so many devices: a CPU is shared by any number of processes.

    Raises `ValueError` for an unknown device, for one of several cards, where there are fewer cards, and where the
    extra is not installed.
    """
    kind = choose_device(device)
    if kind.index is not None:
        raise ValueError(f"Expected `DEVICE` auto, cpu or cuda with {devices} `DEVICES`, but got {device!r}")
    if kind.type == "cuda" and torch.cuda.device_count() < devices:
        raise ValueError(
            f"Expected at most {torch.cuda.device_count()} `DEVICES`, the CUDA devices of this machine, but got "
            f"{devices}; or say DEVICE cpu"
        )
    if find_spec("lightning_fabric") is None:
        raise ValueError(
            "Expected the extra distributed for several DEVICES, but lightning_fabric is absent: "
            "pip install 'lsdkit[distributed]'"
        )
    return kind.type


def join(device: str, devices: int = 1) -> Alone:
    """The processes of a training of which this is one. Raises `ValueError` where torchrun started another number."""
    size = started()
    if devices not in (1, size):
        raise ValueError(f"Expected `DEVICES` {size}, the processes that torchrun started, or 1, but got {devices}")
    return Joined(device) if size > 1 else Alone(choose_device(device))
