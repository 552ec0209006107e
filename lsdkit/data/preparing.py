"""From images on disk to a store: one function per kind of source, all ending in `lsdkit.data.writer.write_store`.

A finished store whose settings and source are the same is kept and returned. Two processes that prepare the same
folder take turns (a lock file beside it), so that notebooks started together render the open set once.
"""

import hashlib
import os
import stat
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.expressions import CLASSES
from lsdkit.common.paths import resolve
from lsdkit.data import annotators
from lsdkit.data.alignment import Annotate, Crop
from lsdkit.data.datasets import DATA_SETS, read_data_set
from lsdkit.data.deca import read_deca
from lsdkit.data.decoding import LEAST, MOST
from lsdkit.data.landmark_tables import read_table
from lsdkit.data.pictures import RULES, is_special, quote_name
from lsdkit.data.plausibility import judge_landmarks
from lsdkit.data.readers import Listing, leave_out_listed, read_csv, read_folder, read_release
from lsdkit.data.release import RENDERED_MARK, SIDE
from lsdkit.data.sharing import share_points
from lsdkit.data.store import Store, hold_folder, read_manifest
from lsdkit.data.unpacking import check_unpacked
from lsdkit.data.writer import StoreWriter, write_store

VERSION = 1  # of what this module and its readers do with a source; raised where a change makes other stores of it
NOTES = {  # of a store's manifest -> in words, where its name is not enough
    "tiny_pictures": "pictures with a side of less than 16 px, which show little",
    "stretched_pictures": "pictures that were not square and were stretched (--crop cuts out the face instead)",
    "pictures_of_another_size": "pictures less than half or more than twice as large as the median one, whose faces "
    "differ in detail",
}


def prepare_release(source: str | Path, out: str | Path, **options) -> Store:
    """Store the LSD release in `source` (see `lsdkit.data.readers.read_release`); `options` as in `prepare_folder`.

    The kind is "synthetic", or "rendered" where the folder's faces.csv says that the open set's renderer made it.
    """
    listing = read_release(source)
    kind = "rendered" if listing.rendered else "synthetic"
    return _prepare(out, listing, kind, source, {"reader": "release"}, **options)


def prepare_folder(
    source: str | Path, out: str | Path, *, names: Mapping[str, str] | None = None, subjects: str = "", **options
) -> Store:
    """Store the images of a folder per expression (see `lsdkit.data.readers.read_folder`).

    `names` says which expressions class folders stand for, and `subjects` how paths name people, as there. Options of
    folders and CSV files: `split`, `validation` and `seed` as in `read_folder`; `kind`, what the faces are,
    "photographs" (default), "rendered" or "synthetic".

    Options of every source:
        size: side of the stored square, pixels; None = the first image's own, or 112 with `crop`.
        landmarks: "" none (beyond those that the source carries); "dlib" or "face-alignment" annotate now
            (`lsdkit.data.annotators`); "deca:DIR" DECA's text files; "table:FILE" a table in [-1, 1], .csv or .npy
            with a .keys.txt beside it (`lsdkit.data.landmark_tables.read_table`). Keys are the store's.
        iscrop_false: states that DECA was run with `--iscrop False`.
        crop: find and align the face of uncropped photographs; given landmarks are used for that, else those of the
            annotator that `landmarks` names, else dlib's.
        leave_out: a CSV file of faces that do not belong in the store (`lsdkit.data.readers.leave_out_listed`).
        jobs: workers; None = all cores. progress: show a bar.
    """
    return _prepare_own(partial(read_folder, names=names or {}, subjects=subjects), "folder", source, out, **options)


def prepare_csv(source: str | Path, out: str | Path, **options) -> Store:
    """Store the images that a CSV file lists (see `lsdkit.data.readers.read_csv`); `options` as in `prepare_folder`."""
    return _prepare_own(read_csv, "csv", source, out, **options)


def prepare_data_set(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    classes: int = 0,
    validation: float = 0.2,
    seed: int = 0,
    **options,
) -> Store:
    """Store a public data set as it was handed out (see `lsdkit.data.datasets.read_data_set`).

    `name` is one of `DATA_SETS`; `options` of every source as in `prepare_folder`. Faces that are no files of their own
    are written to `out`-faces first. What would be refused at the end is refused before that.
    """
    out, source = resolve(out), Path(source)
    unpacked = out.with_name(f"{out.name}-faces")
    _refuse_size(options.get("size"))
    if not DATA_SETS[name].has_landmarks:
        _transform(options.get("landmarks", ""), {}, options.get("crop", False), None)
    refuse_another_source(out, name, source.resolve())
    StoreWriter(out)
    check_unpacked(unpacked)
    drawn = {"classes": classes or DATA_SETS[name].most, "validation": validation, "seed": seed}
    shown = {key: options[key] for key in ("jobs", "progress") if key in options}
    listing = read_data_set(name, source, unpacked, **drawn, **shown)
    return _prepare(out, listing, "photographs", source, {"reader": name, **drawn}, **options)


