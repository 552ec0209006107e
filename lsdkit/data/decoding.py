"""Image files to pixels: bytes in, RGB arrays out, with several workers, in the table's order."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.bars import open_bar
from lsdkit.common.machine import cores
from lsdkit.common.signals import can_start_processes, end_with_parent, tell_broken_pool
from lsdkit.data.pictures import LeftOut, open_picture, read_picture
from lsdkit.data.release import SIDE

LEAST, MOST = 16, 1024  # pixels, side of a stored image
APART = 2  # a picture is far from the others' size where its side is this many times the median, or less than 1 / this
WINDOW = 256  # images in flight, which bounds the memory


class Decoded(NamedTuple):
    """A picture as a store takes it.

    pixels: uint8 (S, S, 3). points: (68, 2) in [-1, 1], or None; status: how they came about. picture: width and height
    of the upright picture, pixels; cut: of what was brought to the square, the picture itself or a crop of it.
    """

    pixels: np.ndarray
    points: np.ndarray | None
    status: str
    picture: tuple[int, int]
    cut: tuple[int, int]


def native_size(table: pd.DataFrame, root: Path) -> int:
    """Side of the first decodable image where it is square and 16 to 1024 pixels, else 112."""
    for path in table["path"]:
        try:
            width, height = open_picture(root / path).size
        except LeftOut:
            continue
        return width if width == height and LEAST <= width <= MOST else SIDE
    return SIDE


def decode_table(
    table: pd.DataFrame, root: Path, size: int | None, transform: Callable | None, jobs: int | None, progress: bool
) -> Iterator[tuple]:
    """Yield (row, SHA-256 of the file, `Decoded` or `LeftOut`) in the table's order.

    Plain decoding runs in `jobs` threads (Pillow releases the interpreter's lock). A `transform` runs in `jobs`
    processes and must be picklable, because dlib holds that lock; with `jobs` 1 everything runs in this process.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"Expected `jobs` of at least 1, or None for all cores, but got {jobs}")
    one = partial(_decode_one, root=root, size=size or native_size(table, root), transform=transform)
    rows = table.itertuples(index=False)
    sources = zip(table["key"], table["path"], strict=True)
    with (
        _pool(jobs or cores(), len(table), processes=transform is not None) as apply,
        open_bar(total=len(table), desc="decoding", unit="image", disable=not progress) as bar,
    ):
        while window := list(islice(sources, WINDOW)):
            for row, (digest, result) in zip(islice(rows, len(window)), apply(one, window), strict=True):
                yield row, digest, result
                bar.update()


def note_sizes(pictures: Sequence[tuple[int, int]], cuts: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Faces whose pictures hardly suit a store, counted by note; a note that concerns none is absent.

    pictures, cuts: of each face, `Decoded.picture` and `Decoded.cut`. "tiny_pictures" have a side of less than 16
    pixels. "stretched_pictures" were not square when they were brought to the square; "pictures_of_another_size" have a
    shorter side of less than half or more than twice the median.

    >>> note_sizes([(20, 20), (20, 20), (90, 120)], [(20, 20), (20, 20), (90, 120)])
    {'stretched_pictures': 1, 'pictures_of_another_size': 1}
    """
    sides = np.array(cuts).reshape(-1, 2).min(1)
    apart = (sides > APART * np.median(sides)) | (APART * sides < np.median(sides)) if len(sides) else sides
    counts = {
        "tiny_pictures": sum(min(picture) < LEAST for picture in pictures),
        "stretched_pictures": sum(width != height for width, height in cuts),
        "pictures_of_another_size": int(apart.sum()),
    }
    return {note: count for note, count in counts.items() if count}


def _decode_one(source: tuple[str, str], *, root: Path, size: int, transform: Callable | None) -> tuple:
    key, path = source
    digest = b""
    try:
        data = read_picture(root / path)
        digest = hashlib.sha256(data).digest()
        image, points, status = open_picture(data), None, ""
        picture = image.size
        if transform is not None:
            image, points, status = transform(image, key)
        cut = image.size
        if cut != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        return digest, Decoded(np.asarray(image), points, status, picture, cut)
    except LeftOut as left:
        return digest, left


@contextmanager
def _pool(jobs: int, count: int, *, processes: bool) -> Iterator[Callable]:
    """An ordered `map`: in this process for one job or few images, else over threads or fresh processes."""
    if jobs == 1 or count < 2 * jobs or (processes and not can_start_processes()):
        yield map
    elif processes:
        context = multiprocessing.get_context("spawn")
        with (
            tell_broken_pool(),
            ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool,
        ):
            yield partial(pool.map, chunksize=4)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            yield pool.map
