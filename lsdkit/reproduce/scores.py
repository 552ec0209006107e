"""The runs of Tables 2 to 4 side by side: every cell and every ensemble scored on the same resampled faces.

An `Estimate` is a macro F1, a mean of several or a difference, seed by seed and in each resample of the faces. All
estimates of one `Matrix` share their resamples, so that means and differences of them are paired. How often its
intervals hold what they should is measured by `benchmarks/statistics/intervals.py`.
"""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import Damaged
from lsdkit.data import release
from lsdkit.ensembles.rules import BEST_STRONG, ENSEMBLES, WEAK_APPEARANCES, Cell, Selection, select_members
from lsdkit.ensembles.votes import read_stack, vote_way
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run, list_runs

RESAMPLES = 2000
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Replicates:
    """Scores of S seeds: on all faces, and in each resample of them."""

    points: np.ndarray  # (S,)
    draws: dict[str, np.ndarray]  # unit that was resampled, "faces" or "subjects" -> (R, S)

    def __add__(self, other: "Replicates") -> "Replicates":
        draws = {unit: own + other.draws[unit] for unit, own in self.draws.items()}
        return Replicates(self.points + other.points, draws)

    def __mul__(self, factor: float) -> "Replicates":
        return Replicates(factor * self.points, {unit: factor * own for unit, own in self.draws.items()})


