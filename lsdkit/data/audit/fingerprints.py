"""Copies among faces: a 256-bit fingerprint of each picture, and a search for near ones that compares few pairs.

A bit is the sign of one low-frequency coefficient of the grey picture's discrete cosine transform (Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, with 256 bits instead of 64: aligned faces
look alike at the lowest frequencies). The sign does not change with brightness or contrast. The bits are dealt out to
16 bands of 16; two fingerprints that differ in fewer than 16 bits agree in at least one whole band, so only faces that
share a band are compared (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
2012), and every near pair is found.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

BITS, BANDS, HIGHEST = 256, 16, 24  # frequencies below HIGHEST of each direction, lowest diagonals first
THRESHOLD = 12  # bits: most copies change fewer, distinct rendered faces differ in 15 and more (benchmarks/speed)
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
CHUNK = 1 << 20  # pairs compared at once, which bounds the memory


def frequencies(side: int) -> np.ndarray:
    """int64 (F, 2): vertical and horizontal frequency of each bit for pictures of `side` pixels; F is 256, 255 at 16.

    >>> frequencies(112)[:3].tolist(), len(frequencies(16))
    ([[0, 1], [1, 0], [0, 2]], 255)
    """
    grid = np.stack(np.meshgrid(*[np.arange(min(side, HIGHEST))] * 2, indexing="ij"), -1).reshape(-1, 2)
    return grid[np.lexsort((grid[:, 0], grid.sum(1)))][1 : BITS + 1]


def fingerprints(grey: np.ndarray) -> np.ndarray:
    """uint64 (B, 4) fingerprints of square grey pictures (B, S, S), S at least 16; the unit of grey does not matter."""
    side = grey.shape[-1]
    place = (np.arange(side) + 0.5) / side
    waves = np.cos(np.pi * np.outer(place, np.arange(min(side, HIGHEST)))).astype(np.float32)  # (S, 24)
    spectrum = waves.T @ (grey.astype(np.float32, copy=False) @ waves)  # (B, 24, 24)
    down, across = frequencies(side).T
    return _pack(spectrum[:, down, across] > 0)


def mirror(side: int) -> np.ndarray:
    """uint64 (4,): bits that change in the mirror image: `fingerprints(x[..., ::-1]) == fingerprints(x) ^ mirror`."""
    return _pack(frequencies(side)[None, :, 1] % 2 == 1)[0]


def _pack(bits: np.ndarray) -> np.ndarray:
    """Bits (B, F) to uint64 (B, 4), dealt out so that each band holds low and high frequencies."""
    full = np.zeros((len(bits), BITS), bool)
    full[:, : bits.shape[1]] = bits
    dealt = full.reshape(-1, BITS // BANDS, BANDS).swapaxes(1, 2).reshape(-1, BITS)
    return np.packbits(dealt, axis=1).view(np.uint64)


def count_bits(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Bits, 0 to 256, in which fingerprints (..., 4) differ."""
    return np.bitwise_count(first ^ second).sum(-1, dtype=np.int64)


def near_pairs(
    prints: np.ndarray, threshold: int = THRESHOLD, other: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield all pairs of near fingerprints in pieces (first, second, distance), each pair once.

    prints: uint64 (N, 4); equal ones should be merged first (`np.unique`), or their pairs come too. With `other`
    (N, 4), the mirrored fingerprints, pairs are of a row of `prints` and one of `other`, first < second. Memory grows
    with N, not with the pairs. Raises `ValueError` for a threshold that the bands cannot guarantee.
    """
    if not 0 <= threshold < BANDS:
        raise ValueError(f"Expected `threshold` in 0..{BANDS - 1} bits, but got {threshold}: more bits need more bands")
    count = len(prints)
    both = prints if other is None else np.concatenate([prints, other])
    bands = np.ascontiguousarray(both).view(np.uint16)  # (N or 2N, 16)
    for number in range(BANDS):
        for first, second in _pair_sharing(bands[:, number]):
            first, second = np.minimum(first, second), np.maximum(first, second)
            if other is not None:
                crossing = (first < count) & (second >= count) & (first < second - count)
                first, second = first[crossing], second[crossing]
            bits = count_bits(both[first], both[second])
            near = np.flatnonzero(bits <= threshold)
            # A pair that shares an earlier band has come already.
            new = ~(bands[first[near], :number] == bands[second[near], :number]).any(1)
            near = near[new]
            if len(near):
                yield first[near], second[near] - (count if other is not None else 0), bits[near]


def _pair_sharing(values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """All pairs of rows with an equal value, in pieces: neighbours in sorted order, then those two places apart, ..."""
    order = np.argsort(values, kind="stable")
    values = values[order]
    left = np.arange(len(values) - 1)
    lag, waiting, size = 1, [], 0
    while len(left):
        left = left[left + lag < len(values)]
        left = left[values[left] == values[left + lag]]
        waiting.append((order[left], order[left + lag]))
        size += len(left)
        lag += 1
        if size >= CHUNK or not len(left):
            yield tuple(map(np.concatenate, zip(*waiting, strict=True)))
            waiting, size = [], 0


def find_nearest(queries: np.ndarray, prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `queries` (Q, 4) the nearest row of `prints` (N, 4) and its distance in bits, by looking at all."""
    best, bits = np.zeros(len(queries), np.int64), np.full(len(queries), BITS + 1)
    for row, query in enumerate(queries):
        apart = count_bits(prints, query)
        best[row], bits[row] = apart.argmin(), apart.min()
    return best, bits


def group_codes(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """int (count,): a number for each of `count` codes, the same for those that pairs join over any number of steps.

    >>> group_codes(5, np.array([0, 3]), np.array([3, 4])).tolist()
    [0, 1, 2, 0, 0]
    """
    joined = sparse.csr_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return csgraph.connected_components(joined, directed=False)[1]


def count_pairs(
    categories: np.ndarray, codes: np.ndarray, size: int, edges: tuple | None = None, equal: bool = True
) -> np.ndarray:
    """int64 (G, G), symmetric: pairs of faces that are copies, by the categories of the two, counted without listing.

    categories: (N,) in 0..G-1 (`size` is G). codes: (N,) which fingerprint a face has. Faces of equal code are pairs
    (unless not `equal`), and so are those of two codes that an edge joins; `edges` begins with (first, second). A pair
    of two different categories is counted in both places of the table.
    """
    count = int(codes.max(initial=-1)) + 1
    held = sparse.csr_array((np.ones(len(codes)), (codes, categories)), shape=(count, size))  # faces of each
    table = np.zeros((size, size))
    if edges:
        joined = sparse.csr_array((np.ones(len(edges[0])), edges[:2]), shape=(count, count))
        table = (held.T @ joined @ held).toarray()
        table += table.T - np.diag(np.diag(table))
    if equal:
        same = (held.T @ held).toarray()
        np.fill_diagonal(same, (same.diagonal() - held.sum(0)) / 2)  # within a category each pair once
        table += same
    return np.rint(table).astype(np.int64)
