"""`lsdkit ...` on the command line: parses and dispatches, nothing else."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lsdkit import __version__
from lsdkit.paths import resolve


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 for a wrong argument or source, told in one line on stderr."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as end:  # argparse's own: 0 after --help, 2 for a wrong flag
        return int(end.code or 0)
    try:
        print(arguments.run(arguments))
    except (ValueError, OSError) as error:
        print(f"lsdkit: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lsdkit", description="Facial expressions, learned from synthetic faces.")
    parser.add_argument("--version", action="version", version=f"lsdkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    prepare = commands.add_parser("prepare", help="make a store of faces, which the notebooks read")
    sources = prepare.add_subparsers(required=True, metavar="source")
    _add_open(sources)
    _add_images(sources, "release", "DIR", "the LSD release, as it was handed out", _prepare_release)
    folder = _add_images(
        sources, "folder", "DIR", "a folder per expression, or train/validation/test of such", _prepare_folder
    )
    table = _add_images(sources, "csv", "FILE", "a table: path, expression [, split, subject, key]", _prepare_csv)
    for part in (folder, table):
        part.add_argument("--split", default="", help="put all faces in this one: train, validation, test or extra")
        part.add_argument(
            "--validation", type=float, default=0.2, help="share of each expression (default %(default)s)"
        )
        part.add_argument("--seed", type=int, default=0, help="draws the validation share (default %(default)s)")
        part.add_argument(
            "--kind", default="photographs", help="photographs, synthetic or rendered (default %(default)s)"
        )
    demo = commands.add_parser("demo", help="all five notebooks on the open set, then one page of results")
    demo.add_argument("--out", default="runs/demo", help="folder of the runs (default %(default)s)")
    demo.set_defaults(run=_demo)
    report = commands.add_parser("report", help="one page from a folder of runs")
    report.add_argument("runs", metavar="RUNS", help="folder of runs")
    report.add_argument("--out", default="", help="the page (default RUNS/report.html)")
    report.set_defaults(run=_report)
    return parser


def _add_open(sources) -> None:
    part = sources.add_parser("open", help="the open set: rendered faces, made here")
    part.add_argument(
        "--out", default="data/open", help="the store (default %(default)s); the images go to OUT-release"
    )
    part.add_argument(
        "--fraction", type=float, default=0.01, help="of the release's training faces (default %(default)s)"
    )
    part.add_argument("--validation", type=int, default=600, help="faces (default %(default)s)")
    part.add_argument("--test", type=int, default=600, help="faces of unseen subjects (default %(default)s)")
    part.add_argument("--size", type=int, default=112, help="side in pixels (default %(default)s)")
    part.add_argument("--seed", type=int, default=0, help="the same seed gives the same faces (default %(default)s)")
    part.add_argument("--jobs", type=int, default=None, help="workers (default: all cores)")
    part.set_defaults(run=_prepare_open)


def _add_images(sources, name: str, metavar: str, text: str, run) -> argparse.ArgumentParser:
    part = sources.add_parser(name, help=text, description=f"Store {text}.")
    part.add_argument("source", metavar=metavar, type=Path, help=text)
    part.add_argument("--out", default="", help="the store (default data/NAME; relative to the project's folder)")
    part.add_argument("--size", type=int, default=None, help="side in pixels (default: the images' own, or 112)")
    part.add_argument(
        "--landmarks",
        default="",
        metavar="SOURCE",
        help="dlib (find them now), deca:DIR (DECA's text files) or table:FILE (key, x0, y0, ... in [-1, 1])",
    )
    part.add_argument("--iscrop-false", action="store_true", help="states that DECA was run with --iscrop False")
    part.add_argument("--crop", action="store_true", help="find, align and cut out the face of uncropped photographs")
    part.add_argument("--jobs", type=int, default=None, help="workers (default: all cores)")
    part.set_defaults(run=run)
    return part


def _shared(arguments: argparse.Namespace) -> dict:
    names = ("size", "landmarks", "iscrop_false", "crop", "jobs")
    return {name: getattr(arguments, name) for name in names}


def _drawn(arguments: argparse.Namespace) -> dict:
    return {name: getattr(arguments, name) for name in ("split", "validation", "seed", "kind")}


def _out(arguments: argparse.Namespace, name: str) -> Path:
    return resolve(arguments.out or f"data/{name}")


def _prepare_open(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    names = ("fraction", "validation", "test", "seed", "jobs")
    options = {name: getattr(arguments, name) for name in names}
    return prepare.summary(prepare.prepare_open(resolve(arguments.out), pixels=arguments.size, **options))


def _prepare_release(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    store = prepare.prepare_release(arguments.source, _out(arguments, "release"), **_shared(arguments))
    return prepare.summary(store)


def _prepare_folder(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    out = _out(arguments, arguments.source.resolve().name)
    return prepare.summary(prepare.prepare_folder(arguments.source, out, **_drawn(arguments), **_shared(arguments)))


def _prepare_csv(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    out = _out(arguments, arguments.source.stem)
    return prepare.summary(prepare.prepare_csv(arguments.source, out, **_drawn(arguments), **_shared(arguments)))


def _demo(arguments: argparse.Namespace) -> str:
    from lsdkit.demo import run_demo

    return str(run_demo(resolve(arguments.out)))


def _report(arguments: argparse.Namespace) -> str:
    from lsdkit.report import write_report

    runs = Path(arguments.runs) if Path(arguments.runs).is_dir() else resolve(arguments.runs)
    if not runs.is_dir():
        raise FileNotFoundError(f"Expected a folder of runs, but {runs} is not one")
    return str(write_report(runs, Path(arguments.out) if arguments.out else runs / "report.html"))
