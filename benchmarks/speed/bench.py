"""`make bench`: run the benchmarks of speed one after another, and write what they print to docs/benchmarks.md.

    python benchmarks/speed/bench.py [--out FILE] [SCRIPT ...]

Each script measures the kit and its reference in turn in one run and has a limit of time; one that fails or runs past
it is a row that says so, and the others are run all the same. The page is written at the end, whole or not at all.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from measuring import Line, read_lines

from lsdkit.common.files import write_text
from lsdkit.common.machine import cores, list_versions

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
SECONDS = {  # limits, 12 minutes in all
    "mixaugment_step": 60,
    "training": 60,
    "input_pipeline": 130,
    "dan_step": 50,
    "sweep": 320,
    "tables_and_report": 90,
    "starting": 10,
}
THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")  # variables that would be another setting than what ships
PATHS = re.compile(r"(?:/[\w.~-]+)+/")  # what a page needs not tell of the machine: folders
HEAD = """\
# Speed

    make bench

writes this page. A figure in "times" is how much faster the kit is than its reference, both measured in turn in one
run; seconds are those of a command with Python's own start. Other work on the machine moves all of them: the load at
the start should be near zero.
"""


@dataclass(frozen=True)
class Outcome:
    """What a script said, and why it said no more ("" where it ended well)."""

    script: str
    lines: Sequence[Line]
    failure: str = ""
    seconds: float = 0.0

    def tabulate(self) -> list[str]:
        """Its rows of the page's table."""
        command = f"`python benchmarks/speed/{self.script}.py`"
        rows = [
            (
                line.what,
                line.reference,
                f"{line.figure:.2f} {line.unit}",
                line.bound,
                "met" if line.met else "**MISSED**",
            )
            for line in self.lines
        ]
        why = PATHS.sub("", self.failure.replace("|", "/"))[:160]
        rows += [(self.script, "", why, "", "**FAILED**")] if self.failure else []
        return [f"| {' | '.join((*row, command))} |" for row in rows]


def write_page(outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """The page: where and when it was measured, and a row a figure."""
    columns = ("what", "reference", "measured", "target", "", "command")
    table = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    table += [row for outcome in outcomes for row in outcome.tabulate()]
    return "\n".join([HEAD, *(f"- {name}: {value}" for name, value in facts.items()), "", *table, ""])


def run_script(script: str, limit: float) -> Outcome:
    """Run one benchmark with the kit's own setting of threads, for at most so many seconds; what it prints is shown."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(THREADS)}
    command = [sys.executable, "-u", str(HERE / f"{script}.py")]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        printed, errors = process.communicate(timeout=limit)
        failure = "" if process.returncode == 0 else (errors.strip().splitlines() or [f"exit {process.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        for each in (*psutil.Process(process.pid).children(recursive=True), process):
            each.kill()
        printed, _ = process.communicate()
        failure = f"ran past {limit:g} s"
    print(printed, end="", flush=True)
    seconds = time.perf_counter() - start
    try:
        lines = read_lines(printed)
    except ValueError as error:
        return Outcome(script, [], f"its lines cannot be read: {error}", seconds)
    return Outcome(script, lines, failure or ("" if lines else "it printed no figure"), seconds)


def describe_machine() -> dict[str, str]:
    """The machine in words, the versions, the day, and how busy it is."""
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB of memory"
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "not known"
    return {
        "machine": f"{_name_processor()}, {cores()} cores, {memory}, {platform.system()}",
        "versions": ", ".join(f"{name} {version}" for name, version in list_versions().items()),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load at the start (mean number of processes that ran or waited, over a minute)": load,
    }


def _name_processor() -> str:
    """As Linux tells it; elsewhere the architecture."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        told = []
    names = [line.partition(":")[2].strip() for line in told if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where a script failed, else 0, whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"default: {', '.join(SECONDS)}")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page (default docs/benchmarks.md)")
    arguments = parser.parse_args(argv)
    if strange := [name for name in arguments.scripts if name not in SECONDS]:
        parser.error(f"expected scripts of {', '.join(SECONDS)}, but got {', '.join(strange)}")
    facts, outcomes = describe_machine(), []
    for script in arguments.scripts or SECONDS:
        print(f"-- {script}", flush=True)
        outcomes.append(run_script(script, SECONDS[script]))
        print(f"   {outcomes[-1].failure or 'done'}, {outcomes[-1].seconds:.0f} s", flush=True)
    text = write_page(outcomes, facts)
    write_text(arguments.out, text)
    print(text)
    return int(any(outcome.failure for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
