"""What each part of the open set and of the training is worth: the benchmark's protocol with one thing changed a row.

    python benchmarks/ablation.py --photographs DIR --out DIR              the baselines' rows
    python benchmarks/ablation.py --store DIR --out DIR --network          the networks' rows as well
    python benchmarks/ablation.py --store DIR --out DIR --plan             runs nothing: says what would run

Each row trains on rendered faces alone and is scored on the photographs in which a face is found (docs/benchmark.md).
--store takes a store of photographs in colour that was prepared before, such as OUT/photographs of `lsdkit benchmark`.
--rows NAME,... picks rows (--plan lists the names); the protocol's own row of that kind is always made, because every
difference is to it. A network's row that is named runs without --network too.

Intervals are 95% bootstrap over people where they are known, else over photographs. Those of a difference are paired:
both rows are scored on the same resampled photographs. They hold nothing of the seeds (rendered faces, first weights,
batches), whose spread is `sd`; a difference has that of its seeds, each with its own reference.

OUT holds ablation.json, ablation.md, and what they are made of: sets/ (rendered faces), runs/ (networks), scored/ (the
answers of each row, model and seed). What is finished is not made again, and rows of earlier calls on the same
photographs, seeds and protocol stay in the table.
"""

import argparse
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from ablation_rows import NAMES, ROWS, Row, chosen_rows
from ablation_scores import (
    Ablation,
    answers_file,
    described,
    differences,
    identity,
    photographs_of,
    rendered,
    scored,
    stratified,
)
from ablation_text import line, table

from lsdkit import benchmark, benchtext, costs, files
from lsdkit.cores import cores
from lsdkit.derived import repeated_store
from lsdkit.device import device_named
from lsdkit.expressions import EXPRESSIONS
from lsdkit.paths import resolve
from lsdkit.photographs import prepare_photographs
from lsdkit.protocol import MODELS, PROTOCOL, TWO_BRANCH, Protocol, deviations
from lsdkit.store import Store

TABLE = 2  # format of ablation.json


def add(work: Ablation, row: Row, waiting: dict[int, Callable], report: Callable[[str], None]) -> None:
    """Score a row, write the table with it, and report a line for each of its models."""
    seeds = work.seeds[row.reference]
    by_seed = [{model: scored(work, row, model, seed, waiting.get(seed)) for model in row.models} for seed in seeds]
    for model in row.models:
        answers = [each[model] for each in by_seed]
        value, means = described(answers, work.tested, work.protocol.resamples)
        if row.name == row.reference:
            work.known.setdefault(row.reference, {})[model] = means
        models = work.known.get(row.reference, {})
        reference = models.get(TWO_BRANCH if row.network else model)
        compared = reference is not None and row.name != row.reference
        value |= {"name": row.name, "what": row.what, "model": model, "seeds": list(seeds)}
        value |= {key: [each[key] for each in answers] for key in ("rendered", "seconds")}
        value["difference"] = differences(means, reference) if compared else None
        value["made_from"] = fingerprint(work, row, model)
        work.rows = [each for each in work.rows if (each["name"], each["model"]) != (row.name, model)] + [value]
        work.rows.sort(key=lambda each: (NAMES.index(each["name"]), MODELS.index(each["model"])))
        write(work)
        report(line(value, work.tested.unit))


