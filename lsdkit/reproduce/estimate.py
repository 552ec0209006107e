"""What a sweep would run and cost, in words: what `lsdkit sweep --plan` says, and how sure each figure is.

Hours are the operations of `lsdkit.training.cost` over a card's peak rate times an assumed utilisation, given as a
range; where finished runs of the same recipe exist, their measured seconds a face are used as well, for the machine
they ran on.
"""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib import resources

import numpy as np
import pandas as pd

from lsdkit.common.paths import project_path, resolve
from lsdkit.data import release
from lsdkit.data.store import Store
from lsdkit.ensembles.rules import MIX_NAMES
from lsdkit.openset.preparing import OPEN_SETS
from lsdkit.recipes import Member, Recipe
from lsdkit.reproduce.members import Entry
from lsdkit.training import cost as costs
from lsdkit.training.runs import Run

UTILISATION = (0.2, 0.45)  # assumed: the share of a card's peak that convolutional training reaches
OVERHEAD = (1, 3)  # assumed: GiB that CUDA's context, its algorithms' work space and fragmentation take
SMALL = 5e9  # operations a face below which a card mostly waits, so that a share of its peak says nothing
DECIDING = (  # settings of a recipe that decide the cost of a step, beside its backbones
    *("emotion", "image_size", "classes", "features", "head_features", "heads", "batch_size", "averaging", "precision"),
    "memory",
)
STEP = ["mix", "appearance", "settings"]  # what decides the cost of a step, of the entries of one plan
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


def count_faces(recipe: Recipe, data: str = "") -> Faces:
    """The faces of the store in folder `data`; for "", of the release or of the open set, as the recipe says.

    Raises `ValueError` for a store without training faces.
    """
    folder, share, others = OPEN_SETS.get(recipe.data, ("", 1, 0))
    place = resolve(data or folder)
    if data or (folder and (place / "manifest.json").is_file()):
        store = Store.open(place)
        if not len(store.rows("train")):
            raise ValueError(f"Expected training faces in {store.path}, but there are none; choose another store")
        sizes = [len(store.rows(split)) for split in ("validation", "test")]
        return Faces(store.labels[store.rows("train")], *sizes, f"{project_path(store.path)}, {store.kind}")
    counts = [max(1, round(share * count)) for count in release.TRAIN_COUNTS]
    labels = np.repeat(np.arange(len(counts)), counts)
    if not folder:
        return Faces(labels, sum(release.VALIDATION_COUNTS), release.TEST_COUNT, "the LSD release")
    return Faces(labels, others, others, "the open set, which will be rendered first")


def read_cards() -> dict[str, Card]:
    """The cards whose rates are known, by name (`lsdkit/reproduce/cards.csv`)."""
    table = pd.read_csv(resources.files("lsdkit.reproduce") / "cards.csv")
    return {row["card"]: Card(*row.values()) for row in table.to_dict("records")}


def parse_machine(on: str) -> tuple[int, Card]:
    """How many of which card "6 x RTX 3090" means; raises `ValueError` with the known cards.

    >>> count, card = parse_machine("6 x RTX 3090")
    >>> count, card.gib
    (6, 24)
    """
    number, name = re.fullmatch(r"\s*(?:(\d+)\s*[x×]\s*)?(.*?)\s*", on).groups()
    cards = {known.lower(): card for known, card in read_cards().items()}
    if name.lower() not in cards or number == "0":
        raise ValueError(
            f"Expected --on such as '6 x RTX 3090' with a card of {', '.join(read_cards())}, but got {on!r}"
        )
    return int(number or 1), cards[name.lower()]


def describe_plan(entries: Sequence[Entry], faces: Faces, *, on: str, runs: Sequence[Run]) -> str:
    """The plan as text; finished `runs` supply measured times."""
    number, card = parse_machine(on)
    recipes = list(dict.fromkeys(entry.member.recipe for entry in entries))
    table = _tabulate(entries, faces, recipes)
    parts = [
        f"{len(entries)} runs of the recipe {_either(recipes, 'name')} on {faces.what}: "
        f"{len(faces.labels):,} training, {faces.validation:,} validation and {faces.test:,} test faces",
        _describe_work(table),
        _describe_memory(table, recipes, card),
        _describe_hours(table, recipes, number, card),
        _describe_measured(table, recipes, runs),
    ]
    return "\n\n".join(filter(None, parts))


