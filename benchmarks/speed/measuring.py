"""What the benchmarks of speed share: sides that are timed in turn, busy neighbours, the line that a figure stands in.

A line is what `benchmarks/speed/bench.py` reads from what a script prints:

    => Mix-augment step | three two-branch passes | 1.552 times | at least 1.5 | met
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

MARK = "=> "


@dataclass(frozen=True)
class Line:
    """A figure beside its target: a ratio to a reference in the same run, "times", or another unit that is to be small.

    >>> str(Line("import lsdkit", "nothing", 0.031, 0.5, "s"))
    '=> import lsdkit | nothing | 0.031 s | under 0.5 | met'
    """

    what: str
    reference: str
    figure: float
    target: float
    unit: str = "times"

    @property
    def met(self) -> bool:
        figure = round(self.figure, 3)  # as it is printed
        return figure >= self.target if self.unit == "times" else figure < self.target

    @property
    def bound(self) -> str:
        """The target in words."""
        return f"{'at least' if self.unit == 'times' else 'under'} {self.target:g}"

    def __str__(self) -> str:
        figure, verdict = f"{self.figure:.3f} {self.unit}", "met" if self.met else "MISSED"
        return MARK + " | ".join((self.what, self.reference, figure, self.bound, verdict))


def read_lines(text: str) -> list[Line]:
    """The lines in what a script printed, as exact as they were printed; `ValueError` for one that cannot be read.

    >>> line = Line("step", "other step", 1.25, 1.5)
    >>> read_lines(f"words\\n{line}\\n") == [line]
    True
    """
    found = []
    for row in text.splitlines():
        if row.startswith(MARK):
            what, reference, figure, bound, _ = row.removeprefix(MARK).split(" | ")
            value, unit = figure.split(" ", 1)
            found.append(Line(what, reference, float(value), float(bound.split()[-1]), unit))
    return found


def time_in_turn(
    sides: Mapping[str, Callable[[], object]], repeats: int, warming: int = 1, clock: Callable = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each side, all of them called in turn `repeats` times after some calls that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(warming + repeats):
        for name, side in sides.items():
            start = clock()
            side()
            if repeat >= warming:
                seconds[name].append(clock() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes beside this one that do nothing but keep a core busy."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
