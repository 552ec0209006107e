"""`lsdkit ...` on the command line: parses and dispatches, nothing else.

A command is a function under `@_command`, which names it and its options; its docstring is its line in `lsdkit --help`.
It takes the options' values by name, imports what it needs, and returns what is printed. What a person types as one
text ("name=value", "0,1,2") is parsed here.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path

from lsdkit import __version__
from lsdkit.common.paths import expand, resolve
from lsdkit.selfsupervision.settings import DinoSettings

COMMANDS: dict[str, tuple[Callable, tuple, dict]] = {}  # name -> function, arguments, settings of its parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for a wrong argument or source, 130 for Ctrl-C; stderr says in one
    line what it was."""
    try:
        options = vars(_build_parser().parse_args(_join_name(sys.argv[1:] if argv is None else argv)))
    except SystemExit as end:  # argparse's own: 0 after --help, 2 for a wrong flag
        return int(end.code or 0)
    run = options.pop("run")
    try:
        _print(run(**options))
    except (ValueError, OSError) as error:
        print(f"lsdkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"lsdkit: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    return 0


def _print(answer: object) -> None:
    """Print in any encoding, for as long as someone reads: letters that it lacks do not lose an answer."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(str(answer).encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:  # as of `lsdkit read DIR | head -1`; what is left is written when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _join_name(argv: Sequence[str]) -> Sequence[str]:
    """`pretrain dino` as one word: the two name a command, and so does `pretrain` alone, which stores follow."""
    name = " ".join(argv[:2])
    return [name, *argv[2:]] if name in COMMANDS and argv[0] in COMMANDS else argv


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lsdkit", description="Facial expressions, learned from synthetic faces.")
    parser.add_argument("--version", action="version", version=f"lsdkit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    prepare = commands.add_parser("prepare", help="make a store of faces, which the notebooks read")
    groups = {"": commands, "prepare": prepare.add_subparsers(required=True, metavar="source")}
    for name, (run, arguments, settings) in COMMANDS.items():
        group, _, word = name.rpartition(" ")
        part = groups[group].add_parser(word, **settings) if group in groups else commands.add_parser(name, **settings)
        part.set_defaults(run=run)
        for flag, behaviour in arguments:
            part.add_argument(flag, **behaviour)
    return parser


def _command(name: str, *arguments: tuple[str, dict], **settings: object) -> Callable[[Callable], Callable]:
    def add(run: Callable) -> Callable:
        text = settings.get("help", run.__doc__)
        about = {"help": text, "description": f"{text[0].upper()}{text[1:]}.", **settings}
        COMMANDS[name] = run, arguments, about
        return run

    return add


def _option(name: str, default: object, text: str, **behaviour: object) -> tuple[str, dict]:
    """An argument of a command: its default, which tells its type (False: a switch), and what `--help` says of it."""
    if default is False:
        return name, {"action": "store_true", "help": text}
    return name, {"default": default, "type": type(default), "help": text, **behaviour}


def whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def at_least_one(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, but got {text!r}")
    return int(text)


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def named_values(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(sign for _, sign, _ in pairs) or len({name.strip() for name, *_ in pairs}) < len(pairs):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE,NAME=VALUE,... with each name once, but got {text!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _find(path: str) -> Path:
    """A path as it was typed, where there is something, else from the project's folder."""
    return Path(path).resolve() if Path(path).exists() else resolve(path)


def _name_sources(texts: Sequence[str]) -> dict[str, str]:
    """NAME=DIR each, or DIR alone, which is named after itself; something that exists is never taken for a name."""
    sources = {}
    for text in texts:
        name, sign, place = text.partition("=")
        if not sign or expand(text).exists():
            path = expand(text).resolve()
            name, place = path.stem if path.is_file() else path.name, text
        if name in sources:
            raise ValueError(f"Expected collections of different names, but two are called {name!r}; write NAME=DIR")
        sources[name] = place
    return sources


def _find_runs(path: str) -> Path:
    runs = _find(path)
    if not runs.is_dir():
        raise FileNotFoundError(f"Expected a folder of runs, but {runs} is not one")
    return runs


STORE = _option("store", "", "folder of a prepared store, which stays as it is", metavar="STORE")
STORES = _option("stores", "", "folder of a prepared store", metavar="STORE", nargs="+")
RUNS = _option("runs", "", "folder of runs, as --out of a sweep", metavar="RUNS")
WORKERS = _option("--jobs", None, "workers (default: all cores)", type=at_least_one)
DEVICE = _option("--device", "auto", "auto, cpu or cuda (default %(default)s)")
SETTINGS = _option(
    "--set",
    "",
    "settings that replace the recipe's: 'name=value name=value' (the names: docs/deviations.md, or a wrong one)",
    dest="settings",
)
ENGINES = ("local", "ray")
EPOCHS = _option("--epochs", 0, "default: the recipe's")
IMAGES = (  # of every source of images
    _option("--out", "", "the store (default data/NAME; relative to the project's folder)"),
    _option("--size", None, "side in pixels (default: the images' own, or 112)", type=int),
    _option(
        "--landmarks",
        "",
        "dlib or face-alignment (find them now), deca:DIR (DECA's text files) or table:FILE (key, x0, y0, ... in "
        "[-1, 1], or FILE.npy with FILE.keys.txt beside it)",
        metavar="SOURCE",
    ),
    _option("--iscrop-false", False, "states that DECA was run with --iscrop False"),
    _option("--crop", False, "find, align and cut out the face of uncropped photographs"),
    _option("--leave-out", "", "a table of faces to leave out (column path), as notebook 01 saves it", metavar="FILE"),
    WORKERS,
)
SPLITTING = (  # of those without splits of their own
    _option("--split", "", "put all faces in this one: train, validation, test or extra"),
    _option("--validation", 0.2, "share of each expression (default %(default)s)"),
    _option("--seed", 0, "draws the validation share (default %(default)s)"),
    _option("--kind", "photographs", "photographs, synthetic or rendered (default %(default)s)"),
)


def _source(
    name: str, text: str, metavar: str, *options: tuple[str, dict], **settings: object
) -> Callable[[Callable], Callable]:
    """`lsdkit prepare NAME`, which stores images that there are."""
    source = _option("source", "", text, metavar=metavar, type=Path)
    about = {"help": text, "description": f"Store {text}.", **settings}
    return _command(f"prepare {name}", source, *IMAGES, *options, **about)


FOLDER_NAMES = _option(
    "--map", {}, "what numbered folders mean: 1=surprise,2=fear,9=none", dest="names", metavar="MAP", type=named_values
)
SUBJECTS = _option(
    "--subjects",
    "",
    "who is on a picture, by its path: name_number (anna_01.jpg shows anna), or a regular expression with one group; "
    "the split then keeps people apart",
    metavar="PATTERN",
)
OWN_PHOTOGRAPHS = """\
photographs of your own, step by step:
  1. A folder for each expression: anger, disgust, fear, happiness, sadness, surprise (happy, sad, ... are known too);
     neutral and contempt are kept apart. Folders in it are searched. No train and validation folders are needed.
  2. --crop, unless each picture is a square face already: it finds the face (the largest of several), turns it upright
     and cuts it out. Without it pictures are squeezed to a square, and weights that expect aligned faces see less.
  3. --landmarks dlib, which the landmark branch learns from. Without landmarks train with APPEARANCE none.
  4. --subjects, where names tell who it is. A fifth of each expression becomes the validation set (--validation),
     without it picture by picture: whoever is in both is recognised by face, and the score is too good. Paths such as
     happy/anna/01.jpg: --subjects '/([^/]+)/[^/]+$'. The last lines printed say who is named, and who is in two splits.
  5. Look: notebook 01 with DATA_DIR, the store. Everything that is not in it is in its left_out.csv, with the reason.
     Faces that you mark there are saved as a table: give it to --leave-out, with the same options as before.
  6. Train: notebook 03 with the same DATA_DIR. Of 800 photographs some 160 judge the network: expect an interval of
     about .08 either way around its macro F1.
  docs/data.md has the commands of 5 and 6, and goes on: F1 by class, a small sweep, reading with what you trained.
"""
DRAWING = SPLITTING[1:3]  # of the public data sets without a validation set
CLASSES = _option("--classes", 0, "6, 7 (neutral) or 8 (contempt), as of pretrain (default: all that it has)")


@_command(
    "prepare open",
    _option("--out", "data/open", "the store (default %(default)s); the images go to OUT-release"),
    _option("--fraction", 0.01, "of the release's (default %(default)s)"),
    _option("--validation", 600, "faces (default %(default)s)"),
    _option("--test", 600, "faces of unseen subjects (default %(default)s)"),
    _option("--size", 112, "side in pixels (default %(default)s)", dest="pixels", metavar="SIZE"),
    _option("--seed", 0, "the same seed gives the same faces (default %(default)s)"),
    _option("--design", "release", "release (as unequal as the LSD release) or varied"),
    WORKERS,
    _option("--device", "auto", "what paints the faces: auto, cpu or cuda (default %(default)s)"),
)
def _prepare_open(out, **options):
    """the open set: rendered faces, made here"""
    from lsdkit.data.preparing import summarise
    from lsdkit.openset.preparing import prepare_open

    return summarise(prepare_open(resolve(out), **options))


@_source("release", "the LSD release, as it was handed out", "DIR")
def _prepare_release(source, out, **options):
    from lsdkit.data.preparing import prepare_release, summarise

    return summarise(prepare_release(source, resolve(out or "data/release"), **options))


@_source(
    "folder",
    "a folder per expression, or train/validation/test of such",
    "DIR",
    *SPLITTING,
    FOLDER_NAMES,
    SUBJECTS,
    epilog=OWN_PHOTOGRAPHS,
    formatter_class=argparse.RawDescriptionHelpFormatter,
)
def _prepare_folder(source, out, **options):
    from lsdkit.data.preparing import prepare_folder, summarise

    return summarise(prepare_folder(source, resolve(out or f"data/{source.resolve().name}"), **options))


@_source("csv", "a table: path, expression [, split, subject, key]", "FILE", *SPLITTING)
def _prepare_csv(source, out, **options):
    from lsdkit.data.preparing import prepare_csv, summarise

    return summarise(prepare_csv(source, resolve(out or f"data/{source.stem}"), **options))


def _add_data_set(name: str, text: str, metavar: str, *options: tuple[str, dict]) -> None:
    """Add `lsdkit prepare NAME`, which stores a public data set as it was handed out."""

    @_source(name, text, metavar, CLASSES, *options)
    def prepare(source, out, **given):
        from lsdkit.data.preparing import prepare_data_set, summarise

        return summarise(prepare_data_set(name, source, resolve(out or f"data/{name}"), **given))


_add_data_set("affectnet", "AffectNet: training.csv and validation.csv, or train_set/ and val_set/", "DIR")
_add_data_set("expw", "ExpW: label.lst and origin/", "DIR", *DRAWING)
_add_data_set("rafdb", "RAF-DB (basic): EmoLabel/ and Image/aligned/, or train/1 to test/7", "DIR", *DRAWING)
_add_data_set("fer2013", "FER2013: fer2013.csv, or its folder", "PATH")


@_command(
    "prepare join",
    STORES,
    _option("--out", "", "the joined store", required=True),
    _option("--kind", "", "photographs, synthetic or rendered (default: what all are)"),
)
def _join(stores, out, kind):
    """several stores as one"""
    from lsdkit.data.combining import join_stores
    from lsdkit.data.preparing import summarise

    return summarise(join_stores(stores, out, kind=kind))


@_command("demo", _option("--out", "runs/demo", "folder of the runs (default %(default)s)"))
def _run_demo(out):
    """notebooks 01 to 05 on the open set, then one page of results"""
    from lsdkit.reproduce.demo import run_demo

    return run_demo(resolve(out))


@_command("workshop", _option("--check", False, "prepare nothing: say what is missing"))
def _prepare_workshop(check):
    """check the machine, then make what a lesson needs, so that nothing waits"""
    from lsdkit.reproduce.workshop import prepare_workshop

    return prepare_workshop(check)


@_command("pages", _option("--out", "docs/notebooks", "folder of the pages (default %(default)s)"))
def _write_pages(out):
    """the executed notebooks as pages with their figures"""
    from lsdkit.reproduce.pages import write_pages

    return write_pages(resolve(out))


@_command("report", RUNS, _option("--out", "", "the page (default RUNS/report.html)"))
def _write_report(runs, out):
    """one page from a folder of runs"""
    from lsdkit.reproduce.report import write_report

    runs = _find_runs(runs)
    return write_report(runs, resolve(out or runs / "report.html"))


@_command("weights")
def _list_weights():
    """the published weights: what they are, and where their files go"""
    from lsdkit.weights.published import listing

    return listing()


@_command("audit", STORE, _option("--out", "", "folder of the report (default runs/audit-STORE)"))
def _audit(store, out):
    """what is wrong with a store of faces, measured and ranked"""
    from lsdkit.data.audit.report import write_audit

    store = resolve(store)
    return write_audit(store, resolve(out or f"runs/audit-{store.name}"))


@_command(
    "landmarks",
    STORE,
    _option("--against", "", "dlib, face-alignment or table:FILE: how far they differ", metavar="ANNOTATOR"),
    _option("--faces", 0, "at most so many, evenly spaced (default: all)"),
    _option("--out", "", "folder of the report (default runs/landmarks-STORE)"),
)
def _measure_landmarks(store, out, **options):
    """how good a store's landmarks are, with sheets of the worst"""
    from lsdkit.data.audit.quality_report import write_quality

    store = resolve(store)
    return write_quality(store, resolve(out or f"runs/landmarks-{store.name}"), **options)


WITHOUT_LABELS = (
    "The word dino right after pretrain chooses self-supervision: `lsdkit pretrain dino STORE ...` trains a backbone "
    "on faces without labels, with options of its own (`lsdkit pretrain dino --help`). A store that lies in a folder "
    "called dino is given as ./dino or by another path."
)


@_command(
    "pretrain",
    STORES,
    _option("--out", "runs/pretrain", "folder of the runs (default %(default)s)"),
    _option("--order", "sequential", "sequential or joined (default %(default)s)"),
    _option("--classes", 8, "6, 7 (neutral) or 8 (contempt) (default %(default)s)"),
    _option("--recipe", "paper", "default %(default)s"),
    SETTINGS,
    _option("--weights", "", "where it starts (default: as the recipe says)", metavar="SOURCE"),
    _option("--mix", "mixaugment", "mixup or mixaugment (default %(default)s)"),
    _option("--seed", 0, "default %(default)s"),
    EPOCHS,
    _option("--kind", "", "of the joined store, where the stores differ"),
    DEVICE,
    epilog=WITHOUT_LABELS,
)
def _pretrain(stores, out, recipe, settings, **options):
    """train the emotion branch alone on other faces, to start from it"""
    from lsdkit.notebook.parameters import parse_settings
    from lsdkit.recipes import find_recipe
    from lsdkit.training.pretraining import pretrain

    return pretrain(stores, out, recipe=replace(find_recipe(recipe), **parse_settings(settings)), **options)


@_command(
    "pretrain dino",
    STORES,
    _option("--out", "runs/dino", "folder of what is made (default %(default)s)"),
    *(
        _option(f"--{each.name.replace('_', '-')}", each.default, f"{each.metadata['help']} (default %(default)s)")
        for each in fields(DinoSettings)
    ),
    _option("--kind", "", "of the joined store, where the stores differ"),
    DEVICE,
    epilog=WITHOUT_LABELS,
)
def _pretrain_dino(stores, out, kind, device, **settings):
    """train a backbone on faces without labels, to start from it"""
    from lsdkit.selfsupervision.pretraining import pretrain_dino

    return pretrain_dino(stores, out, DinoSettings(**settings), kind=kind, device=device)


@_command(
    "sweep",
    _option(
        "--members",
        "all",
        "table2 (8), table3 (30), extra (4) or all (default %(default)s); or FILE.csv: members of your own, a row a "
        "run, its columns parameters of notebook 03 (RECIPE, MIX, APPEARANCE, BASIC_AUG, BAG, SEED, EPOCHS, "
        "EMOTION_WEIGHTS, APPEARANCE_WEIGHTS, SETTINGS)",
    ),
    _option(
        "--grid",
        "",
        'members of your own: every combination of such parameters, as "MIX=mixup,mixaugment SEED=0:5 '
        "SETTINGS='alpha=0.2 averaging=0.98','alpha=0.3'\" (0:5 is 0 to 4); what it leaves out, the other options say",
    ),
    _option(
        "--recipe",
        "paper",
        "such as workshop, demo, tiny, smoke (for a few CPU cores), paper, authors (for GPUs, with published weights "
        "that `lsdkit weights` lists) (default paper)",
    ),
    _option("--data", "", "folder of a prepared store (default: the open set)", metavar="STORE"),
    _option("--out", "", "folder of the runs (default runs/sweep-RECIPE; of members of your own runs/grid-RECIPE)"),
    _option("--seeds", (0,), "such as 0,1,2 (default 0)", type=whole_numbers),
    _option("--weak-seeds", (), "of the members on a bag of 20%% (default: --seeds)", type=whole_numbers),
    SETTINGS,
    _option(
        "--emotion-weights",
        "",
        "where every emotion branch starts: random, a name of `lsdkit weights`, a run (default: the recipe's)",
        metavar="SOURCE",
    ),
    _option("--appearance-weights", "", "likewise of some appearances: 'dino=SOURCE vggface2=SOURCE'"),
    EPOCHS,
    _option("--jobs", 0, "notebooks at a time (default: one for each GPU, or one)"),
    _option("--gpus", (), "such as 0,1,2 (default: all that are visible)", type=names),
    DEVICE,
    _option("--timeout", 0.0, "end a run after so many seconds (default: never)"),
    _option("--fail-fast", False, "the first failure ends the sweep; runs under way save their work"),
    _option("--engine", "local", "local, or ray: on a cluster's machines (default %(default)s)", choices=ENGINES),
    _option("--address", "", "of a running Ray cluster: auto or HOST:PORT (default: Ray here)", metavar="ADDRESS"),
    _option("--gpus-per-run", None, "with ray, such as 1 or 0.5 (default: 1 where there are any)", type=float),
    _option("--plan", False, "run nothing: say what it would run and cost, and how sure"),
    _option("--on", "6 x RTX 3090", "the machine of --plan (default %(default)s, the paper's)"),
    epilog="On photographs of your own: lsdkit sweep --recipe workshop --data data/mine --grid 'MIX=mixup,mixaugment "
    "SEED=0:3', and in another terminal lsdkit status runs/grid-workshop. docs/reproduce.md tells of grids, "
    "docs/machines.md of several GPUs and machines.",
)
def _sweep(members, grid, out, data, plan, on, recipe, engine, address, gpus_per_run, **options):
    """train the members of the paper's Tables 2 and 3, or your own, then write the tables"""
    from lsdkit.notebook.grids import parse_grid, read_rows
    from lsdkit.reproduce.cluster import Cluster
    from lsdkit.reproduce.sweep import Plan, plan_sweep, run_sweep

    running = {name: options.pop(name) for name in ("jobs", "gpus", "device", "timeout", "fail_fast")}
    if grid and members != "all":
        raise ValueError(f"Expected --grid or --members, but got both: {grid!r} and {members!r}")
    rows = parse_grid(grid) if grid else read_rows(_find(members)) if members.lower().endswith(".csv") else {}
    chosen = Plan(members=members, recipe=recipe, rows=rows, **options)
    out = out or f"runs/{'grid' if rows else 'sweep'}-{recipe}"
    if plan:
        return plan_sweep(out, chosen, data=data, on=on)
    if engine != "ray" and (address or gpus_per_run is not None):
        raise ValueError("Expected --engine ray with --address and --gpus-per-run: the engine local knows neither")
    cluster = Cluster(address=address, gpus_per_run=gpus_per_run) if engine == "ray" else None
    return run_sweep(out, chosen, data=data, cluster=cluster, **running)


@_command("status", RUNS, _option("--once", False, "in a terminal, too: say it once, and do not wait for the end"))
def _show_status(runs, once):
    """which runs of a sweep are done, running, failed, waiting"""
    from lsdkit.reproduce.status import show_status

    return show_status(_find_runs(runs), once)


@_command(
    "starts",
    _option("--out", "runs/starts", "folder of the runs and of what is written (default %(default)s)"),
    _option("--recipe", "demo", "settings and budget of all (default %(default)s)"),
    _option("--seeds", (0, 1, 2), "default 0,1,2", type=whole_numbers),
    _option("--data", "", "folder of a prepared store (default: the open set)", metavar="STORE"),
    _option("--dino", "", "weights of the start DINO (default: dino_open)", metavar="SOURCE"),
    _option("--dino-face", "", "of DINO from face recognition (default: runs/dino-face, if there)", metavar="SOURCE"),
    _option("--jobs", 0, "notebooks at a time (default: 2)"),
)
def _run_starts(out, **options):
    """train from random, ImageNet, face and DINO weights alike, and compare"""
    from lsdkit.reproduce.start_runs import run_starts

    return run_starts(resolve(out), **options)


@_command(
    "tables",
    RUNS,
    _option("--out", "", "folder of the tables (default RUNS/tables)"),
    _option("--split", "validation", "validation or test (default %(default)s)"),
)
def _write_tables(runs, out, split):
    """the paper's Tables 2 to 5 beside the scores of a folder of runs"""
    from lsdkit.reproduce.tables import write_tables

    runs = _find_runs(runs)
    return write_tables(runs, resolve(out or runs / "tables"), split=split)


@_command(
    "predict",
    _option(
        "runs",
        "",
        "a run's folder, a folder of runs, a packed model (open-1 or a file), or an official DAN: dan_...",
        metavar="RUNS",
        nargs="?",
    ),
    _option("--out", "", "the CSV file to write", metavar="FILE"),
    _option("--ensemble", "", "a line of Table 4, or all (default all)", metavar="NAME"),
    _option("--seed", None, "only the runs of this seed (default: all runs)", type=int),
    _option("--allow-incomplete", False, "an ensemble may lack runs"),
    _option("--data", "", "run the networks over this store (default: none)", metavar="STORE"),
    _option("--split", "test", "train, validation, test or extra (default %(default)s)"),
    _option("--submission", False, "write image,expression instead of probabilities"),
    _option("--list", "", "the release's list: which images, in which order", metavar="FILE", dest="listed"),
    _option("--missing", "", "the answer for listed images not in the store", metavar="EXPRESSION"),
    _option("--check", "", "only check this submission against --list", metavar="FILE"),
)
def _predict(runs, out, split, submission, listed, missing, check, **options):
    """probabilities of a run or an ensemble, or the challenge's submission"""
    from lsdkit.prediction import left_nothing, write_probabilities
    from lsdkit.reproduce.submission import check_submission, write_submission

    listed = str(_find(listed)) if listed else ""
    if check:
        return check_submission(_find(check), listed)
    if not runs or not out:
        raise ValueError("Expected RUNS and --out FILE, or --check FILE --list FILE; see `lsdkit predict --help`")
    if submission and split != "test":
        raise ValueError(f"Expected a submission to answer the test faces, but got --split {split}")
    if submission:
        return write_submission(_find_runs(runs), out, listed=listed, missing=missing, **options)
    if listed or missing:
        raise ValueError("Expected --submission with --list and --missing: a table of probabilities knows neither")
    source = runs if left_nothing(runs) else _find_runs(runs)
    return write_probabilities(source, out, split=split, **options)


@_command(
    "export",
    _option("source", "", "folder of a finished run", metavar="RUN"),
    _option("--out", "", "the ONNX file to write", required=True, metavar="FILE"),
    _option("--part", "emotion", "emotion, or member: the 68 landmarks as well (default %(default)s)"),
)
def _export(source, out, **options):
    """a trained member as an ONNX file, for programs without torch"""
    from lsdkit.training.export import export_run

    return export_run(_find(source), out, **options)


@_command(
    "read",
    _option("photographs", "", "a photograph, or a folder of them at any depth", metavar="PHOTO", nargs="+"),
    _option("--out", "", "the CSV file to write (default: print a table)", metavar="FILE"),
    _option("--sheet", "", "draw the faces and their bars into this PNG file", metavar="FILE"),
    _option(
        "--model", "open-1", "open-1, a packed model, a run, or a folder of runs, which vote (default %(default)s)"
    ),
    _option("--jobs", None, "processes that search for faces (default: one a core)", type=int),
    DEVICE,
    epilog="docs/photographs.md has the columns of the table.",
)
def _read(photographs, out, sheet, **options):
    """the expressions of the faces in photographs"""
    from lsdkit.reading.report import read_photographs

    out, sheet = (expand(file).absolute() if file else "" for file in (out, sheet))  # beside what is read
    return read_photographs(photographs, out=out, sheet=sheet, **options)


@_command(
    "make-model",
    _option("--out", "runs/open-1", "folder of the faces, the runs and the file (default %(default)s)"),
    _option("--seed", 0, "draws faces, bags and first weights (default %(default)s)"),
    _option("--jobs", 0, "trainings at a time (default: one for each core, or one on a GPU)"),
    DEVICE,
)
def _make_model(out, **options):
    """train the model that ships, open-1, on rendered faces and pack it into one file"""
    from lsdkit.photographs.networks import make_model

    return make_model(resolve(out), **options)


@_command(
    "benchmark",
    _option(
        "--photographs",
        [],
        "a folder per expression, or a CSV file (path, expression, subject), of a collection, and its name (default: "
        "the folder's); any number of times",
        type=str,
        action="append",
        required=True,
        metavar="NAME=DIR",
    ),
    _option("--out", "", "folder of the results, the trained networks and the crops", required=True),
    _option("--seeds", (), "such as 0,1,2 (default: the protocol's)", type=whole_numbers),
    _option(
        "--models",
        (),
        "of majority, landmarks, hog, hog+landmarks, face, hog+face, single, two-branch, open-1, ensemble (all)",
        type=names,
    ),
    _option("--fraction", 0.0, "of the release's training faces (default: the protocol's)"),
    _option("--jobs", 0, "trainings at a time (default: one a core, or one on a GPU)"),
    DEVICE,
    _option("--plan", False, "run nothing: say what it would run, and how long"),
)
def _benchmark(photographs, out, **options):
    """train on rendered faces alone, score on your photographs (docs/benchmark.md)"""
    from lsdkit.photographs.benchmark import run_benchmark

    return run_benchmark(_name_sources(photographs), resolve(out), **options)
