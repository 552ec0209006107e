"""An audit as files: audit.json, tables and figures, in a folder outside the store."""

from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.audit.findings import describe_findings
from lsdkit.data.audit.levels import MEASURES
from lsdkit.data.audit.measuring import Audit, audit
from lsdkit.data.store import Store
from lsdkit.figures import faces as faceplots
from lsdkit.figures import plots, style

SHOWN = 16  # faces or pairs on a sheet


def write_audit(path: str | Path, out: str | Path, **options: object) -> str:
    """Audit the store in `path`; write audit.json, audit_faces.csv, audit_pairs.csv and the figures into `out`.

    Returns the findings as text. `options` as in `measuring.audit`. Raises `ValueError` where `out` lies in the store,
    which an audit never changes, and what `Store.open` raises.
    """
    store, out = open_outside(path, out)
    finished = audit(store, **options)
    write_files(finished, draw_figures(store, finished), out)
    return f"{describe_findings(finished.report)}\nwritten: {out}"


def open_outside(path: str | Path, out: str | Path) -> tuple[Store, Path]:
    """The store in `path`, and the folder `out` for what is found about it; `ValueError` where it lies in the store."""
    store, out = Store.open(path), Path(out)
    if out.resolve().is_relative_to(store.path.resolve()):
        raise ValueError(f"Expected `out` outside the store {store.path}, which stays as it is, but got {out}")
    return store, out


def write_files(finished: Audit, figures: dict[str, style.Figure], out: Path) -> None:
    """Write a finished audit and its figures into the folder `out`; audit.json comes last."""
    for name, figure in figures.items():
        files.write_bytes(out / f"{name}.png", style.png(figure))
    keys, pairs = finished.faces["key"], finished.pairs
    pairs = pairs.assign(first=pairs["first"].map(keys), second=pairs["second"].map(keys))
    files.write_text(out / "audit_pairs.csv", pairs.to_csv(index=False, lineterminator="\n"))
    files.write_text(out / "audit_faces.csv", finished.faces.round(4).to_csv(index=False, lineterminator="\n"))
    files.write_json(out / "audit.json", finished.report)


def draw_figures(store: Store, finished: Audit) -> dict[str, style.Figure]:
    """Figures by name, those that there is something to show in.

    classes, subjects; drift of the pictures' measures; landmark_distances and the farthest landmarks; copies and the
    nearest faces of two splits, pair by pair.
    """
    faces, splits, figures = finished.faces, finished.report["splits"], {}
    counts = {split: store.counts(split) for split in splits if store.counts(split).sum()}
    if counts:
        figures["classes"] = plots.class_counts(counts)
    known = faces[(faces["split"] == "train") & (faces["subject"] != "") & faces["expression"].isin(EXPRESSIONS)]
    if len(known):
        figures["subjects"] = plots.subject_counts(known["subject"], known["expression"])
    values, notes = {}, {}
    for measure in (*MEASURES, "source_size"):
        if faces[measure].max() - faces[measure].min() > 0.01:
            unit = f"{measure.replace('_', ' ')}, {'px' if measure == 'source_size' else 'levels'}"
            values[unit] = {s: faces[measure][faces["split"] == s].dropna().to_numpy() for s in splits}
            parts = [part for part in finished.report["drift"] if part["measure"] == measure]
            if parts:
                smd, ks = max(abs(part["smd"]) for part in parts), max(part["ks"] for part in parts)
                notes[unit] = f"up to {smd:.2f} SD, gap {ks:.2f}"
    if values:
        figures["drift"] = plots.split_densities(values, notes)
    distance = faces["shape_distance"].to_numpy()
    if np.isfinite(distance).any():
        limit = finished.report["landmarks"]["shape_distance"]["limit"]
        figures["landmark_distances"] = plots.shape_distances(distance, limit)
        figures["landmarks"] = _draw_landmarks(store, finished, distance)
    if len(finished.pairs):
        figures["copies"] = _draw_pairs(store, finished.pairs, ["first", "second"])
    if len(finished.nearest):
        figures["nearest"] = _draw_pairs(store, finished.nearest.assign(kind=""), ["row", "nearest"])
    return figures


def _draw_pairs(store: Store, pairs: pd.DataFrame, sides: list[str]) -> style.Figure:
    """The faces of the first pairs, side by side, with their kind and the bits in which they differ."""
    pairs, names = pairs.head(SHOWN), []
    for pair in pairs.to_dict("records"):
        text = pair["kind"] if pair["kind"] == "exact" and not pair["bits"] else f"{pair['kind']} {pair['bits']} bits"
        names += [f"{_name(store, pair[side])}\n{text.strip()}" for side in sides]
    rows = pairs[sides].to_numpy(np.int64).ravel()
    return faceplots.face_sheet(store.images[rows], names, columns=8, size=1.35)


def _draw_landmarks(store: Store, finished: Audit, distance: np.ndarray) -> style.Figure:
    """Implausible landmarks first, then those farthest from the mean shape."""
    strange = finished.faces["key"].isin(finished.report["landmarks"]["implausible"]["named"]).to_numpy()
    order = np.lexsort((-np.nan_to_num(distance, nan=-1.0), ~strange))
    rows = [row for row in order[:SHOWN] if np.isfinite(distance[row])]
    names = [f"{_name(store, row)}\n{distance[row]:.2f}{' implausible' if strange[row] else ''}" for row in rows]
    inside = np.clip(store.landmarks[rows], -1.04, 1.04)  # or they would lie on the neighbour's face
    return faceplots.face_sheet(store.images[rows], names, inside, size=1.6)


def _name(store: Store, row: int) -> str:
    face = store.faces.iloc[row]
    return f"{face['split']} {face['expression'].lower()}".strip()
