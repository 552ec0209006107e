"""The store: every face decoded once, kept as memory-mapped pixels beside its label, landmarks and key.

A store is a folder:

    images.npy      uint8 (N, S, S, 3) RGB, opened as a memory map
    landmarks.npy   float32 (N, 68, 2), [-1, 1] of the image (x right, y down), NaN where missing
    faces.csv       one row a face, same order: key, split, expression, subject, path, landmarks (where they came from)
    manifest.json   format, kind, size, counts, checksums, source, settings, left_out, notes
    left_out.csv    path, reason, detail: every image that is not in the store

It is written under a temporary name and renamed when whole, so that a killed preparation leaves no half store.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from lsdkit import files
from lsdkit.decode import LeftOut, decoded
from lsdkit.expressions import EXPRESSIONS, EXTRA, UNKNOWN

FORMAT = 1
KINDS = ("rendered", "photographs", "synthetic")
SPLITS = ("train", "validation", "test", "extra")
COLUMNS = ("key", "split", "expression", "subject", "path")
REASONS = ("unreadable", "no_face", "unknown_class", "duplicate")
CHECKED = ("images.npy", "landmarks.npy", "faces.csv", "left_out.csv")
_LABELS = {"": UNKNOWN} | {name: index for index, name in enumerate(EXPRESSIONS + EXTRA)}


class Store:
    """A finished store, opened for reading. Pixels stay on disk until rows of `images` are taken."""

    def __init__(self, path: Path, manifest: dict, faces: pd.DataFrame, images: np.ndarray, landmarks: np.ndarray):
        self.path = path
        self.manifest = manifest
        self.faces = faces
        self.images = images  # uint8 (N, S, S, 3), a memory map
        self.landmarks = landmarks  # float32 (N, 68, 2), NaN where missing
        self.kind = str(manifest["kind"])
        self.keys = faces["key"].tolist()

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open the store in this folder.

        Raises `FileNotFoundError` where there is none, naming the command that makes one, and `ValueError` where it is
        incomplete or its files disagree. Pixels are not read: `verify` does that.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            what = "has no manifest.json" if path.is_dir() else "does not exist"
            raise FileNotFoundError(
                f"Expected a store in {path}, but it {what}. Make one with `lsdkit prepare open --out {path}` "
                f"(rendered faces) "
                f"or `lsdkit prepare release|folder|csv SOURCE --out {path}` (your own)"
            )
        manifest = files.read_json(path / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise ValueError(
                f"Expected a store of format {FORMAT} in {path}, but got {manifest.get('format')!r}; {_AGAIN}"
            )
        missing = [name for name in CHECKED if not (path / name).is_file()]
        if missing:
            raise ValueError(f"The store in {path} lacks {', '.join(missing)}; {_AGAIN}")
        try:
            faces = pd.read_csv(path / "faces.csv", dtype=str, keep_default_na=False)
            images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
            landmarks = np.load(path / "landmarks.npy", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"The store in {path} is damaged ({error}); {_AGAIN}") from error
        count, size = len(faces), manifest["size"]
        if images.shape != (count, size, size, 3) or images.dtype != np.uint8 or landmarks.shape != (count, 68, 2):
            raise ValueError(
                f"The files of the store in {path} disagree: {count} rows in faces.csv, images {images.shape}, "
                f"landmarks {landmarks.shape}, size {size}; {_AGAIN}"
            )
        return cls(path, manifest, faces, images, landmarks)

    def verify(self) -> None:
        """Compare every file's SHA-256 with the manifest's; raises `ValueError` naming the files that changed."""
        wrong = [name for name, value in self.manifest["checksums"].items() if files.sha256(self.path / name) != value]
        if wrong:
            raise ValueError(
                f"The store in {self.path} is damaged: {', '.join(wrong)} differ from the manifest; {_AGAIN}"
            )

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 (N,): 0..5 the six expressions, 6 neutral, 7 contempt, -1 unknown."""
        return self.faces["expression"].map(_LABELS).to_numpy(np.int64)

    def rows(self, split: str) -> np.ndarray:
        """int64 row numbers of a split, ascending; raises `ValueError` for an unknown split."""
        if split not in SPLITS:
            raise ValueError(f"Expected `split` to be one of {', '.join(SPLITS)}, but got {split!r}")
        return np.flatnonzero(self.faces["split"].to_numpy() == split).astype(np.int64)

    def counts(self, split: str) -> np.ndarray:
        """int64 (6,): faces of each of the six expressions in a split."""
        labels = self.labels[self.rows(split)]
        return np.bincount(labels[(labels >= 0) & (labels < len(EXPRESSIONS))], minlength=len(EXPRESSIONS))

    def __len__(self) -> int:
        return len(self.faces)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {len(self)} faces, {self.kind}, {self.manifest['size']} px)"


