"""Runs that were never trained: a result and predictions, written as a training would leave them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import write_table
from lsdkit.data.store import Store
from lsdkit.method import metrics
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.recipes import Member
from lsdkit.training.predictions import answers_of, prediction_table
from lsdkit.training.runs import Run, write_run

STRONG = [(mix, name, basic, 0) for mix in ("mixaugment", "mixup") for name in ("vggface2", "dino") for basic in (1, 0)]
EXTRA = [(mix, "mobilevitv2", basic, 0) for mix in ("mixaugment", "mixup") for basic in (1, 0)]
WEAK = [
    (mix, name, 1, bag)
    for mix in ("mixaugment", "mixup")
    for name in ("vggface2", "dino", "mobilevitv2")
    for bag in range(1, 6)
]


def faces(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Keys and labels (B,)."""
    return [f"face{i}" for i in range(count)], np.random.default_rng(seed).integers(0, 6, count)


def answers(labels: np.ndarray, right: float, seed: int) -> np.ndarray:
    """Probabilities (B, 6) whose argmax is right on about this share of the faces."""
    generator = np.random.default_rng(seed)
    guess = np.where(generator.random(len(labels)) < right, labels, generator.integers(0, 6, len(labels)))
    probabilities = generator.dirichlet(np.ones(6), len(labels)) + 0.7 * np.eye(6)[guess]
    return probabilities / probabilities.sum(1, keepdims=True)


def make_run(folder: Path, member: Member, **changes) -> Run:
    """A finished run of which nothing is written; `changes` are fields of `Run`, or its "store", of path and checksums.

    >>> make_run(Path("runs/one"), Member.of("smoke")).val_macro_f1
    0.5
    """
    store = changes.pop("store", {"path": "/nowhere/open", "checksums": {"images.npy": "1"}})
    given = {
        "kind": "rendered",
        "store": store["path"],
        "checksums": store["checksums"],
        "metrics": {"val_macro_f1": 0.5},
        "best_epoch": 1,
        "counts": {"trained_on": dict.fromkeys(EXPRESSIONS, 8)},
        "seconds": 1.0,
        "spec_hash": member.spec_hash(),
        "weights_sha256": "0" * 64,
    }
    return Run(folder=folder, member=member, **{**given, **changes})


def store_of(store: Store) -> dict:
    """What runs on a store say of it."""
    return {"path": str(store.path), "checksums": store.manifest["checksums"]}


def leave(run: Run, keys: list[str], splits: list[str], labels: np.ndarray, stack: np.ndarray) -> Run:
    """Write a run with these predictions (B, 6), and its score on the faces of the first one's split; returns it."""
    table = prediction_table(keys, splits, labels, stack)
    write_table(run.folder / "predictions.csv", table)
    run = replace(run, metrics={**run.metrics, "val_macro_f1": metrics.macro_f1(*answers_of(table, splits[0]))})
    write_run(run)
    return run


def leave_run(root: Path, cell: tuple, seed: int, keys: list[str], labels: np.ndarray, stack: np.ndarray, **changes):
    """Write the run of a cell (mix, appearance, basic augmentation, bag); returns its folder.

    `changes`: kind, store, weights, counts of the run, split of the faces; others are parameters of the notebook, such
    as RECIPE.
    """
    given = {name: changes.pop(name) for name in ("kind", "store") if name in changes}
    given["started_from"], split = changes.pop("weights", {}), changes.pop("split", "validation")
    given["counts"] = {"trained_on": dict.fromkeys(EXPRESSIONS, 8)} | changes.pop("counts", {})
    mix, appearance, basic, bag = cell
    parameters = {"RECIPE": "smoke", "MIX": mix, "APPEARANCE": appearance, "BASIC_AUG": bool(basic), **changes}
    member = member_from_parameters(BAG=bag, SEED=seed, **parameters)
    return leave(make_run(root / member.name, member, **given), keys, [split] * len(keys), labels, stack).folder


def leave_matrix(root: Path, right, strong=(0,), weak=(0,), count: int = 240, cells=None, **changes) -> dict:
    """Write the 42 cells with these seeds of strong and weak members; returns (cell, seed) -> answers (B,).

    `right`: share of right answers, a function of (cell, seed).
    """
    keys, labels = faces(count)
    left = {}
    for cell in cells or STRONG + EXTRA + WEAK:
        for seed in weak if cell[3] else strong:
            stack = answers(labels, right(cell, seed), len(left))
            leave_run(root, cell, seed, keys, labels, stack, **changes)
            left[cell, seed] = stack
    return left
