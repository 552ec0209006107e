"""An ablation under way: its rows' answers about the photographs, and the scores and differences of its table."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from ablation_rows import Row

from lsdkit import baselines, benchmark, evaluation, files, metrics, photoscores, results
from lsdkit.device import device_named
from lsdkit.expressions import EXPRESSIONS
from lsdkit.photographs import subjects_of
from lsdkit.protocol import Protocol
from lsdkit.seeds import numpy_generator
from lsdkit.store import Store

FORMAT = 1  # of the answers


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
    place, wanted = answers_file(work.out, row, model, seed), identity(work, row, model, seed)
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


def answers_file(out: Path, row: Row, model: str, seed: int) -> Path:
    """Where `scored` keeps the answers of a row, model and seed."""
    return out / "scored" / f"{row.name}-{model}-seed{seed}.json"
