"""Trainings in pairs that differ in one thing alone: what that thing is worth, and on whom it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsdkit.data.store import Store
from lsdkit.ensembles.votes import read_stack
from lsdkit.method import metrics
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run


@dataclass(frozen=True)
class Gain:
    """Macro F1 of first runs minus that of second ones on a split, mean over the pairs, and its 95% interval.

    each: that of each pair. unit: what the interval resamples, "subjects" where they are known, else "faces"; "... and
    seeds" where it holds what other seeds would give too. Else it is about these very runs on other faces.
    """

    split: str
    faces: int
    unit: str
    value: float
    low: float
    high: float
    each: tuple[float, ...]

    def __getitem__(self, name: str) -> float:
        return getattr(self, name)


def compare_pairs(
    first: Sequence[Run],
    second: Sequence[Run],
    split: str,
    subjects: Mapping[str, str] | None = None,
    *,
    seeds: bool = False,
) -> Gain:
    """What the first runs are above the second ones on the faces of a split: two lists of runs, pair by pair.

    `subjects`, {key: subject}, are resampled whole where they tell all of the faces'. `seeds`: whether the pairs are
    several seeds of one training, so that their spread widens the interval (`metrics.interval_over_seeds`). Raises
    `ValueError` for lists of two lengths and what `read_stack` raises.
    """
    if len(first) != len(second):
        raise ValueError(f"Expected pairs of runs, but got {len(first)} first and {len(second)} second ones")
    faces, stack = read_stack([*first, *second], split)
    labels, answers, pairs = labels_of(faces), stack.argmax(2), len(first)
    people = np.array([(subjects or {}).get(key, "") for key in faces["key"]])
    known = bool((people != "").all() and len(set(people)) > 1)
    points = np.array([metrics.macro_f1(labels, one) for one in answers])  # (2 P,)
    draws = metrics.bootstrap_scores(labels, answers, groups=people if known else None)  # (R, 2 P)
    each = points[:pairs] - points[pairs:]
    drawn, unit = draws[:, :pairs] - draws[:, pairs:], "subjects" if known else "faces"
    low, high = metrics.interval(drawn.mean(1))
    if seeds and pairs > 1:
        spread = [(*(part / pairs for part in metrics.seed_variance(each, drawn)), pairs - 1)]
        low, high = metrics.interval_over_seeds(float(each.mean()), drawn.mean(1), spread)
        unit += " and seeds"
    return Gain(split, len(labels), unit, float(each.mean()), float(low), float(high), tuple(each.tolist()))


def describe_people(store: Store, split: str) -> str:
    """How many of the people of a split the training faces show, in words; "" where subjects are not known."""
    people = {part: set(store.faces["subject"].to_numpy()[store.rows(part)]) for part in ("train", split)}
    if "" in people[split] or "" in people["train"] or not people[split]:
        return ""
    seen = len(people[split] & people["train"])
    if seen == len(people[split]):
        return "people trained on"
    return f"{seen} of {len(people[split])} people trained on" if seen else "people never trained on"