def summarise(store: Store) -> str:
    """What a store holds, as lines of text: faces by split and expression, landmarks, what was left out and why.

    Notes at the end tell of copies, and of pictures whose size or shape does not suit a store.
    """
    counts = pd.DataFrame(store.manifest["counts"]).T
    counts = counts.reindex(columns=[name for name in (*CLASSES, "") if name in counts.columns])
    counts = counts.fillna(0).astype(int).rename(columns={"": "unlabelled"})
    counts["all"] = counts.sum(axis=1)
    place = quote_name(store.path)
    lines = [f"{place}: {len(store)} faces ({store.kind}), {store.manifest['size']} px", counts.to_string()]
    how = store.faces["landmarks"].value_counts()
    lines.append("landmarks: " + ", ".join(f"{count} {name}" for name, count in how.items()))
    lines.append(f"subjects: {_describe_people(store)}")
    where = f" (listed in {place}/left_out.csv)" if len(store.left_out) else ""
    lines.append(f"left out: {len(store.left_out)}{where}")
    for reason, rows in store.left_out.groupby("reason"):
        first = "; ".join(f"{row.path} ({row.detail})" for row in rows.head(2).itertuples())
        lines.append(f"  {reason}: {len(rows)}, such as {first}")
    notes = store.manifest["notes"].items()
    lines += [f"note: {NOTES.get(note, note.replace('_', ' '))}: {count}" for note, count in notes if count]
    return "\n".join(lines)


def _describe_people(store: Store) -> str:
    """How many people a store names, and whether one is in two splits."""
    faces = store.faces[store.faces["subject"] != ""]
    split = " (prepare folder --subjects takes them from file names; one person may be in train and in validation)"
    if faces.empty:
        return f"not named{split if store.counts('validation').any() and store.kind == 'photographs' else ''}"
    sizes = faces["subject"].value_counts()
    splits = faces[faces["split"] != "extra"].groupby("subject")["split"].nunique()
    words = f"{len(sizes)} people, {sizes.iloc[0]} faces of {sizes.index[0]}, who has most"
    words += f"; {len(store) - len(faces)} faces name nobody" if len(faces) < len(store) else ""
    shared = splits[splits > 1]
    some = f"{len(shared)} of them, such as {shared.index[0]}, are" if len(shared) else "nobody is"
    return f"{words}; {some} in more than one split"


def _prepare_own(
    read: Callable[..., Listing],
    reader: str,
    source: str | Path,
    out: str | Path,
    *,
    split: str = "",
    validation: float = 0.2,
    seed: int = 0,
    kind: str = "photographs",
    **options,
) -> Store:
    drawn = {"split": split, "validation": validation, "seed": seed}
    return _prepare(out, read(source, **drawn), kind, source, {"reader": reader, "kind": kind, **drawn}, **options)


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
    leave_out: str | Path = "",
    jobs: int | None = None,
    progress: bool = True,
) -> Store:
    out = resolve(out)
    _refuse_size(size)
    listing = leave_out_listed(listing, leave_out) if leave_out else listing
    size = size or (SIDE if crop else None)
    points, why_missing = _read_landmarks(landmarks, listing, iscrop_false, crop)
    own = listing.landmarks
    if own and settings["reader"] == "release" and not listing.rendered:
        own, doubt = _judge(own, listing, listing.root / "faces.csv", crop)
        why_missing = doubt | why_missing
    given, why_missing = own | points, listing.why_missing | why_missing
    if crop and given.keys() >= set(listing.table["key"]):
        transform = Crop(size, given)  # no annotator is needed
    else:
        transform = _transform(landmarks, given, crop, size)
    settings |= {"version": VERSION, "size": size, "landmarks": landmarks, "iscrop_false": iscrop_false, "crop": crop}
    if any(is_special(listing.root / path) for path in listing.table["path"]):
        settings["pictures"] = RULES  # a store made before there were rules for such pictures is made again
    settings["source_digest"] = _digest(listing, given, why_missing)
    if transform is not None:
        settings["annotator_version"] = annotators.VERSION
    root = listing.root.resolve()
    if any((folder / RENDERED_MARK).is_file() for folder in (root, *root.parents)):
        kind = "rendered"  # whatever was asked for: a part of the open set is no photograph
    source = Path(source).resolve()
    with hold_folder(out):
        refuse_another_source(out, settings["reader"], source)
        if kept := keep_finished(out, settings):
            return kept
        about = {"size": size, "kind": kind, "source": str(source), "settings": settings, "root": listing.root}
        about |= {"landmark_source": landmarks.partition(":")[0] or "given", "why_missing": why_missing}
        about |= {"left_out": listing.left_out, "across_splits": listing.random_split}
        about |= {"jobs": jobs, "progress": progress}
        if transform is None or not given:
            return write_store(out, listing.table, given, transform=transform, **about)
        with share_points(given, out.with_name(f".{out.name}.points.npy")) as known:
            return write_store(out, listing.table, given, transform=replace(transform, known=known), **about)


