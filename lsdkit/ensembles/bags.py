"""Who is in which bag: the training faces of members, the faces that two of them share, and what chance makes of it."""

from collections.abc import Sequence

import numpy as np

from lsdkit.data.store import Store
from lsdkit.training.runs import Run


def read_bags(runs: Sequence[Run], store: Store) -> tuple[np.ndarray, np.ndarray]:
    """Which training faces each run learned from, bool (M, N), and the class of each of these N faces, (N,).

    The N faces are those of the store's training split that any member could have learned from: of known class. A face
    that a bag holds twice counts once. Raises `FileNotFoundError` where a run left no bag.csv, and `ValueError` where
    it names faces that are not among the store's training faces.
    """
    rows = store.rows("train")
    rows = rows[store.labels[rows] >= 0]
    held = np.zeros((len(runs), len(rows)), dtype=bool)
    for own, run in zip(held, runs, strict=True):
        bag = run.read_bag()
        strange = np.setdiff1d(bag["row"], rows)
        if len(strange):
            raise ValueError(
                f"Expected the bag of {run.folder} to hold training faces of {store.path}, but row {strange[0]} is "
                "none; name the store that it was trained on"
            )
        own[:] = np.isin(rows, bag["row"])
    return held, store.labels[rows]


def overlap(held: np.ndarray) -> np.ndarray:
    """The share of a member's faces (row) that another (column) learned from too, (M, M), from bool (M, N).

    >>> overlap(np.array([[True, True, False], [False, True, True]])).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    held = np.asarray(held, dtype=np.float64)
    return held @ held.T / held.sum(1, keepdims=True)


def expected_overlap(held: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`overlap` as chance makes it on average where each bag is drawn by itself, class by class, as these are, (M, M).

    Of a class with N_c faces, of which two bags hold n and m, they share n m / N_c. The diagonal is 1.
    """
    held, labels = np.asarray(held, dtype=np.float64), np.asarray(labels)
    classes = np.unique(labels)
    counts = np.stack([held[:, labels == each].sum(1) for each in classes], axis=1)  # (M, C)
    sizes = np.array([(labels == each).sum() for each in classes])  # (C,)
    shared = (counts / sizes) @ counts.T / held.sum(1, keepdims=True)
    np.fill_diagonal(shared, 1)
    return shared


def find_distinct(held: np.ndarray) -> np.ndarray:
    """Positions of the members whose faces no earlier member has exactly, and who lack some face: different bags.

    >>> find_distinct(np.array([[1, 1, 1], [1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)).tolist()
    [1, 3]
    """
    held = np.asarray(held, dtype=bool)
    first = np.unique(held, axis=0, return_index=True)[1]
    return np.array([place for place in sorted(first) if not held[place].all()], dtype=np.int64)


def count_bags(held: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of the faces that are in 0, 1, ..., M of these bags, (M + 1,), and the same as chance makes it.

    By chance a face of a class is in each bag, whatever the others hold, with the share of its class that is in it.
    """
    held, labels = np.asarray(held, dtype=bool), np.asarray(labels)
    number, faces = held.shape
    expected = np.zeros(number + 1)
    for each in np.unique(labels):
        of_class, chances = labels == each, np.ones(1)
        for share in held[:, of_class].mean(1):
            chances = np.convolve(chances, [1 - share, share])
        expected += chances * of_class.sum() / faces
    return np.bincount(held.sum(0), minlength=number + 1) / faces, expected


def describe_bags(held: np.ndarray, labels: np.ndarray) -> str:
    """Who saw what, in sentences, from `read_bags`.

    >>> held = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0]], dtype=bool)
    >>> describe_bags(held, np.zeros(4)).partition(": ")[0]
    '1 of 3 members saw all 4 training faces. 2 different bags'
    >>> describe_bags(held, np.zeros(4)).partition(": ")[2].partition("; ")[0]
    'two of them share 50% of their faces, by chance 50%'
    """
    whole, bags = int(np.asarray(held).all(1).sum()), find_distinct(held)
    told = [f"{whole} of {len(held)} members saw all {len(labels):,} training faces."]
    copies = len(held) - whole - len(bags)
    if copies:
        told.append(f"{copies} of the others saw exactly the faces of another member: bags of one number are the same.")
    if len(bags) > 1:
        pairs = ~np.eye(len(bags), dtype=bool)
        shared, expected = overlap(held[bags])[pairs].mean(), expected_overlap(held[bags], labels)[pairs].mean()
        found, chance = count_bags(held[bags], labels)
        told.append(
            f"{len(bags)} different bags: two of them share {shared:.0%} of their faces, by chance {expected:.0%}; "
            f"{found[0]:.0%} of the faces are in none, by chance {chance[0]:.0%}."
        )
    return " ".join(told)
