"""What a network is shown of a crop: cut and coloured as the stores that it learns from."""

import numpy as np
import pytest

from lsdkit.data.viewing import View

FACES = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


def test_the_default_is_the_whole_crop_in_colour():
    assert View(40).plain
    assert View(40).window == (0, 0, 40)
    assert View(40).show(FACES) is FACES
    assert View(99).show(FACES) is FACES  # a whole crop may be stored at any size


def test_a_window_without_colour_by_hand():
    shown = View(40, (4, 6, 20), grey=True).show(FACES)
    part = FACES[:, 6:26, 4:24].astype(int)
    luma = (part @ [19595, 38470, 7471] + 2**15) >> 16  # ITU-R 601 in whole numbers
    assert (shown == luma[..., None]).all()
    assert shown.dtype == np.uint8


def test_faces_that_were_cut_before_stay_and_others_are_refused():
    view = View(40, (4, 6, 20), grey=True)
    cut = view.show(FACES)
    assert (view.show(cut) == cut).all()
    with pytest.raises(ValueError, match=r"crops of 40 pixels, or the part of 20 pixels .* but got faces of 30"):
        view.show(FACES[:, :30, :30])
    assert view.show(FACES[:0]).shape == (0, 20, 20, 3)


def test_a_view_of_a_view_is_the_view_of_both():
    first, second = View(40, (4, 6, 20)), View(20, (3, 2, 10), grey=True)
    both = first.then((3, 2, 10), grey=True)
    assert both == View(40, (7, 8, 10), grey=True)
    assert (both.show(FACES) == second.show(first.show(FACES))).all()


def test_it_is_told_in_a_result_and_read_again():
    view = View(40, (4, 6, 20), grey=True)
    assert view.describe() == {"pixels": 40, "window": [4, 6, 20], "grey": True}
    assert View.read(view.describe()) == view
    for wrong in ({}, {"pixels": 40, "window": [1], "grey": True}, {"pixels": 40, "window": [30, 0, 20], "grey": 0}, 3):
        with pytest.raises(ValueError, match="Expected a view"):
            View.read(wrong)
