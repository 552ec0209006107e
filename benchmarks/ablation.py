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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from ablation_rows import NAMES, ROWS, Row, chosen_rows
from ablation_text import line, table

from lsdkit import baselines, benchmark, benchtext, costs, evaluation, files, metrics, photoscores, results
from lsdkit.derived import repeated_store
from lsdkit.expressions import EXPRESSIONS
from lsdkit.paths import resolve
from lsdkit.photographs import prepare_photographs, subjects_of
from lsdkit.protocol import MODELS, PROTOCOL, TWO_BRANCH, Protocol, deviations
from lsdkit.seeds import numpy_generator
from lsdkit.store import Store
from lsdkit.sweep import cores
from lsdkit.training import device_named

FORMAT, TABLE = 1, 2  # of the answers, and of ablation.json


@dataclass(frozen=True)
class Tested:
    """The photographs with a face: B rows of a store of whole pictures in colour."""

    store: Store
    rows: np.ndarray  # (B,)
    subjects: np.ndarray | None  # (B,)
    subjects_from: str

    @property
    def labels(self) -> np.ndarray:
        """(B,) in 0..5."""
        return self.store.labels[self.rows]

    @property
    def unit(self) -> str:
        """What the intervals in the table draw."""
        return "images" if self.subjects is None else "subjects"


@dataclass
class Ablation:
    """An ablation under way."""

    out: Path
    protocol: Protocol
    tested: Tested
    seeds: dict[str, tuple[int, ...]]  # of the rows whose reference is this one
    jobs: int  # trainings at a time
    device: str = "auto"
    progress: bool = False
    renderers: int | None = None  # processes that render; None = all cores
    known: dict = field(default_factory=dict)  # reference -> model -> the second part of `described`
    rows: list[dict] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def photographs_of(store: Store) -> Tested:
    """The faces of the six expressions in a store of photographs, any split.

    Raises `ValueError` where there are none, and for a store that was made of another, since whole pictures in colour
    are needed.
    """
    if "from" in store.manifest["settings"]:
        raise ValueError(
            f"Expected whole photographs in colour, but {store.path} was made of another store; name that of the "
            "photographs themselves"
        )
    labels = store.labels
    rows = np.flatnonzero((labels >= 0) & (labels < len(EXPRESSIONS)))
    if not len(rows):
        raise ValueError(f"Expected photographs of {', '.join(EXPRESSIONS)} in {store.path}, but there are none")
    subjects, whence = subjects_of(store.faces.iloc[rows].reset_index(drop=True))
    return Tested(store, rows, subjects, whence)


def stratified(store: Store, number: int, seed: int) -> np.ndarray:
    """`number` training rows of a store, each class with its share, ascending.

    Those of a smaller number are among them. Raises `ValueError` where there are fewer.
    """
    rows = evaluation.six_classes(store, "train")
    if not 0 < number <= len(rows):
        raise ValueError(f"Expected 1 to {len(rows)} faces, the number there is to train on, but got {number}")
    generator, order = numpy_generator(seed, "ablation"), np.empty(len(rows))
    for label in np.unique(store.labels[rows]):
        (places,) = np.nonzero(store.labels[rows] == label)
        order[generator.permutation(places)] = (np.arange(len(places)) + 0.5) / len(places)  # share of the class so far
    return np.sort(rows[np.argsort(order, kind="stable")[:number]])


def rendered(work: Ablation, row: Row, seed: int) -> Store:
    """The rendered faces of a row and seed; rows that change the training alone share them."""
    name = "-".join(["without", *row.without]) if row.without else "protocol"
    options = {"without": row.without} if row.without else {}
    options |= {"jobs": work.renderers, "progress": work.progress}
    return benchmark.open_set(work.out / "sets" / name, seed, row.sees(work.protocol), **options)


def photographed(work: Ablation, row: Row) -> Store:
    """The photographs as a row sees them."""
    return benchmark.seen(work.tested.store, work.out, row.sees(work.protocol))


def identity(work: Ablation, row: Row, model: str, seed: int) -> dict:
    """What decides an answer file, as plain JSON values."""
    from lsdkit.openset import release  # numba loads here

    settings = asdict(work.protocol)
    for name in ("seeds", "resamples", "weak", "weak_epochs"):
        del settings[name]
    made = {"format": FORMAT, "row": asdict(row) | {"what": ""}, "model": model, "seed": seed, "protocol": settings}
    made |= {"renderer": release.FORMAT, "photographs": work.tested.store.manifest["checksums"]}
    constants = {"C": baselines.STRENGTH.get(model), "side": baselines.HOG_SIDE, "hog": baselines.HOG}
    how = row.member(seed, work.protocol).spec() if row.network else constants
    return json.loads(json.dumps(made | {"how": how}))


