"""What models see of an aligned face."""

import numpy as np
import pytest

from lsdkit.photographs.protocol import PROTOCOL
from lsdkit.photographs.views import INNER, VIEWS, WHOLE, Faces


def test_views_are_made_once_when_asked_for(tiny_store, tmp_path):
    faces = Faces(tiny_store, tmp_path, PROTOCOL.windows)
    assert list(tmp_path.iterdir()) == []
    side = tiny_store.images.shape[1]
    assert {view: faces.seen(view).images.shape[1] for view in VIEWS} == {INNER: round(0.6 * side), WHOLE: side}
    assert faces.seen(WHOLE).path == tmp_path / f"{tiny_store.path.name}-whole-grey"
    assert np.ptp(faces.seen(WHOLE).images[:], axis=-1).max() == 0
    assert faces.seen(INNER) is faces.seen(INNER)
    assert faces.seen(INNER).keys == tiny_store.keys
    coloured = Faces(tiny_store, tmp_path, PROTOCOL.windows, grey=False).seen(WHOLE)
    np.testing.assert_array_equal(coloured.images, tiny_store.images)
    assert Faces(tiny_store, tmp_path, {INNER: (0.0, 0.0, 1.0)}).seen(INNER).path == faces.seen(WHOLE).path
    with pytest.raises(KeyError):
        faces.seen("upper")


def test_whole_views_of_aligned_faces_are_aligned(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setitem(tiny_store.manifest["settings"], "crop", True)
    faces = Faces(tiny_store, tmp_path, PROTOCOL.windows)
    assert faces.seen(WHOLE).aligned  # so that a network takes its own window of them
    assert not faces.seen(INNER).aligned
