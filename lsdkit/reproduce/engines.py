"""Where a sweep's runs go: to places of this machine, or to the machines of a cluster (`lsdkit.reproduce.cluster`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lsdkit.reproduce.headless import Job, execute_all


class Engine(Protocol):
    """What a sweep asks for: how many runs go at a time, with how many threads each, and that they are run."""

    at_once: int
    threads: int

    def describe(self) -> dict:
        """What sweep.json holds of it."""

    def execute_all(
        self,
        jobs: Sequence[Job],
        report: Callable[[Job, str, float], None],
        *,
        timeout: float = 0.0,
        tell: Callable[[Job, str], None] = lambda job, line: None,
    ) -> dict[str, str]:
        """Run jobs, the first ones first; as `lsdkit.reproduce.headless.execute_all`."""


@dataclass(frozen=True)
class Local:
    """Processes of this machine; `gpus`, as CUDA_VISIBLE_DEVICES names them, go to the places in turn."""

    at_once: int
    threads: int
    gpus: tuple[str, ...] = ()

    def describe(self) -> dict:
        return {"engine": "local", "jobs": self.at_once, "threads": self.threads, "gpus": list(self.gpus)}

    def execute_all(
        self,
        jobs: Sequence[Job],
        report: Callable[[Job, str, float], None],
        *,
        timeout: float = 0.0,
        tell: Callable[[Job, str], None] = lambda job, line: None,
    ) -> dict[str, str]:
        environments = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in self.gpus] or [{}]
        options = {"environments": environments, "timeout": timeout, "tell": tell}
        return execute_all(jobs, self.at_once, self.threads, report, **options)
