"""Emotion pre-training: the emotion branch alone, trained on other faces before it is trained on LSD.

The paper's emotion branch was pre-trained on AffectNet, ExpW and AI-Hub (section 2.2), which are given out only on
agreement, and it does not say how. Here a single-task member (no appearance branch, no landmarks) is trained on each
store in turn, each starting from the one before, or on all stores joined. What comes out is a run like any other:
its folder is a source of weights, and a member that starts from it takes the rows of the six expressions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lsdkit.common.devices import choose_device
from lsdkit.common.expressions import CLASSES
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.combining import join_stores
from lsdkit.data.store import Store
from lsdkit.recipes import NO_APPEARANCE, Member, Recipe, check_choice, find_recipe
from lsdkit.training.member import train_member
from lsdkit.training.runs import Run
from lsdkit.training.starting import fingerprint_sources

ORDERS = ("sequential", "joined")
JOINED = "joined"  # the joined store's folder


@dataclass(frozen=True)
class Pretrained:
    """The runs of a pre-training, in order. `folder` is the last one's: what EMOTION_WEIGHTS is to name."""

    runs: tuple[Run, ...]

    @property
    def folder(self) -> Path:
        return self.runs[-1].folder

    def __str__(self) -> str:
        lines = [
            f"{project_path(run.folder)}: {run.faces} faces, validation macro F1 {run.val_macro_f1:.3f} at epoch "
            f"{run.best_epoch}"
            for run in self.runs
        ]
        return "\n".join([*lines, f"Use it with EMOTION_WEIGHTS={project_path(self.folder)}"])


def pretrain(
    stores: Sequence[str | Path],
    out: str | Path,
    *,
    order: str = "sequential",
    classes: int = 8,
    recipe: Recipe | str = "paper",
    weights: str = "",
    mix: str = "mixaugment",
    seed: int = 0,
    epochs: int = 0,
    kind: str = "",
    device: str = "auto",
    progress: bool = True,
) -> Pretrained:
    """Train the emotion branch on stores of faces; its runs are left in `out`/1-<store>, `out`/2-<store>, ...

    Args:
        stores: folders of prepared stores, in the order of training.
        order: "sequential": a run on each store, which starts from the run before; "joined": one run on all of them
            (see `lsdkit.data.combining`; the joined store goes to `out`/joined).
        classes: 6, 7 with neutral, 8 with neutral and contempt. Their faces lie in the stores' split "extra". The
            epoch that is kept is chosen on the six expressions of the validation faces, as in every training.
        recipe: a recipe, or its name.
        weights: where the first run's emotion branch starts; "" = as the recipe says.
        mix, seed, epochs: as in a member; epochs 0 = the recipe's, for each run.
        kind: see `join_stores`.

    Finished runs are kept, and one that was interrupted goes on. Raises, before any training, `ValueError` where a
    store (or all of them, joined) has no training face of a class that `classes` asks for or no labelled validation
    face, and as `train_member` does.
    """
    check_choice("order", order, ORDERS)
    if kind and order != JOINED:
        raise ValueError(f"Expected `kind` for order 'joined' only, but got {kind!r} with {order!r}")
    choose_device(device)
    base = replace(find_recipe(recipe), classes=classes)
    base = base.with_source("emotion", weights) if weights else base
    base = replace(base, weights=tuple(pair for pair in base.weights if pair[0] == "emotion"))
    options = {"mix": mix, "appearance": NO_APPEARANCE, "seed": seed, "epochs": epochs}
    Member(recipe=base, **options)  # wrong values end here
    if not len(stores):
        raise ValueError("Expected at least one store to pre-train on, but got none; see docs/pretraining.md")
    fingerprint_sources(base, NO_APPEARANCE)  # a missing file ends here
    out, opened = resolve(out), [Store.open(resolve(path)) for path in stores]
    if order == JOINED and len(opened) > 1:
        check_classes(opened, classes)
        opened = [join_stores([store.path for store in opened], out / JOINED, kind=kind, progress=progress)]
    for store in opened:
        check_classes([store], classes)
    runs = []
    for number, store in enumerate(opened, start=1):
        member, folder = Member(recipe=base, **options), out / f"{number}-{store.path.name}"
        runs.append(train_member(member, store, folder, device=device, progress=progress))
        base = base.with_source("emotion", str(project_path(folder)))
    return Pretrained(tuple(runs))


def count_classes(stores: Sequence[Store]) -> np.ndarray:
    """int64 (8,): training faces of each class over these stores, neutral and contempt of their split "extra"."""
    total = np.zeros(len(CLASSES), np.int64)
    for store in stores:
        labels = store.labels[np.concatenate([store.rows("train"), store.rows("extra")])]
        total += np.bincount(labels[labels >= 0], minlength=len(CLASSES))
    return total


def check_classes(stores: Sequence[Store], classes: int) -> None:
    """Raise `ValueError` unless the stores together have training faces of each of the first K classes, and validation
    faces of the six."""
    counts, names = count_classes(stores), " + ".join(str(store.path) for store in stores)
    absent = [name for name, count in zip(CLASSES[:classes], counts, strict=False) if not count]
    if absent:
        found = ", ".join(f"{count} {name}" for name, count in zip(CLASSES, counts, strict=True) if count)
        fits = next((k for k in (8, 7, 6) if k < classes and counts[:k].all()), None)
        hint = f"use {fits} classes" if fits else "choose another store"
        raise ValueError(
            f"Expected training faces of {', '.join(CLASSES[:classes])} in {names}, but there are none of "
            f"{', '.join(absent)} (found: {found or 'nothing'}); {hint}, or join it with a store that has them"
        )
    if not sum(store.counts("validation").sum() for store in stores):
        raise ValueError(
            f"Expected labelled validation faces in {names}, because the kept epoch is chosen by them, but there are "
            "none; prepare it with a validation split"
        )
