"""The copies in a store: equal pixels, near fingerprints and mirror images, within and across splits."""

from itertools import product

import numpy as np
import pandas as pd

from lsdkit.data.audit import fingerprints
from lsdkit.data.store import SPLITS, Store

METHOD = "sign of the 256 lowest DCT frequencies of the grey picture, compared in 16 bands"
NAMED = 5  # pairs of each kind and two splits that are named in a report
MOST_EDGES = 2_000_000  # pairs of near fingerprints kept: beyond it a report says that it is not complete
MOST_PAIRS = 5_000  # pairs of faces listed
QUERIES = 256  # faces of a split whose nearest training face is looked up
_LABELS = 9  # unknown, then the eight classes


def find_copies(
    store: Store, prints: np.ndarray, digests: np.ndarray, threshold: int = fingerprints.THRESHOLD
) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """(report, pairs, nearest) of a store, from its fingerprints uint64 (N, 4) and digests (N,) of the pixels.

    pairs: row numbers first and second, kind ("exact", "near", "mirrored") and bits, those across splits first, then by
    bits; at most 5,000. nearest: row, nearest (a training face's row) and bits for up to 256 faces of each other
    split, evenly spaced. The report counts every pair, by the two splits and by whether the expressions differ.
    """
    split = store.faces["split"].map({name: place for place, name in enumerate(SPLITS)}).to_numpy(np.int64)
    category, size = split * _LABELS + store.labels + 1, len(SPLITS) * _LABELS
    same = np.unique(digests, return_inverse=True)[1].reshape(-1)
    codes, code = np.unique(prints, axis=0, return_inverse=True)
    code = code.reshape(-1)
    near, whole = _find_edges(codes, threshold, None)
    turned, whole_too = _find_edges(codes, threshold, codes ^ fingerprints.mirror(store.manifest["size"]))
    exact_table = fingerprints.count_pairs(category, same, size)
    tables = {
        "exact": exact_table,
        "near": fingerprints.count_pairs(category, code, size, near) - exact_table,
        "mirrored": fingerprints.count_pairs(category, code, size, turned, equal=False),
    }
    pairs = _list_pairs(split, same, code, {"near": near, "mirrored": turned})
    kinds = [pairs["kind"], *(split[pairs[side].to_numpy(np.int64)] for side in ("first", "second"))]
    some = pairs.groupby(kinds).head(NAMED)  # of each kind and each two splits, in the order of `pairs`
    nearest = _look_up_nearest(store, prints)
    edges = (np.concatenate(sides) for sides in zip(near[:2], turned[:2], strict=True))
    group = fingerprints.group_codes(len(codes), *edges)
    faces_of_group = np.bincount(group[code])
    report = {
        "method": METHOD,
        "threshold": threshold,
        "complete": whole and whole_too,
        "pairs": {kind: _count_by_split(table) for kind, table in tables.items()},
        "pairs_of_two_expressions": {kind: _count_conflicts(table) for kind, table in tables.items()},
        "groups": int((faces_of_group > 1).sum()),
        "faces_in_groups": int(faces_of_group[faces_of_group > 1].sum()),
        "faces_with_copy_in_train": _count_reached(split, code, (near, turned)),
        "named": _name_pairs(store, some, "first", "second"),
        "nearest_in_train": _summarise(store, nearest),
    }
    return report, pairs, nearest


def _find_edges(codes: np.ndarray, threshold: int, other: np.ndarray | None) -> tuple[tuple, bool]:
    """((first, second, bits) of codes that are near, whether these are all)."""
    pieces, kept = [(np.zeros(0, np.int64),) * 3], 0
    for piece in fingerprints.near_pairs(codes, threshold, other):
        pieces.append(piece)
        kept += len(piece[0])
        if kept > MOST_EDGES:
            break
    return tuple(map(np.concatenate, zip(*pieces, strict=True))), kept <= MOST_EDGES


