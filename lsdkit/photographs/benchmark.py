"""The benchmark: train on rendered faces alone, score on photographs. `lsdkit.photographs.protocol` fixes how.

    OUT/benchmark.json              every score, see docs/benchmark.md
    OUT/benchmark.md                tables of them
    OUT/benchmark.png               all of it in one figure
    OUT/confusion-NAME-MODEL.png    true and answered expressions of a collection, over all seeds
    OUT/answers/NAME/               key, expression and six probabilities for each photograph with a face
    OUT/runs/                       the trained networks
    OUT/photographs*                crops of the photographs themselves: for OUT's owner alone

What is finished is not made again.
"""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
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
from lsdkit.figures import plots, style
from lsdkit.figures.collections import collection_scores
from lsdkit.method.bagging import soft_vote
from lsdkit.method.metrics import macro_f1
from lsdkit.photographs import references, regressions, scores
from lsdkit.photographs import report as words
from lsdkit.photographs.collection import (
    RENDERED,
    Collection,
    check_names,
    list_photographs,
    prepare_photographs,
)
from lsdkit.photographs.groups import score_groups
from lsdkit.photographs.networks import choose_number, open_set, train_networks, view_faces
from lsdkit.photographs.protocol import (
    MODELS,
    PROTOCOL,
    Protocol,
    list_deviations,
    list_tuned,
    members_of,
    networks_of,
)
from lsdkit.photographs.results import PARTS, Tallies, describe_collection, identify_store, summarise
from lsdkit.photographs.traits import measure_photographs
from lsdkit.photographs.views import Faces
from lsdkit.recipes import check_choice
from lsdkit.training.evaluation import labelled_rows, load_network, predict_logits, softmax
from lsdkit.training.predictions import prediction_table, probabilities_of, select_labelled
from lsdkit.training.runs import Run

FORMAT = 2


@dataclass
class _Bench:
    """A benchmark under way."""

    out: Path
    protocol: Protocol
    models: tuple[str, ...]
    device: torch.device
    report: Callable[[str], None]
    collections: dict[str, Collection] = field(default_factory=dict)
    open_sets: dict[int, Faces] = field(default_factory=dict)  # seed -> the rendered faces
    runs: dict[str, Run] = field(default_factory=dict)  # the trained networks by name
    failed: dict[str, str] = field(default_factory=dict)  # network -> why
    rows: list[dict] = field(default_factory=list)  # one a collection, model and seed
    references: list[dict] = field(default_factory=list)  # one a collection, regression and what it was trained on
    unreferred: dict[str, str] = field(default_factory=dict)  # reference that could not be trained -> why
    tallies: Tallies = field(default_factory=dict)
    answers: dict[tuple[str, str], list[np.ndarray]] = field(default_factory=dict)  # (collection, model): of each seed


