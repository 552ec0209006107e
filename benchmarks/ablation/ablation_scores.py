"""An ablation under way: its rows' answers about the photographs, and the scores and differences of its table."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from ablation_faces import choose_faces
from ablation_rows import Row

from lsdkit.common import files
from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import Store
from lsdkit.method.metrics import interval, macro_f1
from lsdkit.photographs import networks, regressions
from lsdkit.photographs.collection import find_subjects
from lsdkit.photographs.protocol import Protocol
from lsdkit.photographs.scores import SCORES, choose_answers, score_seeds, summarise_seeds, tally_answers
from lsdkit.photographs.views import INNER, Faces
from lsdkit.training.evaluation import labelled_rows, load_network, predict_logits, softmax
from lsdkit.training.runs import Run

FORMAT = 2  # of the answers


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
    known: dict = field(default_factory=dict)  # reference -> model -> the second part of `describe_answers`
    rows: list[dict] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def take_photographs(store: Store) -> Tested:
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
    subjects, source = find_subjects(store.faces.iloc[rows].reset_index(drop=True))
    return Tested(store, rows, subjects, source)


def render_faces(work: Ablation, row: Row, seed: int) -> Faces:
    """The rendered faces of a row and seed; rows that change the training alone share them."""
    name = "-".join(["without", *row.without]) if row.without else "protocol"
    options = {"without": row.without} if row.without else {}
    options |= {"jobs": work.renderers, "progress": work.progress}
    return networks.open_set(work.out / "sets" / name, seed, row.change(work.protocol), **options)


def view_photographs(work: Ablation, row: Row) -> Faces:
    """The photographs as a row sees them."""
    return networks.view_faces(work.tested.store, work.out, row.change(work.protocol))


def identify(work: Ablation, row: Row, model: str, seed: int) -> dict:
    """What decides an answer file, as plain JSON values."""
    from lsdkit.openset import release  # numba loads here

    settings = asdict(work.protocol)
    for name in ("seeds", "resamples", "networks", "folds"):
        del settings[name]
    made = {"format": FORMAT, "row": asdict(row) | {"what": ""}, "model": model, "seed": seed, "protocol": settings}
    made |= {"renderer": release.FORMAT, "photographs": work.tested.store.manifest["checksums"]}
    constants = {"C": regressions.STRENGTH.get(model), "side": regressions.HOG_SIDE, "hog": regressions.HOG}
    how = row.member(seed, work.protocol).spec() if row.network else constants
    return json.loads(json.dumps(made | {"how": how}))


def answer(work: Ablation, row: Row, model: str, seed: int, wait: Callable[[], Run] | None = None) -> dict:
    """The `answers` (3, B) about the photographs of a row, model and seed, made where they are not there yet.

    `wait()` waits for the network's run and returns it.
    """
    place, wanted = answers_file(work.out, row, model, seed), identify(work, row, model, seed)
    if place.is_file() and (kept := files.read_json(place))["identity"] == wanted:
        return kept
    start = time.perf_counter()
    if wait is None:
        probabilities, score = _fit(work, row, model, seed)
        seconds = time.perf_counter() - start
    else:
        run, device = wait(), choose_device(work.device)
        network, photographs = load_network(run.folder, device), view_photographs(work, row).seen(INNER)
        probabilities = softmax(predict_logits(network, photographs, work.tested.rows, run.member, device))
        score, seconds = run.metrics.get("test_macro_f1"), run.seconds
    answers = choose_answers(probabilities).tolist()
    value = {"identity": wanted, "rendered": score, "seconds": seconds, "answers": answers}
    files.write_json(place, value)
    return value


def _fit(work: Ablation, row: Row, model: str, seed: int) -> tuple[np.ndarray, float | None]:
    """Probabilities (B, 6) of the photographs, and macro F1 on the set's own unseen rendered people."""
    faces, tested = render_faces(work, row, seed), work.tested
    store = faces.store
    train = choose_faces(store, row.faces, seed) if row.faces else labelled_rows(store, "train")
    unseen = labelled_rows(store, "test")
    tests = {"photographs": (view_photographs(work, row), tested.rows), "rendered": (faces, unseen)}
    answers = regressions.fit_predict(model, faces, train, tests)
    score = macro_f1(store.labels[unseen], answers["rendered"].argmax(1)) if len(unseen) else None
    return answers["photographs"], score


def describe_answers(answers: Sequence[dict], tested: Tested, resamples: int) -> tuple[dict, dict]:
    """Scores of the mean over seeds as JSON values, and what a difference is made of.

    The second is {score: {"seeds": (S,) its values, unit: (R,) bootstrap draws of their mean}}.
    """
    options = {"subjects": tested.subjects, "resamples": resamples}
    tallies = [tally_answers(tested.labels, each["answers"], **options) for each in answers]
    value, (scores, draws) = summarise_seeds(tallies), score_seeds(tallies)
    value["f1"] = dict(zip(EXPRESSIONS, scores["f1"].mean(0).tolist(), strict=True))
    return value, {name: {"seeds": scores[name], **{unit: draws[unit][name] for unit in draws}} for name in SCORES}


def compare(row: dict, reference: dict) -> dict:
    """{score: {"value", "sd", "intervals": {unit: [low, high]}}}: a second part of `describe_answers` less another.

    Both have the same seeds; `sd` is that of their differences, seed by seed (None for one seed).
    """
    differences = {}
    for name, each in row.items():
        against = reference[name]
        ends = {unit: interval(each[unit] - against[unit]) for unit in each if unit != "seeds"}
        by_seed = each["seeds"] - against["seeds"]
        differences[name] = {
            "value": float(by_seed.mean()),
            "sd": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
            "intervals": {unit: [float(end) for end in pair] for unit, pair in ends.items()},
        }
    return differences


def answers_file(out: Path, row: Row, model: str, seed: int) -> Path:
    """Where `answer` keeps the answers of a row, model and seed."""
    return out / "scored" / f"{row.name}-{model}-seed{seed}.json"
