"""The explorer of a reading tells each step as the library sees it, and an odd upload is said and survived."""

import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lsdkit.explore.reading import Reading, steps
from lsdkit.prediction import Panel
from lsdkit.reading.inside import look_inside
from lsdkit.reading.reading import read
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.member import train_member


@pytest.fixture(scope="module")
def panel(tiny_store, tmp_path_factory) -> Panel:
    """Two members, of which the first alone places landmarks."""
    root, recipe = tmp_path_factory.mktemp("runs"), replace(SMOKE, averaging=0.9, epochs=1)
    for number, appearance in enumerate(("vggface2", "none")):
        member = Member(recipe=recipe, appearance=appearance, seed=number)
        train_member(member, tiny_store, root / f"{number}", device="cpu", progress=False)
    return Panel.load(root, "cpu")


@pytest.fixture
def explorer(panel) -> Reading:
    return Reading(panel, data.astronaut(), "portrait")


def upload(explorer: Reading, name: str, content: bytes, size: int = 2**20) -> tuple[dict, list]:
    """As a browser hands it over; returns what is said of the photograph then."""
    parts = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    for place, part in enumerate(parts):
        given = {"name": name, "place": place, "last": place == len(parts) - 1, "buffers": [memoryview(part)]}
        explorer.answer("upload", given)
    return explorer.answer("photograph", {})


def png_of(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png")
    return stream.getvalue()


def test_it_starts_with_the_picture_given(explorer, panel):
    start, _ = explorer.answer("start", {})
    assert start["model"] == "all 2 runs"
    changed = "epochs 1, averaging 0.9"
    assert start["members"] == [
        f"Mix-aug, vggface2, whole set, {changed}",
        f"Mix-aug, none, whole set, seed 1, {changed}",
    ]
    said, (shown, points) = explorer.answer("photograph", {})
    (face,) = read(data.astronaut(), model=panel).faces
    assert (said["name"], said["reason"], said["size"]) == ("portrait", "", (512, 512))
    assert said["faces"] == [{"box": face.box, "found": "dlib", "probabilities": face.probabilities.tolist()}]
    assert shown.shape == (*said["shown"], 3) == (300, 300, 3)
    np.testing.assert_allclose(points, [face.landmarks], atol=1e-3)


def test_the_steps_of_a_face_are_those_of_the_library(explorer, panel):
    said, (crop, known, placed, *members) = explorer.answer("face", {"face": 1})
    inside = look_inside(Image.fromarray(data.astronaut()), read(data.astronaut(), model=panel).faces[0], panel)
    np.testing.assert_array_equal(crop, inside.crop)
    np.testing.assert_allclose(known, inside.landmarks, atol=1e-6)
    np.testing.assert_allclose(placed, inside.predicted, atol=1e-6)
    assert said["placed"]
    for number, (each, told) in enumerate(zip(inside.members, said["members"], strict=True)):
        np.testing.assert_array_equal(members[2 * number], each.seen)
        np.testing.assert_allclose(members[2 * number + 1], each.attention, atol=1e-6)
        assert told["map"] == (4, 2, 2)
        assert told["seen"] == len(each.seen)
        assert told["probabilities"] == pytest.approx(each.probabilities.tolist())


def test_a_photograph_comes_in_parts(explorer):
    two = np.concatenate([data.astronaut(), np.roll(data.astronaut(), 40, axis=0)[:, ::-1]], axis=1)
    said, (shown, points) = upload(explorer, "two.png", png_of(two), size=50_000)
    assert (said["name"], said["size"], len(said["faces"])) == ("two.png", (1024, 512), 2)
    assert shown.shape == (210, 420, 3)
    assert points.shape == (2, 68, 2)
    first, second = (explorer.answer("face", {"face": number})[1][0] for number in (1, 2))
    assert not np.array_equal(first, second)
    half = {"name": "half.png", "place": 0, "last": False, "buffers": [memoryview(b"half")]}
    explorer.answer("upload", half)  # broken off
    assert len(upload(explorer, "two.png", png_of(two))[0]["faces"]) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("odd.jpg", b"no picture", "unreadable: no image format"),
        ("flat.png", png_of(np.full((64, 64, 3), 90, np.uint8)), "no face found"),
        ("a\nb.jpg", b"", "unreadable"),
    ],
)
def test_an_upload_without_a_face_is_said_and_the_next_is_read(explorer, name, content, says):
    said, _ = upload(explorer, name, content)
    assert says in said["reason"]
    assert said["faces"] == []
    assert "\n" not in said["name"]
    assert says in explorer.still().axes[0].texts[0].get_text()
    assert len(upload(explorer, "portrait.png", png_of(data.astronaut()))[0]["faces"]) == 1


def test_an_upload_that_spells_a_path_opens_nothing(explorer, tmp_path):
    Image.fromarray(data.astronaut()).save(tmp_path / "private.png")
    said, _ = upload(explorer, "a.png", os.fsencode(tmp_path / "private.png"))
    assert said["reason"].startswith("unreadable: no image format")
    assert said["faces"] == []


def test_the_still_figure_shows_every_step(explorer, panel):
    titles = [ax.get_title("left") for ax in explorer.still().axes]
    heads = [f"5  head {number}" for number in range(1, 5)]
    upper = ["1  found", "2  cut out, level", "3  member 1 is shown", "4  landmarks"]
    assert titles == [*upper, *heads, "6  the vote"]
    picture = Image.fromarray(data.astronaut())
    reading = read(picture, model=panel)
    inside = look_inside(picture, reading.faces[0], panel)
    second = steps(picture, reading, inside, member=2)
    assert second.axes[2].get_title("left") == "3  member 2 is shown"
    tint = second.axes[6].images[1].get_array()[..., 3]
    attention = inside.members[1].attention
    np.testing.assert_allclose(tint / tint.max(), attention[2] / attention[2].max(), rtol=1e-5)
