"""The runs of Tables 2 to 4 side by side: every cell and every ensemble scored on the same resampled faces.

An `Estimate` is a macro F1, a mean of several or a difference, with its value in each resample. All estimates of one
`Matrix` share their resamples, so that means and differences of them are paired.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator
from lsdkit.data import release
from lsdkit.ensembles.rules import BEST_STRONG, ENSEMBLES, WEAK_APPEARANCES, Cell, Selection, select_members
from lsdkit.ensembles.votes import read_stack, vote_way
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run, list_runs

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A score in [0, 1] or a difference of scores, and how it moves with the faces and with the seed."""

    value: float
    draws: dict[str, np.ndarray]  # unit that was resampled, "faces" or "subjects" -> (R,)
    per_seed: dict[int, float]  # for the seeds that all its runs have
    seeds: tuple[int, int]  # fewest and most seeds that one of its cells has

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (n - 1 in the divisor); NaN where there is one."""
        return float(np.std(list(self.per_seed.values()), ddof=1)) if len(self.per_seed) > 1 else float("nan")

    def interval(self, unit: str = "faces") -> tuple[float, float]:
        """The 95% percentile interval; NaN where this unit was not resampled."""
        low, high = metrics.interval(self.draws[unit]) if unit in self.draws else (np.nan, np.nan)
        return float(low), float(high)

    def __sub__(self, other: "Estimate | float") -> "Estimate":
        if isinstance(other, Estimate):
            return _combine([self, other], [1, -1])
        draws = {unit: own - other for unit, own in self.draws.items()}
        return Estimate(self.value - other, draws, {s: v - other for s, v in self.per_seed.items()}, self.seeds)


def mean_of(parts: Sequence[Estimate | None]) -> Estimate | None:
    """The mean of several estimates; None where one of them is missing."""
    return None if any(part is None for part in parts) else _combine(parts, [1 / len(parts)] * len(parts))


def describe_seeds(parts: Sequence[Estimate]) -> str:
    """The number of seeds in words: "3", or "1 to 3" where cells differ."""
    fewest, most = min(part.seeds[0] for part in parts), max(part.seeds[1] for part in parts)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _combine(parts: Sequence[Estimate], factors: Sequence[float]) -> Estimate:
    def total(values: list) -> np.ndarray:
        return sum(factor * value for factor, value in zip(factors, values, strict=True))

    common = set.intersection(*(set(part.per_seed) for part in parts))
    return Estimate(
        float(total([part.value for part in parts])),
        {unit: total([part.draws[unit] for part in parts]) for unit in parts[0].draws},
        {seed: float(total([part.per_seed[seed] for part in parts])) for seed in sorted(common)},
        (min(part.seeds[0] for part in parts), max(part.seeds[1] for part in parts)),
    )


@dataclass(frozen=True)
class Matrix:
    """The runs of a folder that Tables 2 to 4 are made of, and their joint resamples. Made by `read_matrix`."""

    folder: Path
    split: str
    runs: tuple[Run, ...]  # those of the tables
    left_out: tuple[str, ...]  # names of runs that no table holds
    absent: tuple[str, ...]  # expressions that no face shows: they score 0 in every macro F1
    units: dict[str, int]  # "faces", and "subjects" where they are known -> how many
    chosen: dict[str, dict[int, Selection]]  # id of an ensemble -> seed -> what it selects
    columns: dict[tuple[str, ...], int]  # names of one run, or of the runs of a vote -> their place in C
    points: np.ndarray  # (C,) macro F1 of each run and of each vote
    scores: dict[str, np.ndarray]  # unit -> (R, C)

    @property
    def unit(self) -> str:
        """What intervals that decide something resample: subjects where they are known, else faces."""
        return "subjects" if "subjects" in self.units else "faces"

    @property
    def is_release(self) -> bool:
        """Whether the faces are those of the LSD release, by kind and number (up to 5% left out of each class)."""
        run, full = self.runs[0], release.VALIDATION_COUNTS
        counts = [run.counts.get("validation", {}).get(name, 0) for name in EXPRESSIONS]
        return run.kind == "synthetic" and all(0.95 * n <= count <= n for n, count in zip(full, counts, strict=True))

    def score_cells(self, cells: Sequence[Cell]) -> list[Estimate | None]:
        """Each of these cells over its seeds; None where it was not run."""
        places: dict[Cell, dict[int, int]] = {cell: {} for cell in cells}
        for run in self.runs:
            if (cell := Cell.of(run)) in places:
                places[cell][run.member.seed] = self.columns[run.name,]
        return [self._estimate(own) for own in places.values()]

    def score_ensemble(self, ensemble: str) -> Estimate | None:
        """The ensemble of this id (or `BEST_STRONG`) over the seeds for which all its cells were run; None without."""
        complete = {seed: each.runs for seed, each in self.chosen[ensemble].items() if each.complete}
        return self._estimate({seed: self.columns[_names(runs)] for seed, runs in complete.items()})

    def _estimate(self, places: dict[int, int]) -> Estimate | None:
        """Of columns, one for each seed."""
        if not places:
            return None
        seeds = sorted(places)
        columns = [places[seed] for seed in seeds]
        draws = {
            unit: (scores[:, columns] * _weigh_seeds(seeds, len(scores))).sum(1) for unit, scores in self.scores.items()
        }
        number = len(set(columns))
        per_seed = {seed: float(self.points[place]) for seed, place in zip(seeds, columns, strict=True)}
        return Estimate(float(self.points[columns].mean()), draws, per_seed, (number, number))


def _weigh_seeds(seeds: Sequence[int], resamples: int) -> np.ndarray:
    """Weights (R, S), rows of sum 1, of the seeds in each resample: drawn with replacement, the same for all cells.

    Cells share the draw because runs of one seed share their bags. A draw from S values spreads sqrt((S - 1) / S) too
    little for the mean of S; the weights are stretched by the inverse, which matters for two or three seeds.
    """
    number = len(seeds)
    if number == 1:
        return np.ones((resamples, 1))
    generator = numpy_generator(0, "seeds", *seeds)
    share = generator.multinomial(number, np.full(number, 1 / number), size=resamples) / number
    return 1 / number + np.sqrt(number / (number - 1)) * (share - 1 / number)


def read_matrix(folder: Path | str, split: str = "validation", resamples: int = RESAMPLES) -> Matrix:
    """Read the finished runs in `folder` and score cells and ensembles on the labelled faces of `split`.

    Raises `FileNotFoundError` where no run is finished, and `ValueError` where the runs differ in recipe, epochs,
    settings, weights or faces, where a cell has two runs of one seed, or where no face of the split has a label.
    """
    folder = Path(folder)
    every, runs, left_out = list_runs(folder), [], []
    if not every:
        raise FileNotFoundError(f"Expected finished runs in {folder}, but found none; train them with `lsdkit sweep`")
    for run in every:
        inside = run.member.appearance in WEAK_APPEARANCES and (run.member.basic_aug or not run.member.bag)
        (runs if inside else left_out).append(run)
    if not runs:
        raise ValueError(f"Expected members of Tables 2 and 3 in {folder}, but got {', '.join(_names(every))}")
    _check_alike(folder, runs)
    faces, stack = read_stack(runs, split)
    if faces.empty:
        raise ValueError(f"Expected labelled {split} faces in the predictions of {folder}, but none has a label")
    chosen = {ensemble: select_members(runs, ensemble) for ensemble in (*ENSEMBLES, BEST_STRONG.id)}
    answers = {(run.name,): own.argmax(1) for run, own in zip(runs, stack, strict=True)}
    places = {run.name: place for place, run in enumerate(runs)}
    for selection in (each for seeds in chosen.values() for each in seeds.values() if each.complete):
        names = _names(selection.runs)
        if names not in answers:
            answers[names] = soft_vote(stack[[places[name] for name in names]], vote_way(runs)).argmax(1)
    labels, predicted = labels_of(faces), np.stack(list(answers.values()))  # (B,), (C, B)
    groups, subjects = {"faces": None}, _read_subjects(runs[0], faces)
    groups |= {} if subjects is None else {"subjects": subjects}
    return Matrix(
        folder=folder,
        split=split,
        runs=tuple(runs),
        left_out=_names(left_out),
        absent=tuple(name for index, name in enumerate(EXPRESSIONS) if index not in labels),
        units={unit: len(faces) if group is None else len(set(group)) for unit, group in groups.items()},
        chosen=chosen,
        columns={names: place for place, names in enumerate(answers)},
        points=np.array([metrics.macro_f1(labels, one) for one in predicted]),
        scores={
            unit: metrics.bootstrap_scores(labels, predicted, groups=group, resamples=resamples)
            for unit, group in groups.items()
        },
    )


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(run.name for run in runs)


def _check_alike(folder: Path, runs: Sequence[Run]) -> None:
    """Raise `ValueError`, naming runs, where they differ in more than the tables' columns and the seed."""
    values: dict[str, dict[str, list[str]]] = {}  # setting -> value -> names of runs
    for run in runs:
        for name, value in _list_settings(run).items():
            text = value if isinstance(value, str) else json.dumps(value)
            values.setdefault(name, {}).setdefault(text, []).append(run.name)
    differing = []
    for name, runs_of in values.items():
        if len(runs_of) > 1:
            texts = [f"{value} ({len(names)} of the runs, such as {names[0]})" for value, names in runs_of.items()]
            differing.append(f"{name}: {' / '.join(texts)}")
    if differing:
        raise ValueError(
            f"Expected runs of one recipe and one set of settings in {folder}, but they differ in "
            f"{'; '.join(differing)}. Keep each set in a folder of its own"
        )
    count = Counter((Cell.of(run), run.member.seed) for run in runs)
    twice = [run.name for run in runs if count[Cell.of(run), run.member.seed] > 1]
    if twice:
        raise ValueError(f"Expected one run of each cell and seed in {folder}, but got {', '.join(twice)}")


