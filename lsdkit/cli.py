"""`lsdkit ...` on the command line: parses and dispatches, nothing else."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lsdkit import __version__
from lsdkit.benchcommand import add_benchmark
from lsdkit.paths import resolve

SHARED = "size landmarks iscrop_false crop jobs"  # options of every source of images
DRAWN = "split validation seed kind"  # and of those without splits of their own


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
    _add_join(sources)
    demo = commands.add_parser("demo", help="notebooks 01 to 05 on the open set, then one page of results")
    demo.add_argument("--out", default="runs/demo", help="folder of the runs (default %(default)s)")
    demo.set_defaults(run=_demo)
    report = commands.add_parser("report", help="one page from a folder of runs")
    report.add_argument("runs", metavar="RUNS", help="folder of runs")
    report.add_argument("--out", default="", help="the page (default RUNS/report.html)")
    report.set_defaults(run=_report)
    weights = commands.add_parser("weights", help="the published weights: what they are, and where their files go")
    weights.set_defaults(run=_weights)
    audit = commands.add_parser("audit", help="what is wrong with a store of faces, measured and ranked")
    audit.add_argument("store", metavar="STORE", help="folder of a prepared store, which stays as it is")
    audit.add_argument("--out", default="", help="folder of the report (default runs/audit-STORE)")
    audit.set_defaults(run=_audit)
    landmarks = commands.add_parser("landmarks", help="how good a store's landmarks are, with sheets of the worst")
    landmarks.add_argument("store", metavar="STORE", help="folder of a prepared store, which stays as it is")
    landmarks.add_argument(
        "--against", default="", metavar="ANNOTATOR", help="dlib, face-alignment or table:FILE: how far they differ"
    )
    landmarks.add_argument("--faces", type=int, default=0, help="at most so many, evenly spaced (default: all)")
    landmarks.add_argument("--out", default="", help="folder of the report (default runs/landmarks-STORE)")
    landmarks.set_defaults(run=_landmarks)
    _add_pretrain(commands)
    _add_sweep(commands)
    _add_tables(commands)
    _add_predict(commands)
    add_benchmark(commands)
    return parser


def _add_join(sources) -> None:
    part = sources.add_parser("join", help="several stores as one")
    part.add_argument("stores", metavar="STORE", nargs="+", help="folder of a prepared store")
    part.add_argument("--out", required=True, help="the joined store")
    part.add_argument("--kind", default="", help="photographs, synthetic or rendered (default: what all are)")
    part.set_defaults(run=_prepare_join)


def _add_pretrain(commands) -> None:
    part = commands.add_parser("pretrain", help="train the emotion branch alone on other faces, to start from it")
    part.add_argument("stores", metavar="STORE", nargs="+", help="folder of a prepared store")
    part.add_argument("--out", default="runs/pretrain", help="folder of the runs (default %(default)s)")
    part.add_argument("--order", default="sequential", help="sequential or joined (default %(default)s)")
    part.add_argument("--classes", type=int, default=8, help="6, 7 (neutral) or 8 (contempt) (default %(default)s)")
    part.add_argument("--recipe", default="paper", help="default %(default)s")
    part.add_argument("--set", default="", dest="settings", help="over the recipe's: 'name=value name=value'")
    part.add_argument("--weights", default="", metavar="SOURCE", help="where it starts (default: as the recipe says)")
    part.add_argument("--mix", default="mixaugment", help="mixup or mixaugment (default %(default)s)")
    part.add_argument("--seed", type=int, default=0, help="default %(default)s")
    part.add_argument("--epochs", type=int, default=0, help="default: the recipe's")
    part.add_argument("--kind", default="", help="of the joined store, where the stores differ")
    part.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    part.set_defaults(run=_pretrain)


def _add_sweep(commands) -> None:
    part = commands.add_parser("sweep", help="train the members of the paper's Tables 2 and 3, then write the tables")
    part.add_argument(
        "--members", default="all", help="table2 (8), table3 (30), extra (4) or all (default %(default)s)"
    )
    part.add_argument("--recipe", default="paper", help="such as paper, authors, workshop, tiny (default paper)")
    part.add_argument("--data", default="", metavar="STORE", help="folder of a prepared store (default: the open set)")
    part.add_argument("--out", default="", help="folder of the runs (default runs/sweep-RECIPE)")
    part.add_argument("--seeds", type=whole_numbers, default=(0,), help="such as 0,1,2 (default 0)")
    part.add_argument("--weak-seeds", type=whole_numbers, default=(), help="of the weak members (default: --seeds)")
    part.add_argument("--set", default="", dest="settings", help="over the recipe's: 'name=value name=value'")
    part.add_argument("--emotion-weights", default="", metavar="SOURCE", help="of every emotion branch")
    part.add_argument("--appearance-weights", default="", help="of some appearances: 'dino=SOURCE vggface2=SOURCE'")
    part.add_argument("--epochs", type=int, default=0, help="default: the recipe's")
    part.add_argument("--jobs", type=int, default=0, help="notebooks at a time (default: one for each GPU, or one)")
    part.add_argument("--gpus", type=names, default=(), help="such as 0,1,2 (default: all that are visible)")
    part.add_argument("--device", default="auto", help="auto, cpu or cuda (default %(default)s)")
    part.add_argument("--timeout", type=float, default=0.0, help="end a run after so many seconds (default: never)")
    part.add_argument("--plan", action="store_true", help="run nothing: say what it would run and cost, and how sure")
    part.add_argument("--on", default="6 x RTX 3090", help="the machine of --plan (default %(default)s, the paper's)")
    part.set_defaults(run=_sweep)


def _add_tables(commands) -> None:
    part = commands.add_parser("tables", help="the paper's Tables 2 to 5 beside the scores of a folder of runs")
    part.add_argument("runs", metavar="RUNS", help="folder of runs")
    part.add_argument("--out", default="", help="folder of the tables (default RUNS/tables)")
    part.add_argument("--split", default="validation", help="validation or test (default %(default)s)")
    part.set_defaults(run=_tables)


def _add_predict(commands) -> None:
    part = commands.add_parser("predict", help="probabilities of a run or an ensemble, or the challenge's submission")
    part.add_argument("runs", metavar="RUNS", nargs="?", default="", help="a run's folder, or a folder of runs")
    part.add_argument("--out", default="", metavar="FILE", help="the CSV file to write")
    part.add_argument("--ensemble", default="", metavar="NAME", help="a line of Table 4, or all (default all)")
    part.add_argument("--seed", type=int, default=None, help="only the runs of this seed (default: all runs)")
    part.add_argument("--allow-incomplete", action="store_true", help="an ensemble may lack runs")
    part.add_argument("--data", default="", metavar="STORE", help="run the networks over this store (default: none)")
    part.add_argument("--split", default="test", help="train, validation, test or extra (default %(default)s)")
    part.add_argument("--submission", action="store_true", help="write image,expression instead of probabilities")
    part.add_argument("--list", default="", metavar="FILE", help="the release's list: which images, in which order")
    part.add_argument(
        "--missing", default="", metavar="EXPRESSION", help="the answer for listed images not in the store"
    )
    part.add_argument("--check", default="", metavar="FILE", help="only check this submission against --list")
    part.set_defaults(run=_predict)


def whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _add_open(sources) -> None:
    part = sources.add_parser("open", help="the open set: rendered faces, made here")
    part.add_argument(
        "--out", default="data/open", help="the store (default %(default)s); the images go to OUT-release"
    )
    part.add_argument("--fraction", type=float, default=0.01, help="of the release's (default %(default)s)")
    part.add_argument("--validation", type=int, default=600, help="faces (default %(default)s)")
    part.add_argument("--test", type=int, default=600, help="faces of unseen subjects (default %(default)s)")
    part.add_argument("--size", type=int, default=112, help="side in pixels (default %(default)s)")
    part.add_argument("--seed", type=int, default=0, help="the same seed gives the same faces (default %(default)s)")
    part.add_argument("--design", default="release", help="release (as unequal as the LSD release) or varied")
    part.add_argument("--jobs", type=int, default=None, help="workers (default: all cores)")
    part.add_argument("--device", default="auto", help="what paints the faces: auto, cpu or cuda (default %(default)s)")
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
        help="dlib or face-alignment (find them now), deca:DIR (DECA's text files) or table:FILE (key, x0, y0, ... in "
        "[-1, 1], or FILE.npy with FILE.keys.txt beside it)",
    )
    part.add_argument("--iscrop-false", action="store_true", help="states that DECA was run with --iscrop False")
    part.add_argument("--crop", action="store_true", help="find, align and cut out the face of uncropped photographs")
    part.add_argument("--jobs", type=int, default=None, help="workers (default: all cores)")
    part.set_defaults(run=run)
    return part


def _options(arguments: argparse.Namespace, names: str) -> dict:
    return {name: getattr(arguments, name) for name in names.split()}


def _out(arguments: argparse.Namespace, name: str) -> Path:
    return resolve(arguments.out or f"data/{name}")


def _prepare_open(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    options = _options(arguments, "fraction validation test seed design jobs device")
    return prepare.summary(prepare.prepare_open(resolve(arguments.out), pixels=arguments.size, **options))


def _prepare_release(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    store = prepare.prepare_release(arguments.source, _out(arguments, "release"), **_options(arguments, SHARED))
    return prepare.summary(store)


def _prepare_folder(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    out = _out(arguments, arguments.source.resolve().name)
    return prepare.summary(prepare.prepare_folder(arguments.source, out, **_options(arguments, f"{DRAWN} {SHARED}")))


def _prepare_csv(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare

    out = _out(arguments, arguments.source.stem)
    return prepare.summary(prepare.prepare_csv(arguments.source, out, **_options(arguments, f"{DRAWN} {SHARED}")))


def _prepare_join(arguments: argparse.Namespace) -> str:
    from lsdkit import prepare
    from lsdkit.join import join_stores

    return prepare.summary(join_stores(arguments.stores, arguments.out, kind=arguments.kind))


def _weights(arguments: argparse.Namespace) -> str:
    from lsdkit.published import listing

    return listing()


def _audit(arguments: argparse.Namespace) -> str:
    from lsdkit.auditfiles import write_audit

    store = resolve(arguments.store)
    return write_audit(store, resolve(arguments.out or f"runs/audit-{store.name}"))


def _landmarks(arguments: argparse.Namespace) -> str:
    from lsdkit.qualityfiles import write_quality

    store = resolve(arguments.store)
    out = resolve(arguments.out or f"runs/landmarks-{store.name}")
    return write_quality(store, out, **_options(arguments, "against faces"))


def _pretrain(arguments: argparse.Namespace) -> str:
    from lsdkit.pretrain import pretrain

    options = _options(arguments, "order classes recipe settings weights mix seed epochs kind device")
    return str(pretrain(arguments.stores, arguments.out, **options))


def _demo(arguments: argparse.Namespace) -> str:
    from lsdkit.demo import run_demo

    return str(run_demo(resolve(arguments.out)))


def _report(arguments: argparse.Namespace) -> str:
    from lsdkit.report import write_report

    runs = _runs(arguments)
    return str(write_report(runs, resolve(arguments.out) if arguments.out else runs / "report.html"))


def _sweep(arguments: argparse.Namespace) -> str:
    from lsdkit import sweep

    plan = sweep.Plan(
        **_options(arguments, "members recipe seeds weak_seeds settings emotion_weights appearance_weights epochs")
    )
    out = arguments.out or f"runs/sweep-{arguments.recipe}"
    if arguments.plan:
        return sweep.plan_sweep(out, plan, data=arguments.data, on=arguments.on)
    return sweep.run_sweep(out, plan, **_options(arguments, "data jobs gpus device timeout"))


def _tables(arguments: argparse.Namespace) -> str:
    from lsdkit.tables import write_tables

    runs = _runs(arguments)
    return write_tables(runs, resolve(arguments.out) if arguments.out else runs / "tables", split=arguments.split)


def _predict(arguments: argparse.Namespace) -> str:
    from lsdkit import predict

    listed = str(_there(arguments.list)) if arguments.list else ""
    if arguments.check:
        return predict.check(_there(arguments.check), listed)
    if not arguments.runs or not arguments.out:
        raise ValueError("Expected RUNS and --out FILE, or --check FILE --list FILE; see `lsdkit predict --help`")
    options = _options(arguments, "ensemble seed allow_incomplete data")
    if arguments.submission:
        if arguments.split != "test":
            raise ValueError(f"Expected a submission to answer the test faces, but got --split {arguments.split}")
        written = {"listed": listed, "missing": arguments.missing}
        return predict.write_submission(_runs(arguments), arguments.out, **written, **options)
    if listed or arguments.missing:
        raise ValueError("Expected --submission with --list and --missing: a table of probabilities knows neither")
    return predict.write_probabilities(_runs(arguments), arguments.out, split=arguments.split, **options)


def _there(path: str) -> Path:
    """A path as it was typed, where there is something, else from the project's folder."""
    return Path(path).resolve() if Path(path).exists() else resolve(path)


def _runs(arguments: argparse.Namespace) -> Path:
    runs = _there(arguments.runs)
    if not runs.is_dir():
        raise FileNotFoundError(f"Expected a folder of runs, but {runs} is not one")
    return runs
