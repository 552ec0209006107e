"""Fewer faces to train on: which ones, and a store in which they are repeated to as many as there were."""

import hashlib
from pathlib import Path

import numpy as np

from lsdkit.common.seeds import numpy_generator
from lsdkit.data.combining import derive_store
from lsdkit.data.store import Store
from lsdkit.training.evaluation import labelled_rows


def choose_faces(store: Store, number: int, seed: int) -> np.ndarray:
    """`number` training rows of a store, each class with its share, ascending.

    Those of a smaller number are among them. Raises `ValueError` where there are fewer.
    """
    rows = labelled_rows(store, "train")
    if not 0 < number <= len(rows):
        raise ValueError(f"Expected 1 to {len(rows)} faces, the number there is to train on, but got {number}")
    generator, order = numpy_generator(seed, "ablation"), np.empty(len(rows))
    for label in np.unique(store.labels[rows]):
        (places,) = np.nonzero(store.labels[rows] == label)
        order[generator.permutation(places)] = (np.arange(len(places)) + 0.5) / len(places)  # share of the class so far
    return np.sort(rows[np.argsort(order, kind="stable")[:number]])


def repeat_faces(store: Store, chosen: np.ndarray, out: Path | str) -> Store:
    """The store with the rows `chosen` in place of its training faces, each class repeated to as many as it had.

    So a training takes as many steps from fewer faces. Repeats have keys of their own, KEY+1 and so on.
    """
    labels, train = store.labels, store.rows("train")
    repeats = [
        np.resize(chosen[labels[chosen] == label], (labels[train] == label).sum())
        for label in np.unique(labels[chosen])
    ]
    rows = np.concatenate([*repeats, store.rows("validation"), store.rows("test")])
    faces = store.faces.iloc[rows].reset_index(drop=True)
    again = faces.groupby("key").cumcount()
    faces["key"] = faces["key"].where(again == 0, faces["key"] + "+" + again.astype(str))
    settings = {"reader": "repeated", "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
    return derive_store(store, out, settings, faces, (store.images[row] for row in rows), store.landmarks[rows])