def _either(recipes: Sequence[Recipe], name: str) -> str:
    """The values of a setting in words."""
    return " or ".join(dict.fromkeys(str(getattr(recipe, name)) for recipe in recipes))


def _name_step(member: Member, recipes: Sequence[Recipe]) -> tuple[str, str, str]:
    """`STEP` of a member: the deciding settings in which these recipes differ, or the name where it tells."""
    varying = [name for name in ("name", *DECIDING) if len({getattr(recipe, name) for recipe in recipes}) > 1]
    varying = ["name"] if len({recipe.name for recipe in recipes}) == len(recipes) > 1 else varying
    settings = " ".join(f"{name}={getattr(member.recipe, name)}" for name in varying).replace("name=", "RECIPE=")
    return MIX_NAMES[member.mix], member.appearance, settings


def _tabulate(entries: Sequence[Entry], faces: Faces, recipes: Sequence[Recipe]) -> pd.DataFrame:
    """One row a member, with everything that the text sums up."""
    rows = []
    for entry in entries:
        member = entry.member
        trained_on, steps, seen = costs.count_steps(member, faces.labels)
        cost = costs.measure_cost(member)
        answered = member.epochs * faces.validation + faces.validation + faces.test
        row = {"table": entry.table, **dict(zip(STEP, _name_step(member, recipes), strict=True)), "cost": cost}
        row |= {
            "precision": member.recipe.precision,
            "trained_on": trained_on,
            "steps": steps,
            "seen": seen,
            "epochs": member.epochs,
        }
        rows.append(row | {"operations": seen * cost.training + answered * cost.inference})
    return pd.DataFrame(rows)


def _describe_work(table: pd.DataFrame) -> str:
    lines = ["RUNS (exact)"]
    for name, part in table.groupby("table", sort=False):
        each = f"{_range(part['epochs'])} epochs over {_range(part['trained_on'])} faces, {_range(part['steps'])} steps"
        lines.append(f"  {name:7} {len(part):4} runs of {each}; {part['seen'].sum():,} faces seen in all")
    lines += ["", "PARAMETERS (exact)"]
    for (name, settings), cost in table.groupby(STEP[1:], sort=False)["cost"].first().items():
        emotion, appearance, total, inference = (count / 1e6 for count in astuple(cost.parameters))
        parts = f"emotion branch {emotion:.2f}, appearance branch {appearance:.2f}"
        what = f"{name:12} {settings}".rstrip() if settings else f"{name:12}"
        lines.append(f"  {what} {total:6.2f} M: {parts}; an expression is predicted with {inference:.2f}")
    lines += [
        "",
        "OPERATIONS (computed: convolutions and matrix products, two for a multiply-add; all else is left out)",
    ]
    for step, cost in table.groupby(STEP, sort=False)["cost"].first().items():
        lines.append(f"  {_pad(step)} {cost.training / 1e9:9.3f} GFLOP a face and step")
    predictions = dict.fromkeys(f"{cost.inference / 1e9:.3f}" for cost in table["cost"])
    whole = table["operations"].sum() / 1e15
    return "\n".join([*lines, f"  a prediction {' or '.join(predictions)} GFLOP; the whole sweep {whole:,.2f} PFLOP"])


def _pad(step: tuple[str, str, str]) -> str:
    mix, name, settings = step
    return f"{mix:8} {name:12}" + (f" {settings}" if settings else "")


