"""Fingerprints of pictures and the search for near ones, against scipy's transform and against all pairs."""

import itertools

import numpy as np
import pytest
from scipy.fft import dctn

from lsdkit.data.audit import fingerprints


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def smooth(generator: np.random.Generator, count: int, side: int = 48) -> np.ndarray:
    """Pictures (B, S, S) in 0..255 whose strength falls with the frequency, as in photographs."""
    waves = np.cos(np.pi * np.outer((np.arange(side) + 0.5) / side, np.arange(24)))
    fall = 1 / (1 + np.add.outer(np.arange(24), np.arange(24))) ** 1.2
    pictures = waves @ (generator.normal(size=(count, 24, 24)) * fall) @ waves.T
    return 128 + 100 * pictures / np.abs(pictures).max((1, 2), keepdims=True)


def unpacked(prints: np.ndarray) -> np.ndarray:
    return np.unpackbits(np.ascontiguousarray(prints).view(np.uint8), axis=1).astype(bool)


def flipped(generator: np.random.Generator, prints: np.ndarray, bits: int) -> np.ndarray:
    mask = np.zeros((len(prints), 256), bool)
    for row in mask:
        row[generator.choice(256, bits, replace=False)] = True
    return prints ^ np.packbits(mask, axis=1).view(np.uint64)


def naive_pairs(prints: np.ndarray, others: np.ndarray, threshold: int) -> set[tuple[int, int, int]]:
    bits, other_bits, found = unpacked(prints), unpacked(others), set()
    for i, j in itertools.combinations(range(len(prints)), 2):
        apart = int((bits[i] != other_bits[j]).sum())
        if apart <= threshold:
            found.add((i, j, apart))
    return found


@pytest.mark.parametrize("side", [16, 17, 48, 112])
def test_bits_are_the_signs_of_the_cosine_transform(generator, side):
    pictures = generator.normal(size=(5, side, side))
    down, across = fingerprints.frequencies(side).T
    expected = dctn(pictures, axes=(1, 2))[:, down, across] > 0
    bits = unpacked(fingerprints.fingerprints(pictures))
    dealt = [place * 16 + band for band in range(16) for place in range(16)]  # band by band
    full = np.zeros((5, 256), bool)
    full[:, : expected.shape[1]] = expected
    np.testing.assert_array_equal(bits, full[:, dealt])


def test_light_contrast_and_small_noise_change_few_bits(generator):
    pictures = smooth(generator, 40)
    prints = fingerprints.fingerprints(pictures)
    np.testing.assert_array_equal(fingerprints.fingerprints(pictures * 0.5 + 60), prints)
    noisy = fingerprints.fingerprints(pictures + generator.normal(0, 2, pictures.shape))
    assert np.quantile(fingerprints.count_bits(prints, noisy), 0.9) <= fingerprints.THRESHOLD
    apart = fingerprints.count_bits(prints[:, None], prints[None])[np.triu_indices(40, 1)]
    assert apart.min() > 60


@pytest.mark.parametrize("side", [16, 48])
def test_mirror_image(generator, side):
    pictures = generator.normal(size=(9, side, side))
    expected = fingerprints.fingerprints(pictures) ^ fingerprints.mirror(side)
    apart = fingerprints.count_bits(fingerprints.fingerprints(pictures[:, :, ::-1]), expected)
    assert apart.max() <= 1  # rounding of a coefficient near 0


@pytest.mark.parametrize("threshold", [0, 5, 12, 15])
@pytest.mark.parametrize("mirrored", [False, True])
def test_search_finds_what_comparing_all_pairs_finds(generator, threshold, mirrored):
    base = generator.integers(0, 2**63, (12, 4), dtype=np.uint64)
    prints = np.concatenate([base, *(flipped(generator, base, bits) for bits in (1, 3, 6, 7, 12, 15, 16))])
    skewed = prints.copy()
    skewed[:40, 0] = 7  # crowded buckets
    for values in (prints, skewed):
        others = values ^ fingerprints.mirror(48) if mirrored else values
        if mirrored:
            values = np.concatenate([values[:40], others[40:]])
            others = values ^ fingerprints.mirror(48)
        pieces = list(fingerprints.near_pairs(values, threshold, others if mirrored else None))
        found = [tuple(map(int, pair)) for piece in pieces for pair in zip(*piece, strict=True)]
        assert len(found) == len(set(found))
        assert set(found) == naive_pairs(values, others, threshold)


def test_search_in_pieces_gives_the_same(generator, monkeypatch):
    base = generator.integers(0, 2**63, (30, 4), dtype=np.uint64)
    prints = np.concatenate([base, flipped(generator, base, 4), flipped(generator, base, 9)])
    first_count = len(list(fingerprints.near_pairs(prints)))
    whole = {
        pair for piece in fingerprints.near_pairs(prints) for pair in zip(*map(np.ndarray.tolist, piece), strict=True)
    }
    monkeypatch.setattr(fingerprints, "CHUNK", 2)
    pieces = list(fingerprints.near_pairs(prints))
    assert len(pieces) > first_count
    assert {pair for piece in pieces for pair in zip(*map(np.ndarray.tolist, piece), strict=True)} == whole


def test_search_refuses_what_the_bands_cannot_guarantee():
    with pytest.raises(ValueError, match=r"Expected `threshold` in 0\.\.15 bits, but got 16"):
        list(fingerprints.near_pairs(np.zeros((2, 4), np.uint64), 16))


def test_search_of_none_and_one():
    for count in (0, 1):
        assert list(fingerprints.near_pairs(np.zeros((count, 4), np.uint64))) == []


def test_nearest(generator):
    prints = generator.integers(0, 2**63, (30, 4), dtype=np.uint64)
    rows, bits = fingerprints.find_nearest(flipped(generator, prints[[4, 20]], 5), prints)
    assert rows.tolist() == [4, 20]
    assert bits.tolist() == [5, 5]


def test_groups_are_connected_components(generator):
    first, second = generator.integers(0, 60, (2, 35))
    label = fingerprints.group_codes(60, first, second)
    reached = np.eye(60, dtype=bool)
    reached[first, second] = reached[second, first] = True
    for _ in range(6):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    np.testing.assert_array_equal(label[:, None] == label, reached)


def test_pair_counts_against_listing(generator):
    categories, codes = generator.integers(0, 4, 50), generator.integers(0, 20, 50)
    codes[:20] = np.arange(20)
    edges = {tuple(sorted(pair)) for pair in generator.integers(0, 20, (15, 2)).tolist() if pair[0] != pair[1]}
    first, second = np.array(sorted(edges)).T
    for equal in (True, False):
        expected = np.zeros((4, 4), int)
        for i, j in itertools.combinations(range(50), 2):
            pair = tuple(sorted((codes[i], codes[j])))
            if (equal and pair[0] == pair[1]) or pair in edges:
                one, two = categories[i], categories[j]
                expected[one, two] += 1
                expected[two, one] += one != two
        found = fingerprints.count_pairs(categories, codes, 4, (first, second), equal=equal)
        np.testing.assert_array_equal(found, expected)
