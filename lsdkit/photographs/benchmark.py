"""The benchmark: train on rendered faces alone, score on photographs. `lsdkit.photographs.protocol` fixes how.

    OUT/benchmark.json          every score, see docs/benchmark.md
    OUT/benchmark.md            a table of them
    OUT/confusion-MODEL.png     true and answered expressions, over all seeds
    OUT/answers/                key, expression and six probabilities for each photograph with a face
    OUT/runs/                   the trained networks
    OUT/photographs*            crops of the photographs themselves: for OUT's owner alone

What is finished is not made again.
"""

import multiprocessing
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch

from lsdkit.common import files
from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.machine import cores, list_versions
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.combining import WHOLE, view_store
from lsdkit.data.store import Store
from lsdkit.figures import plots
from lsdkit.method.bagging import soft_vote
from lsdkit.method.metrics import macro_f1
from lsdkit.openset.preparing import prepare_open
from lsdkit.photographs import report as words
from lsdkit.photographs import scores
from lsdkit.photographs.collection import Photographs, list_photographs, prepare_photographs
from lsdkit.photographs.protocol import MODELS, NETWORKS, PROTOCOL, Protocol, list_deviations, members_of, networks_of
from lsdkit.photographs.regressions import fit_predict
from lsdkit.recipes import Member, check_choice
from lsdkit.training.evaluation import labelled_rows, load_network, predict_logits, softmax
from lsdkit.training.member import train_member
from lsdkit.training.predictions import prediction_table, probabilities_of, select_labelled
from lsdkit.training.runs import Run

FORMAT = 1
AT_ONCE = 8  # trainings at most, which bounds the memory


@dataclass
class _Bench:
    """A benchmark under way."""

    out: Path
    protocol: Protocol
    models: tuple[str, ...]
    device: torch.device
    photographs: Photographs
    report: Callable[[str], None]
    open_sets: dict[int, Store] = field(default_factory=dict)  # seed -> the rendered faces
    runs: dict[str, Run] = field(default_factory=dict)  # the trained networks by name
    failed: dict[str, str] = field(default_factory=dict)  # network -> why
    rows: list[dict] = field(default_factory=list)  # one a model and seed
    tallies: dict[str, list[dict[str, scores.Tally]]] = field(default_factory=dict)  # model -> of each seed: by part


def run_benchmark(
    photographs: Path | str,
    out: Path | str,
    *,
    seeds: Sequence[int] = (),
    models: Sequence[str] = (),
    fraction: float = 0.0,
    jobs: int = 0,
    plan: bool = False,
    device: str = "auto",
    progress: bool = True,
    report: Callable[[str], None] = print,
    protocol: Protocol = PROTOCOL,
) -> str:
    """Run the benchmark on the photographs in a folder per expression, or of a CSV file; returns its table.

    `seeds`, `models` (of `protocol.MODELS`) and `fraction` stand in for the protocol's, and the result says so. `jobs`
    trainings run at a time (0 = one for each core, or one on a GPU). With `plan` nothing is run: the text says what
    would be, and how long. `report` gets a line as each part ends. Where a training fails, the models that need it are
    left out, the rest is written, and `SystemExit` with code 1 is raised.

    Raises `ValueError` or `OSError`, before any work, for a wrong argument or folder.
    """
    start, where, source = time.perf_counter(), choose_device(device), Path(photographs).expanduser()
    protocol, models = _check_arguments(protocol, seeds, models, fraction, jobs)
    at_once = jobs or (min(cores(), AT_ONCE) if where.type == "cpu" else 1)
    intended = words.describe_plan(protocol, models, len(list_photographs(source).table), at_once)
    if plan:
        return intended
    report(intended)
    out, workers = resolve(out), {"jobs": jobs or None, "progress": progress}
    options = {"pixels": protocol.pixels, "annotator": protocol.annotator}
    faces = prepare_photographs(source, out / "photographs", **options, **workers)
    bench = _Bench(out, protocol, models, where, replace(faces, store=view_faces(faces.store, out, protocol)), report)
    report(words.describe_faces(faces.count(), faces.lost))
    for seed in protocol.seeds:
        bench.open_sets[seed] = open_set(out, seed, protocol, **workers)
        for model in models:
            if model not in NETWORKS:
                _fit(bench, model, seed)
    _train(bench, at_once, progress)
    for seed in protocol.seeds:
        _vote(bench, seed)
    text = _write(bench, source.name, time.perf_counter() - start)
    if bench.failed:
        report(text)
        raise SystemExit(1)
    return text


