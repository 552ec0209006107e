"""What a sweep would run and cost, in words: what `lsdkit sweep --plan` says, and how sure each figure is.

Hours are the operations of `lsdkit.costs` over a card's peak rate times an assumed utilisation, given as a range; where
finished runs of the same recipe exist, their measured seconds a face are used as well, for the machine they ran on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd

from lsdkit import costs, results
from lsdkit.ensemble import MIX_WORDS
from lsdkit.paths import project_path, resolve
from lsdkit.prepare import DEFAULT_OPEN, SMOKE_OPEN
from lsdkit.recipes import Member, Recipe
from lsdkit.store import Store

RELEASE_TRAIN = (18286, 15150, 10923, 73285, 144631, 14976)  # faces of each class in the LSD release
RELEASE_VALIDATION, RELEASE_TEST = 4670, 106120
UTILISATION = (0.2, 0.45)  # assumed: the share of a card's peak that convolutional training reaches
OVERHEAD = (1, 3)  # assumed: GiB that CUDA's context, its algorithms' work space and fragmentation take
SMALL = 5e9  # operations a face below which a card mostly waits, so that a share of its peak says nothing
GIB = 2**30


@dataclass(frozen=True)
class Faces:
    """How many faces there are: `labels` (N,) of the training faces, and what they are, in words."""

    labels: np.ndarray
    validation: int
    test: int
    what: str


@dataclass(frozen=True)
class Card:
    """A GPU: peak TFLOP/s in float32 and, with float32 accumulation, in bf16 (0 = it has none); memory in GiB."""

    name: str
    float32: float
    bf16: float
    gib: float
    source: str


def faces_of(recipe: Recipe, data: str = "") -> Faces:
    """The faces of the store in folder `data`; for "", of the release (`paper`, `authors`) or of the open set.

    Raises `ValueError` for a store without training faces.
    """
    place = resolve(data or (SMOKE_OPEN if recipe.name == "smoke" else DEFAULT_OPEN))
    release = not data and recipe.name in ("paper", "authors")
    if data or (not release and (place / "manifest.json").is_file()):
        store = Store.open(place)
        if not len(store.rows("train")):
            raise ValueError(f"Expected training faces in {store.path}, but there are none; choose another store")
        counts = [len(store.rows(split)) for split in ("validation", "test")]
        return Faces(store.labels[store.rows("train")], *counts, f"{project_path(store.path)}, {store.kind}")
    if release:
        labels = np.repeat(np.arange(len(RELEASE_TRAIN)), RELEASE_TRAIN)
        return Faces(labels, RELEASE_VALIDATION, RELEASE_TEST, "the LSD release")
    share, rest = (0.001, 60) if recipe.name == "smoke" else (0.01, 600)
    counts = [max(1, round(share * count)) for count in RELEASE_TRAIN]
    return Faces(np.repeat(np.arange(len(counts)), counts), rest, rest, "the open set, which will be rendered first")


def cards() -> dict[str, Card]:
    """The cards whose rates are known, by name (`lsdkit/data/cards.csv`)."""
    with resources.files("lsdkit").joinpath("data/cards.csv").open(encoding="utf-8") as stream:
        return {row["card"]: Card(*row.values()) for row in pd.read_csv(stream).to_dict("records")}


def machine(on: str) -> tuple[int, Card]:
    """How many of which card "6 x RTX 3090" means; raises `ValueError` with the known cards.

    >>> count, card = machine("6 x RTX 3090")
    >>> count, card.gib
    (6, 24)
    """
    number, name = re.fullmatch(r"\s*(?:(\d+)\s*[x×]\s*)?(.*?)\s*", on).groups()
    found = {known.lower(): card for known, card in cards().items()}.get(name.lower())
    if found is None or number == "0":
        raise ValueError(f"Expected --on such as '6 x RTX 3090' with a card of {', '.join(cards())}, but got {on!r}")
    return int(number or 1), found


def plan(members: Sequence[Member], tables: Sequence[str], faces: Faces, *, on: str, runs: pd.DataFrame) -> str:
    """The plan as text. `tables` names each member's table; `runs` as of `results.list_runs`, for measured times."""
    number, card = machine(on)
    table = _table(members, tables, faces)
    parts = [
        f"{len(members)} runs of the recipe {members[0].recipe.name} on {faces.what}: {len(faces.labels):,} training, "
        f"{faces.validation:,} validation and {faces.test:,} test faces",
        _runs(table),
        _networks(table),
        _operations(table),
        _memory(table, members[0].recipe, card),
        _hours(table, members[0].recipe, number, card),
        _measured(table, members, runs),
    ]
    return "\n\n".join(filter(None, parts))


def _table(members: Sequence[Member], tables: Sequence[str], faces: Faces) -> pd.DataFrame:
    """One row a member, with everything that the text sums up."""
    rows = []
    for member, table in zip(members, tables, strict=True):
        trained_on, steps, seen = costs.steps(member, faces.labels)
        cost = costs.cost(member)
        answered = member.epochs * faces.validation + faces.validation + faces.test
        row = {"table": table, "mix": MIX_WORDS[member.mix], "appearance": member.appearance, "cost": cost}
        row |= {"trained_on": trained_on, "steps": steps, "seen": seen, "epochs": member.epochs, "bag": member.bag}
        rows.append(row | {"operations": seen * cost.training + answered * cost.inference})
    return pd.DataFrame(rows)