_AGAIN = "run the `lsdkit prepare` command that made it again, after removing the folder"


def write_store(
    out: str | Path,
    table: pd.DataFrame,
    landmarks: Mapping[str, np.ndarray],
    *,
    size: int | None,
    kind: str,
    source: str,
    settings: dict,
    root: str | Path = "",
    transform: Callable | None = None,
    left_out: Iterable[dict] = (),
    landmark_source: str = "given",
    why_missing: Mapping[str, str] = MappingProxyType({}),
    across_splits: bool = False,
    jobs: int | None = None,
    progress: bool = True,
) -> Store:
    """Decode the faces of `table` into a store in folder `out`.

    Args:
        table: columns key, split, expression, subject, path (relative to `root`, or absolute); one row a face.
        landmarks: key -> (68, 2) in [-1, 1] of the image; a face without an entry gets NaN and stays.
        size: side of the stored square, pixels; None = the first image's own size where square, else 112. Images
            of another size are resized (bicubic, antialiased), which stretches what is not square.
        kind: "rendered", "photographs" or "synthetic". transform: called as `transform(image, key)` with a PIL image
        in RGB; returns (image, landmarks (68, 2) in [-1, 1] or None,
            status), or raises `LeftOut`. It may run in several threads.
        landmark_source: what the column `landmarks` says of the faces in `landmarks`.
        why_missing: key -> what it says of a face that has none ("missing: ...").
        left_out: rows path, reason, detail that the reader of the source left out already.
        across_splits: leave out a repeated image in whichever split it occurs, not only within one (for splits drawn
            at random, where a repeat would leak).

    A face whose bytes already occurred in the same split is left out as "duplicate", except in "test", where a
    submission needs an answer for each image. The manifest's `notes` count equal images under two expressions and in
    two splits. An existing store in `out` is replaced once the new one is whole. Raises `ValueError` where nothing is
    left, for a malformed table, or where `out` holds something that is not a store.
    """
    out = Path(out)
    _check(out, table, kind)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        rows, points, dropped, notes, side = _fill(
            partial,
            table,
            landmarks,
            Path(root),
            size,
            transform,
            landmark_source,
            why_missing,
            across_splits,
            jobs,
            progress,
        )
        dropped = [*left_out, *dropped]
        if not rows:
            first = "; ".join(f"{row['path']}: {row['reason']} ({row['detail']})" for row in dropped[:3])
            raise ValueError(f"Expected faces in {source}, but none of {len(table)} images could be used: {first}")
        faces = pd.DataFrame(rows, columns=[*COLUMNS, "landmarks"])
        lost = pd.DataFrame(dropped, columns=["path", "reason", "detail"])
        described = {"kind": kind, "size": side, "source": source, "settings": settings, "notes": notes}
        finish(partial, out, faces, np.stack(points), lost, **described)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Store.open(out)


def finish(
    partial: Path,
    out: Path,
    faces: pd.DataFrame,
    landmarks: np.ndarray,
    lost: pd.DataFrame,
    *,
    kind: str,
    size: int,
    source: str,
    settings: dict,
    notes: dict,
) -> None:
    """Make a store of a folder that holds images.npy alone, cut to the rows of `faces`, and put it in place of `out`.

    `faces`: the columns of faces.csv; `landmarks`: (N, 68, 2) in its order; `lost`: path, reason, detail.
    """
    _shorten(partial / "images.npy", len(faces))
    np.save(partial / "landmarks.npy", landmarks.astype(np.float32))
    faces.to_csv(partial / "faces.csv", index=False, lineterminator="\n")
    lost.to_csv(partial / "left_out.csv", index=False, lineterminator="\n")
    manifest = {
        "format": FORMAT,
        "kind": kind,
        "size": size,
        "counts": _counts(faces),
        "checksums": {name: files.sha256(partial / name) for name in CHECKED},
        "source": source,
        "settings": settings,
        "left_out": {str(reason): int(n) for reason, n in lost["reason"].value_counts().items()},
        "notes": notes,
    }
    files.write_json(partial / "manifest.json", manifest)
    _replace(partial, out)


