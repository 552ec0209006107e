"""Measures of photographs: each is what was put into made-up ones, and the costly ones are kept."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common.landmarks import normalise
from lsdkit.data.detection import Face
from lsdkit.data.readers import read_csv
from lsdkit.data.writer import write_store
from lsdkit.photographs import traits
from lsdkit.photographs.traits import MEASURES, TRAITS, Look, measure_colour, measure_photographs, measure_yaw
from lsdkit.photographs.views import Faces

CORNERS = {36: (30.0, 45.0), 45: (70.0, 45.0)}  # of the outer eyes, in a crop of 100 px


def face_points(nose=50.0):
    points = np.random.default_rng(3).uniform(20, 80, (68, 2))
    for point, place in CORNERS.items():
        points[point] = place
    points[traits.NOSE_TIP] = nose, 60.0
    return points


def find_on_a_line(image, attempts):
    """In place of the search: eyes at a fourth and three fourths of the width, by the attempt that was named."""
    if attempts[0].name != "dlib, enlarged":
        return None
    points = np.zeros((68, 2))
    points[45, 0] = image.width / 2
    return Face(points, "dlib, enlarged", 2)


@pytest.fixture
def collection(tmp_path, monkeypatch):
    """Four photographs: a grey one, a red one of another way to its face, one without a face, a dark one."""
    monkeypatch.setattr(traits, "find_face", find_on_a_line)
    colours = {"grey": (120, 120, 120), "red": (150, 50, 50), "lost": (90, 90, 90), "dark": (20, 20, 20)}
    rows = [{"path": f"{name}.png", "expression": "anger", "key": name} for name in colours]
    for name, colour in colours.items():
        Image.new("RGB", (80, 60), colour).save(tmp_path / f"{name}.png")
    pd.DataFrame(rows).to_csv(tmp_path / "photos.csv", index=False)
    listing = read_csv(tmp_path / "photos.csv", split="test")
    table = listing.table[listing.table["key"] != "lost"]
    points = {"grey": normalise(face_points(), 100, 100), "red": normalise(face_points(60.0), 100, 100)}
    options = {"size": 40, "kind": "photographs", "source": "made up", "settings": {}, "progress": False}
    store = write_store(tmp_path / "store", table, points, root=tmp_path, **options)
    store.faces["landmarks"] = ["dlib, enlarged, largest of 2", "dlib", "dlib, enlarged"]
    faces = Faces(store, tmp_path, {"inner": (0.0, 0.0, 1.0)})
    return listing, faces, tmp_path / "measures.csv"


def test_photographs_measure_what_they_are(collection):
    listing, faces, out = collection
    measures = measure_photographs(listing, faces, out, jobs=1, progress=False)
    assert list(measures.columns) == ["key", *MEASURES]
    measures = measures.set_index("key")
    assert measures.index.tolist() == ["grey", "red", "lost", "dark"]
    assert measures["colour"].tolist()[:2] == [0, 100]
    assert measures["size"].tolist()[::3] == [40, 40]
    assert np.isnan(measures.loc["red", "size"])  # another attempt than that of its store finds nothing
    assert measures.loc["grey", "pose"] == pytest.approx(0, abs=1e-4)
    assert measures.loc["red", "pose"] == pytest.approx(np.rad2deg(np.arctan(0.5 / traits.NOSE_DEPTH)), abs=1e-3)
    assert np.isnan(measures.loc["dark", "pose"])  # it has no landmarks
    assert measures["brightness"].round().tolist()[::3] == [120, 20]
    assert measures.loc["lost"].isna().all()


def test_what_needs_the_photographs_is_kept_until_the_store_changes(collection, monkeypatch):
    listing, faces, out = collection
    first = measure_photographs(listing, faces, out, jobs=1, progress=False)
    monkeypatch.setattr(traits, "decode_table", lambda *given: pytest.fail("measured again"))
    pd.testing.assert_frame_equal(measure_photographs(listing, faces, out, jobs=1, progress=False), first)
    monkeypatch.setitem(faces.store.manifest["checksums"], "faces.csv", "another")
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        measure_photographs(listing, faces, out, jobs=1, progress=False)


def test_a_face_that_no_attempt_of_ours_found_has_no_size():
    image, values, _ = Look({"a": "given"})(Image.new("RGB", (9, 9), (9, 4, 0)), "a")
    assert image.size == (1, 1)
    assert values[0] == 9
    assert np.isnan(values[1])


def test_colour_is_the_mean_distance_of_the_channels():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = 200, 10, 50
    assert measure_colour(pixels) == 190 / 4


@pytest.mark.parametrize("angle", [-25.0, 0.0, 12.0])
def test_yaw_is_that_of_turned_points(angle):
    x, z = np.zeros(68), np.zeros(68)
    x[36], x[45], z[traits.NOSE_TIP] = -1, 1, traits.NOSE_DEPTH  # seen from above, in half the corners' distance
    turn = np.deg2rad(angle)
    points = np.stack([x * np.cos(turn) + z * np.sin(turn), np.zeros(68)], axis=-1)
    assert measure_yaw(points[None]).tolist() == pytest.approx([abs(angle)])
    lean = np.array([[0.8, 0.6], [-0.6, 0.8]])
    assert measure_yaw(3 * points[None] @ lean + 0.2).tolist() == pytest.approx([abs(angle)])
    assert np.isnan(measure_yaw(np.full((1, 68, 2), np.nan))).all()


def test_traits_have_a_group_more_than_edges():
    for trait in TRAITS:
        assert len(trait.groups) == len(trait.edges) + 1
        assert list(trait.edges) == sorted(trait.edges)
