"""Stores made of other stores: the inner face without colour that the benchmark reads, or chosen faces, repeated.

A derived store tells, in its manifest, the checksums and settings of the one that it was made from. A finished one is
kept and returned.
"""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit import prepare
from lsdkit.paths import resolve
from lsdkit.store import Store, check_free, finish

VERSION = 1  # raise it when the same settings give other stores
WHOLE = (0.0, 0.0, 1.0)  # the window that is the whole picture


def inner_store(
    store: Store, out: Path | str, *, window: tuple[float, float, float] = WHOLE, grey: bool = True
) -> Store:
    """The same faces seen through a window, and without colour: the store `out`.

    `window` is left, top and side as shares of the picture's side, rounded to whole pixels: pixels are cut out, none is
    resampled. Landmarks are told in [-1, 1] of the window and may lie outside it. `grey` puts each pixel's luma (ITU-R
    601, by Pillow) in all channels. Raises `ValueError` for a window that does not lie in the picture.
    """
    pixels = store.images.shape[1]
    left, top, side = (round(share * pixels) for share in window)
    if min(left, top) < 0 or side < 1 or max(left, top) + side > pixels:
        raise ValueError(f"Expected a window (left, top, side) inside a picture of side 1, but got {window}")
    centre = 2 * (np.array([left, top]) + side / 2) / pixels - 1  # of the window, in [-1, 1] of the picture
    landmarks = (store.landmarks - centre) * (pixels / side)

    def pictures() -> Iterable[np.ndarray]:
        for image in store.images:
            cut = image[top : top + side, left : left + side]
            yield np.asarray(Image.fromarray(cut).convert("L"))[..., None] if grey else cut

    settings = {"reader": "inner", "window": [left, top, side], "grey": grey}
    return _derived(store, out, settings, pictures(), store.faces, landmarks, side)


def repeated_store(store: Store, chosen: np.ndarray, out: Path | str) -> Store:
    """The store with the rows `chosen` in place of its training faces, each class repeated to as many as it had.

    So a training takes as many steps from fewer faces. Repeats have keys of their own, KEY+1 and so on.
    """
    labels, train = store.labels, store.rows("train")
    repeats = [
        np.resize(chosen[labels[chosen] == label], (labels[train] == label).sum())
        for label in np.unique(labels[chosen])
    ]
    rows = np.concatenate([*repeats, store.rows("validation"), store.rows("test")])
    faces = store.faces.iloc[rows].reset_index(drop=True)
    again = faces.groupby("key").cumcount()
    faces["key"] = faces["key"].where(again == 0, faces["key"] + "+" + again.astype(str))
    settings = {"reader": "repeated", "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
    pictures, pixels = (store.images[row] for row in rows), store.images.shape[1]
    return _derived(store, out, settings, pictures, faces, store.landmarks[rows], pixels)


def _derived(
    store: Store,
    out: Path | str,
    settings: dict,
    pictures: Iterable[np.ndarray],
    faces: pd.DataFrame,
    landmarks: np.ndarray,
    size: int,
) -> Store:
    out = resolve(out)
    settings |= {"version": VERSION, "of": store.manifest["checksums"], "from": store.manifest["settings"]}
    with prepare.turn(out):
        check_free(out)
        if kept := prepare.finished(out, settings):
            return kept
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            options = {"mode": "w+", "dtype": np.uint8, "shape": (len(faces), size, size, 3)}
            images = np.lib.format.open_memmap(partial / "images.npy", **options)
            for row, picture in enumerate(pictures):
                images[row] = picture
            images.flush()
            lost = pd.read_csv(store.path / "left_out.csv", dtype=str, keep_default_na=False)
            described = {name: store.manifest[name] for name in ("kind", "notes")}
            described |= {"size": size, "source": store.path.name, "settings": settings}
            finish(partial, out, faces, landmarks, lost, **described)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return Store.open(out)