@contextmanager
def trainings(work: Ablation, rows: Sequence[Row], report: Callable) -> Iterator[dict[str, dict[int, Callable]]]:
    """For each network's row and seed what waits for its run and returns its folder; they train side by side."""
    threads, waits = max(1, cores() // work.jobs), {}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(work.jobs, mp_context=context) if work.jobs > 1 else None
    try:
        for row in (row for row in rows if row.network):
            waits[row.name] = {}
            try:
                for seed in work.seeds[row.reference]:
                    waits[row.name][seed] = _training(work, row, seed, threads, pool)
            except Exception as error:
                _fail(work, row, error, report)
        yield waits
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _training(work: Ablation, row: Row, seed: int, threads: int, pool: ProcessPoolExecutor | None) -> Callable:
    """What waits for the run of a network and returns its folder; the training is begun where there is a pool."""
    place = answers_file(work.out, row, row.network, seed)
    if place.is_file() and files.read_json(place)["identity"] == identity(work, row, row.network, seed):
        return lambda: None  # never asked: the answers are there
    member, store = row.member(seed, work.protocol), rendered(work, row, seed)
    if row.faces:
        store = repeated_store(store, stratified(store, row.faces, seed), work.out / "sets" / f"{row.name}-seed{seed}")
    folder = work.out / "runs" / row.name / member.name
    task = (member, store.path, folder, work.device, threads, work.progress and pool is None)
    if pool is None:
        return lambda: (benchmark.train_one(*task), folder)[1]
    future = pool.submit(benchmark.train_one, *task)
    return lambda: (future.result(), folder)[1]


def run(
    work: Ablation, rows: Sequence[Row], report: Callable[[str], None] = lambda text: print(text, flush=True)
) -> str:
    """Make every row, the baselines' first; returns the table. A row that fails is reported and left out."""
    place = work.out / "ablation.json"
    earlier = files.read_json(place) if place.is_file() else {}
    now = {(row.name, model): fingerprint(work, row, model) for row in ROWS for model in row.models}
    former = earlier["rows"] if earlier.get("format") == TABLE else []
    work.rows = [e for e in former if e["made_from"] == now.get((e["name"], e["model"]))]
    small = [row for row in rows if not row.network]
    for row in small:
        _tried(work, row, {}, report)
    with trainings(work, rows, report) as waits:
        for row in rows[len(small) :]:
            if row.name not in work.failed:
                _tried(work, row, waits[row.name], report)
    return write(work)


def _tried(work: Ablation, row: Row, waiting: dict[int, Callable], report: Callable) -> None:
    try:
        add(work, row, waiting, report)
    except Exception as error:
        _fail(work, row, error, report)


def _fail(work: Ablation, row: Row, error: Exception, report: Callable) -> None:
    work.rows = [each for each in work.rows if each["name"] != row.name]
    work.failed[row.name] = f"{type(error).__name__}: {error}"
    report(f"{row.name}: FAILED, {work.failed[row.name]}")


def fingerprint(work: Ablation, row: Row, model: str) -> str:
    """What decides a row of the table: its answers of every seed, and the resamples."""
    made = [identity(work, row, model, seed) for seed in work.seeds[row.reference]]
    text = json.dumps([work.protocol.resamples, made], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write(work: Ablation) -> str:
    """Write ablation.json and ablation.md; returns the table."""
    tested = work.tested
    people = None if tested.subjects is None else len(set(tested.subjects))
    value = {
        "format": TABLE,
        "protocol": asdict(work.protocol),
        "deviations": deviations(replace(work.protocol, seeds=PROTOCOL.seeds)),
        "photographs": {
            "faces": dict(zip(EXPRESSIONS, np.bincount(tested.labels, minlength=6).tolist(), strict=True)),
            "subjects": {"from": tested.subjects_from, "number": people},
        },
        "unit": tested.unit,
        "rows": work.rows,
        "failed": work.failed,
    }
    files.write_json(work.out / "ablation.json", value)
    text = table(value)
    files.write_text(work.out / "ablation.md", text)
    return text


def planned(out: Path, rows: Sequence[Row], protocol: Protocol, seeds: dict[str, tuple[int, ...]], jobs: int) -> str:
    """The rows and about how many minutes the rest of them takes; answers that are there are taken for finished."""
    faces, lines, sets, work, fits = round(protocol.fraction * benchtext.RELEASE), [], set(), [], 0
    for row in rows:
        wanted = [(model, seed) for seed in seeds[row.reference] for model in row.models]
        missing = [each for each in wanted if not answers_file(out, row, *each).is_file()]
        lines.append(f"{row.name:20} {row.what}: {', '.join(row.models)}; {len(missing)} of {len(wanted)} to score")
        sets |= {(row.without, seed) for _, seed in missing}
        members = [row.member(seed, protocol) for _, seed in missing if row.network]
        work += [m.epochs * faces * costs.cost(m).training / benchtext.OPERATIONS for m in members]
        fits += 0 if row.network else len(missing)
    drawn = faces + protocol.validation + protocol.test
    parts = {
        f"render {len(sets)} sets of {drawn:,} faces, where they are not there": len(sets)
        * drawn
        / benchtext.RENDERS
        / cores(),
        f"fit {fits} baselines": fits * benchtext.REGRESSIONS * drawn / 12_000,
        f"train {len(work)} networks, {jobs} at a time": costs.longest(work, jobs) if work else 0.0,
    }
    return "\n".join([*lines, *(f"{seconds / 60:7.1f} min  {what}" for what, seconds in parts.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 1 where a row failed."""
    options = _parsed(arguments)
    try:
        rows = chosen_rows(options.rows, options.network)
        seeds = {"protocol": options.seeds, "net": options.network_seeds}
        for given in seeds.values():
            if min(given) < 0 or len(set(given)) < len(given):
                raise ValueError(f"Expected seeds of at least 0, each once, but got {', '.join(map(str, given))}")
        if options.jobs < 0 or not 0 < options.fraction <= 1:
            raise ValueError(
                f"Expected --jobs >= 0 and --fraction in (0, 1], but got {options.jobs}, {options.fraction}"
            )
        device, out = device_named(options.device), resolve(options.out)
        protocol = replace(PROTOCOL, fraction=options.fraction)
        jobs = options.jobs or (min(cores(), benchmark.AT_ONCE) if device.type == "cpu" else 1)
        if options.plan:
            print(planned(out, rows, protocol, seeds, jobs))
            return 0
        if options.store:
            store = Store.open(resolve(options.store))
        else:
            found = {"pixels": protocol.pixels, "annotator": protocol.annotator, "jobs": options.jobs or None}
            store = prepare_photographs(options.photographs, out / "photographs", **found).store
        tested = photographs_of(store)
    except (ValueError, OSError) as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    workers = {"jobs": jobs, "renderers": options.jobs or None, "progress": sys.stderr.isatty()}
    work = Ablation(out, protocol, tested, seeds, device=str(device), **workers)
    print(run(work, rows))
    return 1 if work.failed else 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--photographs", type=Path, help="a folder per expression, or a CSV file: path, expression")
    source.add_argument("--store", type=Path, help="a store of whole photographs in colour")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table and what it is made of")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=[], help=f"of {', '.join(NAMES)}")
    parser.add_argument("--network", action="store_true", help="the networks' rows as well")
    whole = {"type": lambda text: tuple(map(int, text.split(","))), "default": PROTOCOL.seeds}
    parser.add_argument("--seeds", **whole, help="of the baselines' rows, such as 0,1,2")
    parser.add_argument("--network-seeds", **whole, help="of the networks' rows")
    parser.add_argument("--fraction", type=float, default=PROTOCOL.fraction, help="of the release's training faces")
    parser.add_argument(
        "--jobs", type=int, default=0, help="trainings at a time (default: one a core, or one on a GPU)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--plan", action="store_true", help="run nothing: say what would run")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
