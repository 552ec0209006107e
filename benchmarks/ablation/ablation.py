"""What each part of the open set and of the training is worth: the benchmark's protocol with one thing changed a row.

    python benchmarks/ablation/ablation.py --photographs DIR --out DIR              the baselines' rows
    python benchmarks/ablation/ablation.py --store DIR --out DIR --network          the networks' rows as well
    python benchmarks/ablation/ablation.py --store DIR --out DIR --plan             runs nothing: says what would run

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
from ablation_faces import choose_faces, repeat_faces
from ablation_rows import NAMES, ROWS, Row, choose_rows
from ablation_scores import (
    Ablation,
    answer,
    answers_file,
    compare,
    describe_answers,
    identify,
    render_faces,
    take_photographs,
)
from ablation_text import describe_row, tabulate

from lsdkit.common import files
from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.machine import cores
from lsdkit.common.paths import resolve
from lsdkit.data.store import Store
from lsdkit.photographs import networks
from lsdkit.photographs.collection import prepare_photographs
from lsdkit.photographs.protocol import MODELS, PROTOCOL, TWO_BRANCH, Protocol, list_deviations
from lsdkit.photographs.report import RENDERS, estimate_training
from lsdkit.photographs.views import INNER
from lsdkit.training.cost import estimate_end
from lsdkit.training.runs import Run

TABLE = 3  # format of ablation.json
BASELINES = 3.0  # seconds of a baseline on 4,800 faces


def add_row(work: Ablation, row: Row, waits: dict[int, Callable[[], Run]], report: Callable[[str], None]) -> None:
    """Score a row, write the table with it, and report a line for each of its models."""
    seeds = work.seeds[row.reference]
    by_seed = [{model: answer(work, row, model, seed, waits.get(seed)) for model in row.models} for seed in seeds]
    for model in row.models:
        answers = [each[model] for each in by_seed]
        value, means = describe_answers(answers, work.tested, work.protocol.resamples)
        if row.name == row.reference:
            work.known.setdefault(row.reference, {})[model] = means
        models = work.known.get(row.reference, {})
        reference = models.get(TWO_BRANCH if row.network else model)
        compared = reference is not None and row.name != row.reference
        value |= {"name": row.name, "what": row.what, "model": model, "seeds": list(seeds)}
        value |= {key: [each[key] for each in answers] for key in ("rendered", "seconds")}
        value["difference"] = compare(means, reference) if compared else None
        value["made_from"] = fingerprint(work, row, model)
        work.rows = [each for each in work.rows if (each["name"], each["model"]) != (row.name, model)] + [value]
        work.rows.sort(key=lambda each: (NAMES.index(each["name"]), MODELS.index(each["model"])))
        write(work)
        report(describe_row(value, work.tested.unit))


@contextmanager
def start_trainings(
    work: Ablation, rows: Sequence[Row], report: Callable
) -> Iterator[dict[str, dict[int, Callable[[], Run]]]]:
    """For each network's row and seed what waits for its run and returns it; they train side by side."""
    threads, waits = max(1, cores() // work.jobs), {}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(work.jobs, mp_context=context) if work.jobs > 1 else None
    try:
        for row in (row for row in rows if row.network):
            waits[row.name] = {}
            try:
                for seed in work.seeds[row.reference]:
                    waits[row.name][seed] = _start(work, row, seed, threads, pool)
            except Exception as error:
                _fail(work, row, error, report)
        yield waits
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _start(work: Ablation, row: Row, seed: int, threads: int, pool: ProcessPoolExecutor | None) -> Callable[[], Run]:
    """What waits for the run of a network and returns it; the training is begun where there is a pool."""
    place = answers_file(work.out, row, row.network, seed)
    if place.is_file() and files.read_json(place)["identity"] == identify(work, row, row.network, seed):
        return lambda: None  # never asked: the answers are there
    member, store = row.member(seed, work.protocol), render_faces(work, row, seed).seen(INNER)
    if row.faces:
        store = repeat_faces(store, choose_faces(store, row.faces, seed), work.out / "sets" / f"{row.name}-seed{seed}")
    folder = work.out / "runs" / row.name / member.name
    task = (member, store.path, folder, work.device, threads, work.progress and pool is None)
    if pool is None:
        return lambda: networks.train_one(*task)
    return pool.submit(networks.train_one, *task).result


def run_rows(
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
        _try(work, row, {}, report)
    with start_trainings(work, rows, report) as waits:
        for row in rows[len(small) :]:
            if row.name not in work.failed:
                _try(work, row, waits[row.name], report)
    return write(work)


def _try(work: Ablation, row: Row, waits: dict[int, Callable[[], Run]], report: Callable) -> None:
    try:
        add_row(work, row, waits, report)
    except Exception as error:
        _fail(work, row, error, report)


def _fail(work: Ablation, row: Row, error: Exception, report: Callable) -> None:
    work.rows = [each for each in work.rows if each["name"] != row.name]
    work.failed[row.name] = f"{type(error).__name__}: {error}"
    report(f"{row.name}: FAILED, {work.failed[row.name]}")


def fingerprint(work: Ablation, row: Row, model: str) -> str:
    """What decides a row of the table: its answers of every seed, and the resamples."""
    made = [identify(work, row, model, seed) for seed in work.seeds[row.reference]]
    text = json.dumps([work.protocol.resamples, made], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write(work: Ablation) -> str:
    """Write ablation.json and ablation.md; returns the table."""
    tested = work.tested
    people = None if tested.subjects is None else len(set(tested.subjects))
    value = {
        "format": TABLE,
        "protocol": asdict(work.protocol),
        "deviations": list_deviations(replace(work.protocol, seeds=PROTOCOL.seeds)),
        "photographs": {
            "faces": dict(zip(EXPRESSIONS, np.bincount(tested.labels, minlength=6).tolist(), strict=True)),
            "subjects": {"from": tested.subjects_from, "number": people},
        },
        "unit": tested.unit,
        "rows": work.rows,
        "failed": work.failed,
    }
    files.write_json(work.out / "ablation.json", value)
    text = tabulate(value)
    files.write_text(work.out / "ablation.md", text)
    return text


def describe_plan(
    out: Path, rows: Sequence[Row], protocol: Protocol, seeds: dict[str, tuple[int, ...]], jobs: int
) -> str:
    """The rows and about how many minutes the rest of them takes; answers that are there are taken for finished."""
    lines, sets, work, fits = [], set(), [], 0
    for row in rows:
        wanted = [(model, seed) for seed in seeds[row.reference] for model in row.models]
        missing = [each for each in wanted if not answers_file(out, row, *each).is_file()]
        lines.append(f"{row.name:20} {row.what}: {', '.join(row.models)}; {len(missing)} of {len(wanted)} to score")
        sets |= {(row.without, seed) for _, seed in missing}
        if row.network:
            work += [estimate_training(row.member(seed, protocol), protocol.faces) for _, seed in missing]
        else:
            fits += len(missing)
    rendered = protocol.faces + protocol.validation + protocol.test
    drawing = len(sets) * rendered / RENDERS / cores()
    parts = {
        f"render {len(sets)} sets of {rendered:,} faces, where they are not there": drawing,
        f"fit {fits} baselines": fits * BASELINES * rendered / 4800,
        f"train {len(work)} networks, {jobs} at a time": estimate_end(work, jobs) if work else 0.0,
    }
    return "\n".join([*lines, *(f"{seconds / 60:7.1f} min  {what}" for what, seconds in parts.items())])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 1 where a row failed."""
    options = _parse(arguments)
    try:
        rows = choose_rows(options.rows, options.network)
        seeds = {"protocol": options.seeds, "net": options.network_seeds}
        for given in seeds.values():
            if min(given) < 0 or len(set(given)) < len(given):
                raise ValueError(f"Expected seeds of at least 0, each once, but got {', '.join(map(str, given))}")
        if options.jobs < 0 or not 0 < options.fraction <= 1:
            raise ValueError(
                f"Expected --jobs >= 0 and --fraction in (0, 1], but got {options.jobs}, {options.fraction}"
            )
        device, out = choose_device(options.device), resolve(options.out)
        protocol = replace(PROTOCOL, fraction=options.fraction)
        jobs = networks.choose_number(options.jobs, device)
        if options.plan:
            print(describe_plan(out, rows, protocol, seeds, jobs))
            return 0
        if options.store:
            store = Store.open(resolve(options.store))
        else:
            how = {"pixels": protocol.pixels, "annotator": protocol.annotator, "jobs": options.jobs or None}
            store = prepare_photographs(options.photographs, out / "photographs", **how).store
        tested = take_photographs(store)
    except (ValueError, OSError) as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    workers = {"jobs": jobs, "renderers": options.jobs or None, "progress": sys.stderr.isatty()}
    work = Ablation(out, protocol, tested, seeds, device=str(device), **workers)
    print(run_rows(work, rows))
    return 1 if work.failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
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
