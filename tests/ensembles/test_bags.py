"""Who is in which bag: read from runs, and chance's overlap beside bags that were really drawn."""

import numpy as np
import pandas as pd
import pytest

from lsdkit.common.files import write_table
from lsdkit.ensembles.bags import count_bags, describe_bags, expected_overlap, find_distinct, overlap, read_bags
from lsdkit.method.bagging import draw_bag
from lsdkit.recipes import PAPER, Member
from tests.fake_runs import make_run

LABELS = np.repeat(np.arange(6), [50, 20, 200, 80, 10, 40])


def draw(seeds, bags=range(1, 6), recipe=PAPER) -> np.ndarray:
    """Bags as members draw them, bool (M, N)."""
    held = np.zeros((len(seeds) * len(bags), len(LABELS)), dtype=bool)
    for place, (seed, bag) in enumerate((seed, bag) for seed in seeds for bag in bags):
        held[place, draw_bag(LABELS, bag, seed, recipe)] = True
    return held


def test_bags_are_those_of_the_runs(tiny_store, tmp_path):
    rows = tiny_store.rows("train")
    drawn = [draw_bag(tiny_store.labels[rows], bag, 0, PAPER) for bag in (0, 1, 2)]
    runs = [make_run(tmp_path / f"bag{bag}", Member.of("smoke", bag=bag)) for bag in (0, 1, 2)]
    for run, part in zip(runs, drawn, strict=True):
        write_table(
            run.folder / "bag.csv", pd.DataFrame({"row": rows[part], "key": tiny_store.faces["key"][rows[part]]})
        )
    held, labels = read_bags(runs, tiny_store)
    assert [np.flatnonzero(own).tolist() for own in held] == [part.tolist() for part in drawn]
    assert labels.tolist() == tiny_store.labels[rows].tolist()
    assert find_distinct(held).tolist() == [1, 2]
    assert describe_bags(held, labels).startswith("1 of 3 members saw all 48 training faces. 2 different bags")
    write_table(runs[1].folder / "bag.csv", pd.DataFrame({"row": tiny_store.rows("test"), "key": ""}))
    with pytest.raises(ValueError, match=r"bag1 to hold training faces of .*but row \d+ is none"):
        read_bags(runs, tiny_store)
    (runs[2].folder / "bag.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"bag\.csv"):
        read_bags(runs[2:], tiny_store)


def test_overlap_is_that_of_sets():
    held = draw([0, 1])
    sets = [set(np.flatnonzero(own)) for own in held]
    expected = [[len(one & other) / len(one) for other in sets] for one in sets]
    np.testing.assert_allclose(overlap(held), expected)


def test_many_bags_overlap_as_chance_says():
    held = draw(range(40), bags=(1, 2))
    pairs = ~np.eye(len(held), dtype=bool)
    expected = expected_overlap(held, LABELS)
    assert overlap(held)[pairs].mean() == pytest.approx(expected[pairs].mean(), abs=0.003)
    assert expected[pairs].mean() == pytest.approx(0.2)
    assert np.diag(expected).tolist() == [1.0] * len(held)


def test_faces_are_in_as_many_bags_as_chance_says():
    found, expected = zip(*(count_bags(draw([seed]), LABELS) for seed in range(60)), strict=True)
    np.testing.assert_allclose(expected[0], [0.32768, 0.4096, 0.2048, 0.0512, 0.0064, 0.00032], atol=1e-9)  # binomial
    np.testing.assert_allclose(np.mean(found, axis=0), expected[0], atol=0.006)
    assert [found[0].sum(), expected[0].sum()] == pytest.approx([1, 1])


def test_bags_of_one_number_are_one_bag():
    held = np.concatenate([np.ones((1, len(LABELS)), dtype=bool), draw([0]), draw([0])[:2]])
    assert find_distinct(held).tolist() == [1, 2, 3, 4, 5]
    said = describe_bags(held, LABELS)
    assert "2 of the others saw exactly the faces of another member" in said
    assert "by chance 33%" in said
    assert "different bags" not in describe_bags(held[:2], LABELS)
