"""Which faces a member is trained on, and in which order it sees them."""

import warnings

import numpy as np
import torch

from lsdkit.common.expressions import CLASSES, EXPRESSIONS
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import Store
from lsdkit.method.bagging import draw_bag
from lsdkit.recipes import Member


def batches(member: Member, rows: np.ndarray, labels: np.ndarray, epoch: int) -> list[np.ndarray]:
    """The rows of each step of an epoch (from 0): a shuffle that is a function of (seed, bag, epoch).

    `labels` are those of `rows`, both (N,). With balanced sampling as many rows are drawn, with replacement, each class
    equally likely. A last batch of one face is left out: batch norm has no variance for it. `steps_per_epoch` of the
    recipe keeps the first steps only.
    """
    recipe, generator = member.recipe, torch_generator(member.seed, "order", member.bag, epoch)
    if recipe.sampling == "balanced":
        classes = torch.from_numpy(labels)
        chances = 1 / torch.bincount(classes).double()[classes]  # (N,): those of each class sum to 1
        order = rows[torch.multinomial(chances, len(rows), replacement=True, generator=generator).numpy()]
    else:
        order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    size = recipe.batch_size
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    parts = parts[:-1] if len(parts[-1]) == 1 else parts
    return parts[: recipe.steps_per_epoch or None]


def training_rows(member: Member, store: Store) -> tuple[np.ndarray, list[str]]:
    """Rows of the store that a member is trained on, and notes on what is unusual about them.

    Faces of neutral and contempt, in a store's split "extra", belong to them where the recipe learns those classes.
    Raises `ValueError` where fewer than two classes are left, or where no validation face is labelled. A class without
    training faces is a warning.
    """
    classes, train = member.recipe.classes, store.rows("train")
    if classes > len(EXPRESSIONS):
        train = np.union1d(train, store.rows("extra"))
    rows = train[draw_bag(store.labels[train], member.bag, member.seed, member.recipe)]
    counts = np.bincount(store.labels[rows], minlength=classes)
    if (counts > 0).sum() < 2:
        raise ValueError(
            f"Expected training faces of at least two expressions in {store.path}, but got {count_by_name(counts)}; "
            "check the folder that the store was prepared from"
        )
    if not store.counts("validation").sum():
        raise ValueError(
            f"Expected labelled validation faces in {store.path}, because the kept epoch is chosen by them, but there "
            "are none; prepare the store with a validation split"
        )
    notes = []
    if (counts == 0).any():
        absent = ", ".join(name for name, count in count_by_name(counts).items() if not count)
        notes.append(f"No training face shows {absent}: such a class can only score 0, which lowers the macro F1")
        warnings.warn(notes[-1], stacklevel=3)
    if not np.isfinite(store.landmarks[rows]).any():
        notes.append("No training face has landmarks: the appearance branch learned nothing")
    if member.recipe.steps_per_epoch:
        notes.append(f"Each epoch was cut to its first {member.recipe.steps_per_epoch} steps: a dry run")
    elif len(rows) % member.recipe.batch_size == 1:
        notes.append("The last batch of each epoch holds one face, too few for batch norm: it was dropped")
    return rows, notes


def count_by_name(counts: np.ndarray) -> dict[str, int]:
    """Counts (K,) by the name of the expression."""
    return dict(zip(CLASSES, map(int, counts), strict=False))
