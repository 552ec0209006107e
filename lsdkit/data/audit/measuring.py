"""What is in a store: classes, subjects, copies, pictures, drift between splits, landmarks. Nothing is changed.

`audit` measures in one pass over the pixels and returns plain values with the findings of `findings`; `report` writes
them and draws the figures. Memory is bounded by the number of faces (some 2 kB each), not by their pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.expressions import CLASSES, EXPRESSIONS, recognise
from lsdkit.common.landmarks import plausible
from lsdkit.data import shapes
from lsdkit.data.audit.copies import find_copies
from lsdkit.data.audit.findings import FEW, rank_findings
from lsdkit.data.audit.fingerprints import THRESHOLD
from lsdkit.data.audit.levels import MEASURES, difference, measure_pictures
from lsdkit.data.store import SPLITS, Store

FORMAT = 1  # of audit.json
NAMED = 20  # faces that are named under each heading
FLAT, GREY = 4.0, 0.5  # grey levels: contrast and colour below which a picture is flat, or grey


@dataclass
class Audit:
    """Measurements of a store: `report` is what audit.json holds.

    faces: a row a face, the store's order: key, split, expression, subject, brightness, contrast, colour, detail (grey
    levels), source_size (pixels, NaN unknown), shape_distance (0 to 1, NaN without landmarks).
    pairs, nearest: see `lsdkit.data.audit.copies.find_copies`.
    """

    report: dict
    faces: pd.DataFrame
    pairs: pd.DataFrame
    nearest: pd.DataFrame


def audit(store: Store, *, threshold: int = THRESHOLD, sources: bool = True, progress: bool = True) -> Audit:
    """Measure a store.

    threshold: bits of 256 in which two fingerprints may differ and still be called copies, 0 to 15; `ValueError`
    outside. sources: also read the size of each source image, where the files are still there.
    """
    damage = ""
    try:
        store.verify()
    except ValueError as error:
        damage = str(error)
    levels, prints, digests = measure_pictures(store.images, progress=progress)
    faces = pd.concat([store.faces[["key", "split", "expression", "subject"]], levels], axis=1)
    faces["source_size"] = measure_sources(store) if sources else np.nan
    faces["shape_distance"] = shapes.distances(store.landmarks)
    copies, pairs, nearest = find_copies(store, prints, digests, threshold)
    lost, splits = store.left_out, [name for name in SPLITS if (faces["split"] == name).any()]
    report = {
        "format": FORMAT,
        "store": {"name": store.path.name, "kind": store.kind, "faces": len(store), "size": store.manifest["size"]},
        "damage": damage,
        "splits": splits,
        "counts": store.manifest["counts"],
        "classes": {split: _measure_balance(store.counts(split)) for split in splits if store.counts(split).sum()},
        "subjects": _measure_subjects(faces, splits),
        "copies": copies,
        "images": _measure_images(store, faces),
        "left_out": {
            "images": len(lost),
            "reasons": lost["reason"].value_counts().to_dict(),
            "no_face_by_class": count_lost(store),
            "named": lost.head(NAMED).to_dict("records"),
        },
        "drift": _measure_drift(faces, splits),
        "class_share_of_variance": _measure_shortcuts(faces),
        "landmarks": _measure_landmarks(store, faces),
    }
    return Audit({**report, "findings": rank_findings(report)}, faces, pairs, nearest)


def measure_sources(store: Store) -> np.ndarray:
    """float64 (N,): square root of width x height of each face's source image, pixels; NaN where the file is gone.

    Only the head of each file is read. Paths are looked up in the recorded source and beside the store.
    """
    recorded, first = Path(store.manifest["source"]), store.faces["path"].iloc[0]
    roots = (recorded, recorded.parent, store.path.parent / recorded.name)
    root = next((root for root in roots if (root / first).is_file()), None)
    sizes = np.full(len(store), np.nan)
    for row, path in enumerate(store.faces["path"] if root is not None else ()):
        try:
            with Image.open(root / path) as image:
                sizes[row] = np.sqrt(image.width * image.height)
        except OSError:  # gone or changed since: its size stays unknown
            continue
    return sizes


def _measure_balance(counts: np.ndarray) -> dict:
    """Largest and smallest class, their ratio with absent classes aside, and the evenness: entropy over log 6."""
    share = counts[counts > 0] / counts.sum()
    return {
        "largest": EXPRESSIONS[int(counts.argmax())],
        "smallest": EXPRESSIONS[int(np.where(counts > 0, counts, counts.max() + 1).argmin())],
        "ratio": float(counts.max() / counts[counts > 0].min()),
        "evenness": float(-(share * np.log(share)).sum() / np.log(len(EXPRESSIONS))),
        "absent": [name for name, count in zip(EXPRESSIONS, counts, strict=True) if not count],
        "fewest": int(counts[counts > 0].min()),
    }


def _measure_subjects(faces: pd.DataFrame, splits: Sequence[str]) -> dict:
    """Subjects of each split, those in two, and the share of each training class that its largest subject has."""
    known = faces[faces["subject"] != ""]
    groups = {split: set(known["subject"][known["split"] == split]) for split in splits}
    shared = []
    for first, second in combinations(splits, 2):
        if both := sorted(groups[first] & groups[second]):
            rows = (known["split"] == second) & known["subject"].isin(both)
            names = {"subjects": len(both), "named": both[:NAMED], "faces_in_second": int(rows.sum())}
            shared.append({"first": first, "second": second, **names})
    train = known[(known["split"] == "train") & known["expression"].isin(EXPRESSIONS)]
    whole = faces["expression"][faces["split"] == "train"].value_counts()
    largest = {}
    for name, counts in train.groupby("expression")["subject"].value_counts().groupby(level=0):
        share = float(counts.max() / whole[name])
        largest[name] = {"subject": counts.idxmax()[1], "faces": int(counts.max()), "share": share}
    each = train["subject"].value_counts()
    return {
        "known_share": len(known) / len(faces),
        "count": {split: len(names) for split, names in groups.items()},
        "train_faces_least_median_most": [int(each.min()), float(each.median()), int(each.max())] if len(each) else [],
        "shared": shared,
        "largest_of_class": largest,
    }


def _measure_images(store: Store, faces: pd.DataFrame) -> dict:
    """Grey, flat and enlarged pictures: number, share of each split and of each class of 20 faces and more."""
    known, tiny = faces["source_size"].notna(), faces["source_size"] < store.manifest["size"]
    marks = {"grey": faces["colour"] < GREY, "flat": faces["contrast"] < FLAT, "tiny": tiny}
    measures = {"source_sizes_known": int(known.sum())}
    for name, mark in marks.items():
        among = mark[known] if name == "tiny" else mark
        rows = faces.loc[among.index]
        sizes = rows["expression"].value_counts()
        labelled = rows["expression"].isin(sizes.index[sizes >= FEW]) & (rows["expression"] != "")
        measures[name] = {
            "faces": int(among.sum()),
            "share_by_split": _round(among.groupby(rows["split"]).mean()),
            "share_by_class": _round(among[labelled].groupby(rows["expression"][labelled]).mean()),
            "named": rows["key"][among].head(NAMED).tolist(),
        }
    return measures


def count_lost(store: Store) -> dict[str, dict]:
    """Photographs without a face by expression, {name: {lost, of, share}}; empty where none is lost or known."""
    classes = store.left_out["path"][store.left_out["reason"] == "no_face"].map(_class_of_path)
    kept, share = store.faces["expression"].value_counts(), {}
    for name in CLASSES:
        gone, here = int((classes == name).sum()), int(kept.get(name, 0))
        if gone + here and (classes != "").any():
            share[name] = {"lost": gone, "of": gone + here, "share": gone / (gone + here)}
    return share


def _class_of_path(path: str) -> str:
    return next(filter(None, map(recognise, reversed(Path(path).parts[:-1]))), "")


def _measure_drift(faces: pd.DataFrame, splits: Sequence[str]) -> list[dict]:
    """Differences between each two splits in each measure, with the size that chance alone would reach."""
    parts = []
    for (first, second), measure in product(combinations(splits, 2), (*MEASURES, "source_size")):
        one, two = (faces[measure][faces["split"] == name].dropna().to_numpy() for name in (first, second))
        if len(one) > 1 and len(two) > 1:
            means = {"mean_first": float(one.mean()), "mean_second": float(two.mean())}
            parts.append({"measure": measure, "first": first, "second": second, **means, **difference(one, two)})
    return parts


def _measure_shortcuts(faces: pd.DataFrame) -> dict[str, float]:
    """Share of each measure's variance among training faces that lies between the six classes.

    Epsilon squared: eta squared less what chance gives (Kelley 1935), so that few faces do not raise it.
    """
    train = faces[(faces["split"] == "train") & faces["expression"].isin(EXPRESSIONS)]
    shares, count, classes = {}, len(train), train["expression"].nunique()
    for measure in (*MEASURES, "source_size"):
        values = train[measure]
        spread = float(((values - values.mean()) ** 2).sum())
        if values.notna().all() and spread > 0 and count > classes:
            within = float(((values - values.groupby(train["expression"]).transform("mean")) ** 2).sum())
            shares[measure] = max(0.0, 1 - within / spread * (count - 1) / (count - classes))
    return shares


def _measure_landmarks(store: Store, faces: pd.DataFrame) -> dict:
    """How they came about, whose are missing, implausible or far from the mean shape."""
    distance = faces["shape_distance"].to_numpy()
    present = np.isfinite(store.landmarks).all((1, 2))
    strange = ~plausible(store.landmarks) & present
    limit = shapes.outlier_limit(distance)
    far = np.flatnonzero((distance > limit) | (present & np.isnan(distance)))
    ranks = np.argsort(-np.nan_to_num(distance, nan=-1.0), kind="stable")
    named = [row for row in ranks[:NAMED] if np.isfinite(distance[row])]
    by_class = pd.Series(~present).groupby(faces["expression"]).mean()
    return {
        "sources": store.faces["landmarks"].value_counts().to_dict(),
        "missing": int((~present).sum()),
        "missing_share_by_class": _round(by_class[by_class.index != ""]),
        "implausible": {"faces": int(strange.sum()), "named": faces["key"][strange].head(NAMED).tolist()},
        "shape_distance": {
            "median": float(np.median(distance[present])) if present.any() else None,
            "limit": limit,
            "outliers": len(far),
            "farthest": [{"key": faces["key"][row], "distance": round(float(distance[row]), 4)} for row in named],
        },
    }


def _round(shares: pd.Series) -> dict[str, float]:
    return {str(name): round(float(value), 4) for name, value in shares.items()}
