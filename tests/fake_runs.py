"""Runs that were never trained: a result and predictions, written as a training would leave them."""

from pathlib import Path

import numpy as np

from lsdkit import metrics, results
from lsdkit.experiment import member_from_parameters
from lsdkit.expressions import EXPRESSIONS

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


def leave_run(root: Path, cell: tuple, seed: int, keys: list[str], labels: np.ndarray, stack: np.ndarray, **changes):
    """Write the run of a cell (mix, appearance, basic augmentation, bag); returns its folder.

    `changes`: kind, store, weights, split of the result; others are parameters of the notebook, such as RECIPE.
    """
    given = {name: changes.pop(name) for name in ("kind", "store", "weights", "split", "counts") if name in changes}
    mix, appearance, basic, bag = cell
    parameters = {"RECIPE": "smoke", "MIX": mix, "APPEARANCE": appearance, "BASIC_AUG": bool(basic), **changes}
    member = member_from_parameters(BAG=bag, SEED=seed, **parameters)
    folder, split = root / member.name, given.get("split", "validation")
    table = results.prediction_table(keys, [split] * len(keys), labels, stack)
    results.write_table(folder / "predictions.csv", table)
    score = metrics.macro_f1(*results.labelled(table, split))
    results.write_result(
        folder,
        {
            "name": member.name,
            "member": member.spec(),
            "spec_hash": member.spec_hash(),
            "kind": given.get("kind", "rendered"),
            "metrics": {"val_macro_f1": score},
            "best_epoch": 1,
            "counts": {"trained_on": dict.fromkeys(EXPRESSIONS, 8)} | given.get("counts", {}),
            "seconds": 1.0,
            "seed": seed,
            "weights": given.get("weights", {}),
            "weights_sha256": "0" * 64,
            "store": given.get("store", {"path": "/nowhere/open", "checksums": {"images.npy": "1"}}),
        },
    )
    return folder


def leave_matrix(root: Path, right, strong=(0,), weak=(0,), count: int = 240, cells=None, **changes) -> dict:
    """Write the 42 cells with these seeds of strong and weak members; returns (cell, seed) -> answers (B,).

    `right`: share of right answers, a function of (cell, seed).
    """
    keys, labels = faces(count)
    found = {}
    for cell in cells or STRONG + EXTRA + WEAK:
        for seed in weak if cell[3] else strong:
            stack = answers(labels, right(cell, seed), len(found))
            leave_run(root, cell, seed, keys, labels, stack, **changes)
            found[cell, seed] = stack
    return found
