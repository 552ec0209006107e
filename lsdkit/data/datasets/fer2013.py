"""FER2013: one CSV file, a row a face, its 48 x 48 grey levels as numbers; each is written as a picture.

Source: Goodfellow et al., "Challenges in Representation Learning" (https://arxiv.org/abs/1307.0414).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from lsdkit.data.datasets.labels import DataSet, Labelled, Misread, find_first, number_codes, read_rows

COLUMNS = ("emotion", "pixels", "Usage")
FILES = ("fer2013.csv", "icml_face_data.csv", "fer2013/fer2013.csv")
SIDE = 48
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def _read(data_set: DataSet, source: Path) -> Iterator[Labelled | Misread]:
    root, listed = (source.parent, source.name) if source.is_file() else (source, find_first(source, FILES))
    if not listed:
        raise data_set.refuse(source)
    for number, row in enumerate(read_rows(root / listed, COLUMNS, COLUMNS), start=1):
        if isinstance(row, Misread):
            yield row
            continue
        split = SPLITS.get(row["Usage"])
        pixels = _parse_pixels(row["pixels"])
        if not split or pixels is None:
            wrong = f"Usage {row['Usage'][:40]!r} is none of {', '.join(SPLITS)}" if not split else ""
            yield Misread(row["where"], wrong or f"pixels are not {SIDE**2} whole numbers from 0 to 255")
            continue
        cut = partial(_draw_pixels, pixels=pixels)
        yield Labelled(row["where"], listed, row["emotion"], split, name=f"{split}/{number:05}.png", cut=cut)


def _parse_pixels(text: str) -> bytes | None:
    try:
        pixels = bytes(map(int, text.split()))  # refuses numbers outside 0..255
    except ValueError:
        return None
    return pixels if len(pixels) == SIDE**2 else None


def _draw_pixels(_: Path, pixels: bytes) -> Image.Image:
    return Image.frombytes("L", (SIDE, SIDE), pixels)


FER2013 = DataSet(
    "FER2013",
    _read,
    "fer2013.csv (emotion, pixels, Usage), or that file itself",
    number_codes("ANGER DISGUST FEAR HAPPINESS SADNESS SURPRISE NEUTRAL"),
)