def scored(work: Ablation, row: Row, model: str, seed: int, trained: Callable | None = None) -> dict:
    """Answers `six` and `four` (B,) about the photographs of a row, model and seed, made where they are not there yet.

    `trained()` waits for the network's run and returns its folder.
    """
    place, wanted = _answers(work.out, row, model, seed), identity(work, row, model, seed)
    if place.is_file() and (found := files.read_json(place))["identity"] == wanted:
        return found
    start, tested = time.perf_counter(), work.tested
    if trained is None:
        probabilities, score = _baseline(work, row, model, seed)
        seconds = time.perf_counter() - start
    else:
        folder = trained()
        result, device = results.read_result(folder), device_named(work.device)
        member = results.member_of(result)
        network, photographs = evaluation.load_network(folder, device), photographed(work, row)
        logits = evaluation.predict_logits(network, photographs, tested.rows, member, device)
        probabilities, score = evaluation.softmax(logits), result["metrics"].get("test_macro_f1")
        seconds = result["seconds"]
    six, four = photoscores.answers(probabilities)
    value = {"identity": wanted, "rendered": score, "seconds": seconds, "six": six.tolist(), "four": four.tolist()}
    files.write_json(place, value)
    return value


def _baseline(work: Ablation, row: Row, model: str, seed: int) -> tuple[np.ndarray, float | None]:
    """Probabilities (B, 6) of the photographs, and macro F1 on the set's own unseen rendered people."""
    store, tested = rendered(work, row, seed), work.tested
    train = stratified(store, row.faces, seed) if row.faces else evaluation.six_classes(store, "train")
    unseen = evaluation.six_classes(store, "test")
    tests = {"photographs": (photographed(work, row), tested.rows), "rendered": (store, unseen)}
    found = baselines.fit_predict(model, store, train, tests)
    score = metrics.macro_f1(store.labels[unseen], found["rendered"].argmax(1)) if len(unseen) else None
    return found["photographs"], score


def described(answers: Sequence[dict], tested: Tested, resamples: int) -> tuple[dict, dict]:
    """Scores of the mean over seeds as JSON values, and what a difference is made of.

    The second is {score: {"seeds": (S,) its values, unit: (R,) bootstrap draws of their mean}}.
    """
    labels, units = tested.labels, {"images": None} | ({} if tested.subjects is None else {"subjects": tested.subjects})
    parts = [(labels, np.array(each["six"]), np.array(each["four"])) for each in answers]
    counts = np.stack([photoscores.tally(*part) for part in parts])  # (S, 6, 7, 7)
    draws = {
        unit: np.stack([photoscores.resampled(*part, groups=groups, resamples=resamples) for part in parts])
        for unit, groups in units.items()
    }
    spread = {unit: photoscores.scores(each) for unit, each in draws.items()}
    value, found = photoscores.summary(counts, draws), photoscores.scores(counts)
    means = {name: {unit: each[name].mean(0) for unit, each in spread.items()} for name in photoscores.SCORES}
    value["f1"] = dict(zip(EXPRESSIONS, found["f1"].mean(0).tolist(), strict=True))
    return value, {name: {"seeds": found[name], **each} for name, each in means.items()}


def differences(row: dict, reference: dict) -> dict:
    """{score: {"value", "sd", "intervals": {unit: [low, high]}}}: the second part of `described` minus another's.

    Both have the same seeds; `sd` is that of their differences, seed by seed (None for one seed).
    """
    found = {}
    for name, each in row.items():
        against = reference[name]
        ends = {u: metrics.interval(each[u] - against[u]) for u in each if u != "seeds"}
        ends = {unit: [float(end) for end in pair] for unit, pair in ends.items()}
        by_seed = each["seeds"] - against["seeds"]
        sd = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None
        found[name] = {"value": float(by_seed.mean()), "sd": sd, "intervals": ends}
    return found


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
    place = _answers(work.out, row, row.network, seed)
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


def _answers(out: Path, row: Row, model: str, seed: int) -> Path:
    return out / "scored" / f"{row.name}-{model}-seed{seed}.json"


def planned(out: Path, rows: Sequence[Row], protocol: Protocol, seeds: dict[str, tuple[int, ...]], jobs: int) -> str:
    """The rows and about how many minutes the rest of them takes; answers that are there are taken for finished."""
    faces, lines, sets, work, fits = round(protocol.fraction * benchtext.RELEASE), [], set(), [], 0
    for row in rows:
        wanted = [(model, seed) for seed in seeds[row.reference] for model in row.models]
        missing = [each for each in wanted if not _answers(out, row, *each).is_file()]
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
