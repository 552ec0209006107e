"""The quality of a store's landmarks as files: landmarks.json, a table, contact sheets of the worst and the lost."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit import annotators, faceplots, files, plots, quality, shapes
from lsdkit.audit import lost_faces
from lsdkit.landmarks import read_table
from lsdkit.store import Store

SHOWN = 48  # faces on a sheet
THUMBNAIL = 256  # pixels, of a lost photograph


def write_quality(
    path: str | Path, out: str | Path, *, against: str = "", faces: int = 0, progress: bool = True
) -> str:
    """Measure the landmarks of the store in `path`; landmarks.json and .csv, worst.png and lost.png go into `out`.

    against: an annotator's name (it looks at the stored pictures), or table:FILE (`lsdkit.landmarks.read_table`; the
    coordinates are those of the stored pictures), to measure the inter-annotator distance. faces: at most so many
    faces, evenly spaced; 0 = all. Returns the findings as text. Raises `ValueError` where `out` lies in the store.
    """
    store, out = Store.open(path), Path(out)
    if out.resolve().is_relative_to(store.path.resolve()):
        raise ValueError(f"Expected `out` outside the store {store.path}, which stays as it is, but got {out}")
    step = max(1, -(-len(store) // faces)) if faces > 0 else 1
    rows = np.arange(0, len(store), step)
    other, statuses = _other(store, against, rows, progress)
    table = quality.ranked(store, rows, other)
    limit = shapes.limit(table["shape_distance"].to_numpy())
    report = {
        "store": store.path.name,
        "faces": len(rows),
        "sources": {str(k): int(n) for k, n in store.faces["landmarks"].iloc[rows].value_counts().items()},
        "implausible": int((~table["plausible"]).sum()),
        "shape_distance": {"median": _number(table["shape_distance"].median()), "limit": limit},
        "outliers": int((table["shape_distance"] > limit).sum()),
        "no_face_by_class": lost_faces(store),
    }
    if other is not None:
        groups = quality.disagreement(store.landmarks[rows], other)
        report["against"] = {"annotator": against, "sources": pd.Series(statuses).value_counts().to_dict()}
        report["against"]["error"] = {
            name: {"faces": int(row["faces"]), **{k: _number(row[k]) for k in ("mean", "median", "p95")}}
            for name, row in groups.iterrows()
        }
    for name, drawn in _sheets(store, table, other, rows).items():
        files.write_bytes(out / f"{name}.png", plots.png(drawn))
    files.write_text(out / "landmarks.csv", table.round(4).to_csv(index=False, lineterminator="\n"))
    files.write_json(out / "landmarks.json", report)
    return f"{told(report)}\nwritten: {out}"


def told(report: dict) -> str:
    """A report of `write_quality` as lines of text."""
    lines = [f"{report['store']}: {report['faces']} faces; landmarks: " + _counts(report["sources"])]
    shape = report["shape_distance"]
    far = f"{report['outliers']} farther than {shape['limit']:.2f} from the mean shape"
    lines.append(f"implausible {report['implausible']}; {far}")
    for name, part in report["no_face_by_class"].items():
        lines.append(f"no face found: {name.lower()} {part['lost']} of {part['of']}")
    if "against" in report:
        lines.append(f"against {report['against']['annotator']}: " + _counts(report["against"]["sources"]))
        lines.append("mean error / inter-ocular distance      mean  median     p95")
        for name, row in report["against"]["error"].items():
            cells = ("    none" if row[k] is None else f"{row[k]:8.4f}" for k in ("mean", "median", "p95"))
            lines.append(f"  {name:<8} {row['faces']:>6} faces                {''.join(cells)}")
    return "\n".join(lines)


def _other(store: Store, against: str, rows: np.ndarray, progress: bool) -> tuple[np.ndarray | None, list[str]]:
    kind, _, place = against.partition(":")
    if not against:
        return None, []
    if kind == "table" and place:
        given = read_table(place)
        points = np.stack([given.get(store.keys[row], np.full((68, 2), np.nan)) for row in rows])
        return points, ["given" if np.isfinite(each).all() else "missing" for each in points]
    if against not in annotators.NAMES:
        raise ValueError(f"Expected `against` to be {', '.join(annotators.NAMES)} or table:FILE, but got {against!r}")
    return quality.annotated(store, annotators.named(against), rows, progress=progress)


def _sheets(store: Store, table: pd.DataFrame, other: np.ndarray | None, rows: np.ndarray) -> dict[str, plots.Figure]:
    """worst: stored faces, the worst landmarks first; lost: photographs without a face, where the files are there."""
    drawn, worst = {}, table.head(SHOWN)
    if len(worst):
        measure = "shape_distance" if other is None else "error"
        titles = [
            f"{face.expression.lower()} {getattr(face, measure):.2f}{'' if face.plausible else ' implausible'}\n"
            f"{face.landmarks[:22]}"
            for face in worst.itertuples()
        ]
        second = None if other is None else other[np.searchsorted(rows, worst["row"])]
        drawn["worst"] = faceplots.contact_sheet(
            [store.images[row] for row in worst["row"]], titles, store.landmarks[worst["row"]], second
        )
    lost = pd.read_csv(store.path / "left_out.csv", dtype=str, keep_default_na=False)
    lost = lost[lost["reason"] == "no_face"]
    pictures, titles = [], []
    for path in lost["path"]:
        file = Path(store.manifest["source"]) / path
        if len(pictures) < 2 * SHOWN and file.is_file():
            image = Image.open(file).convert("RGB")
            titles.append(f"{Path(path).parent.name.lower()}\n{image.width} x {image.height}")
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            pictures.append(np.asarray(image))
    if pictures:
        drawn["lost"] = faceplots.contact_sheet(pictures, titles)
    return drawn


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in found.items())


def _number(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
