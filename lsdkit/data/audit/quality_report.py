"""The quality of a store's landmarks as files: landmarks.json, a table, contact sheets of the worst and the lost."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common import files
from lsdkit.common.landmarks import POINTS
from lsdkit.data import annotators, shapes
from lsdkit.data.audit import quality
from lsdkit.data.audit.measuring import count_lost
from lsdkit.data.audit.report import open_outside
from lsdkit.data.landmark_tables import read_table
from lsdkit.data.store import Store
from lsdkit.figures import faces as faceplots
from lsdkit.figures import style

SHOWN = 48  # faces on a sheet
THUMBNAIL = 256  # pixels, of a lost photograph


def write_quality(
    path: str | Path, out: str | Path, *, against: str = "", faces: int = 0, progress: bool = True
) -> str:
    """Measure the landmarks of the store in `path`; landmarks.json and .csv, worst.png and lost.png go into `out`.

    against: an annotator's name (it looks at the stored pictures), or table:FILE (see `read_table`; the coordinates are
    those of the stored pictures), to measure the inter-annotator distance. faces: at most so many faces, evenly spaced;
    0 = all. Returns the findings as text. Raises `ValueError` where `out` lies in the store.
    """
    store, out = open_outside(path, out)
    rows = np.arange(0, len(store), max(1, -(-len(store) // faces)) if faces > 0 else 1)
    other, statuses = _ask_other(store, against, rows, progress)
    table = quality.rank_landmarks(store, rows, other)
    limit = shapes.outlier_limit(table["shape_distance"].to_numpy())
    report = {
        "store": store.path.name,
        "faces": len(rows),
        "sources": store.faces["landmarks"].iloc[rows].value_counts().to_dict(),
        "implausible": int((~table["plausible"]).sum()),
        "shape_distance": {"median": _round(table["shape_distance"].median()), "limit": limit},
        "outliers": int((table["shape_distance"] > limit).sum()),
        "no_face_by_class": count_lost(store),
    }
    if other is not None:
        report["against"] = {"annotator": against, "sources": pd.Series(statuses).value_counts().to_dict()}
        report["against"]["error"] = {
            part: {"faces": int(row["faces"]), **{name: _round(row[name]) for name in ("mean", "median", "p95")}}
            for part, row in quality.tabulate_disagreement(store.landmarks[rows], other).iterrows()
        }
    for name, figure in _draw_sheets(store, table, other, rows).items():
        files.write_bytes(out / f"{name}.png", style.png(figure))
    files.write_text(out / "landmarks.csv", table.round(4).to_csv(index=False, lineterminator="\n"))
    files.write_json(out / "landmarks.json", report)
    return f"{describe_quality(report)}\nwritten: {out}"


def describe_quality(report: dict) -> str:
    """A report of `write_quality` as lines of text."""
    lines = [f"{report['store']}: {report['faces']} faces; landmarks: " + _list_counts(report["sources"])]
    shape = report["shape_distance"]
    far = f"{report['outliers']} farther than {shape['limit']:.2f} from the mean shape"
    lines.append(f"implausible {report['implausible']}; {far}")
    for name, part in report["no_face_by_class"].items():
        lines.append(f"no face found: {name.lower()} {part['lost']} of {part['of']}")
    if "against" in report:
        lines.append(f"against {report['against']['annotator']}: " + _list_counts(report["against"]["sources"]))
        lines.append("mean error / inter-ocular distance      mean  median     p95")
        for name, row in report["against"]["error"].items():
            cells = ("    none" if row[k] is None else f"{row[k]:8.4f}" for k in ("mean", "median", "p95"))
            lines.append(f"  {name:<8} {row['faces']:>6} faces                {''.join(cells)}")
    return "\n".join(lines)


def _ask_other(store: Store, against: str, rows: np.ndarray, progress: bool) -> tuple[np.ndarray | None, list[str]]:
    kind, _, place = against.partition(":")
    if not against:
        return None, []
    if kind == "table" and place:
        given = read_table(place)
        points = np.stack([given.get(store.keys[row], np.full((POINTS, 2), np.nan)) for row in rows])
        return points, ["given" if np.isfinite(each).all() else "missing" for each in points]
    if against not in annotators.NAMES:
        raise ValueError(f"Expected `against` to be {', '.join(annotators.NAMES)} or table:FILE, but got {against!r}")
    return quality.annotate_rows(store, annotators.choose_annotator(against), rows, progress=progress)


def _draw_sheets(
    store: Store, table: pd.DataFrame, other: np.ndarray | None, rows: np.ndarray
) -> dict[str, style.Figure]:
    """worst: stored faces, the worst landmarks first; lost: photographs without a face, where the files are there."""
    sheets, worst = {}, table.head(SHOWN)
    if len(worst):
        measure = "shape_distance" if other is None else "error"
        titles = [
            f"{face.expression.lower()} {getattr(face, measure):.2f}{'' if face.plausible else ' implausible'}\n"
            f"{face.landmarks[:22]}"
            for face in worst.itertuples()
        ]
        second = None if other is None else other[np.searchsorted(rows, worst["row"])]
        pictures = [store.images[row] for row in worst["row"]]
        sheets["worst"] = faceplots.contact_sheet(pictures, titles, store.landmarks[worst["row"]], second)
    pictures, titles = [], []
    for path in store.left_out["path"][store.left_out["reason"] == "no_face"]:
        file = Path(store.manifest["source"]) / path
        if len(pictures) < 2 * SHOWN and file.is_file():
            image = Image.open(file).convert("RGB")
            titles.append(f"{Path(path).parent.name.lower()}\n{image.width} x {image.height}")
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            pictures.append(np.asarray(image))
    if pictures:
        sheets["lost"] = faceplots.contact_sheet(pictures, titles)
    return sheets


def _list_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _round(value: float) -> float | None:
    return round(float(value), 5) if np.isfinite(value) else None
