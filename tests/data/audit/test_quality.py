"""Distances between annotators against slow loops; the worst faces first; the files of a report."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common.landmarks import COORDINATES, LINES, denormalise
from lsdkit.data import annotators
from lsdkit.data.annotators import Annotation
from lsdkit.data.audit import quality
from lsdkit.data.audit.quality_report import write_quality
from lsdkit.data.preparing import prepare_folder
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.figures import faces as faceplots
from tests.schematic import face, flip

NOISE = 0.02


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Twelve pictures of one face: one without landmarks, one upside down, one that is no face."""
    root, rng = tmp_path_factory.mktemp("quality"), np.random.default_rng(0)
    points = {f"train/{('ANGER', 'FEAR')[i % 2]}/{i}": face() + rng.normal(0, 0.01, (68, 2)) for i in range(12)}
    keys = list(points)
    points[keys[3]], points[keys[5]] = face() * [1, -1], rng.permutation(face())
    del points[keys[7]]
    for place in range(12):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"{place}.png")
    rows = [(key, "train", key.split("/")[1], "", f"{place}.png") for place, key in enumerate(keys)]
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    options = {"size": None, "kind": "rendered", "source": "made up", "settings": {}, "root": root, "progress": False}
    return write_store(root / "store", table, points, **options)


class Noisy:
    """An annotator that sees the schematic face everywhere, a little off, and every fifth time nothing."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image: Image.Image) -> Annotation:
        self.calls += 1
        if self.calls % 5 == 0:
            return Annotation(None, "no face found")
        return Annotation(denormalise(np.add(face(), [NOISE, 0]), *image.size), "noisy")


def test_errors_agree_with_a_slow_loop_and_are_symmetric():
    rng = np.random.default_rng(0)
    first, second = face() + rng.normal(0, 0.02, (4, 68, 2)), face() * 1.1 + rng.normal(0, 0.02, (4, 68, 2))
    second[2] = np.nan
    measure = quality.measure_disagreement
    found = measure(first, second)
    for place in (0, 1, 3):
        eyes = [np.hypot(*(points[place, 45] - points[place, 36])) for points in (first, second)]
        distances = [np.hypot(*(first[place, point] - second[place, point])) for point in range(68)]
        assert found[place] == pytest.approx(np.mean(distances) / (sum(eyes) / 2))
        for point in (0, 40, 67):
            part = measure(first, second, slice(point, point + 1))[place]
            assert part == pytest.approx(distances[point] / (sum(eyes) / 2))
    assert np.isnan(found[2])
    np.testing.assert_allclose(measure(second, first), found)
    np.testing.assert_allclose(measure(flip(first), flip(second)), found)
    np.testing.assert_allclose(measure(7 * first - 3, 7 * second - 3), found)  # whatever the unit
    with pytest.raises(ValueError, match="broadcast"):
        measure(first, second[:2])


def test_disagreement_is_by_part_and_leaves_missing_faces_out():
    first = np.stack([face()] * 5)
    second = first.copy()
    second[:, 48:68, 1] += 0.1  # only the mouth differs
    second[4] = np.nan
    table = quality.tabulate_disagreement(first, second)
    eyes = np.linalg.norm(face()[45] - face()[36])
    assert table["faces"].tolist() == [4] * len(quality.GROUPS)
    assert table["mean"][["jaw", "brows", "nose", "eyes"]].tolist() == [0] * 4
    assert table.loc["mouth", "mean"] == pytest.approx(0.1 / eyes)
    assert table.loc["all", "p95"] == pytest.approx(0.1 / eyes * 20 / 68)
    assert table.loc["17-67", "median"] == pytest.approx(0.1 / eyes * 20 / 51)
    assert quality.tabulate_disagreement(first[:1], second[4:])["mean"].isna().all()


def test_the_worst_come_first_and_missing_ones_not_at_all(store):
    table = quality.rank_landmarks(store, range(12))
    assert table["row"].tolist()[:2] in ([3, 5], [5, 3])
    assert (len(table), 7 in set(table["row"])) == (11, False)
    assert not table["plausible"].iloc[0]
    rest = table[table["plausible"]]["shape_distance"]
    assert (np.diff(rest) <= 0).all()
    against = np.stack([face()] * 12)
    against[8] += 0.5
    assert quality.rank_landmarks(store, range(12), against).query("plausible")["row"].iloc[0] in (5, 8)


def test_a_second_annotator_looks_at_the_stored_pictures(store):
    points, statuses = quality.annotate_rows(store, Noisy(), [0, 2, 4, 6, 8, 10], progress=False)
    assert statuses == ["noisy"] * 4 + ["no face found", "noisy"]
    assert np.isnan(points[4]).all()
    np.testing.assert_allclose(points[5], np.add(face(), [NOISE, 0]), atol=1e-9)


def test_report_files(store, tmp_path, monkeypatch):
    monkeypatch.setattr(annotators, "choose_annotator", lambda name: Noisy())
    text = write_quality(store.path, tmp_path, against="dlib", progress=False)
    report = json.loads((tmp_path / "landmarks.json").read_text())
    assert report["sources"] == {"given": 11, "missing": 1}
    assert report["implausible"] >= 1
    assert report["against"]["sources"] == {"noisy": 10, "no face found": 2}
    assert report["against"]["error"]["eyes"]["faces"] == 9
    assert 0 < report["against"]["error"]["eyes"]["median"] < 0.1
    assert "17-67" in text
    assert pd.read_csv(tmp_path / "landmarks.csv")["key"].nunique() == 11
    assert (tmp_path / "worst.png").stat().st_size > 5000
    assert not (tmp_path / "lost.png").exists()
    half = write_quality(store.path, tmp_path / "half", faces=6, progress=False)
    assert half.startswith("store: 6 faces")
    with pytest.raises(ValueError, match="outside the store"):
        write_quality(store.path, store.path / "report")
    with pytest.raises(ValueError, match="table:FILE"):
        write_quality(store.path, tmp_path, against="mesh")


def test_against_a_table(store, tmp_path):
    moved = np.add(face(), [NOISE, 0]).ravel()
    rows = [{"key": key, **dict(zip(COORDINATES, moved, strict=True))} for key in store.keys[:6]]
    pd.DataFrame(rows).to_csv(tmp_path / "other.csv", index=False)
    write_quality(store.path, tmp_path / "out", against=f"table:{tmp_path / 'other.csv'}", progress=False)
    report = json.loads((tmp_path / "out" / "landmarks.json").read_text())
    assert report["against"]["sources"] == {"given": 6, "missing": 6}


def test_lost_photographs_are_counted_by_class_and_shown(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("happy", "sad"):
        for number in range(4):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (40, 60 + number, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "in" / name / f"{number}.png")
    monkeypatch.setattr(annotators, "choose_annotator", lambda name: Noisy())
    options = {"crop": True, "landmarks": "dlib", "size": 24, "jobs": 1, "progress": False}
    made = prepare_folder(tmp_path / "in", tmp_path / "store", **options)
    assert made.faces["landmarks"].unique().tolist() == ["noisy"]
    assert made.manifest["settings"]["annotator_version"] == annotators.VERSION
    text = write_quality(made.path, tmp_path / "out", progress=False)
    assert "no face found: sadness 1 of 4" in text or "no face found: happiness 1 of 4" in text
    assert (tmp_path / "out" / "lost.png").is_file()


def test_contact_sheet_takes_pictures_of_any_shape():
    pictures = [np.zeros((20, 40, 3), np.uint8), np.full((64, 16, 3), 200, np.uint8), np.zeros((8, 8, 3), np.uint8)]
    points = np.stack([face(), np.full((68, 2), np.nan), face() * 3])
    drawn = faceplots.contact_sheet(pictures, ["wide", "tall", "small"], points, points[::-1])
    ax = drawn.axes[0]
    assert len(ax.images) == 3
    assert len(ax.lines) == 2 * 2 * len(LINES)
    width, left = 40 / 40, 0
    drawn_eye = ax.lines[list(LINES).index("eye, subject's right")].get_xydata()[0]
    expected = (face()[36] * [width, 0.5] + 1) / 2
    np.testing.assert_allclose(drawn_eye[0] - left, expected[0], atol=1e-6)
