"""Measures of each picture and the size of a difference, against plain formulas and scipy."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from lsdkit.data.audit import levels
from lsdkit.data.audit.fingerprints import fingerprints


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_measures_are_the_plain_formulas(generator):
    images = generator.integers(0, 256, (70, 20, 20, 3), dtype=np.uint8)
    images[3] = images[3, :, :, :1]
    images[4] = images[3]
    table, prints, digests = levels.measure_pictures(images, progress=False)
    exact = images.astype(float)
    grey = exact @ [0.299, 0.587, 0.114]
    steps = [(np.abs(np.diff(one, axis=0)).mean() + np.abs(np.diff(one, axis=1)).mean()) / 2 for one in grey]
    red, green, blue = np.moveaxis(exact, -1, 0)
    colour = (np.abs(red - green) + np.abs(green - blue)).mean((1, 2)) / 2
    expected = np.stack([grey.mean((1, 2)), grey.std((1, 2)), colour, steps], 1)
    np.testing.assert_allclose(table.to_numpy(), expected, rtol=1e-4)
    assert table["colour"][3] == 0
    assert digests[0] == hashlib.blake2b(images[0].tobytes(), digest_size=8).hexdigest().encode()
    same = digests[:, None] == digests[None]
    assert np.argwhere(np.triu(same, 1)).tolist() == [[3, 4]]
    differing = np.bitwise_count(prints ^ fingerprints(grey)).sum(1)
    assert differing.max() <= 1  # rounding of a coefficient near 0


def test_difference_is_scipys_and_cohens(generator):
    first, second = generator.normal(0, 1, 300), generator.normal(0.5, 2, 200)
    found = levels.difference(first, second)
    assert found["ks"] == pytest.approx(stats.ks_2samp(first, second).statistic)
    spread = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    assert found["smd"] == pytest.approx((second.mean() - first.mean()) / spread)


def test_chance_is_exceeded_one_time_in_twenty(generator):
    beyond = []
    for _ in range(600):
        found = levels.difference(generator.normal(size=80), generator.normal(size=50))
        beyond.append((abs(found["smd"]) > found["smd_chance"], found["ks"] > found["ks_chance"]))
    smd, ks = np.mean(beyond, axis=0)
    assert 0.03 < smd < 0.08
    assert 0.02 < ks < 0.07


def test_difference_of_constants():
    same, other = np.ones(3), np.zeros(4)
    assert levels.difference(same, same)["smd"] == 0
    assert levels.difference(same, other) == pytest.approx(
        {"smd": -99, "ks": 1, "smd_chance": 1.497, "ks_chance": 1.037}, rel=1e-3
    )
