"""The readers of landmark files: what they refuse, and that tables and arrays agree."""

import numpy as np
import pandas as pd
import pytest

from lsdkit.common.landmarks import COORDINATES
from lsdkit.data.landmark_tables import extract_points, read_table
from tests.schematic import face

KEYS = ["train/ANGER/1", "train/ANGER/10", "train/ANGER/2", "train/FEAR/3"]


def table(points):
    return pd.DataFrame({"key": KEYS[:2]} | dict(zip(COORDINATES, points.reshape(2, 136).T, strict=True)))


def test_table_and_array_agree(tmp_path):
    points = np.stack([face(0.01), face(0.02)])
    table(points).to_csv(tmp_path / "points.csv", index=False)
    np.save(tmp_path / "points.npy", points)
    (tmp_path / "points.keys.txt").write_text("\n".join(KEYS[:2]))
    for name in ("points.csv", "points.npy"):
        found = read_table(tmp_path / name)
        assert list(found) == KEYS[:2]
        np.testing.assert_allclose(found[KEYS[1]], face(0.02))


def test_table_refuses_pixels_repeats_and_gaps(tmp_path):
    points = np.stack([face(), face()])
    with pytest.raises(ValueError, match="normalise"):
        extract_points(table(points * 112 + 112), "a table")
    with pytest.raises(ValueError, match="repeats"):
        extract_points(table(points).assign(key="twice"), "a table")
    with pytest.raises(ValueError, match="missing: y67"):
        extract_points(table(points).drop(columns="y67"), "a table")
    points[0, 5] = np.nan
    found = extract_points(table(points), "a table")[KEYS[0]]
    np.testing.assert_array_equal(np.isfinite(found).all(1), np.arange(68) != 5)  # an empty cell costs its point
    points[0] = np.nan
    assert list(extract_points(table(points), "a table")) == KEYS[1:2]
    with pytest.raises(ValueError, match=r"numbers in a table, but x5 of train/ANGER/10 is 'left'"):
        extract_points(table(points).astype({"x5": object}).replace({"x5": {points[1, 5, 0]: "left"}}), "a table")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_table(tmp_path / "absent.csv")
    np.save(tmp_path / "alone.npy", points)
    with pytest.raises(FileNotFoundError, match=r"alone.keys.txt"):
        read_table(tmp_path / "alone.npy")


def test_keys_of_an_array_may_hold_spaces(tmp_path):
    np.save(tmp_path / "points.npy", np.stack([face(), face(0.1)]))
    (tmp_path / "points.keys.txt").write_text("train/ANGER/a man\ntrain/FEAR/2\n")
    assert list(read_table(tmp_path / "points.npy")) == ["train/ANGER/a man", "train/FEAR/2"]
