"""An audit as files: audit.json, tables and figures, in a folder outside the store."""

from pathlib import Path

import numpy as np

from lsdkit import faceplots, files, plots
from lsdkit.audit import Audit, audit
from lsdkit.expressions import EXPRESSIONS
from lsdkit.facestats import MEASURES
from lsdkit.findings import told
from lsdkit.store import Store

SHOWN = 16  # faces or pairs on a sheet


def write_audit(path: str | Path, out: str | Path, **options: object) -> str:
    """Audit the store in `path`; write audit.json, audit_faces.csv, audit_pairs.csv and the figures into `out`.

    Returns the findings as text. `options` as in `lsdkit.audit.audit`. Raises `ValueError` where `out` lies in the
    store, which an audit never changes, and what `Store.open` raises.
    """
    store, out = Store.open(path), Path(out)
    if out.resolve().is_relative_to(store.path.resolve()):
        raise ValueError(f"Expected `out` outside the store {store.path}, which stays as it is, but got {out}")
    found = audit(store, **options)
    write_files(found, figures(store, found), out)
    return f"{told(found.report)}\nwritten: {out}"


def write_files(found: Audit, drawn: dict[str, plots.Figure], out: Path) -> None:
    """Write a finished audit and its figures into the folder `out`; audit.json comes last."""
    for name, figure in drawn.items():
        files.write_bytes(out / f"{name}.png", plots.png(figure))
    keys = found.faces["key"].tolist()
    pairs = found.pairs.assign(**{side: [keys[row] for row in found.pairs[side]] for side in ("first", "second")})
    files.write_text(out / "audit_pairs.csv", pairs.to_csv(index=False, lineterminator="\n"))
    files.write_text(out / "audit_faces.csv", found.faces.round(4).to_csv(index=False, lineterminator="\n"))
    files.write_json(out / "audit.json", found.report)


def figures(store: Store, found: Audit) -> dict[str, plots.Figure]:
    """Figures by name, those that there is something to show in.

    classes, subjects; drift of the pictures' measures; landmark_distances and the farthest landmarks; copies and the
    nearest faces of two splits, pair by pair.
    """
    faces, splits, drawn = found.faces, found.report["splits"], {}
    counts = {split: store.counts(split) for split in splits if store.counts(split).sum()}
    if counts:
        drawn["classes"] = plots.class_counts(counts)
    known = faces[(faces["split"] == "train") & (faces["subject"] != "") & faces["expression"].isin(EXPRESSIONS)]
    if len(known):
        drawn["subjects"] = plots.subject_counts(known["subject"], known["expression"])
    values, notes = {}, {}
    for measure in (*MEASURES, "source_size"):
        if faces[measure].max() - faces[measure].min() > 0.01:
            unit = f"{measure.replace('_', ' ')}, {'px' if measure == 'source_size' else 'levels'}"
            values[unit] = {s: faces[measure][faces["split"] == s].dropna().to_numpy() for s in splits}
            parts = [part for part in found.report["drift"] if part["measure"] == measure]
            if parts:
                smd, ks = max(abs(part["smd"]) for part in parts), max(part["ks"] for part in parts)
                notes[unit] = f"up to {smd:.2f} SD, gap {ks:.2f}"
    if values:
        drawn["drift"] = plots.split_densities(values, notes)
    distance = faces["shape_distance"].to_numpy()
    if np.isfinite(distance).any():
        drawn["landmark_distances"] = plots.shape_distances(
            distance, found.report["landmarks"]["shape_distance"]["limit"]
        )
        drawn["landmarks"] = _landmark_sheet(store, found, distance)
    for name, table, sides in (
        ("copies", found.pairs, ["first", "second"]),
        ("nearest", found.nearest, ["row", "nearest"]),
    ):
        if len(table):
            table = table.head(SHOWN)
            rows, bits = table[sides].to_numpy(np.int64).ravel(), np.repeat(table["bits"].to_numpy(), 2)
            kinds = np.repeat(table["kind"].to_numpy(), 2) if "kind" in table else [""] * len(rows)
            texts = [
                f"{kind} {bit} bits".strip() if bit or kind != "exact" else kind
                for kind, bit in zip(kinds, bits, strict=True)
            ]
            names = [f"{_short(store, row)}\n{text}" for row, text in zip(rows, texts, strict=True)]
            drawn[name] = faceplots.face_sheet(store.images[rows], names, columns=8, size=1.35)
    return drawn


def _landmark_sheet(store: Store, found: Audit, distance: np.ndarray) -> plots.Figure:
    """Implausible landmarks first, then those farthest from the mean shape."""
    strange = found.faces["key"].isin(found.report["landmarks"]["implausible"]["named"]).to_numpy()
    order = np.lexsort((-np.nan_to_num(distance, nan=-1.0), ~strange))
    rows = [row for row in order[:SHOWN] if np.isfinite(distance[row])]
    names = [f"{_short(store, row)}\n{distance[row]:.2f}{' implausible' if strange[row] else ''}" for row in rows]
    inside = np.clip(store.landmarks[rows], -1.04, 1.04)  # or they would lie on the neighbour's face
    return faceplots.face_sheet(store.images[rows], names, inside, size=1.6)


def _short(store: Store, row: int) -> str:
    face = store.faces.iloc[row]
    return f"{face['split']} {face['expression'].lower()}".strip()
