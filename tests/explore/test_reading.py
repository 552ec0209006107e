"""The widget of a reading: each control changes what is shown, and an odd upload is said and survived."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from lsdkit.explore.reading import ReadingExplorer, steps
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
def view(panel) -> ReadingExplorer:
    return ReadingExplorer(panel, data.astronaut(), "portrait")


def upload(view: ReadingExplorer, name: str, content: bytes) -> None:
    """As a browser hands it over."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": 0}
    view.controls["upload"].set_state({"value": [file]})


def png_of(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "png")
    return stream.getvalue()


def test_it_starts_with_the_picture_given(view, panel):
    (face,) = view.reading.faces
    found = f"portrait: face 1 of 1, {face.box[2]} pixels wide, found by dlib; "
    assert view.message.value == f"{found}{face.expression} {face.probability:.2f} by all 2 runs"
    assert bytes(view.picture.value).startswith(b"\x89PNG")
    assert view.face.disabled
    assert list(view.controls["head"].options) == ["all", 1, 2, 3, 4]
    assert view.controls["member"].max == len(panel.voters) == 2


def test_each_control_changes_the_picture(view):
    two = np.concatenate([data.astronaut(), np.roll(data.astronaut(), 40, axis=0)[:, ::-1]], axis=1)
    seen = [bytes(view.picture.value)]
    upload(view, "two.png", png_of(two))
    seen.append(bytes(view.picture.value))
    assert (view.face.max, view.face.disabled) == (2, False)
    assert view.message.value.startswith("two.png: face 1 of 2")
    for name in ("face", "member", "head"):
        view.controls[name].value = 2
        seen.append(bytes(view.picture.value))
    assert view.message.value.startswith("two.png: face 2 of 2")
    assert len(set(seen)) == len(seen)
    assert len(view.insides) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("odd.jpg", b"no picture", "unreadable"),
        ("flat.png", png_of(np.full((64, 64, 3), 90, np.uint8)), "no face found"),
        ("a\nb.jpg", b"", r"'a\nb.jpg': unreadable"),
    ],
)
def test_an_upload_without_a_face_is_said_and_the_next_is_read(view, name, content, says):
    upload(view, name, content)
    assert says in view.message.value
    assert view.face.disabled
    upload(view, "portrait.png", png_of(data.astronaut()))
    assert view.message.value.startswith("portrait.png: face 1 of 1")


def test_the_steps_show_the_face_the_member_and_the_head_that_are_asked_for(panel):
    picture = Image.fromarray(data.astronaut())
    reading = read(picture, model=panel)
    inside = look_inside(picture, reading.faces[0], panel)
    titles = [ax.get_title("left") for ax in steps(picture, reading, inside, member=2).axes]
    heads = [f"5  head {number}" for number in range(1, 5)]
    assert titles == [
        "1  found", "2  cut out, level", "3  member 2 is shown", "4  landmarks", *heads, "6  the vote",
    ]  # fmt: skip
    one = steps(picture, reading, inside, member=2, head=3)
    assert [ax.get_title("left") for ax in one.axes][4:] == ["5  head 3", "6  the vote"]
    tint = one.axes[4].images[1].get_array()[..., 3]
    attention = inside.members[1].attention
    np.testing.assert_allclose(tint / tint.max(), attention[2] / attention[2].max(), rtol=1e-5)
