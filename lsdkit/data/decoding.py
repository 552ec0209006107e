"""Image files to pixels: bytes in, RGB arrays out, with several workers, in the table's order."""

import hashlib
import io
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from lsdkit.common.machine import cores
from lsdkit.data.release import SIDE

LEAST, MOST = 16, 1024  # pixels, side of a stored image
WINDOW = 256  # images in flight, which bounds the memory


class LeftOut(Exception):
    """Not an error but a counted outcome: an image that cannot be used.

    `reason` is, of a picture, "unreadable", "no_face" or "duplicate"; of what labels it, "unknown_class",
    "other_class", "no_expression", "held_out", "malformed", "outside" or "bad_box" (docs/data.md says what each means).
    `detail` says more.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def decode(data: bytes) -> Image.Image:
    """RGB image from the bytes of a file, turned upright by its EXIF orientation.

    16-bit greys keep their upper 8 bits; transparency is dropped. Raises `LeftOut` ("unreadable") for whatever Pillow
    cannot decode, truncated files included.
    """
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise LeftOut("unreadable", f"no image format that Pillow knows, {len(data)} bytes") from error
    except Exception as error:  # Pillow's decoders raise many kinds; each means: not an image we can read
        raise LeftOut("unreadable", f"{type(error).__name__}: {error}".splitlines()[0][:200]) from error


def native_size(table: pd.DataFrame, root: Path) -> int:
    """Side of the first decodable image where it is square and 16 to 1024 pixels, else 112."""
    for path in table["path"]:
        try:
            width, height = decode((root / path).read_bytes()).size
        except (OSError, LeftOut):
            continue
        return width if width == height and LEAST <= width <= MOST else SIDE
    return SIDE


def decode_table(
    table: pd.DataFrame, root: Path, size: int | None, transform: Callable | None, jobs: int | None, progress: bool
) -> Iterator[tuple]:
    """Yield (row, SHA-256 of the file, (uint8 (S, S, 3), landmarks, status) or `LeftOut`) in the table's order.

    Plain decoding runs in `jobs` threads (Pillow releases the interpreter's lock). A `transform` runs in `jobs`
    processes and must be picklable, because dlib holds that lock; with `jobs` 1 everything runs in this process.
    """
    one = partial(_decode_one, root=root, size=size or native_size(table, root), transform=transform)
    rows = table.itertuples(index=False)
    sources = zip(table["key"], table["path"], strict=True)
    with (
        _pool(jobs or cores(), len(table), processes=transform is not None) as apply,
        tqdm(total=len(table), desc="decoding", unit="image", disable=not progress) as bar,
    ):
        while window := list(islice(sources, WINDOW)):
            for row, (digest, result) in zip(islice(rows, len(window)), apply(one, window), strict=True):
                yield row, digest, result
                bar.update()


def _decode_one(source: tuple[str, str], *, root: Path, size: int, transform: Callable | None) -> tuple:
    key, path = source
    digest = b""
    try:
        data = (root / path).read_bytes()
        digest = hashlib.sha256(data).digest()
        image, points, status = decode(data), None, ""
        if transform is not None:
            image, points, status = transform(image, key)
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        return digest, (np.asarray(image), points, status)
    except OSError as error:
        return digest, LeftOut("unreadable", f"{type(error).__name__}: {error.strerror or error}")
    except LeftOut as left:
        return digest, left


@contextmanager
def _pool(jobs: int, count: int, *, processes: bool) -> Iterator[Callable]:
    """An ordered `map`: in this process for one job or few images, else over threads or fresh processes."""
    if jobs == 1 or count < 2 * jobs:
        yield map
    elif processes:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield partial(pool.map, chunksize=4)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            yield pool.map