def _describe_memory(table: pd.DataFrame, recipes: Sequence[Recipe], card: Card) -> str:
    half = "; for bf16 half of the float32 is assumed" if "bf16" in set(table["precision"]) else ""
    least, most = OVERHEAD
    batch, precision, memory = (_either(recipes, name) for name in ("batch_size", "precision", "memory"))
    lines = [
        f"MEMORY of a training, batch {batch}, {precision}, memory {memory}: parameters, gradients and Adam (exact) "
        f"+ what backward needs at once (computed{half})",
        f"  CUDA and its algorithms add {least} to {most} GiB (assumed, not in the sums)",
    ]
    tight = False
    for step, cost in table.groupby(STEP, sort=False)["cost"].first().items():
        needed = cost.memory / GIB
        tight |= needed + most > card.gib
        fits = "fits" if needed + most <= card.gib else "DOES NOT FIT" if needed + least > card.gib else "is tight"
        sizes = f"{cost.fixed / GIB:.2f} + {cost.activations / GIB:.2f} = {needed:6.2f} GiB"
        lines.append(f"  {_pad(step)} {sizes}, {fits} in the {card.gib:g} GiB of the card {card.name}")
    if tight:
        lines += [
            "  What helps: --set memory=recompute, which changes no result and takes a third more operations;",
            "  memory=split_2, split_4 or split_8, precision=bf16, or a smaller batch_size, which change the training",
        ]
    return "\n".join(lines)


def _describe_hours(table: pd.DataFrame, recipes: Sequence[Recipe], number: int, card: Card) -> str:
    peaks = {name: getattr(card, name) for name in dict.fromkeys(table["precision"])}  # TFLOP/s
    if not all(peaks.values()):
        return f"HOURS: {card.name} has no bf16; use precision=float32 or another card"
    times = table["operations"] / (1e12 * table["precision"].map(peaks))
    ends = [costs.estimate_end(times / share, number) / 3600 for share in UTILISATION[::-1]]
    rates = " or ".join(f"{peak:g} TFLOP/s in {precision}" for precision, peak in peaks.items())
    low, high = (f"{share:.0%}" for share in UTILISATION)
    lines = [
        f"HOURS on {number} x {card.name}, each with a run of its own: {_hours(ends)}",
        f"  assumed: {low} to {high} of {rates} ({card.source})",
        "  not in it: what the processors take to make the batches, where that is longer; the start of each notebook",
    ]
    if max(cost.training for cost in table["cost"]) < SMALL:
        lines.append("  Networks as small as these do not reach that share: take the measured hours, or a run's own")
    return "\n".join(lines)


def _describe_measured(table: pd.DataFrame, recipes: Sequence[Recipe], runs: Sequence[Run]) -> str:
    """Time by finished runs of these recipes: measured for cells that were run, by their operations for others."""
    measured, rates, devices = {}, [], set()  # `STEP` -> seconds a face; seconds an operation
    for run in runs:
        member = run.member
        if (recipe := member.recipe) in recipes:
            cut = recipe.steps_per_epoch * recipe.batch_size
            seconds = run.seconds / (member.epochs * min(run.faces, cut or run.faces))  # for each face a step saw
            measured.setdefault(_name_step(member, recipes), []).append(seconds)
            rates.append(seconds / costs.measure_cost(member).training)
            devices.add(f"{run.device}, {run.threads} threads")
    if not measured:
        return ""
    pairs = list(zip(*(table[name] for name in STEP), strict=True))
    seconds = sum(
        seen * (np.mean(measured[pair]) if pair in measured else np.mean(rates) * cost.training)
        for pair, cost, seen in zip(pairs, table["cost"], table["seen"], strict=True)
    )
    return (
        f"HOURS as {len(rates)} finished runs of this recipe took (measured on {'; '.join(sorted(devices))}): "
        f"{_hours([seconds / 3600])} of training, one run after the other\n  measured for "
        f"{len(measured.keys() & set(pairs))} of {len(set(pairs))} pairs of mix and backbone, scaled by the operations "
        "for the others; the start of each notebook comes on top"
    )


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _hours(ends: Sequence[float]) -> str:
    factor, unit = (1, "h") if ends[-1] >= 1 else (60, "min")
    return f"{' to '.join(f'{factor * end:.1f}' for end in ends)} {unit}"