def _check(out: Path, table: pd.DataFrame, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Expected `kind` to be one of {', '.join(KINDS)}, but got {kind!r}")
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"Expected the columns {', '.join(COLUMNS)} in `table`, but {', '.join(missing)} are missing")
    for name, valid in (("split", SPLITS), ("expression", tuple(_LABELS))):
        wrong = sorted(set(table[name]) - set(valid))
        if wrong:
            raise ValueError(
                f"Expected `{name}` in {', '.join(map(repr, valid))}, but got {', '.join(map(repr, wrong[:5]))}"
            )
    repeated = table["key"][table["key"].duplicated()].tolist()
    if repeated:
        raise ValueError(f"Expected each key once, but got {repeated[0]!r} and {len(repeated) - 1} more twice")
    check_free(out)


def check_free(out: Path) -> None:
    """Raise `ValueError` where a folder holds anything but a store."""
    if out.exists() and not (out / "manifest.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(
            f"Expected {out} to be new, empty or an earlier store, but it holds other things; choose another --out"
        )


def _fill(
    partial, table, landmarks, root, size, transform, landmark_source, why_missing, across_splits, jobs, progress
):
    """Decode into images.npy; returns (rows, landmarks, left out, notes, side)."""
    rows, points, dropped, seen, images = [], [], [], {}, None
    notes = {"equal_images_two_expressions": 0, "equal_images_two_splits": 0}
    for row, digest, result in decoded(table, root, size, transform, jobs, progress):
        if isinstance(result, LeftOut):
            dropped.append({"path": row.path, "reason": result.reason, "detail": result.detail})
            continue
        earlier = seen.setdefault(digest, [])
        labels = {other.expression for other in earlier} - {"", row.expression}
        notes["equal_images_two_expressions"] += bool(labels and row.expression)
        notes["equal_images_two_splits"] += bool({other.split for other in earlier} - {row.split})
        match = next((other for other in earlier if across_splits or other.split == row.split), None)
        earlier.append(row)
        if match is not None and row.split != "test":
            detail = f"same bytes as {match.key}" + (f", labelled {match.expression}" if labels else "")
            dropped.append({"path": row.path, "reason": "duplicate", "detail": detail})
            continue
        pixels, found, status = result
        if images is None:
            side = pixels.shape[0]
            images = np.lib.format.open_memmap(
                partial / "images.npy", mode="w+", dtype=np.uint8, shape=(len(table), side, side, 3)
            )
        if found is None and transform is None:
            found = landmarks.get(row.key)
            status = why_missing.get(row.key, "missing") if found is None else landmark_source
        images[len(rows)] = pixels
        points.append(np.full((68, 2), np.nan) if found is None else np.asarray(found))
        if (found is None or not np.isfinite(found).all()) and not status.startswith("missing"):
            status = "missing"
        rows.append((row.key, row.split, row.expression, row.subject, row.path, status))
    if images is None:
        return rows, points, dropped, notes, 0
    images.flush()
    return rows, points, dropped, notes, images.shape[1]


def _counts(faces: pd.DataFrame) -> dict[str, dict[str, int]]:
    """{split: {EXPRESSION or "": n}} in the fixed order of splits and classes, absent ones left away."""
    found = faces.groupby(["split", "expression"]).size()
    order = (*EXPRESSIONS, *EXTRA, "")
    return {s: {e: int(found[s, e]) for e in order if (s, e) in found} for s in SPLITS if (faces["split"] == s).any()}


def _shorten(path: Path, count: int) -> None:
    """Cut an .npy file to its first `count` rows in place (its header has room: numpy pads it)."""
    with path.open("r+b") as stream:
        np.lib.format.read_magic(stream)
        shape, order, dtype = np.lib.format.read_array_header_1_0(stream)
        start, shape = stream.tell(), (count, *shape[1:])
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": order, "shape": shape}
        stream.seek(0)
        np.lib.format.write_array_header_1_0(stream, header)
        if stream.tell() != start:
            raise RuntimeError(f"The header of {path} changed its length; this version of numpy is not supported")
        stream.truncate(start + dtype.itemsize * int(np.prod(shape)))


def _replace(partial: Path, out: Path) -> None:
    """Put the whole store in place of an older one."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
