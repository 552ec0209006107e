"""The runs of Tables 2 to 4 side by side: every cell and every ensemble scored on the same resampled faces.

An `Estimate` is a macro F1, a mean of several or a difference, with its value in each resample. All estimates of one
`Matrix` share their resamples, so that means and differences of them are paired.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit import comparison, ensemble, metrics, results
from lsdkit.experiment import store_of
from lsdkit.expressions import EXPRESSIONS
from lsdkit.recipes import BAGS
from lsdkit.seeds import numpy_generator

RESAMPLES = 2000
CANDIDATES = 8  # the cells of Table 2, of which one is the best strong member
RELEASE_VALIDATION = (804, 252, 523, 1714, 774, 603)  # faces of each expression in the LSD release's validation set


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
        if not isinstance(other, Estimate):
            draws = {unit: own - other for unit, own in self.draws.items()}
            return Estimate(self.value - other, draws, {s: v - other for s, v in self.per_seed.items()}, self.seeds)
        return _combined([self, other], [1, -1])


def mean_of(parts: Sequence[Estimate | None]) -> Estimate | None:
    """The mean of several estimates; None where one of them is missing."""
    return None if any(part is None for part in parts) else _combined(parts, [1 / len(parts)] * len(parts))


def difference(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """`first` minus `second`; None where one is missing."""
    return None if first is None or second is None else first - second


def seeds_text(parts: Sequence[Estimate]) -> str:
    """The number of seeds in words: "3", or "1 to 3" where cells differ."""
    fewest, most = min(part.seeds[0] for part in parts), max(part.seeds[1] for part in parts)
    return str(most) if fewest == most else f"{fewest} to {most}"


def _combined(parts: Sequence[Estimate], factors: Sequence[float]) -> Estimate:
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
    runs: pd.DataFrame  # as `results.list_runs`, without the runs that no table holds
    left_out: tuple[str, ...]  # names of those
    recipe: dict
    kind: str
    release: bool  # whether the faces are, by kind and number, those of the LSD release
    absent: tuple[str, ...]  # expressions that no face shows: they score 0 in every macro F1
    units: dict[str, int]  # "faces", and "subjects" where they are known -> how many
    chosen: dict[str, dict[int, ensemble.Selection]]  # rule of Table 4 -> seed -> what it selects
    points: np.ndarray  # (C,) macro F1 of each run, then of each complete ensemble
    scores: dict[str, np.ndarray]  # unit -> (R, C)
    columns: dict[tuple[str, int], int]  # rule and seed of a complete ensemble -> its place in C

    @property
    def unit(self) -> str:
        """What intervals that decide something resample: subjects where they are known, else faces."""
        return "subjects" if "subjects" in self.units else "faces"

    def cell(self, mix: str, appearance: str, basic_aug: bool, bag: int) -> Estimate | None:
        """One cell over its seeds; None where it was not run. `bag` 0 is a strong member."""
        runs = self.runs
        key = (runs["mix"] == mix) & (runs["appearance"] == appearance) & (runs["bag"] == bag)
        places = np.flatnonzero(key & (runs["basic_aug"] == basic_aug))
        return self._estimate({int(runs["seed"].iloc[place]): int(place) for place in places})

    def bags(self, mix: str, appearance: str) -> list[Estimate | None]:
        """The five weak members of a configuration."""
        return [self.cell(mix, appearance, True, bag) for bag in range(1, BAGS + 1)]

    def strong(self, mix: str, basics: Sequence[bool] = (True, False)) -> list[Estimate | None]:
        """The cells of Table 2 of one mix: two appearance backbones, with and without basic augmentation."""
        return [self.cell(mix, name, basic, 0) for name in ensemble.STRONG_APPEARANCES for basic in basics]

    def weak(self, mix: str, names: Sequence[str] = ensemble.WEAK_APPEARANCES) -> list[Estimate | None]:
        """The cells of Table 3 of one mix and these appearance backbones, each the mean of its five bags."""
        return [mean_of(self.bags(mix, name)) for name in names]

    def ensemble(self, name: str) -> Estimate | None:
        """An ensemble of Table 4 over the seeds for which all its members were run; None where there is none."""
        return self._estimate({seed: place for (rule, seed), place in self.columns.items() if rule == name})

    def best_strong(self) -> Estimate | None:
        """The strong member (of Table 2's cells) of the best validation macro F1, chosen anew for each seed.

        Over the seeds for which all eight were run; None where there is none.
        """
        places = {}
        order = {run: place for place, run in enumerate(self.runs["run"])}
        for seed, runs in comparison.by_seed(self.runs).items():
            strong = runs[(runs["bag"] == 0) & runs["appearance"].isin(ensemble.STRONG_APPEARANCES)]
            if len(strong) == CANDIDATES:
                best = strong.sort_values(["val_macro_f1", "run"], ascending=[False, True])["run"].iloc[0]
                places[seed] = order[best]
        return self._estimate(places)

    def _estimate(self, places: dict[int, int]) -> Estimate | None:
        if not places:
            return None
        seeds = sorted(places)
        columns = [places[seed] for seed in seeds]
        draws = {
            unit: (scores[:, columns] * _seed_weights(seeds, len(scores))).sum(1)
            for unit, scores in self.scores.items()
        }
        number = len(set(columns))
        per_seed = {seed: float(self.points[place]) for seed, place in zip(seeds, columns, strict=True)}
        return Estimate(float(self.points[columns].mean()), draws, per_seed, (number, number))


def _seed_weights(seeds: Sequence[int], resamples: int) -> np.ndarray:
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
    every = results.list_runs(folder)
    if every.empty:
        raise FileNotFoundError(f"Expected finished runs in {folder}, but found none; train them with `lsdkit sweep`")
    inside = every["appearance"].isin(ensemble.WEAK_APPEARANCES) & ((every["bag"] == 0) | every["basic_aug"])
    runs = every[inside].reset_index(drop=True)
    if runs.empty:
        raise ValueError(f"Expected members of Tables 2 and 3 in {folder}, but got {', '.join(every['run'])}")
    found = [results.read_result(path) for path in runs["path"]]
    _check_alike(folder, runs, found)
    faces, stack = ensemble.read_stack(runs["path"].tolist(), split)
    if faces.empty:
        raise ValueError(f"Expected labelled {split} faces in the predictions of {folder}, but none has a label")
    chosen, columns, answers = {}, {}, list(stack.argmax(2))
    order = {run: place for place, run in enumerate(runs["run"])}
    for name, rule in ensemble.SELECTION_RULES.items():
        for seed, part in comparison.by_seed(runs).items() if name != "All members" else ():
            selection = chosen.setdefault(name, {})[seed] = rule(part)
            if selection.complete:
                columns[name, seed] = len(answers)
                members = stack[[order[run] for run in selection.runs]]
                answers.append(ensemble.soft_vote(members, found[0]["member"]["recipe"]["vote"]).argmax(1))
    labels, predicted = results.labels_of(faces), np.stack(answers)  # (B,), (C, B)
    groups = {"faces": None, "subjects": _subjects(found[0], faces)}
    groups = {unit: group for unit, group in groups.items() if unit == "faces" or group is not None}
    return Matrix(
        folder=folder,
        split=split,
        runs=runs,
        left_out=tuple(every["run"][~inside]),
        recipe=found[0]["member"]["recipe"],
        kind=found[0]["kind"],
        release=_is_release(found[0]),
        absent=tuple(name for index, name in enumerate(EXPRESSIONS) if index not in labels),
        units={unit: len(faces) if group is None else len(set(group)) for unit, group in groups.items()},
        chosen=chosen,
        points=np.array([metrics.macro_f1(labels, one) for one in predicted]),
        scores={
            unit: metrics.bootstrap_scores(labels, predicted, groups=group, resamples=resamples)
            for unit, group in groups.items()
        },
        columns=columns,
    )


def _check_alike(folder: Path, runs: pd.DataFrame, found: list[dict]) -> None:
    """Raise `ValueError`, naming runs, where they differ in more than the tables' columns and the seed."""
    values: dict[str, dict[str, list[str]]] = {}
    for (_, run), result in zip(runs.iterrows(), found, strict=True):
        recipe, appearance = dict(result["member"]["recipe"]), run["appearance"]
        recipe.pop("weights", None)
        backbones = dict(recipe.pop("appearances"))
        settings = {**recipe, "epochs": run["epochs"], "kind of faces": run["kind"]}
        settings["recipe"] = settings.pop("name")
        settings["emotion weights"] = weights_of(run, "emotion")
        settings[f"weights of {appearance}"] = weights_of(run, "appearance")
        started = result.get("weights", {})
        settings["checksum of the emotion weights"] = started.get("emotion", {}).get("sha256", "")
        settings[f"checksum of the weights of {appearance}"] = started.get("appearance", {}).get("sha256", "")
        settings[f"backbone of {appearance}"] = backbones.get(appearance, appearance)
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            values.setdefault(name, {}).setdefault(text, []).append(run["run"])
    differing = []
    for name, found_values in sorted(values.items(), key=lambda item: item[0] != "recipe"):
        if len(found_values) > 1:
            texts = [f"{value} ({len(names)} of the runs, such as {names[0]})" for value, names in found_values.items()]
            differing.append(f"{name}: {' / '.join(texts)}")
    if differing:
        raise ValueError(
            f"Expected runs of one recipe and one set of settings in {folder}, but they differ in "
            f"{'; '.join(differing)}. Keep each set in a folder of its own"
        )
    cell = ["mix", "appearance", "basic_aug", "bag", "seed"]
    twice = runs[runs.duplicated(cell, keep=False)]
    if len(twice):
        raise ValueError(f"Expected one run of each cell and seed in {folder}, but got {', '.join(twice['run'])}")


def weights_of(run: pd.Series, role: str) -> str:
    """What a branch of a run started from: "random", a published set's name, or "run NAME". `role`: "emotion" or
    "appearance".

    >>> weights_of(pd.Series({"emotion_weights": "vggface2_ft@/data/file.pkl"}), "emotion")
    'vggface2_ft'
    >>> weights_of(pd.Series({}), "appearance")
    'random'
    """
    names = []
    for source in str(run.get(f"{role}_weights") or "random").split("+"):
        name = source.partition("@")[0].rstrip("/")
        names.append(f"run {name.rpartition('/')[2]}" if "/" in name else name)
    return "+".join(names)


def _subjects(result: dict, faces: pd.DataFrame) -> np.ndarray | None:
    """The subject of each face, (B,), from the store of the runs; None where it is gone or does not say for all."""
    try:
        table = store_of(result).faces.drop_duplicates("key").set_index("key")["subject"]
    except (FileNotFoundError, ValueError):
        return None
    subjects = table.reindex(faces["key"]).fillna("").to_numpy()
    return subjects if (subjects != "").all() and len(set(subjects)) > 1 else None


def _is_release(result: dict) -> bool:
    """Whether the store's kind and its validation faces (up to 5% left out of each class) are the LSD release's."""
    counts = list(result["counts"].get("validation", {}).values())[: len(RELEASE_VALIDATION)]
    near = [0.95 * full <= count <= full for count, full in zip(counts, RELEASE_VALIDATION, strict=False)]
    return result["kind"] == "synthetic" and len(near) == len(RELEASE_VALIDATION) and all(near)