def run_benchmark(
    photographs: Mapping[str, Path | str],
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
    """Run the benchmark on collections of photographs; returns its tables.

    photographs: name of a collection -> a folder per expression, or a CSV file. `seeds`, `models` (of
    `protocol.MODELS`) and `fraction` stand in for the protocol's, and the result says so. `jobs` trainings run at a
    time (0 = one for each core, or one on a GPU). With `plan` nothing is run: the text says what would be, and how
    long. `report` gets a line as each part ends. Where a training fails, the models that need it are left out, the
    rest is written, and `SystemExit` with code 1 is raised.

    Raises `ValueError` or `OSError`, before any work, for a wrong argument, name or folder.
    """
    start, where = time.perf_counter(), choose_device(device)
    protocol, models = _check_arguments(protocol, seeds, models, fraction, jobs)
    check_names(photographs)
    sources = {name: Path(source).expanduser() for name, source in photographs.items()}
    for name, source in sources.items():
        if source.is_dir() and resolve(out).resolve().is_relative_to(source.resolve()):
            raise ValueError(
                f"Expected --out beside the photographs of {name}, but {out} lies in {source}; choose another"
            )
    at_once = choose_number(jobs, where)
    counts = {name: len(list_photographs(source).table) for name, source in sources.items()}
    intended = words.describe_plan(protocol, models, counts, at_once)
    if plan:
        return intended
    report(intended)
    bench, workers = _Bench(resolve(out), protocol, models, where, report), {"jobs": jobs or None, "progress": progress}
    for name, source in sources.items():
        taken = bench.collections[name] = take_collection(name, source, bench.out, protocol, **workers)
        report(f"{name}: {words.describe_faces(taken.photographs.count(), taken.photographs.lost)}")
    _refer(bench)
    for seed in protocol.seeds:
        bench.open_sets[seed] = open_set(bench.out, seed, protocol, **workers)
        _fit(bench, seed)
    regressions.forget()
    _train(bench, at_once, progress)
    for seed in protocol.seeds:
        _vote(bench, seed)
    text = _write(bench, time.perf_counter() - start)
    if bench.failed:
        report(text)
        raise SystemExit(1)
    return text


def take_collection(
    name: str, source: Path, out: Path, protocol: Protocol, *, jobs: int | None, progress: bool
) -> Collection:
    """Find the faces of a collection, and measure what its photographs are like; both are kept in `out`."""
    place, workers = out / f"photographs-{name}", {"jobs": jobs, "progress": progress}
    photographs = prepare_photographs(source, place, pixels=protocol.pixels, annotator=protocol.annotator, **workers)
    faces, listing = view_faces(photographs.store, out, protocol), list_photographs(source)
    measures = measure_photographs(listing, faces, place.with_name(f"{place.name}.csv"), **workers)
    measures = measures.set_index("key").loc[photographs.keys].reset_index()
    return Collection(name, source.name, photographs, faces, measures)


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


def _refer(bench: _Bench) -> None:
    """Score the regressions trained on photographs: of each other collection, and of the same one by person."""
    names = [name for name in bench.models if name in regressions.NAMES and name != regressions.MAJORITY]
    if not names:
        return
    answers, bench.unreferred = references.answer_all(names, bench.collections, bench.protocol.folds)
    for (trained_on, name, model), probabilities in answers.items():
        row = {"model": model, **_score(bench, model, name, trained_on, probabilities)}
        bench.references.append(row)
        bench.report(words.describe_row(row))
    for trained_on, why in bench.unreferred.items():
        bench.report(f"no reference line from {trained_on}: {why}")


def _fit(bench: _Bench, seed: int) -> None:
    """Fit the regressions to the rendered faces of a seed, and score them."""
    faces = bench.open_sets[seed]
    names = [model for model in bench.models if model in regressions.NAMES]
    tests = {name: each.target for name, each in bench.collections.items()}
    rendered = faces, labelled_rows(faces.store, "test")
    fitted = regressions.fit_all(names, faces, labelled_rows(faces.store, "train"), tests | {RENDERED: rendered})
    for model, (answers, seconds) in fitted.items():
        _score_model(bench, model, seed, answers, seconds=seconds)


def _train(bench: _Bench, at_once: int, progress: bool) -> None:
    """Train every network that the models need, each into its folder below OUT/runs."""
    members = [
        (member, bench.open_sets[seed].seen(view).path)
        for seed in bench.protocol.seeds
        for member, view in networks_of(bench.protocol, bench.models, seed).values()
    ]
    options = {"at_once": at_once, "device": bench.device, "progress": progress, "report": bench.report}
    bench.runs, failed = train_networks(members, bench.out / "runs", bench.protocol.faces, **options)
    bench.failed |= failed


def _vote(bench: _Bench, seed: int) -> None:
    """Ask the networks of a seed about the photographs and the rendered test faces, and score them and their votes."""
    asked = {}
    for name, (member, view) in networks_of(bench.protocol, bench.models, seed).items():
        if name not in bench.runs:
            continue
        run = bench.runs[name]
        network = load_network(run.folder, bench.device)
        asked[name] = {RENDERED: probabilities_of(select_labelled(run.read_predictions(), "test"))}
        for place, each in bench.collections.items():
            faces, rows = each.target
            logits = predict_logits(network, faces.seen(view), rows, member, bench.device)
            asked[name][place] = softmax(logits)
    for model in bench.models:
        members = members_of(model, seed, bench.protocol)
        if not members or any(member.name not in asked for member in members):
            continue
        runs, vote = [bench.runs[member.name] for member in members], members[0].recipe.vote
        answers = {place: soft_vote([asked[run.name][place] for run in runs], vote) for place in asked[runs[0].name]}
        _score_model(bench, model, seed, answers, seconds=sum(run.seconds for run in runs), runs=runs)


def _score_model(
    bench: _Bench,
    model: str,
    seed: int,
    answers: Mapping[str, np.ndarray],
    *,
    seconds: float,
    runs: Sequence[Run] = (),
) -> None:
    """Score what a model says of each collection's photographs with a face, from probabilities (B, 6).

    The answers under `RENDERED` are those about the rendered test faces.
    """
    store = bench.open_sets[seed].store
    labels = store.labels[labelled_rows(store, "test")]
    rendered = macro_f1(labels, answers[RENDERED].argmax(1)) if len(labels) else None
    for name, collection in bench.collections.items():
        photographs = collection.photographs
        row = {"model": model, "seed": seed, **_score(bench, model, name, RENDERED, answers[name])}
        row |= {"rendered_test_macro_f1": rendered, "seconds": seconds}
        row["runs"] = {run.name: {"best_epoch": run.best_epoch, "spec": run.spec_hash} for run in runs}
        bench.rows.append(row)
        bench.answers.setdefault((name, model), []).append(scores.choose_answers(answers[name])[0])
        keys = list(compress(photographs.keys, photographs.has_face))
        table = prediction_table(keys, ["test"] * len(keys), photographs.labels[photographs.has_face], answers[name])
        files.write_table(bench.out / "answers" / name / f"{model}-seed{seed}.csv", table)
        bench.report(words.describe_row(row))


def _score(bench: _Bench, model: str, name: str, trained_on: str, probabilities: np.ndarray) -> dict:
    """Scores over the photographs of a collection with a face, and over all of them, from probabilities (B, 6)."""
    photographs = bench.collections[name].photographs
    everything = np.full((len(photographs.labels), len(EXPRESSIONS)), np.nan)
    everything[photographs.has_face] = probabilities
    answers, tallies = scores.choose_answers(everything), {}
    for part, chosen in zip(PARTS, (photographs.has_face, np.ones_like(photographs.has_face)), strict=True):
        subjects = None if photographs.subjects is None else photographs.subjects[chosen]
        options = {"subjects": subjects, "resamples": bench.protocol.resamples, "purpose": _purpose(name)}
        tallies[part] = scores.tally_answers(photographs.labels[chosen], answers[:, chosen], **options)
    bench.tallies.setdefault((trained_on, name, model), []).append(tallies)
    return {
        "collection": name,
        "trained_on": trained_on,
        **scores.describe_scores(tallies["found"]),
        "confusion": tallies["found"].confusion.tolist(),
        "all_photographs": scores.describe_scores(tallies["all"]),
        "faces_found": photographs.count(),
    }


def _write(bench: _Bench, seconds: float) -> str:
    """Write benchmark.json, the tables and the figures; returns the tables."""
    settings = {seed: faces.store.manifest["settings"] for seed, faces in bench.open_sets.items()}  # of the rendering
    generators = {each.get("format", 0) for each in settings.values()}

    def order(row: dict) -> tuple:
        place = list(bench.collections).index(row["collection"])
        within = row["trained_on"] not in bench.collections
        return place, MODELS.index(row["model"]), row.get("seed", 0), within, row["trained_on"]

    value = {
        "format": FORMAT,
        "protocol": asdict(bench.protocol),
        "tuned": list_tuned(),
        "deviations": list_deviations(bench.protocol, bench.models, generators),
        "results": sorted(bench.rows, key=order),
        "references": sorted(bench.references, key=order),
        **summarise(bench.tallies, list(bench.collections)),
        "references_left_out": bench.unreferred,
        "groups": _score_groups(bench),
        "photographs": {name: describe_collection(each) for name, each in bench.collections.items()},
        "open_sets": {
            str(seed): {
                "settings": settings[seed],
                "store": identify_store(faces.store),
                "counts": faces.store.manifest["counts"],
            }
            for seed, faces in bench.open_sets.items()
        },
        "failed": bench.failed,
        "seconds": seconds,
        "versions": list_versions("scikit-image"),
        "machine": {"device": str(bench.device), "cores": cores(), "system": platform.platform()},
    }
    files.write_json(bench.out / "benchmark.json", value)
    text = words.tabulate(value)
    files.write_text(bench.out / "benchmark.md", text)
    files.write_bytes(bench.out / "benchmark.png", style.png(collection_scores(**words.arrange_figure(value)), 150))
    for (trained_on, name, model), tallies in bench.tallies.items():
        if trained_on == RENDERED:
            _draw_confusion(bench.out, name, model, [each["found"] for each in tallies])
    return f"{text}\n{project_path(bench.out / 'benchmark.json')}"


def _score_groups(bench: _Bench) -> dict:
    """collection -> model -> what `score_groups` gives."""
    groups = {}
    for (name, model), answers in bench.answers.items():
        taken, chosen = bench.collections[name].photographs, bench.collections[name].photographs.has_face
        subjects = None if taken.subjects is None else taken.subjects[chosen]
        options = {"subjects": subjects, "resamples": bench.protocol.resamples, "purpose": _purpose(name)}
        measures = bench.collections[name].measures[chosen]
        groups.setdefault(name, {})[model] = score_groups(measures, taken.labels[chosen], answers, **options)
    return groups


def _draw_confusion(out: Path, name: str, model: str, tallies: Sequence[scores.Tally]) -> None:
    counts = sum(each.confusion for each in tallies)
    drawn = plots.confusion(counts)
    title = f"{name}, {model}: {int(counts.sum()):,} answers, {len(tallies)} seeds"
    drawn.axes[0].set_title(title, fontsize=10, loc="left", parse_math=False)
    files.write_bytes(out / f"confusion-{name}-{model}.png", style.png(drawn, 150))


def _purpose(name: str) -> str:
    """Of the bootstrap's draws: one of its own for each collection, so that these are drawn independently."""
    return f"photographs of {name}"