def _list_settings(run: Run) -> dict[str, object]:
    """What all runs of a matrix agree on, the recipe's name first; of appearances, what those of one agree on."""
    recipe, appearance = run.member.spec()["recipe"], run.member.appearance
    backbone = dict(recipe.pop("appearances")).get(appearance, appearance)
    recipe.pop("weights")
    epochs = f"epochs of {'weak' if run.member.bag else 'strong'} members" if "weak_epochs" in recipe else "epochs"
    settings = {"recipe": recipe.pop("name"), **recipe, epochs: run.member.epochs, "kind of faces": run.kind}
    for role, words in (("emotion", "emotion weights"), ("appearance", f"weights of {appearance}")):
        settings[words] = run.weights_source(role)
        settings[f"checksum of the {words}"] = run.started_from.get(role, {}).get("sha256", "")
    return {**settings, f"backbone of {appearance}": backbone}


def _read_subjects(run: Run, faces: pd.DataFrame) -> np.ndarray | None:
    """The subject of each face, (B,), from the store of the runs; None where it is gone or does not say for all."""
    try:
        table = run.open_store().faces.drop_duplicates("key").set_index("key")["subject"]
    except (FileNotFoundError, ValueError):
        return None
    subjects = table.reindex(faces["key"]).fillna("").to_numpy()
    return subjects if (subjects != "").all() and len(set(subjects)) > 1 else None
