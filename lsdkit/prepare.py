"""From images on disk to a store: one function per kind of source, all ending in `lsdkit.store.write_store`.

A finished store whose settings and source are the same is kept and returned. Two processes that prepare the same
folder take turns (a lock file beside it), so that notebooks started together render the open set once.
"""

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock

from lsdkit import annotators, files
from lsdkit.crop import Annotate, Crop
from lsdkit.deca import read_deca
from lsdkit.expressions import EXPRESSIONS, EXTRA
from lsdkit.faces import Listing, read_csv, read_folder, read_release
from lsdkit.landmarks import Annotations, read_table
from lsdkit.paths import resolve
from lsdkit.recipes import Recipe
from lsdkit.store import SPLITS, Store, write_store

VERSION = 1  # of what this module and its readers do with a source; raised where a change makes other stores of it
CROP_SIZE = 112  # pixels, of aligned crops where no size is given: the release's own
RENDERED_MARK = "open_set.json"  # in the folder that the renderer writes
DEFAULT_OPEN, SMOKE_OPEN = "data/open", "data/open-smoke"


def prepare_open(
    out: str | Path = DEFAULT_OPEN,
    *,
    fraction: float = 0.01,
    validation: int = 600,
    test: int = 600,
    pixels: int = 112,
    seed: int = 0,
    design: str = "release",
    without: tuple[str, ...] = (),
    jobs: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Store:
    """Render the open set into `<out>-release`, in the release's layout, and store it in `out`.

    `fraction` of the release's 277,251 training faces, `validation` and `test` faces, `pixels` a side. `design`,
    `without` and `device` as in `lsdkit.openset.render_release`. The store's kind is "rendered". Raises
    `FileExistsError` where `<out>-release` holds an open set of other settings.
    """
    out = resolve(out)
    from lsdkit import openset  # numba and the mesh load here, when they are needed

    openset.devices.check_device(device)
    drawn = {"fraction": fraction, "validation": validation, "test": test, "pixels": pixels, "seed": seed}
    drawn |= {"design": design, "without": list(without)}
    settings = {"reader": "open", "version": VERSION, "format": openset.release.FORMAT, **drawn}
    with turn(out):
        if kept := finished(out, settings):
            return kept
        release = out.with_name(f"{out.name}-release")
        openset.render_release(release, **drawn, jobs=jobs, device=device, progress=progress)
        listing = read_release(release)
        return write_store(
            out,
            listing.table,
            listing.landmarks,
            size=pixels,
            kind="rendered",
            source=release.name,
            settings=settings,
            root=release,
            landmark_source="exact",
            jobs=jobs,
            progress=progress,
        )


def prepare_release(source: str | Path, out: str | Path, **options) -> Store:
    """Store the LSD release in `source` (see `lsdkit.faces.read_release`); `options` as in `prepare_folder`.

    The kind is "synthetic", or "rendered" where the folder's faces.csv says that the open set's renderer made it.
    """
    listing = read_release(source)
    return _prepare(
        out, listing, "rendered" if listing.rendered else "synthetic", source, {"reader": "release"}, **options
    )


def prepare_folder(
    source: str | Path,
    out: str | Path,
    *,
    split: str = "",
    validation: float = 0.2,
    seed: int = 0,
    kind: str = "photographs",
    **options,
) -> Store:
    """Store the images of a folder per expression (see `lsdkit.faces.read_folder`).

    Options of every source:
        size: side of the stored square, pixels; None = the first image's own, or 112 with `crop`.
        landmarks: "" none (beyond those that the source carries); "dlib" or "face-alignment" annotate now
            (`lsdkit.annotators`); "deca:DIR" DECA's text files; "table:FILE" a table in [-1, 1], .csv or .npy with a
            .keys.txt beside it (`lsdkit.landmarks.read_table`). Keys are the store's.
        iscrop_false: states that DECA was run with `--iscrop False`.
        crop: find and align the face of uncropped photographs; given landmarks are used for that, else those of the
            annotator that `landmarks` names, else dlib's.
        jobs: workers; None = all cores. progress: show a bar.
    """
    listing = read_folder(source, split=split, validation=validation, seed=seed)
    drawn = {"split": split, "validation": validation, "seed": seed}
    return _prepare(out, listing, kind, source, {"reader": "folder", "kind": kind, **drawn}, **options)


def prepare_csv(
    source: str | Path,
    out: str | Path,
    *,
    split: str = "",
    validation: float = 0.2,
    seed: int = 0,
    kind: str = "photographs",
    **options,
) -> Store:
    """Store the images that a CSV file lists (see `lsdkit.faces.read_csv`); `options` as in `prepare_folder`."""
    listing = read_csv(source, split=split, validation=validation, seed=seed)
    drawn = {"split": split, "validation": validation, "seed": seed}
    return _prepare(out, listing, kind, source, {"reader": "csv", "kind": kind, **drawn}, **options)


def open_or_render(data_dir: str | Path, recipe: Recipe, *, progress: bool = True) -> Store:
    """The store a notebook asks for; "" is the open set, which is rendered first where it is missing.

    The default is `data/open`; for the recipe `smoke`, a small `data/open-smoke` (277 + 60 + 60 faces). Raises
    `FileNotFoundError` for any other folder without a store.
    """
    smoke = recipe.name == "smoke"
    path = resolve(data_dir or (SMOKE_OPEN if smoke else DEFAULT_OPEN))
    if (path / "manifest.json").is_file():
        return Store.open(path)
    if path == resolve(SMOKE_OPEN):
        return prepare_open(path, fraction=0.001, validation=60, test=60, progress=progress)
    if path == resolve(DEFAULT_OPEN):
        return prepare_open(path, progress=progress)
    return Store.open(path)


def summary(store: Store) -> str:
    """What a store holds, as lines of text: faces by split and expression, landmarks, and what was left out and why."""
    counts = pd.DataFrame(store.manifest["counts"]).T.reindex([s for s in SPLITS if s in store.manifest["counts"]])
    counts = counts.reindex(columns=[name for name in (*EXPRESSIONS, *EXTRA, "") if name in counts.columns])
    counts = counts.fillna(0).astype(int).rename(columns={"": "unlabelled"})
    counts["all"] = counts.sum(axis=1)
    lines = [f"{store.path}: {len(store)} faces ({store.kind}), {store.manifest['size']} px", counts.to_string()]
    how = store.faces["landmarks"].value_counts()
    lines.append("landmarks: " + ", ".join(f"{count} {name}" for name, count in how.items()))
    left_out = pd.read_csv(store.path / "left_out.csv", dtype=str, keep_default_na=False)
    lines.append(
        f"left out: {len(left_out)}" + (f" (listed in {store.path / 'left_out.csv'})" if len(left_out) else "")
    )
    for reason, rows in left_out.groupby("reason"):
        first = "; ".join(f"{row.path} ({row.detail})" for row in rows.head(2).itertuples())
        lines.append(f"  {reason}: {len(rows)}, such as {first}")
    for note, count in store.manifest["notes"].items():
        if count:
            lines.append(f"note: {note.replace('_', ' ')}: {count}")
    return "\n".join(lines)


def _prepare(
    out: str | Path,
    listing: Listing,
    kind: str,
    source: str | Path,
    settings: dict,
    *,
    size: int | None = None,
    landmarks: str = "",
    iscrop_false: bool = False,
    crop: bool = False,
    jobs: int | None = None,
    progress: bool = True,
) -> Store:
    out = resolve(out)
    if size is not None and not 16 <= size <= 1024:
        raise ValueError(f"Expected `size` in 16..1024 pixels, but got {size}")
    size = size or (CROP_SIZE if crop else None)
    read = _landmarks(landmarks, listing, iscrop_false)
    given = listing.landmarks | read.points
    transform = _transform(landmarks, given, crop, size)
    settings = settings | {
        "version": VERSION,
        "size": size,
        "landmarks": landmarks,
        "iscrop_false": iscrop_false,
        "crop": crop,
    }
    why_missing = {key: f"missing: {why}" for key, why in read.status.items() if why == "implausible"}
    settings["source_digest"] = _digest(listing, given, why_missing)
    if transform is not None:
        settings["annotator_version"] = annotators.VERSION
    root = listing.root.resolve()
    if any((folder / RENDERED_MARK).is_file() for folder in (root, *root.parents)):
        kind = "rendered"  # whatever was asked for: a part of the open set is no photograph
    source = Path(source).resolve()
    with turn(out):
        refuse_another_source(out, settings["reader"], source)
        return finished(out, settings) or write_store(
            out,
            listing.table,
            given,
            size=size,
            kind=kind,
            source=str(source),
            settings=settings,
            root=listing.root,
            transform=transform,
            left_out=listing.left_out,
            landmark_source=landmarks.partition(":")[0] or "given",
            why_missing=why_missing,
            across_splits=listing.random_split,
            jobs=jobs,
            progress=progress,
        )


def _landmarks(spec: str, listing: Listing, iscrop_false: bool) -> Annotations:
    """Landmarks from the files that `spec` names."""
    kind, _, place = spec.partition(":")
    if not spec or spec in annotators.NAMES:
        return Annotations()
    if kind == "deca" and place:
        return read_deca(place, listing.table["key"], iscrop_false=iscrop_false)
    if kind == "table" and place:
        points = read_table(place)
        if not points.keys() & set(listing.table["key"]):
            raise ValueError(
                f"Expected keys such as {listing.table['key'].iloc[0]!r} in {place}, but none of its "
                f"{len(points)} keys is a face"
            )
        return Annotations(points)
    raise ValueError(f"Expected `landmarks` to be dlib, face-alignment, deca:DIR or table:FILE, but got {spec!r}")


def _transform(landmarks: str, given: dict, crop: bool, size: int | None) -> Callable | None:
    name = landmarks if landmarks in annotators.NAMES else "dlib" if crop else ""
    if not name:
        return None
    annotator = annotators.named(name)  # ends at once, with what to install, where it cannot work
    return Crop(size, given, annotator) if crop else Annotate(given, annotator)


def _digest(listing: Listing, landmarks: dict, why_missing: dict) -> str:
    """Changes with the table, the landmarks, and each file's size and time: is a store still its source's?"""
    digest = hashlib.sha256(listing.table.to_csv(index=False).encode())
    for path in listing.table["path"]:
        file = listing.root / path
        status = file.stat() if file.is_file() else None
        digest.update(f"{status.st_size},{status.st_mtime_ns};".encode() if status else b"none;")
    for key in sorted(landmarks):
        digest.update(key.encode() + landmarks[key].tobytes())
    for key in sorted(why_missing):
        digest.update(f"{key},{why_missing[key]};".encode())
    return digest.hexdigest()


def refuse_another_source(out: Path, reader: str, source: Path) -> None:
    """Raise `ValueError` where `out` holds the store of another source: it would be lost."""
    if not (out / "manifest.json").is_file():
        return
    manifest = files.read_json(out / "manifest.json")
    if (manifest["settings"].get("reader"), manifest["source"]) != (reader, str(source)):
        raise ValueError(
            f"Expected {out} to be free or a store of {source}, but it holds one of {manifest['source']}; "
            "choose another --out, or remove it"
        )


def finished(out: Path, settings: dict) -> Store | None:
    """The store in `out` where it was made with these settings and its checksums hold; None has it made again."""
    if not (out / "manifest.json").is_file() or files.read_json(out / "manifest.json").get("settings") != settings:
        return None
    try:
        store = Store.open(out)
        store.verify()
    except ValueError as damage:
        warnings.warn(f"{damage}; it is made again", stacklevel=3)
        return None
    return store


@contextmanager
def turn(out: Path) -> Iterator[None]:
    """Hold the lock of an output folder; the system frees it when a process dies."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.parent / f".{out.name}.lock"):
        yield
