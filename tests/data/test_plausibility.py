"""Landmarks that files hold: judged by where they lie, by whatever mistake they were written."""

import numpy as np
import pytest
from PIL import Image

from lsdkit.common.landmarks import complete
from lsdkit.data import preparing
from lsdkit.data.detection import load_mean_shape
from lsdkit.data.landmark_tables import read_table
from lsdkit.data.plausibility import TURNS, judge_landmarks
from tests.small_release import point_table

QUIET = {"progress": False, "jobs": 1}
COUNT = 12
KEYS = [f"train/{name}/{number}" for name in ("FEAR", "SADNESS") for number in range(COUNT // 2)]


def make_faces():
    """(N, 68, 2): the mean face, each a little elsewhere."""
    mean = load_mean_shape()
    mean = np.stack([mean.real, mean.imag], 1) * 3
    return mean + np.random.default_rng(0).normal(0, 0.02, (COUNT, 1, 2))


@pytest.fixture
def pictures(tmp_path):
    for place, key in enumerate(KEYS):
        file = tmp_path / "faces" / f"{key.removeprefix('train/').lower()}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(place).integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(file)
    return tmp_path / "faces"


def prepare(pictures, points, **options):
    point_table(KEYS, points).to_csv(pictures.with_name("points.csv"), index=False)
    given = {"landmarks": f"table:{pictures.with_name('points.csv')}", "split": "train"}
    return preparing.prepare_folder(pictures, pictures.with_name("store"), **QUIET, **given, **options)


@pytest.mark.parametrize("crop", [False, True])
def test_good_points_are_kept_as_they_are(pictures, crop):
    points = make_faces() * (0.3 if crop else 1)  # a face in a photograph is small
    store = prepare(pictures, points, crop=crop)
    assert set(store.faces["landmarks"]) == {"given" if crop else "table"}
    if not crop:
        np.testing.assert_allclose(store.landmarks, points, atol=1e-6)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda points: points[..., ::-1], "only 0 of 12 faces have them: it seems that x and y are swapped"),
        (lambda points: points * [1, -1], "only 0 of 12 faces have them: it seems that .*y points up"),
        (lambda points: points * [-1, 1], "only 0 of 12 faces have them: it seems that .*x points to the left"),
        (lambda points: points * 0, "only 0 of 12 faces have them: are they in"),
        (lambda points: np.roll(points, 1, 1), "in another order: it seems that the points are shifted by one"),
        (lambda points: np.roll(points, -1, 1), "in another order: it seems that the points are shifted by one"),
        (lambda points: (points + 1) / 2, r"in \[-1, 1\] of the image in .*points.csv, but all lie in \[0, 1\]"),
    ],
)
@pytest.mark.parametrize("crop", [False, True])
def test_a_whole_table_with_a_mistake_is_refused_and_the_mistake_named(pictures, mistake, message, crop):
    points = mistake(make_faces())
    with pytest.raises(ValueError, match=rf"points\.csv.*{message}" if "0, 1" not in message else message):
        prepare(pictures, points, crop=crop)
    assert not pictures.with_name("store").exists()


def test_single_faces_whose_points_lie_on_none_have_none(pictures):
    points = make_faces()
    points[1], points[2] = 0, points[2] * [1, -1]
    store = prepare(pictures, points)
    assert store.faces["landmarks"].value_counts().to_dict() == {"table": COUNT - 2, "missing: implausible": 2}
    assert np.isnan(store.landmarks[1:3]).all()


def test_points_of_a_frame_before_its_turn_are_told_as_such(pictures):
    points, exif = make_faces(), Image.Exif()
    for row, turn in ((3, 6), (4, 3)):
        file = pictures / f"{KEYS[row].removeprefix('train/').lower()}.png"
        exif[0x0112] = turn
        with Image.open(file) as image:
            image.save(file, exif=exif)
        back = {6: 8, 3: 3}[turn]
        points[row] = TURNS[back](points[row])  # where the face is in the file as it is stored
    store = prepare(pictures, points)
    told = store.faces["landmarks"].iloc[[3, 4]].tolist()
    assert told == ["missing: points of the picture before its EXIF turn"] * 2


@pytest.mark.parametrize("turn", TURNS)
def test_points_turn_as_pictures_do(turn):
    pixels = np.zeros((5, 7), np.uint8)
    pixels[1, 2] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = turn
    place = np.array([[(2 + 0.5) / 7 * 2 - 1, (1 + 0.5) / 5 * 2 - 1]])
    from lsdkit.data.pictures import TURNS as METHODS

    turned = np.asarray(image.transpose(METHODS[turn]))
    (row, column) = np.argwhere(turned)[0]
    expected = [(column + 0.5) / turned.shape[1] * 2 - 1, (row + 0.5) / turned.shape[0] * 2 - 1]
    np.testing.assert_allclose(TURNS[turn](place)[0], expected)


@pytest.mark.parametrize("crop", [False, True])
def test_an_empty_cell_costs_its_point_alone(pictures, crop):
    points = make_faces()
    points[0, 40] = points[0, 3, 0] = np.nan
    store = prepare(pictures, points, crop=crop)
    assert store.faces["landmarks"].iloc[0] == f"{'given' if crop else 'table'}, 2 missing"
    np.testing.assert_array_equal(np.isnan(store.landmarks[0]).any(1), np.isin(np.arange(68), [3, 40]))
    assert np.isfinite(store.landmarks[1:]).all()


def test_missing_points_are_put_in_the_middle_of_their_part():
    points = np.arange(136.0).reshape(68, 2)
    points[36] = np.nan
    np.testing.assert_allclose(complete(points)[36], points[37:42].mean(0))
    assert np.isnan(points[36]).all()
    points[:17] = np.nan
    assert np.isnan(complete(points)[:17]).all()


def test_a_byte_order_mark_before_the_keys_costs_nothing(tmp_path):
    np.save(tmp_path / "points.npy", make_faces())
    (tmp_path / "points.keys.txt").write_bytes("\r\n".join(KEYS).encode("utf-8-sig"))
    assert list(read_table(tmp_path / "points.npy")) == KEYS


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", np.array(["a"] * 3)], ids=["empty", "cut", "strings"])
def test_an_array_that_is_none_is_named(tmp_path, content):
    if isinstance(content, bytes):
        (tmp_path / "points.npy").write_bytes(content)
    else:
        np.save(tmp_path / "points.npy", content)
    (tmp_path / "points.keys.txt").write_text("\n".join(KEYS))
    with pytest.raises(ValueError, match=r"points\.npy"):
        read_table(tmp_path / "points.npy")


def test_nothing_is_judged_where_there_is_nothing():
    assert judge_landmarks({}, {}, "a table") == ({}, {})
