"""The benchmark: train on rendered faces alone, score on photographs. `lsdkit.protocol` holds what is fixed.

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
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import lsdkit
from lsdkit import baselines, benchtext, costs, evaluation, files, metrics, photoscores, plots, prepare, results
from lsdkit.cores import cores
from lsdkit.derived import WHOLE, inner_store
from lsdkit.device import device_named
from lsdkit.ensemble import soft_vote
from lsdkit.expressions import EXPRESSIONS
from lsdkit.paths import project_path, resolve
from lsdkit.photographs import Photographs, list_photographs, prepare_photographs
from lsdkit.protocol import MODELS, NETWORKS, PROTOCOL, Protocol, deviations, members_of, networks_of
from lsdkit.recipes import Member, check_choice
from lsdkit.store import Store
from lsdkit.training import PACKAGES, train_member

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
    open_sets: dict[int, Store] = field(default_factory=dict)  # seed -> the rendered faces
    rows: list[dict] = field(default_factory=list)  # one a model and seed
    tallies: dict[str, list] = field(default_factory=dict)  # model -> of each seed, what its summary is made of
    failed: dict[str, str] = field(default_factory=dict)  # network -> why


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
    start, where, source = time.perf_counter(), device_named(device), Path(photographs).expanduser()
    protocol, models = _checked(protocol, seeds, models, fraction, jobs)
    given = len(list_photographs(source).table)
    on_cpu = where.type == "cpu"
    at_once = jobs or (min(cores(), AT_ONCE) if on_cpu else 1)
    intended = benchtext.planned(protocol, models, given, at_once)
    if plan:
        return intended
    report(intended)
    out, workers = resolve(out), {"jobs": jobs or None, "progress": progress}
    options = {"pixels": protocol.pixels, "annotator": protocol.annotator}
    faces = prepare_photographs(source, out / "photographs", **options, **workers)
    faces = replace(faces, store=seen(faces.store, out, protocol))
    bench = _Bench(out, protocol, models, where, faces)
    report(benchtext.faces_line(bench.photographs.counts(), bench.photographs.lost))
    for seed in protocol.seeds:
        bench.open_sets[seed] = open_set(out, seed, protocol, **workers)
        for model in models:
            if model not in NETWORKS:
                _baseline(bench, model, seed)
                report(benchtext.line(bench.rows[-1]))
    if any(model in NETWORKS for model in models):
        _train(bench, at_once, progress, report)
        _networks(bench, report)
    text = _write(bench, source.name, time.perf_counter() - start)
    if bench.failed:
        report(text)
        raise SystemExit(1)
    return text


def open_set(
    out: Path, seed: int, protocol: Protocol, *, without: tuple[str, ...] = (), jobs: int | None, progress: bool
) -> Store:
    """The rendered faces of a seed as the protocol sees them, in `out`; `without` as in `render_release`."""
    drawn = {"fraction": protocol.fraction, "validation": protocol.validation, "test": protocol.test}
    drawn |= {"pixels": protocol.pixels, "seed": seed, "design": protocol.design, "without": without}
    drawn |= {"device": "cpu"}  # the same pixels with and without a GPU
    store = prepare.prepare_open(out / f"open-seed{seed}", **drawn, jobs=jobs, progress=progress)
    return seen(store, out, protocol)


def seen(store: Store, out: Path, protocol: Protocol) -> Store:
    """What the protocol sees of the faces of a store: its window, without colour if it says so; a store in `out`."""
    kind = ("whole" if protocol.window == WHOLE else "inner") + ("-grey" if protocol.grey else "")
    return inner_store(store, out / f"{store.path.name}-{kind}", window=protocol.window, grey=protocol.grey)


def _checked(
    protocol: Protocol, seeds: Sequence[int], models: Sequence[str], fraction: float, jobs: int
) -> tuple[Protocol, tuple[str, ...]]:
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


def _baseline(bench: _Bench, model: str, seed: int) -> None:
    store, faces = bench.open_sets[seed], bench.photographs
    rendered = evaluation.six_classes(store, "test")
    tests = {"photographs": (faces.store, faces.rows[faces.found]), "rendered": (store, rendered)}
    start = time.perf_counter()
    found = baselines.fit_predict(model, store, evaluation.six_classes(store, "train"), tests)
    score = metrics.macro_f1(store.labels[rendered], found["rendered"].argmax(1)) if len(rendered) else None
    _add(bench, model, seed, found["photographs"], rendered=score, seconds=time.perf_counter() - start, runs={})


def _train(bench: _Bench, at_once: int, progress: bool, report: Callable[[str], None]) -> None:
    """Train every network that the models need, each into its folder below OUT/runs; finished ones are left alone."""
    threads = max(1, cores() // at_once)
    tasks = [
        (member, bench.open_sets[seed].path, bench.out / "runs" / name, str(bench.device), threads)
        for seed in bench.protocol.seeds
        for name, member in networks_of(bench.protocol, bench.models, seed).items()
    ]
    tasks.sort(key=lambda task: -costs.cost(task[0]).training * task[0].epochs * (1 if task[0].bag == 0 else 0.2))

    def done(name: str, get: Callable[[], float]) -> None:
        try:
            report(f"{name}: trained in {get():.0f} s")
        except Exception as error:
            bench.failed[name] = f"{type(error).__name__}: {error}"
            report(f"{name}: FAILED, {bench.failed[name]}")

    if at_once == 1 or len(tasks) == 1:
        for task in tasks:
            done(task[0].name, lambda task=task: train_one(*task, progress))
        return
    with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(train_one, *task, False): task[0].name for task in tasks}
        for future in as_completed(waiting):
            done(waiting[future], future.result)


def train_one(member: Member, store: Path, folder: Path, device: str, threads: int, progress: bool) -> float:
    """Train one network, in this process, on so many threads; returns the seconds that its result tells."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return train_member(member, Store.open(store), folder, device=device, progress=progress)["seconds"]
    finally:
        torch.set_num_threads(before)