def _runs(table: pd.DataFrame) -> str:
    lines = ["RUNS (exact)"]
    for name, part in table.groupby("table", sort=False):
        each = f"{part['epochs'].iloc[0]} epochs over {_range(part['trained_on'])} faces, {_range(part['steps'])} steps"
        lines.append(f"  {name:7} {len(part):4} runs of {each}; {part['seen'].sum():,} faces seen in all")
    return "\n".join(lines)


def _networks(table: pd.DataFrame) -> str:
    lines = ["PARAMETERS (exact)"]
    for name, part in table.groupby("appearance", sort=False):
        count = part["cost"].iloc[0].parameters
        lines.append(
            f"  {name:12} {count.total / 1e6:6.2f} M: emotion branch {count.emotion / 1e6:.2f}, appearance branch "
            f"{count.appearance / 1e6:.2f}; an expression is predicted with {count.inference / 1e6:.2f}"
        )
    return "\n".join(lines)


def _operations(table: pd.DataFrame) -> str:
    lines = ["OPERATIONS (computed: convolutions and matrix products, two for a multiply-add; all else is left out)"]
    for (mix, name), part in table.groupby(["mix", "appearance"], sort=False):
        cost = part["cost"].iloc[0]
        lines.append(f"  {mix:8} {name:12} {cost.training / 1e9:9.3f} GFLOP a face and step")
    inference = table["cost"].iloc[0].inference / 1e9
    lines.append(f"  a prediction {inference:.3f} GFLOP; the whole sweep {table['operations'].sum() / 1e15:,.2f} PFLOP")
    return "\n".join(lines)


def _memory(table: pd.DataFrame, recipe: Recipe, card: Card) -> str:
    half = " (for bf16 half of the float32 is assumed)" if recipe.precision == "bf16" else ""
    least, most = OVERHEAD
    lines = [
        f"MEMORY of a training, batch {recipe.batch_size}, {recipe.precision}: parameters, gradients and Adam (exact) "
        f"+ what backward keeps (computed{half})",
        f"  CUDA and its algorithms add {least} to {most} GiB (assumed, not in the sums)",
    ]
    tight = False
    for (mix, name), part in table.groupby(["mix", "appearance"], sort=False):
        cost = part["cost"].iloc[0]
        needed = cost.memory / GIB
        tight |= needed + most > card.gib
        fits = "fits" if needed + most <= card.gib else "DOES NOT FIT" if needed + least > card.gib else "is tight"
        sizes = f"{cost.fixed / GIB:.2f} + {cost.activations / GIB:.2f} = {needed:6.2f} GiB"
        lines.append(f"  {mix:8} {name:12} {sizes}, {fits} in the {card.gib:g} GiB of the card {card.name}")
    if tight:
        lines.append("  What helps: --set precision=bf16, or a smaller batch_size, which changes the training")
    return "\n".join(lines)


def _hours(table: pd.DataFrame, recipe: Recipe, number: int, card: Card) -> str:
    peak = getattr(card, recipe.precision)
    if not peak:
        return f"HOURS: {card.name} has no {recipe.precision}; use precision=float32 or another card"
    ends = [costs.longest(table["operations"] / (share * peak * 1e12), number) / 3600 for share in UTILISATION[::-1]]
    low, high = (f"{share:.0%}" for share in UTILISATION)
    lines = [
        f"HOURS on {number} x {card.name}, each with a run of its own: {_hours_words(ends)}",
        f"  assumed: {low} to {high} of {peak:g} TFLOP/s in {recipe.precision} ({card.source})",
        "  not in it: what the processors take to make the batches, where that is longer; the start of each notebook",
    ]
    if max(cost.training for cost in table["cost"]) < SMALL:
        lines.append("  Networks as small as these do not reach that share: take the measured hours, or a run's own")
    return "\n".join(lines)


def _measured(table: pd.DataFrame, members: Sequence[Member], runs: pd.DataFrame) -> str:
    """Time by finished runs of the same recipe: measured for cells that were run, by their operations for others."""
    recipe, found = members[0].spec()["recipe"], {}
    device, spent = set(), []
    for run in runs.itertuples():
        result = results.read_result(run.path)
        if result["member"]["recipe"] != recipe:
            continue
        seconds = _seconds_a_face(result)
        found.setdefault((MIX_WORDS[run.mix], run.appearance), []).append(seconds)
        spent.append(seconds / costs.cost(results.member_of(result)).training)
        device.add(f"{result['device']}, {result['threads']} threads")
    if not found:
        return ""
    rate = float(np.mean(spent))
    seconds = [
        row.seen
        * (float(np.mean(found[key])) if (key := (row.mix, row.appearance)) in found else rate * row.cost.training)
        for row in table.itertuples()
    ]
    cells = table[["mix", "appearance"]].drop_duplicates()
    known = sum((row.mix, row.appearance) in found for row in cells.itertuples())
    return (
        f"HOURS as {len(spent)} finished runs of this recipe took (measured on {'; '.join(sorted(device))}): "
        f"{_hours_words([sum(seconds) / 3600])} of training, one run after the other\n"
        f"  measured for {known} of {len(cells)} pairs of mix and backbone, scaled by the operations for the others; "
        "the start of each notebook comes on top"
    )


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _hours_words(ends: Sequence[float]) -> str:
    factor, unit = (1, "h") if ends[-1] >= 1 else (60, "min")
    return f"{' to '.join(f'{factor * end:.1f}' for end in ends)} {unit}"


def _seconds_a_face(result: dict) -> float:
    """Measured seconds of a finished run for each face that a step saw."""
    member, trained_on = results.member_of(result), sum(result["counts"]["trained_on"].values())
    cut = member.recipe.steps_per_epoch * member.recipe.batch_size
    return result["seconds"] / (member.epochs * min(trained_on, cut or trained_on))