def _list_pairs(split: np.ndarray, same: np.ndarray, code: np.ndarray, edges: dict[str, tuple]) -> pd.DataFrame:
    """Named examples: neighbours among faces of equal code, and the first face of each split for each edge."""
    order = np.lexsort((same, split, code))
    left, right = order[:-1], order[1:]
    equal = code[left] == code[right]
    left, right = left[equal], right[equal]
    kinds = np.where(same[left] == same[right], "exact", "near")
    parts = [pd.DataFrame({"first": left, "second": right, "kind": kinds, "bits": 0})]
    holder = np.full((int(code.max(initial=-1)) + 1, len(SPLITS)), -1)  # (U, splits) the first face of each code
    holder[code[::-1], split[::-1]] = np.arange(len(code))[::-1]
    for kind, (first, second, bits) in edges.items():
        several = ((holder[first] >= 0) | (holder[second] >= 0)).sum(1) > 1
        keep = np.lexsort((bits, ~several))[:MOST_PAIRS]
        for one, two in product(range(len(SPLITS)), repeat=2):
            rows, others = holder[first[keep], one], holder[second[keep], two]
            both = (rows >= 0) & (others >= 0)
            part = {"first": rows[both], "second": others[both], "kind": kind, "bits": bits[keep][both]}
            parts.append(pd.DataFrame(part))
    pairs = pd.concat(parts, ignore_index=True)
    pairs[["first", "second"]] = np.sort(pairs[["first", "second"]], axis=1)
    within = split[pairs["first"].to_numpy(np.int64)] == split[pairs["second"].to_numpy(np.int64)]
    pairs = pairs.assign(within=within).sort_values(["within", "bits", "first", "second"], kind="stable")
    return pairs.drop_duplicates(["first", "second"]).drop(columns="within").head(MOST_PAIRS).reset_index(drop=True)


def _count_by_split(table: np.ndarray) -> dict[str, int]:
    """{"train": n within it, "train-test": n across, ...}, pairs that do not occur left away."""
    counts = np.triu(table).reshape(len(SPLITS), _LABELS, len(SPLITS), _LABELS).sum((1, 3))  # (splits, splits)
    return {
        SPLITS[one] if one == two else f"{SPLITS[one]}-{SPLITS[two]}": int(counts[one, two])
        for one, two in np.argwhere(counts)
    }


def _count_conflicts(table: np.ndarray) -> int:
    """Pairs whose two expressions are known and differ."""
    label = np.arange(len(table)) % _LABELS
    differ = (label[:, None] != label) & (label[:, None] > 0) & (label > 0)
    return int(np.triu(table * differ).sum())


def _count_reached(split: np.ndarray, code: np.ndarray, edges: tuple) -> dict[str, int]:
    """Faces of each other split that have an exact, near or mirrored copy in training."""
    train = np.zeros(int(code.max(initial=-1)) + 1, bool)
    train[code[split == SPLITS.index("train")]] = True
    reached = train.copy()
    for first, second, _ in edges:
        reached[first[train[second]]] = True
        reached[second[train[first]]] = True
    others = [(place, name) for place, name in enumerate(SPLITS) if name != "train" and (split == place).any()]
    return {name: int(reached[code[split == place]].sum()) for place, name in others}


def _look_up_nearest(store: Store, prints: np.ndarray) -> pd.DataFrame:
    train, parts = store.rows("train"), [pd.DataFrame({"row": [], "nearest": [], "bits": []}, dtype=np.int64)]
    for name in SPLITS:
        rows = store.rows(name)
        if name != "train" and len(train) and len(rows):
            rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), QUERIES)).astype(np.int64)]
            best, bits = fingerprints.find_nearest(prints[rows], prints[train])
            parts.append(pd.DataFrame({"row": rows, "nearest": train[best], "bits": bits}))
    return pd.concat(parts, ignore_index=True).sort_values("bits", kind="stable", ignore_index=True)


def _summarise(store: Store, nearest: pd.DataFrame) -> dict[str, dict]:
    split = store.faces["split"].to_numpy()[nearest["row"].to_numpy()]
    return {
        name: {
            "looked_up": len(part),
            "bits_least_median": [int(part["bits"].min()), float(part["bits"].median())],
            "named": _name_pairs(store, part.head(NAMED), "row", "nearest"),
        }
        for name, part in nearest.groupby(split)
    }


def _name_pairs(store: Store, rows: pd.DataFrame, first: str, second: str) -> list[dict]:
    """Pairs with keys for row numbers, and where they lie: "train" or "train-test"."""
    split, pairs = store.faces["split"].to_numpy(), []
    for pair in rows.to_dict("records"):
        both = {split[pair[first]], split[pair[second]]}
        where = "-".join(name for name in SPLITS if name in both)
        pairs.append({**pair, first: store.keys[pair[first]], second: store.keys[pair[second]], "where": where})
    return pairs