def _read_landmarks(
    spec: str, listing: Listing, iscrop_false: bool, crop: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Landmarks from the files that `spec` names, by key, and why faces that files are there for have none."""
    kind, _, place = spec.partition(":")
    keys = listing.table["key"]
    if not spec or spec in annotators.NAMES:
        return {}, {}
    if kind == "deca" and place:
        deca = read_deca(place, keys, iscrop_false=iscrop_false)
        return deca.points, dict.fromkeys(deca.implausible, "missing: implausible")
    if kind == "table" and place:
        points = read_table(place)
        if not points.keys() & set(keys):
            none = f"none of its {len(points)} keys is a face"
            raise ValueError(f"Expected keys such as {keys.iloc[0]!r} in {place}, but {none}")
        return _judge(points, listing, place, crop)
    raise ValueError(f"Expected `landmarks` to be dlib, face-alignment, deca:DIR or table:FILE, but got {spec!r}")


def _judge(
    points: Mapping[str, np.ndarray], listing: Listing, source: str | Path, crop: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """`judge_landmarks` of those faces that are there."""
    places = {key: listing.root / path for key, path in zip(listing.table["key"], listing.table["path"], strict=True)}
    own = {key: each for key, each in points.items() if key in places}
    return judge_landmarks(own, places, source, anywhere=crop)


def _refuse_size(size: int | None) -> None:
    if size is not None and not LEAST <= size <= MOST:
        raise ValueError(f"Expected `size` in {LEAST}..{MOST} pixels, but got {size}")


def _transform(landmarks: str, given: dict, crop: bool, size: int | None) -> Callable | None:
    name = landmarks if landmarks in annotators.NAMES else "dlib" if crop else ""
    if not name:
        return None
    annotator = annotators.choose_annotator(name)  # ends at once, with what to install, where it cannot work
    return Crop(size, given, annotator) if crop else Annotate(given, annotator)


def _digest(listing: Listing, landmarks: dict, why_missing: dict) -> str:
    """Changes with the table, the landmarks, and each file's size and time: is a store still its source's?"""
    digest = hashlib.sha256(listing.table.to_csv(index=False).encode(errors="surrogatepass"))
    for row in listing.left_out:
        digest.update(f"{row['path']},{row['reason']},{row['detail']};".encode(errors="surrogatepass"))
    for path in listing.table["path"]:
        digest.update(f"{_stamp(listing.root / path)};".encode())
    for key in sorted(landmarks):
        digest.update(key.encode() + landmarks[key].tobytes())
    for key in sorted(why_missing):
        digest.update(f"{key},{why_missing[key]};".encode())
    return digest.hexdigest()


def _stamp(file: Path) -> str:
    """Size and time of a file; "none" where there is none, or none that can be."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return "none"
    return f"{status.st_size},{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else "none"


def refuse_another_source(out: Path, reader: str, source: Path) -> None:
    """Raise `ValueError` where `out` holds the store of another source: it would be lost."""
    if not (out / "manifest.json").is_file():
        return
    manifest = read_manifest(out)
    if (manifest["settings"].get("reader"), manifest["source"]) != (reader, str(source)):
        raise ValueError(
            f"Expected {out} to be free or a store of {source}, but it holds one of {manifest['source']}; "
            "choose another --out, or remove it"
        )


def keep_finished(out: Path, settings: dict) -> Store | None:
    """The store in `out` where it was made with these settings and its checksums hold; None has it made again."""
    if not (out / "manifest.json").is_file() or read_manifest(out)["settings"] != settings:
        return None
    try:
        store = Store.open(out)
        store.verify()
    except ValueError as damage:
        warnings.warn(f"{damage}; it is made again", stacklevel=3)
        return None
    return store