def _networks(bench: _Bench, report: Callable[[str], None]) -> None:
    """Score the networks and their vote on the photographs."""
    faces = bench.photographs
    for seed in bench.protocol.seeds:
        known: dict[str, tuple] = {}  # of each network: its answers about photographs and rendered faces, its result
        for model in (model for model in bench.models if model in NETWORKS):
            members = members_of(model, seed, bench.protocol)
            if any(member.name in bench.failed for member in members):
                continue
            for member in members:
                if member.name not in known:
                    folder = bench.out / "runs" / member.name
                    network = evaluation.load_network(folder, bench.device)
                    rows = faces.rows[faces.found]
                    logits = evaluation.predict_logits(network, faces.store, rows, member, bench.device)
                    table = results.read_predictions(folder)
                    table = table[(table["split"] == "test") & table["expression"].isin(EXPRESSIONS)]
                    known[member.name] = (evaluation.softmax(logits), table, results.read_result(folder))
            chosen, vote = [known[member.name] for member in members], members[0].recipe.vote
            photographed = soft_vote([each[0] for each in chosen], vote)
            rendered = soft_vote([results.probabilities_of(each[1]) for each in chosen], vote).argmax(1)
            labels = results.labels_of(chosen[0][1])
            score = metrics.macro_f1(labels, rendered) if len(labels) else None
            seconds = sum(result["seconds"] for *_, result in chosen)
            runs = {
                result["name"]: {"best_epoch": result["best_epoch"], "spec": result["spec_hash"]}
                for *_, result in chosen
            }
            _add(bench, model, seed, photographed, rendered=score, seconds=seconds, runs=runs)
            report(benchtext.line(bench.rows[-1]))