@dataclass(frozen=True)
class Estimate:
    """A score in [0, 1] or a difference of scores, and how it moves with the faces and with the seed.

    A seed numbers a repetition of the whole experiment. Cells of the same seeds are combined seed by seed, so that what
    they share in one (a run that votes and is compared, bags) is paired; parts of other seeds count as independent. An
    ensemble whose weak members of several seeds vote with one strong run varies with the weak seeds alone.
    """

    parts: dict[tuple[int, ...], Replicates]  # seeds -> the cells that have them; the whole is the sum of their means
    seeds: tuple[int, int]  # fewest and most seeds of the networks in it, the voters of an ensemble among them
    unseen: dict[str, tuple[float, int]]  # of `pool_seeds`, for the networks with one seed: see `_combine`

    @property
    def value(self) -> float:
        """The score on all faces, mean over the seeds."""
        return float(sum(part.points.mean() for part in self.parts.values()))

    @property
    def per_seed(self) -> dict[int, float]:
        """The score for each seed that all parts have."""
        common = sorted(set.intersection(*(set(seeds) for seeds in self.parts)))
        return {s: float(sum(part.points[own.index(s)] for own, part in self.parts.items())) for s in common}

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds (n - 1 in the divisor); NaN where there is one."""
        per_seed = list(self.per_seed.values())
        return float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else float("nan")

    @property
    def unit(self) -> str:
        """What an interval that decides something resamples: subjects where they are known, else faces."""
        return "subjects" if all("subjects" in part.draws for part in self.parts.values()) else "faces"

    def resampled(self, unit: str = "faces") -> np.ndarray:
        """The mean over the seeds in each resample of this unit, (R,)."""
        return sum(part.draws[unit].mean(1) for part in self.parts.values())

    def interval(self, unit: str = "faces", unseen: bool = False) -> tuple[float, float]:
        """The 95% interval; NaN where this unit was not resampled.

        The percentile interval of `resampled`, widened by what several seeds tell (`metrics.interval_over_seeds`). Of a
        cell with one seed it holds the faces alone, unless `unseen` seeds are to count, as those of other cells vary.
        """
        if any(unit not in part.draws for part in self.parts.values()):
            return float("nan"), float("nan")
        seeds = [
            (*(variance / len(own) for variance in metrics.seed_variance(part.points, part.draws[unit])), len(own) - 1)
            for own, part in self.parts.items()
            if len(own) > 1
        ]
        if unseen and unit in self.unseen:
            variance, freedom = self.unseen[unit]
            seeds.append((variance, 0.0, freedom))
        return metrics.interval_over_seeds(self.value, self.resampled(unit), seeds)

    def __sub__(self, other: "Estimate | float") -> "Estimate":
        if isinstance(other, Estimate):
            return _combine([self, other], [1, -1])
        (seeds, first), *_ = self.parts.items()
        shifted = Replicates(first.points - other, {unit: own - other for unit, own in first.draws.items()})
        return replace(self, parts={**self.parts, seeds: shifted})


def mean_of(parts: Sequence[Estimate | None]) -> Estimate | None:
    """The mean of several estimates; None where one of them is missing."""
    return None if any(part is None for part in parts) else _combine(parts, [1 / len(parts)] * len(parts))


def describe_seeds(parts: Sequence[Estimate]) -> str:
    """The number of seeds in words: "3", or "1 to 3" where cells differ."""
    fewest, most = min(part.seeds[0] for part in parts), max(part.seeds[1] for part in parts)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _combine(parts: Sequence[Estimate], factors: Sequence[float]) -> Estimate:
    """Their sum, each times its factor.

    Networks of one seed share its draws (bags, order, views), so that a mean of them varies up to as much as one: the
    variances of unseen seeds are averaged in a mean, and added in a difference.
    """
    whole, unseen = {}, {}
    for part, factor in zip(parts, factors, strict=True):
        for seeds, own in part.parts.items():
            whole[seeds] = whole[seeds] + own * factor if seeds in whole else own * factor
        for unit, (variance, freedom) in part.unseen.items():
            unseen[unit] = unseen.get(unit, (0.0, 0))[0] + abs(factor) * variance, freedom
    return Estimate(whole, (min(part.seeds[0] for part in parts), max(part.seeds[1] for part in parts)), unseen)


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
    faces: pd.DataFrame  # the labelled faces of both splits: key, split, expression
    answers: np.ndarray  # (C, B) what each run and each vote answers to them
    points: np.ndarray  # (C,) macro F1 of each run and of each vote
    scores: dict[str, np.ndarray]  # unit -> (R, C)
    unseen: dict[str, tuple[float, int]]  # of `pool_seeds`

    @property
    def unit(self) -> str:
        """That of its estimates."""
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
        return [self._estimate(own, {len(own)}) for own in places.values()]

    def score_ensemble(self, ensemble: str) -> Estimate | None:
        """The ensemble of this id (or `BEST_STRONG`) over the seeds for which all its cells were run; None without."""
        complete = {seed: each.runs for seed, each in self.chosen[ensemble].items() if each.complete}
        voters = {(bool(run.member.bag), run.member.seed) for runs in complete.values() for run in runs}
        numbers = set(Counter(weak for weak, _ in voters).values())  # of seeds, of weak members and of strong ones
        return self._estimate({seed: self.columns[_names(runs)] for seed, runs in complete.items()}, numbers)

    def read_other_split(self) -> "Matrix | None":
        """The same runs on the test faces where these are validation faces, and the reverse; None without labels."""
        (split,), resamples = set(SPLITS) - {self.split}, len(self.scores["faces"])
        if split not in set(self.faces["split"]):
            return None
        return replace(self, **_score_split(self.runs, self.columns, self.faces, self.answers, split, resamples))

    def _estimate(self, places: dict[int, int], numbers: Collection[int]) -> Estimate | None:
        """Of columns, one for each seed; its networks have these numbers of seeds."""
        if not places:
            return None
        seeds = tuple(sorted(places))
        columns = [places[seed] for seed in seeds]
        part = Replicates(self.points[columns], {unit: scores[:, columns] for unit, scores in self.scores.items()})
        return Estimate({seeds: part}, (min(numbers), max(numbers)), self.unseen if min(numbers) == 1 else {})


def pool_seeds(cells: Sequence[Replicates]) -> dict[str, tuple[float, int]]:
    """Variance of one network's score between seeds and its degrees of freedom, by unit; {} where no cell can tell.

    Of the cells that have several seeds, each weighted by its degrees of freedom: what their seeds differ by beyond
    chance on these faces (`metrics.seed_variance`), 0 where chance explains it all. Cells count as independent.
    """
    several = [cell for cell in cells if len(cell.points) > 1]
    freedom = np.array([len(cell.points) - 1 for cell in several])
    pooled = {}
    for unit in several[0].draws if several else ():
        beyond = [np.subtract(*metrics.seed_variance(cell.points, cell.draws[unit])) for cell in several]
        pooled[unit] = max(0.0, float(freedom @ beyond / freedom.sum())), int(freedom.sum())
    return pooled


def list_finished(folder: Path | str) -> list[Run]:
    """The finished runs in a folder, at least one; `FileNotFoundError` where there is none."""
    if runs := list_runs(folder):
        return runs
    raise FileNotFoundError(f"Expected finished runs in {folder}, but found none; train them with `lsdkit sweep`")


def read_matrix(folder: Path | str, split: str = "validation", resamples: int = RESAMPLES) -> Matrix:
    """Read the finished runs in `folder` and score cells and ensembles on the labelled faces of `split`.

    Raises `FileNotFoundError` where no run is finished, and `ValueError` where the runs differ in recipe, epochs,
    settings, weights or faces, where a cell has two runs of one seed, or where no face of the split has a label.
    """
    folder = Path(folder)
    every, runs, left_out = list_finished(folder), [], []
    for run in every:
        inside = run.member.appearance in WEAK_APPEARANCES and (run.member.basic_aug or not run.member.bag)
        (runs if inside else left_out).append(run)
    if not runs:
        raise ValueError(f"Expected members of Tables 2 and 3 in {folder}, but got {', '.join(_names(every))}")
    _check_alike(folder, runs)
    chosen = {ensemble: select_members(runs, ensemble) for ensemble in (*ENSEMBLES, BEST_STRONG.id)}
    faces, answers = _read_answers(runs, [each for seeds in chosen.values() for each in seeds.values()])
    if split not in set(faces["split"]):
        raise ValueError(f"Expected labelled {split} faces in the predictions of {folder}, but none has a label")
    columns, given = {names: place for place, names in enumerate(answers)}, np.stack(list(answers.values()))
    return Matrix(
        folder=folder,
        runs=tuple(runs),
        left_out=_names(left_out),
        chosen=chosen,
        columns=columns,
        faces=faces,
        answers=given,
        **_score_split(runs, columns, faces, given, split, resamples),
    )


def _read_answers(
    runs: Sequence[Run], chosen: Sequence[Selection]
) -> tuple[pd.DataFrame, dict[tuple[str, ...], np.ndarray]]:
    """The labelled faces of both splits, and the answers (B,) of each run and of each complete vote, by their names."""
    faces, stack = read_stack(runs, *SPLITS)
    answers = {(run.name,): own.argmax(1) for run, own in zip(runs, stack, strict=True)}
    places = {run.name: place for place, run in enumerate(runs)}
    for selection in (each for each in chosen if each.complete):
        names = _names(selection.runs)
        if names not in answers:
            answers[names] = soft_vote(stack[[places[name] for name in names]], vote_way(runs)).argmax(1)
    return faces, answers


def _score_split(
    runs: Sequence[Run],
    columns: dict[tuple[str, ...], int],
    faces: pd.DataFrame,
    answers: np.ndarray,
    split: str,
    resamples: int,
) -> dict[str, object]:
    """What a `Matrix` holds of one split."""
    there = (faces["split"] == split).to_numpy()
    faces, answers = faces[there], answers[:, there]
    labels = labels_of(faces)  # (B,)
    groups, subjects = {"faces": None}, read_subjects(runs[0], faces["key"])
    groups |= {} if subjects is None else {"subjects": subjects}
    points = metrics.score_answers(labels, answers)
    scores = {
        unit: metrics.bootstrap_scores(labels, answers, groups=group, resamples=resamples)
        for unit, group in groups.items()
    }
    cells: dict[Cell, list[int]] = {}
    for run in runs:
        cells.setdefault(Cell.of(run), []).append(columns[run.name,])
    of_cells = [
        Replicates(points[own], {unit: each[:, own] for unit, each in scores.items()}) for own in cells.values()
    ]
    return {
        "split": split,
        "absent": tuple(name for index, name in enumerate(EXPRESSIONS) if index not in labels),
        "units": {unit: len(faces) if group is None else len(set(group)) for unit, group in groups.items()},
        "points": points,
        "scores": scores,
        "unseen": pool_seeds(of_cells),
    }


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


def read_subjects(run: Run, keys: pd.Series) -> np.ndarray | None:
    """The subject of each of these faces, (B,), from the run's store; None where it is gone or does not say for all."""
    try:
        table = run.open_store().faces.drop_duplicates("key").set_index("key")["subject"]
    except Damaged:
        raise
    except (FileNotFoundError, ValueError):
        return None
    subjects = table.reindex(keys).fillna("").to_numpy()
    return subjects if (subjects != "").all() and len(set(subjects)) > 1 else None
