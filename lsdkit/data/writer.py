"""Stores are written here, face by face: one writer, one rule about copies, whatever the faces come from."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Self

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.common.expressions import CLASSES
from lsdkit.common.landmarks import POINTS
from lsdkit.data.decoding import decode_table, note_sizes
from lsdkit.data.pictures import LeftOut, quote_name
from lsdkit.data.store import CHECKED, COLUMNS, FORMAT, KINDS, LABELS, SPLITS, Store


class StoreWriter:
    """Writes a store into a hidden folder beside `out`, which takes its place once it is whole.

        with StoreWriter(out) as writer:
            writer.add(face, pixels, points, status)
            writer.leave_out(path, reason, detail)
            return writer.finish(kind="photographs", source=..., settings=...)

    Whatever ends the block without `finish` leaves `out` as it was, and no half store. across_splits: a copy is one in
    whichever split it occurs, not only within one (for splits drawn at random, where a repeat would leak). faces: how
    many are to come at most, for which there has to be room on the disk. Raises `ValueError` where `out` is a symbolic
    link or holds something that is not a store, and `lsdkit.common.files.DiskFull`, with nothing left behind.
    """

    def __init__(self, out: str | Path, *, across_splits: bool = False, faces: int = 0):
        self.out, self.most = Path(out), faces
        if self.out.is_symlink():
            raise ValueError(
                f"Expected --out to be a folder, but {self.out} is a symbolic link; name {self.out.resolve()} itself"
            )
        holds_things = any(self.out.iterdir()) if self.out.is_dir() else self.out.exists()
        if holds_things and not (self.out / "manifest.json").is_file():
            hint = "it holds other things; choose another --out"
            raise ValueError(f"Expected {out} to be new, empty or an earlier store, but {hint}")
        self.partial = self.out.with_name(f".{self.out.name}.partial")
        self.across_splits, self.size = across_splits, 0
        self.faces, self.points, self.left_out = [], [], []  # rows of faces.csv, (68, 2) each, rows of left_out.csv
        self.notes = {"equal_images_two_expressions": 0, "equal_images_two_splits": 0}
        self._seen = {}  # digest -> the faces of those pixels, each with its origin

    def __enter__(self) -> Self:
        if self.partial.is_symlink():
            self.partial.unlink()
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        self._images = (self.partial / "images.npy").open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # of a full disk, which was told of
            self._images.close()
        shutil.rmtree(self.partial, ignore_errors=True)

    def add(
        self,
        face: tuple,
        pixels: np.ndarray,
        points: np.ndarray | None,
        status: str,
        *,
        digest: bytes = b"",
        origin: str = "",
    ) -> list[tuple]:
        """Add a face, unless it is a copy: returns the earlier faces that it equals, the one in its way first, or [].

        face: a row of a table, with the attributes key, split, expression, subject, path; they are stored as text of
        one line (`lsdkit.data.pictures.quote_name`). pixels: uint8 (S, S, 3), or (S, S, 1) for grey, S the same for
        all. points: (68, 2) in [-1, 1] of the picture, or None. status: where they came from; how many are missing is
        added to one that does not begin with "missing". digest: what equal pictures have in common; "" = not compared.
        origin: faces of one origin are never copies of each other.

        A face whose digest occurred in the same split is not added, except in "test", where a submission needs an
        answer for each image: the caller says so by `leave_out`. `notes` count equal pictures under two expressions
        and in two splits.
        """
        copies = self._find_copies(face, digest, origin or face.key) if digest else []
        if copies:
            return copies
        if not self.faces:
            self.size = len(pixels)
            files.check_room(self.partial, self.most * self.size**2 * 3)
            self._start = self._write_header()
        left = max(1, self.most - len(self.faces)) * self.size**2 * 3
        with files.tell_full_disk(self.partial, left):
            self._images.write(np.broadcast_to(pixels, (self.size, self.size, 3)).tobytes())
        points = np.full((POINTS, 2), np.nan) if points is None else np.asarray(points)
        missing = int((~np.isfinite(points).all(1)).sum())
        if missing and not status.startswith("missing"):
            status = "missing" if missing == POINTS else f"{status}, {missing} missing"
        self.points.append(points)
        self.faces.append(tuple(map(quote_name, (*(getattr(face, name) for name in COLUMNS), status))))
        return []

    def _find_copies(self, face: tuple, digest: bytes, origin: str) -> list[tuple]:
        seen = self._seen.setdefault(digest, [])
        earlier = [other for place, other in seen if place != origin]
        seen.append((origin, face))
        others = {other.expression for other in earlier} - {"", face.expression}
        self.notes["equal_images_two_expressions"] += bool(others and face.expression)
        self.notes["equal_images_two_splits"] += bool({other.split for other in earlier} - {face.split})
        in_the_way = [other for other in earlier if self.across_splits or other.split == face.split]
        return [in_the_way[0], *earlier] if in_the_way and face.split != "test" else []

    def leave_out(self, path: str, reason: str, detail: str) -> None:
        """Name an image that is not in the store, and why."""
        self.left_out.append((quote_name(path), reason, quote_name(detail)))

    def inherit(self, store: Store, rename: Callable[[str], str] = str) -> None:
        """Add the notes of a store that this one is made of, and what it left out, under renamed paths."""
        for note, count in store.manifest["notes"].items():
            self.notes[note] = self.notes.get(note, 0) + count
        for row in store.left_out.itertuples():
            self.leave_out(rename(row.path), row.reason, row.detail)

    def finish(self, *, kind: str, source: str, settings: dict) -> Store:
        """Write the other files and put the store in place of `out`; `ValueError` where there is no face."""
        if not self.faces:
            first = "; ".join(f"{path}: {reason} ({detail})" for path, reason, detail in self.left_out[:3])
            count = len(self.left_out)
            raise ValueError(f"Expected faces in {source}, but none of {count} images could be used: {first}")
        with files.tell_full_disk(self.partial):
            return self._finish(kind, source, settings)

    def _finish(self, kind: str, source: str, settings: dict) -> Store:
        if self._write_header() != self._start:
            raise RuntimeError("The header of images.npy changed its length; this version of numpy is not supported")
        os.fsync(self._images.fileno())
        self._images.close()
        faces = pd.DataFrame(self.faces, columns=[*COLUMNS, "landmarks"])
        lost = pd.DataFrame(self.left_out, columns=["path", "reason", "detail"])
        np.save(self.partial / "landmarks.npy", np.stack(self.points).astype(np.float32))
        faces.to_csv(self.partial / "faces.csv", index=False, lineterminator="\n")
        lost.to_csv(self.partial / "left_out.csv", index=False, lineterminator="\n")
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "size": self.size,
            "counts": _count(faces),
            "checksums": {name: files.sha256(self.partial / name) for name in CHECKED},
            "source": source,
            "settings": settings,
            "left_out": lost["reason"].value_counts().to_dict(),
            "notes": self.notes,
        }
        files.write_json(self.partial / "manifest.json", files.seal(manifest))
        Store.open(self.partial)  # only what can be read takes another store's place
        files.replace_folder(self.partial, self.out)
        return Store.open(self.out)

    def _write_header(self) -> int:
        """Write the head of images.npy for the faces so far; returns where it ends (numpy pads it for any number)."""
        shape = (len(self.faces), self.size, self.size, 3)
        self._images.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._images, header)
        return self._images.tell()


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
        kind: "rendered", "photographs" or "synthetic".
        transform: called as `transform(image, key)` with a PIL image in RGB; returns (image, landmarks (68, 2) in
            [-1, 1] or None, status), or raises `LeftOut`. It may run in several processes.
        landmark_source: what the column `landmarks` says of the faces in `landmarks`.
        why_missing: key -> what it says of a face that has none ("missing: ...").
        left_out: rows path, reason, detail that the reader of the source left out already.
        across_splits: see `StoreWriter`.

    A face whose bytes already occurred in the same split is left out as "duplicate", except in "test" (see
    `StoreWriter.add`). An existing store in `out` is replaced once the new one is whole. Raises `ValueError` where
    nothing is left, for a malformed table, or where `out` holds something that is not a store.
    """
    _check_table(table, kind)
    pictures, cuts = [], []
    with StoreWriter(out, across_splits=across_splits, faces=len(table)) as writer:
        for row in left_out:
            writer.leave_out(**row)
        for row, digest, result in decode_table(table, Path(root), size, transform, jobs, progress):
            if isinstance(result, LeftOut):
                writer.leave_out(row.path, result.reason, result.detail)
                continue
            points, status = result.points, result.status
            if transform is None:
                points = landmarks.get(row.key)
                status = why_missing.get(row.key, "missing") if points is None else landmark_source
            if copies := writer.add(row, result.pixels, points, status, digest=digest):
                differ = {copy.expression for copy in copies} - {"", row.expression}
                detail = f"same bytes as {copies[0].key}" + (f", labelled {copies[0].expression}" if differ else "")
                writer.leave_out(row.path, "duplicate", detail)
            else:
                pictures.append(result.picture)
                cuts.append(result.cut)
        writer.notes |= note_sizes(pictures, cuts)
        return writer.finish(kind=kind, source=source, settings=settings)


def _check_table(table: pd.DataFrame, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Expected `kind` to be one of {', '.join(KINDS)}, but got {kind!r}")
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ValueError(f"Expected the columns {', '.join(COLUMNS)} in `table`, but {', '.join(missing)} are missing")
    for name, valid in (("split", SPLITS), ("expression", LABELS)):
        if wrong := sorted(set(table[name]) - set(valid)):
            wrong = ", ".join(map(repr, wrong[:5]))
            raise ValueError(f"Expected `{name}` in {', '.join(map(repr, valid))}, but got {wrong}")
    if repeated := table["key"][table["key"].duplicated()].tolist():
        raise ValueError(f"Expected each key once, but got {repeated[0]!r} and {len(repeated) - 1} more twice")


def _count(faces: pd.DataFrame) -> dict[str, dict[str, int]]:
    """{split: {EXPRESSION or "": n}} in the fixed order of splits and classes, absent ones left away."""
    sizes, counts = faces.groupby(["split", "expression"]).size(), {}
    for split, name in product(SPLITS, (*CLASSES, "")):
        if (split, name) in sizes:
            counts.setdefault(split, {})[name] = int(sizes[split, name])
    return counts
