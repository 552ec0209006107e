"""One store of several: what pre-training on more than one data set reads, where it mixes them.

Pixels are copied in blocks from memory map to memory map, so that the memory needed does not grow with the stores.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from lsdkit.paths import resolve
from lsdkit.prepare import finished, refuse_another_source, turn
from lsdkit.store import COLUMNS, KINDS, Store, check_free, finish

VERSION = 1
BLOCK = 256  # images in memory at a time


def join_stores(paths: Sequence[str | Path], out: str | Path, *, kind: str = "", progress: bool = True) -> Store:
    """Join finished stores into one in folder `out`: images of one size, every key and subject under its store's name.

    Args:
        paths: folders of at least two stores. The first one's size is that of the joined store; images of another
            size are resized (bicubic, antialiased). Two folders of the same name are told apart by a number.
        kind: what the faces are, where the stores disagree: "rendered", "photographs" or "synthetic". "photographs"
            only where all are, because a drawn face is no photograph. "" = what all stores say.

    Splits, expressions (neutral and contempt in "extra" included) and landmarks stay as they are. A face whose stored
    pixels occur in the same split of an earlier store is left out as "duplicate", except in "test"; copies stored at
    different sizes are not recognised. The manifest sums the notes of the stores, and `left_out.csv` joins theirs.

    A finished join of stores with the same checksums is kept and returned. Raises `ValueError` where kinds disagree and
    none is told, where `out` is one of the stores or holds something else, and for fewer than two stores;
    `FileNotFoundError` for a folder without a store.
    """
    out, sources = resolve(out), [resolve(path) for path in paths]
    if len(sources) < 2 or len({path.resolve() for path in sources}) < len(sources):
        raise ValueError(
            f"Expected at least two different stores to join, but got {', '.join(map(str, paths)) or 'none'}"
        )
    if out.resolve() in [path.resolve() for path in sources]:
        raise ValueError(f"Expected --out to be none of the stores, but got {out}; choose another folder")
    stores = [Store.open(path) for path in sources]
    named = dict(zip(_names(sources), stores, strict=True))
    settings = {
        "reader": "join",
        "version": VERSION,
        "kind": _kind(named, kind),
        "stores": {name: store.manifest["checksums"] for name, store in named.items()},
    }
    source = " + ".join(str(path.resolve()) for path in sources)
    with turn(out):
        check_free(out)
        refuse_another_source(out, "join", source)
        return finished(out, settings) or _join(named, out, source, settings, progress)


def _names(sources: Sequence[Path]) -> list[str]:
    """A name for each store: its folder's, with a number from the second of the same name on."""
    names = []
    for path in sources:
        name, number = path.name, 2
        while name in names:
            name, number = f"{path.name}-{number}", number + 1
        names.append(name)
    return names


def _kind(named: dict[str, Store], told: str) -> str:
    kinds = {store.kind for store in named.values()}
    if told and (told not in KINDS or (told == "photographs" and kinds != {told})):
        raise ValueError(
            f"Expected `kind` to be one of {', '.join(KINDS)}, and photographs only where all stores hold some, but "
            f"got {told!r} for {', '.join(sorted(kinds))}"
        )
    if not told and len(kinds) > 1:
        which = ", ".join(f"{name} holds {store.kind}" for name, store in named.items())
        raise ValueError(f"Expected stores of one kind, but {which}; say what the joined faces are to be called")
    return told or kinds.pop()


def _join(named: dict[str, Store], out: Path, source: str, settings: dict, progress: bool) -> Store:
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    size, most = next(iter(named.values())).manifest["size"], sum(map(len, named.values()))
    try:
        options = {"mode": "w+", "dtype": np.uint8, "shape": (most, size, size, 3)}
        images = np.lib.format.open_memmap(partial / "images.npy", **options)
        tables, points, lost, seen, done = [], [], [], {}, 0
        notes = _summed(named)
        with tqdm(total=most, desc="joining", unit="image", disable=not progress) as bar:
            for name, store in named.items():
                faces, copies = _renamed(store.faces, name), {}
                kept = np.ones(len(store), bool)
                for start, block in _blocks(store, size):
                    for row, pixels in enumerate(block, start):
                        face = faces.iloc[row]
                        digest = hashlib.sha256(pixels).digest()
                        earlier = seen.get(digest, [])
                        copies.setdefault(digest, []).append((face["key"], face["split"], face["expression"]))
                        labels = {expression for _, _, expression in earlier} - {"", face["expression"]}
                        notes["equal_images_two_expressions"] += bool(labels and face["expression"])
                        notes["equal_images_two_splits"] += bool({split for _, split, _ in earlier} - {face["split"]})
                        match = next((key for key, split, _ in earlier if split == face["split"] != "test"), None)
                        if match is not None:
                            kept[row] = False
                            lost.append((face["path"], "duplicate", f"same pixels as {match}"))
                            continue
                        images[done] = pixels
                        done += 1
                    bar.update(len(block))
                for digest, rows in copies.items():  # copies inside one store are that store's own affair
                    seen.setdefault(digest, []).extend(rows)
                tables.append(faces[kept])
                points.append(store.landmarks[kept])
                left_out = pd.read_csv(store.path / "left_out.csv", dtype=str, keep_default_na=False)
                lost += [(_below(name, row.path), row.reason, row.detail) for row in left_out.itertuples()]
        images.flush()
        del images
        lost = pd.DataFrame(lost, columns=["path", "reason", "detail"])
        described = {"kind": settings["kind"], "size": size, "source": source, "settings": settings, "notes": notes}
        finish(partial, out, pd.concat(tables, ignore_index=True), np.concatenate(points), lost, **described)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Store.open(out)


def _renamed(faces: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of faces.csv with keys, paths and, where known, subjects below the store's name."""
    faces = faces[[*COLUMNS, "landmarks"]].copy()
    faces["key"] = f"{name}/" + faces["key"]
    faces["subject"] = faces["subject"].where(faces["subject"] == "", f"{name}/" + faces["subject"])
    faces["path"] = [_below(name, path) for path in faces["path"]]
    return faces


def _below(name: str, path: str) -> str:
    return path if Path(path).is_absolute() else f"{name}/{path}"


def _blocks(store: Store, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, uint8 (B, size, size, 3)) of each block of a store's images."""
    for start in range(0, len(store), BLOCK):
        block = np.ascontiguousarray(store.images[start : start + BLOCK])
        if store.manifest["size"] != size:
            bicubic = Image.Resampling.BICUBIC
            block = np.stack([np.asarray(Image.fromarray(pixels).resize((size, size), bicubic)) for pixels in block])
        yield start, block


def _summed(named: dict[str, Store]) -> dict[str, int]:
    notes = {"equal_images_two_expressions": 0, "equal_images_two_splits": 0}
    for store in named.values():
        for note, count in store.manifest["notes"].items():
            notes[note] = notes.get(note, 0) + count
    return notes
