"""`lsdkit benchmark ...` on the command line: parses and dispatches, nothing else."""

import argparse

from lsdkit.paths import resolve


def add_benchmark(commands) -> None:
    """Add the command to the sub-parsers of `lsdkit`."""
    part = commands.add_parser(
        "benchmark", help="train on rendered faces alone, score on your photographs (docs/benchmark.md)"
    )
    part.add_argument(
        "--photographs", required=True, metavar="DIR", help="a folder per expression, or a CSV file: path, expression"
    )
    part.add_argument("--out", required=True, help="folder of the results, the trained networks and the crops")
    part.add_argument("--seeds", type=_whole_numbers, default=(), help="such as 0,1,2 (default: the protocol's)")
    part.add_argument(
        "--models",
        type=_names,
        default=(),
        help="of majority, landmarks, hog, hog+landmarks, single, two-branch, ensemble (default: all)",
    )
    part.add_argument(
        "--fraction", type=float, default=0.0, help="of the release's training faces (default: the protocol's)"
    )
    part.add_argument("--jobs", type=int, default=0, help="trainings at a time (default: one a core, or one on a GPU)")
    part.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    part.add_argument("--plan", action="store_true", help="run nothing: say what it would run, and how long")
    part.set_defaults(run=_benchmark)


def _benchmark(arguments: argparse.Namespace) -> str:
    from lsdkit.benchmark import run_benchmark

    options = {name: getattr(arguments, name) for name in ("seeds", "models", "fraction", "jobs", "device", "plan")}
    return run_benchmark(arguments.photographs, resolve(arguments.out), **options)


def _whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
