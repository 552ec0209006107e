"""What a start is worth: one and the same training from five starts, strong and weak, for several seeds, compared.

Both branches of a member begin from the same start; recipe and budget are the same for all. The runs are those of
`lsdkit.reproduce.start_runs`; FOLDER/starts.csv, starts.md and starts.png say what came out.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.paths import resolve
from lsdkit.ensembles.votes import labelled_splits, read_stack
from lsdkit.figures import plots, style
from lsdkit.method import metrics
from lsdkit.reproduce.formats import bullets, to_markdown
from lsdkit.reproduce.scores import Estimate, Replicates, read_subjects
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run, list_runs
from lsdkit.weights.published import MADE, PUBLISHED, RANDOM

MEMBERS = {"strong": 0, "weak": 1}  # and their bags
NUMBERS = ("seeds", "value", "sd", "low", "high", "above", "above_low", "above_high", "landmark_nme", "landmark_sd")
METRICS = ("val_macro_f1", "test_macro_f1", "landmark_nme", "mean_shape_nme")  # of a run, as `Run.metrics` has them


@dataclass(frozen=True)
class Start:
    """Where both branches begin: a backbone and the source of its weights. `made`: the command for one not shipped."""

    name: str
    backbone: str
    source: str
    made: str = ""


STARTS = {
    "random": Start("random", "narrow", "random"),
    "imagenet": Start("ImageNet", "tf_efficientnet_lite0", "efficientnet_lite0"),
    "face": Start("face recognition", "dlib_face", "dlib_face"),
    "dino": Start("DINO", "narrow", "dino_open", "lsdkit pretrain dino data/open --out runs/dino"),
    "dino-face": Start(
        "DINO from face recognition",
        "dlib_face",
        "runs/dino-face",
        "lsdkit pretrain dino data/open --backbone dlib_face --weights dlib_face --out runs/dino-face --image-size 96 "
        "--local-size 48 --local-crops 2 --crop-share 0.5 --learning-rate 2e-4 --epochs 26",
    ),
}
_Cell = tuple[str, str]  # a name in `STARTS` and one in `MEMBERS`


def choose_starts(dino: str = "", dino_face: str = "") -> dict[str, Start]:
    """The starts that can be trained from, `dino` and `dino_face` from other sources where given.

    One that is not given, and whose weights are neither a published set nor made in their folder, is left out. Raises
    `ValueError`, with the command that makes one, for a given source that DINO did not make.

    >>> choose_starts()["dino"].source
    'dino_open'
    """
    given = {"dino": dino, "dino-face": dino_face}
    for name, source in given.items():
        if source not in ("", STARTS[name].source) and not _is_made(source):
            raise ValueError(f"Expected --{name} to be a folder that DINO made, but got {source}; {STARTS[name].made}")
    starts = {name: replace(start, source=given.get(name) or start.source) for name, start in STARTS.items()}
    known = {name for name, start in starts.items() if start.source in (*RANDOM, *PUBLISHED) or _is_made(start.source)}
    return {name: start for name, start in starts.items() if name in known or given.get(name)}


def _is_made(source: str) -> bool:
    return (resolve(source) / MADE).is_file()


@dataclass(frozen=True)
class Comparison:
    """The runs of a folder, compared. Scores in [0, 1], landmark errors in distances between the outer eye corners."""

    runs: pd.DataFrame  # a row a run: start, backbone, weights, member, seed, `METRICS`, seconds
    numbers: pd.DataFrame  # a row for each start, strong ones first: means over its seeds, NaN where it was not run
    split: str  # whose macro F1 `numbers` has: "test" where its labels are known, else "validation"
    faces: str  # these in words
    unit: str  # what the intervals resample: "subjects" where they are known, else "faces"
    notes: tuple[str, ...]

    @property
    def text(self) -> pd.DataFrame:
        """The table as it is read."""
        numbers, above = self.numbers, (("above", "{:+.3f}"), ("above_low", " [{:+.3f}, "), ("above_high", "{:+.3f}]"))
        columns = {
            "Start": numbers["start"],
            "Backbone": numbers["backbone"],
            "Weights": numbers["weights"],
            "Member": numbers["member"],
            "Seeds": [text or "not run" for text in _format(numbers, ("seeds", "{:.0f}"))],
            f"Macro F1, {self.split} (SD)": _format(numbers, ("value", "{:.3f}"), ("sd", " ({:.3f})")),
            f"95%, {self.unit}": _format(numbers, ("low", "[{:.3f}, "), ("high", "{:.3f}]")),
            "Above random [95%, paired]": _format(numbers, *above),
            "Landmark error (SD)": _format(numbers, ("landmark_nme", "{:.3f}"), ("landmark_sd", " ({:.3f})")),
        }
        return pd.DataFrame(columns)

    def to_markdown(self) -> str:
        """Table and notes."""
        return f"{to_markdown(self.text)}\n\n{bullets(self.notes)}"

    def draw(self) -> style.Figure:
        """Macro F1 and, where there are landmarks, their error: seeds and their mean, a row a start."""
        score, mean = "test_macro_f1" if self.split == "test" else "val_macro_f1", self.runs["mean_shape_nme"].mean()
        panels = {score: (f"Macro F1, {self.faces}", 1 / len(EXPRESSIONS), "chance")}
        if pd.notna(mean):
            panels["landmark_nme"] = ("Landmark error (less is better)", mean, "mean landmarks")
        return plots.scores_by_start(self.runs, [start.name for start in STARTS.values()], panels)


def write_comparison(folder: Path | str) -> str:
    """Write `folder`/starts.csv, starts.md and starts.png; returns the Markdown. Raises as `compare_starts` does."""
    folder, comparison = resolve(folder), compare_starts(folder)
    files.write_table(folder / "starts.csv", comparison.runs)
    files.write_text(folder / "starts.md", comparison.to_markdown())
    files.write_bytes(folder / "starts.png", style.png(comparison.draw(), 150))
    return comparison.to_markdown()


def compare_starts(folder: Path | str) -> Comparison:
    """Compare the finished runs of a folder.

    Raises `FileNotFoundError` where there is none, and `ValueError` where they did not see the same faces.
    """
    found = group_runs(resolve(folder))
    if not found:
        raise FileNotFoundError(f"Expected runs of `lsdkit starts` in {folder}, but found none; run that command first")
    every = [run for own in found.values() for run in own]
    _check_alike(found)
    split = "test" if "test" in labelled_splits(every) else "validation"
    faces, stack = read_stack(every, split)
    subjects = read_subjects(every[0], faces["key"])
    people = "" if subjects is None else _describe_people(every[0], set(subjects))
    unit = "faces" if subjects is None else "subjects"
    estimates = _estimate(found, labels_of(faces), stack.argmax(2), {unit: subjects})
    rows = [
        _name_cell(cell, runs) | {"seed": run.member.seed} | _score(run) for cell, runs in found.items() for run in runs
    ]
    cells = [(name, member) for member in dict.fromkeys(member for _, member in found) for name in STARTS]
    numbers = [_name_cell(cell, found.get(cell)) | _summarise(cell, found, estimates, unit) for cell in cells]
    runs, words = pd.DataFrame(rows), f"{len(faces):,} {split} faces{people}"
    return Comparison(runs, pd.DataFrame(numbers), split, words, unit, _list_notes(found, runs, words, unit))


def _check_alike(found: Mapping[_Cell, Sequence[Run]]) -> None:
    """Raise `ValueError`, naming two runs, where runs of one row differ in more than their seed."""
    for runs in found.values():
        specs = [{**run.member.spec(), "seed": 0} for run in runs]
        for run, spec in zip(runs, specs, strict=True):
            if other := files.describe_difference(specs[0], spec):
                raise ValueError(f"Expected {run.folder} to be trained as {runs[0].folder} was, but {other}")


def group_runs(folder: Path) -> dict[_Cell, list[Run]]:
    """The finished runs of a folder by start and member, strong ones first, each by its seed."""
    found, names = list_runs(folder), product(MEMBERS, STARTS)
    runs = {
        (name, member): [run for run in found if re.fullmatch(rf"{name}-{member}-seed\d+", run.name)]
        for member, name in names
    }
    return {cell: sorted(own, key=lambda run: run.member.seed) for cell, own in runs.items() if own}


def _estimate(found: Mapping, labels: np.ndarray, answers: np.ndarray, groups: Mapping) -> dict[_Cell, Estimate]:
    """Macro F1 of each cell over its seeds, in joint resamples of `groups`; answers (M, B) in the order of `found`."""
    points = np.array([metrics.macro_f1(labels, one) for one in answers])  # (M,)
    draws = {unit: metrics.bootstrap_scores(labels, answers, groups=own) for unit, own in groups.items()}  # (R, M)
    estimates, first = {}, 0
    for cell, runs in found.items():
        own, first = slice(first, first + len(runs)), first + len(runs)
        replicates = Replicates(points[own], {unit: scores[:, own] for unit, scores in draws.items()})
        estimates[cell] = Estimate({tuple(run.member.seed for run in runs): replicates}, (len(runs),) * 2, {})
    return estimates


def _name_cell(cell: _Cell, runs: Sequence[Run] | None) -> dict:
    """What names a row of the table."""
    start = STARTS[cell[0]]
    weights = runs[0].weights_source("emotion") if runs else start.source
    return {"start": start.name, "backbone": start.backbone, "weights": weights, "member": cell[1]}


def _score(run: Run) -> dict:
    return {name: run.metrics.get(name, np.nan) for name in METRICS} | {"seconds": run.seconds}


def _summarise(cell: _Cell, found: Mapping, estimates: Mapping, unit: str) -> dict:
    """The numbers of a row of the table, NaN where there are none."""
    row = dict.fromkeys(NUMBERS, np.nan)
    if cell not in found:
        return row
    own, random = estimates[cell], estimates.get(("random", cell[1]))
    errors = pd.Series([_score(run)["landmark_nme"] for run in found[cell]])
    low, high = np.clip(own.interval(unit), 0, 1)  # few seeds can reach beyond
    row |= {"seeds": len(errors), "value": own.value, "sd": own.spread, "low": low, "high": high}
    row |= {"landmark_nme": errors.mean(), "landmark_sd": errors.std()}
    if random and cell[0] != "random":
        above = own - random
        row |= {"above": above.value} | dict(zip(("above_low", "above_high"), above.interval(unit), strict=True))
    return row


def _describe_people(run: Run, people: Collection[str]) -> str:
    """How many, and whether the run was trained on none of them."""
    faces = run.open_store().faces
    seen = set(faces.loc[faces["split"] == "train", "subject"]) & {*people}
    return f" of {len(people)} {'' if seen else 'unseen '}people"


def _list_notes(found: Mapping[_Cell, Sequence[Run]], runs: pd.DataFrame, faces: str, unit: str) -> tuple[str, ...]:
    """What was trained, what the numbers are, and which starts are left out."""
    first, mean = {member: own[0].member for (_, member), own in found.items()}, runs["mean_shape_nme"].mean()
    recipe = next(iter(first.values())).recipe
    epochs = ", ".join(f"{member} {each.epochs}" for member, each in first.items())
    frozen = ", ".join(f"{parts} of {name}" for name, parts in recipe.frozen if name in set(runs["backbone"]))
    notes = [
        f"Recipe {recipe.name}, both branches from the same start; epochs: {epochs}."
        + (f" First parts of a backbone that are not trained: {frozen} (docs/weights.md)." if frozen else ""),
        f"Macro F1: mean over the seeds, on {faces}; chance is {1 / len(EXPRESSIONS):.3f}.",
        f"95%: over the {unit}, and the seeds where these differ beyond chance (docs/tables.md). SD: over the seeds."
        + (
            " With one seed they hold nothing of what another would give." if min(map(len, found.values())) == 1 else ""
        ),
    ]
    if pd.notna(mean):
        notes.append(
            "Landmark error: on the validation faces, in distances between the outer eye corners; that of the mean "
            f"landmarks of the faces trained on is {mean:.3f}."
        )
    return *notes, *list_absent({name for name, _ in found})


def list_absent(names: Collection[str]) -> list[str]:
    """A line for each of `STARTS` that is not among these, with the command that makes what it starts from."""
    left = [start for name, start in STARTS.items() if name not in names]
    return [
        f"Left out: {start.name}." + (f" Make its weights with `{start.made}`." if start.made else "") for start in left
    ]


def _format(numbers: pd.DataFrame, *parts: tuple[str, str]) -> list[str]:
    """A text a row: each column in its form, nothing of those that are NaN there."""
    rows = numbers.to_dict("records")
    return ["".join(form.format(row[name]) for name, form in parts if pd.notna(row[name])) for row in rows]
