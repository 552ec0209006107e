"""The explorers redraw when a control moves, and leave a picture where no widget can be drawn."""

import base64

import numpy as np
import pytest

from lsdkit.explore import widgets


@pytest.fixture
def view(tiny_store) -> widgets.Explorer:
    return widgets.explorer(tiny_store, faces=6)


def test_the_explorer_starts_with_all_faces(view):
    assert view.message.value == "48 rendered faces, page 1 of 8"
    assert bytes(view.picture.value).startswith(b"\x89PNG")


def test_each_control_changes_the_picture(view):
    seen = [bytes(view.picture.value)]
    for name, value in (("page", 2), ("landmarks", False), ("expression", "FEAR"), ("subject", "subject-1")):
        view.controls[name].value = value
        seen.append(bytes(view.picture.value))
    assert len(set(seen)) == len(seen)
    assert view.message.value.startswith("3 rendered faces")


def test_a_page_beyond_the_last_begins_again(view):
    first = bytes(view.picture.value)
    view.controls["page"].value = 9
    assert bytes(view.picture.value) == first


def test_nothing_to_show_is_said(tiny_store):
    view = widgets.explorer(tiny_store, split="extra")
    assert view.message.value == "No face of this class and subject."
    assert view.controls["subject"].disabled


def test_mix_slider_follows_lambda():
    view = widgets.mix_slider(np.zeros((8, 8, 3)), np.ones((8, 8, 3)), (4, 2))
    before = bytes(view.picture.value)
    view.controls["share"].value = 0.0
    assert bytes(view.picture.value) != before


def test_a_static_picture_can_stand_in_for_the_widget(view):
    page = view.static._repr_html_()
    assert base64.b64encode(view.picture.value).decode() in page
    assert ":has(.widget-vbox) .lsdkit-static { display: none }" in page
    assert "http" not in page
