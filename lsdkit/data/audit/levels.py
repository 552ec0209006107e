"""Numbers of each picture, taken in one pass over the pixels in small pieces: light, contrast, colour, detail, copies.

The sizes of two samples' difference come with it: what counts is how large a difference is, since with many faces
every difference is beyond chance.
"""

import hashlib

import numpy as np
import pandas as pd

from lsdkit.common.bars import open_bar
from lsdkit.data.audit.fingerprints import GREY, fingerprints

PIECE = 64  # faces at once: 2.4 MB of 112 px pictures, which fits a core's cache
MEASURES = ("brightness", "contrast", "colour", "detail")


def measure_pictures(images: np.ndarray, *, progress: bool = True) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """(table of N rows, fingerprints uint64 (N, 4), digests (N,) of 16 bytes) of pictures uint8 (N, S, S, 3).

    The table's columns, in grey levels 0 to 255: brightness = mean, contrast = standard deviation, colour = mean
    difference of neighbouring channels (0 in a grey picture), detail = mean step from pixel to pixel. Equal digests
    mean equal pixels. `images` may be a memory map: a piece of 64 is held at a time.
    """
    count = len(images)
    table, prints, digests = np.zeros((count, 4)), np.zeros((count, 4), np.uint64), np.zeros(count, "S16")
    with open_bar(total=count, desc="reading pixels", unit="face", disable=not progress) as bar:
        for start in range(0, count, PIECE):
            rows = slice(start, min(start + PIECE, count))
            piece = np.ascontiguousarray(images[rows])
            table[rows], grey = _levels(piece)
            prints[rows] = fingerprints(grey)
            # Hexadecimal keeps the zero bytes that numpy's byte strings drop at their end.
            digests[rows] = [hashlib.blake2b(face, digest_size=8).hexdigest().encode() for face in piece]
            bar.update(len(piece))
    return pd.DataFrame(table, columns=list(MEASURES)), prints, digests


def _levels(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, 4) measures and the grey pictures float32 (B, S, S)."""
    red, green, blue = np.moveaxis(piece, -1, 0)  # (B, S, S) each
    grey = red * GREY[0]
    grey += green * GREY[1]
    grey += blue * GREY[2]
    gaps = (np.maximum(one, two) - np.minimum(one, two) for one, two in ((red, green), (green, blue)))
    colour = sum(gap.mean((1, 2)) for gap in gaps) / 2
    steps = sum(np.abs(np.diff(grey, axis=axis)).mean((1, 2)) for axis in (1, 2)) / 2
    return np.stack([grey.mean((1, 2)), grey.std((1, 2)), colour, steps], 1), grey


def difference(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How far `second` (M,) lies from `first` (N,), both of at least 2 finite values.

    smd: standardised mean difference, (mean second - mean first) / sqrt(mean of the two variances); by custom .2 is
    small, .5 medium, .8 large (Cohen 1988). ks: largest gap between the two cumulative shares, 0 to 1 (Kolmogorov and
    Smirnov). smd_chance, ks_chance: what two samples of these sizes from one population exceed 5 times in 100.

    >>> difference(np.array([0.0, 1.0]), np.array([2.0, 3.0]))["ks"]
    1.0
    """
    first, second = np.sort(first), np.sort(second)
    spread = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    gap = second.mean() - first.mean()
    both = np.concatenate([first, second])
    shares = [np.searchsorted(values, both, side="right") / len(values) for values in (first, second)]
    chance = np.sqrt(1 / len(first) + 1 / len(second))
    return {
        "smd": float(gap / spread) if spread > 0 else (0.0 if gap == 0 else float(np.sign(gap) * 99)),
        "ks": float(np.abs(shares[0] - shares[1]).max()),
        "smd_chance": float(1.96 * chance),
        "ks_chance": float(1.358 * chance),
    }
