"""Stores made of other stores: several joined into one, or one seen through a window and without colour.

What such a store is made of is told by its manifest, with checksums; a finished one of the same settings is kept.
Pictures are copied one by one, so that the memory needed does not grow with the stores.
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.bars import open_bar
from lsdkit.common.paths import resolve
from lsdkit.data.preparing import keep_finished, refuse_another_source
from lsdkit.data.store import KINDS, Store, hold_folder
from lsdkit.data.viewing import View
from lsdkit.data.writer import StoreWriter

VERSION = 1  # raise it when the same settings give other stores
WHOLE = (0.0, 0.0, 1.0)  # the window that is the whole picture


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
        given = ", ".join(map(str, paths)) or "none"
        raise ValueError(f"Expected at least two different stores to join, but got {given}")
    if out.resolve() in [path.resolve() for path in sources]:
        raise ValueError(f"Expected --out to be none of the stores, but got {out}; choose another folder")
    stores = dict(zip(_name_apart(sources), map(Store.open, sources), strict=True))
    settings = {
        "reader": "join",
        "version": VERSION,
        "kind": _choose_kind(stores, kind),
        "stores": {name: store.manifest["checksums"] for name, store in stores.items()},
    }
    settings |= {"crop": True} if all(store.aligned for store in stores.values()) else {}  # see `Store.aligned`
    views = {store.view for store in stores.values()}
    if len(views) == 1 and not (view := views.pop()).plain:
        settings["view"] = view.describe()
    source = " + ".join(str(path.resolve()) for path in sources)
    with hold_folder(out):
        refuse_another_source(out, "join", source)
        if kept := keep_finished(out, settings):
            return kept
        for store in stores.values():
            store.verify()
        return _join(stores, out, source, settings, progress)


def view_store(
    store: Store, out: Path | str, *, window: tuple[float, float, float] = WHOLE, grey: bool = True
) -> Store:
    """The same faces seen through a window, and without colour: the store `out`.

    `window` is left, top and side as shares of the picture's side, rounded to whole pixels: pixels are cut out, none is
    resampled. Landmarks are told in [-1, 1] of the window and may lie outside it. `grey` puts each pixel's luma (ITU-R
    601, by Pillow) in all channels. Raises `ValueError` for a window that does not lie in the picture.
    """
    pixels = store.images.shape[1]
    left, top, side = place = tuple(round(share * pixels) for share in window)
    try:
        view = View(pixels, place, grey)
    except ValueError as error:
        raise ValueError(f"Expected a window (left, top, side) inside a picture of side 1, but got {window}") from error
    centre = 2 * (np.array([left, top]) + side / 2) / pixels - 1  # of the window, in [-1, 1] of the picture
    landmarks = (store.landmarks - centre) * (pixels / side)
    pictures = (view.show(image[None])[0] for image in store.images)
    settings = {"reader": "inner", "window": [left, top, side], "grey": grey}
    settings["view"] = store.view.then(place, grey).describe()
    return derive_store(store, out, settings, store.faces, pictures, landmarks)


def derive_store(
    store: Store,
    out: Path | str,
    settings: dict,
    faces: pd.DataFrame,
    pictures: Iterable[np.ndarray],
    landmarks: np.ndarray,
) -> Store:
    """The store `out`, made of faces of `store`; a finished one of the same settings and source is kept and returned.

    settings: what was done, for the manifest; "view" where another part of the crops is left than `store` shows. faces:
    the columns of faces.csv. pictures: uint8 (S, S, 3), or (S, S, 1) for grey, and landmarks (N, 68, 2) in [-1, 1] of
    the pictures, both in the order of `faces`. Raises `ValueError` where `out` holds something that is not a store.
    """
    out = resolve(out)
    settings = {"view": store.view.describe()} | settings
    settings |= {"version": VERSION, "of": store.manifest["checksums"], "from": store.manifest["settings"]}
    with hold_folder(out):
        if kept := keep_finished(out, settings):
            return kept
        store.verify()
        with StoreWriter(out, faces=len(faces)) as writer:
            writer.inherit(store)
            for face, picture, points in zip(faces.itertuples(), pictures, landmarks, strict=True):
                writer.add(face, picture, points, face.landmarks)
            return writer.finish(kind=store.kind, source=store.path.name, settings=settings)


def _name_apart(sources: Sequence[Path]) -> list[str]:
    """A name for each store: its folder's, with a number from the second of the same name on."""
    names = []
    for path in sources:
        numbered = (f"{path.name}-{number}" for number in count(2))
        names.append(next(name for name in chain([path.name], numbered) if name not in names))
    return names


def _choose_kind(stores: dict[str, Store], kind: str) -> str:
    kinds = {store.kind for store in stores.values()}
    if kind and (kind not in KINDS or (kind == "photographs" and kinds != {kind})):
        raise ValueError(
            f"Expected `kind` to be one of {', '.join(KINDS)}, and photographs only where all stores hold some, but "
            f"got {kind!r} for {', '.join(sorted(kinds))}"
        )
    if not kind and len(kinds) > 1:
        which = ", ".join(f"{name} holds {store.kind}" for name, store in stores.items())
        raise ValueError(f"Expected stores of one kind, but {which}; say what the joined faces are to be called")
    return kind or kinds.pop()


def _join(stores: dict[str, Store], out: Path, source: str, settings: dict, progress: bool) -> Store:
    size, most = next(iter(stores.values())).manifest["size"], sum(map(len, stores.values()))
    with (
        StoreWriter(out, faces=most) as writer,
        open_bar(total=most, desc="joining", unit="image", disable=not progress) as bar,
    ):
        for name, store in stores.items():
            for face, image, points in zip(_rename(store.faces, name), store.images, store.landmarks, strict=True):
                pixels = _resize(image, size)
                digest = hashlib.sha256(pixels).digest()
                if copies := writer.add(face, pixels, points, face.landmarks, digest=digest, origin=name):
                    writer.leave_out(face.path, "duplicate", f"same pixels as {copies[0].key}")
                bar.update()
            writer.inherit(store, lambda path, name=name: _below(name, path))
        return writer.finish(kind=settings["kind"], source=source, settings=settings)


def _rename(faces: pd.DataFrame, name: str) -> Iterable[tuple]:
    """The rows of faces.csv with keys, paths and, where known, subjects below the store's name."""
    subjects = faces["subject"].where(faces["subject"] == "", f"{name}/" + faces["subject"])
    paths = [_below(name, path) for path in faces["path"]]
    return faces.assign(key=f"{name}/" + faces["key"], subject=subjects, path=paths).itertuples()


def _below(name: str, path: str) -> str:
    return path if Path(path).is_absolute() else f"{name}/{path}"


def _resize(pixels: np.ndarray, size: int) -> np.ndarray:
    if len(pixels) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