def _add(
    bench: _Bench,
    model: str,
    seed: int,
    probabilities: np.ndarray,
    *,
    rendered: float | None,
    seconds: float,
    runs: dict,
) -> None:
    """Score probabilities (found, 6) of a model and seed over the photographs with a face, and over all of them."""
    faces = bench.photographs
    everything = np.full((len(faces.labels), len(EXPRESSIONS)), np.nan)
    everything[faces.found] = probabilities
    six, four = photoscores.answers(everything)
    units = {"images": None} | ({} if faces.subjects is None else {"subjects": faces.subjects})
    scored, kept = {}, {}
    for name, chosen in (("found", faces.found), ("all", np.ones(len(faces.labels), bool))):
        part = faces.labels[chosen], six[chosen], four[chosen]
        groups = {unit: None if subject is None else subject[chosen] for unit, subject in units.items()}
        draws = {
            unit: photoscores.resampled(*part, groups=group, resamples=bench.protocol.resamples)
            for unit, group in groups.items()
        }
        kept[name] = photoscores.tally(*part), draws
        scored[name] = photoscores.described(*kept[name])
    bench.tallies.setdefault(model, []).append(kept)
    bench.rows.append(
        {
            "model": model,
            "seed": seed,
            **scored["found"],
            "confusion": kept["found"][0].sum(-1)[:, : len(EXPRESSIONS)].tolist(),
            "all_photographs": scored["all"],
            "faces_found": faces.counts(),
            "rendered_test_macro_f1": rendered,
            "seconds": seconds,
            "runs": runs,
        }
    )
    keys = [key for key, found in zip(faces.keys, faces.found, strict=True) if found]
    table = results.prediction_table(keys, ["test"] * len(keys), faces.labels[faces.found], probabilities)
    results.write_table(bench.out / "answers" / f"{model}-seed{seed}.csv", table)


def _write(bench: _Bench, source: str, seconds: float) -> str:
    """Write benchmark.json, the table and the figures; returns the table."""
    order, faces, summary = MODELS.index, bench.photographs, {}
    for model in sorted(bench.tallies, key=order):
        seeds = bench.tallies[model]
        summary[model] = {
            name: photoscores.summary(
                np.stack([kept[name][0] for kept in seeds]),
                {unit: np.stack([kept[name][1][unit] for kept in seeds]) for unit in seeds[0][name][1]},
            )
            for name in ("found", "all")
        }
        counts = sum(kept["found"][0].sum(-1)[:, : len(EXPRESSIONS)] for kept in seeds)
        drawn = plots.confusion(counts)
        drawn.axes[0].set_title(f"{model}: {int(counts.sum()):,} answers, {len(seeds)} seeds", fontsize=10, loc="left")
        files.write_bytes(bench.out / f"confusion-{model}.png", plots.png(drawn, 150))
    settings = {seed: _drawn(store) for seed, store in bench.open_sets.items()}
    generators = {each.get("format", 0) for each in settings.values()}
    value = {
        "format": FORMAT,
        "protocol": asdict(bench.protocol),
        "deviations": deviations(bench.protocol, bench.models, generators),
        "results": sorted(bench.rows, key=lambda row: (order(row["model"]), row["seed"])),
        "summary": summary,
        "photographs": {
            "source": source,
            "kind": faces.store.kind,
            "faces_found": faces.counts(),
            "without_a_face": faces.lost,
            "found_how": faces.how,
            "subjects": {
                "from": faces.subjects_from,
                "number": None if faces.subjects is None else len(set(faces.subjects)),
            },
            "store": _stored(faces.store),
        },
        "open_sets": {
            str(seed): {"settings": settings[seed], "store": _stored(store), "counts": store.manifest["counts"]}
            for seed, store in bench.open_sets.items()
        },
        "failed": bench.failed,
        "seconds": seconds,
        "versions": {
            "lsdkit": lsdkit.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in (*PACKAGES, "scikit-image")},
        },
        "machine": {"device": str(bench.device), "cores": cores(), "system": platform.platform()},
    }
    files.write_json(bench.out / "benchmark.json", value)
    text = benchtext.table(value)
    files.write_text(bench.out / "benchmark.md", text)
    return f"{text}\n{project_path(bench.out / 'benchmark.json')}"


def _drawn(store: Store) -> dict:
    """The settings that a store's faces were rendered with, also where it was made of one."""
    settings = store.manifest["settings"]
    return settings.get("from", settings)


def _stored(store: Store) -> dict:
    return {"path": str(project_path(store.path)), "checksums": store.manifest["checksums"]}