def open_set(
    out: Path, seed: int, protocol: Protocol, *, without: tuple[str, ...] = (), jobs: int | None, progress: bool
) -> Store:
    """The rendered faces of a seed as the protocol sees them, in `out`; `without` as in `render_release`."""
    names = ("fraction", "validation", "test", "pixels", "design")
    settings = {name: getattr(protocol, name) for name in names} | {"seed": seed, "without": without}
    settings |= {"device": "cpu"}  # the same pixels with and without a GPU
    store = prepare_open(out / f"open-seed{seed}", **settings, jobs=jobs, progress=progress)
    return view_faces(store, out, protocol)


def view_faces(store: Store, out: Path, protocol: Protocol) -> Store:
    """What the protocol sees of the faces of a store: its window, without colour if it says so; a store in `out`."""
    kind = ("whole" if protocol.window == WHOLE else "inner") + ("-grey" if protocol.grey else "")
    return view_store(store, out / f"{store.path.name}-{kind}", window=protocol.window, grey=protocol.grey)


def train_one(member: Member, store: Path, folder: Path, device: str, threads: int, progress: bool) -> Run:
    """Train one network, in this process, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return train_member(member, Store.open(store), folder, device=device, progress=progress)
    finally:
        torch.set_num_threads(before)


def _check_arguments(
    protocol: Protocol, seeds: Sequence[int], models: Sequence[str], fraction: float, jobs: int
) -> tuple[Protocol, tuple[str, ...]]:
    """The protocol with these seeds and fraction, and the models in the order of `MODELS`."""
    for model in models:
        check_choice("--models", model, MODELS)
    if fraction and not 0 < fraction <= 1:
        raise ValueError(f"Expected --fraction in (0, 1], but got {fraction}")
    if any(seed < 0 for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"Expected --seeds of at least 0, each once, but got {', '.join(map(str, seeds))}")
    if jobs < 0:
        raise ValueError(f"Expected --jobs of at least 0, but got {jobs}")
    changes = ({"seeds": tuple(seeds)} if seeds else {}) | ({"fraction": fraction} if fraction else {})
    return replace(protocol, **changes), tuple(model for model in MODELS if model in (models or MODELS))


def _fit(bench: _Bench, model: str, seed: int) -> None:
    """Fit a regression to the rendered faces of a seed, and score it."""
    store, faces, start = bench.open_sets[seed], bench.photographs, time.perf_counter()
    tests = {
        "photographs": (faces.store, faces.rows[faces.has_face]),
        "rendered": (store, labelled_rows(store, "test")),
    }
    answers = fit_predict(model, store, labelled_rows(store, "train"), tests)
    _score(bench, model, seed, **answers, seconds=time.perf_counter() - start)


def _train(bench: _Bench, at_once: int, progress: bool) -> None:
    """Train every network that the models need, each into its folder below OUT/runs; finished ones are left alone."""
    members = [
        (member, bench.open_sets[seed].path)
        for seed in bench.protocol.seeds
        for member in networks_of(bench.protocol, bench.models, seed).values()
    ]
    members.sort(key=lambda pair: -words.estimate_training(pair[0], bench.protocol.faces))
    machine = str(bench.device), max(1, cores() // at_once)

    def end(name: str, get: Callable[[], Run]) -> None:
        try:
            bench.runs[name] = run = get()
            bench.report(f"{name}: trained in {run.seconds:.0f} s")
        except Exception as error:
            bench.failed[name] = f"{type(error).__name__}: {error}"
            bench.report(f"{name}: FAILED, {bench.failed[name]}")

    tasks = {member.name: (member, store, bench.out / "runs" / member.name, *machine) for member, store in members}
    if at_once == 1 or len(tasks) <= 1:
        for name, task in tasks.items():
            end(name, lambda task=task: train_one(*task, progress))
        return
    with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(train_one, *task, False): name for name, task in tasks.items()}
        for future in as_completed(waiting):
            end(waiting[future], future.result)


def _vote(bench: _Bench, seed: int) -> None:
    """Ask the networks of a seed about the photographs and the rendered test faces, and score them and their vote."""
    faces, asked = bench.photographs, {}
    for run in (run for run in bench.runs.values() if run.member.seed == seed):
        network, rows = load_network(run.folder, bench.device), faces.rows[faces.has_face]
        logits = predict_logits(network, faces.store, rows, run.member, bench.device)
        asked[run.name] = softmax(logits), probabilities_of(select_labelled(run.read_predictions(), "test"))
    for model in bench.models:
        members = members_of(model, seed, bench.protocol)
        if not members or any(member.name not in asked for member in members):
            continue
        runs, vote = [bench.runs[member.name] for member in members], members[0].recipe.vote
        photographs, rendered = (soft_vote([asked[run.name][part] for run in runs], vote) for part in (0, 1))
        seconds = sum(run.seconds for run in runs)
        _score(bench, model, seed, photographs=photographs, rendered=rendered, seconds=seconds, runs=runs)


def _score(
    bench: _Bench,
    model: str,
    seed: int,
    *,
    photographs: np.ndarray,
    rendered: np.ndarray,
    seconds: float,
    runs: Sequence[Run] = (),
) -> None:
    """Score what a model says of the photographs with a face, and of all of them, from probabilities (B, 6).

    `rendered` (T, 6): what it says of the rendered test faces.
    """
    faces, store = bench.photographs, bench.open_sets[seed]
    everything = np.full((len(faces.labels), len(EXPRESSIONS)), np.nan)
    everything[faces.has_face] = photographs
    columns = faces.labels, *scores.choose_answers(everything)
    tallies = {}
    for part, chosen in (("found", faces.has_face), ("all", np.ones_like(faces.has_face))):
        subjects = None if faces.subjects is None else faces.subjects[chosen]
        options = {"subjects": subjects, "resamples": bench.protocol.resamples}
        tallies[part] = scores.tally_answers(*(column[chosen] for column in columns), **options)
    bench.tallies.setdefault(model, []).append(tallies)
    labels = store.labels[labelled_rows(store, "test")]
    row = {
        "model": model,
        "seed": seed,
        **scores.describe_scores(tallies["found"]),
        "confusion": tallies["found"].confusion.tolist(),
        "all_photographs": scores.describe_scores(tallies["all"]),
        "faces_found": faces.count(),
        "rendered_test_macro_f1": macro_f1(labels, rendered.argmax(1)) if len(labels) else None,
        "seconds": seconds,
        "runs": {run.name: {"best_epoch": run.best_epoch, "spec": run.spec_hash} for run in runs},
    }
    bench.rows.append(row)
    keys = list(compress(faces.keys, faces.has_face))
    table = prediction_table(keys, ["test"] * len(keys), faces.labels[faces.has_face], photographs)
    files.write_table(bench.out / "answers" / f"{model}-seed{seed}.csv", table)
    bench.report(words.describe_row(row))


def _write(bench: _Bench, source: str, seconds: float) -> str:
    """Write benchmark.json, the table and the figures; returns the table."""
    order, faces, summary = MODELS.index, bench.photographs, {}
    for model in sorted(bench.tallies, key=order):
        seeds = bench.tallies[model]
        summary[model] = {part: scores.summarise_seeds([each[part] for each in seeds]) for part in ("found", "all")}
        counts = sum(each["found"].confusion for each in seeds)
        drawn = plots.confusion(counts)
        drawn.axes[0].set_title(f"{model}: {int(counts.sum()):,} answers, {len(seeds)} seeds", fontsize=10, loc="left")
        files.write_bytes(bench.out / f"confusion-{model}.png", plots.png(drawn, 150))
    settings = {seed: store.manifest["settings"]["from"] for seed, store in bench.open_sets.items()}  # of the rendering
    generators = {each.get("format", 0) for each in settings.values()}
    value = {
        "format": FORMAT,
        "protocol": asdict(bench.protocol),
        "deviations": list_deviations(bench.protocol, bench.models, generators),
        "results": sorted(bench.rows, key=lambda row: (order(row["model"]), row["seed"])),
        "summary": summary,
        "photographs": {
            "source": source,
            "kind": faces.store.kind,
            "faces_found": faces.count(),
            "without_a_face": faces.lost,
            "found_how": faces.how,
            "subjects": {
                "from": faces.subjects_from,
                "number": None if faces.subjects is None else len(set(faces.subjects)),
            },
            "store": _identify(faces.store),
        },
        "open_sets": {
            str(seed): {"settings": settings[seed], "store": _identify(store), "counts": store.manifest["counts"]}
            for seed, store in bench.open_sets.items()
        },
        "failed": bench.failed,
        "seconds": seconds,
        "versions": list_versions("scikit-image"),
        "machine": {"device": str(bench.device), "cores": cores(), "system": platform.platform()},
    }
    files.write_json(bench.out / "benchmark.json", value)
    text = words.tabulate(value)
    files.write_text(bench.out / "benchmark.md", text)
    return f"{text}\n{project_path(bench.out / 'benchmark.json')}"


def _identify(store: Store) -> dict:
    return {"path": str(project_path(store.path)), "checksums": store.manifest["checksums"]}
