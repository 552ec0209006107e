"""The open set as a store; the renderer is stood in for by a small made-up release here."""

import numpy as np
import pytest

from lsdkit.data.release import CLASS_FOLDERS, TRAIN
from lsdkit.openset import release
from lsdkit.openset.preparing import open_or_render, prepare_open
from lsdkit.recipes import find_recipe
from tests.small_release import write_release

QUIET = {"progress": False, "jobs": 1}


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """`render_release` replaced by the made-up release; returns the arguments of its calls."""
    calls = []

    def render_release(out, **options):
        calls.append(options)
        return write_release(out)

    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    monkeypatch.setattr(release, "render_release", render_release)
    return calls


def test_open_set_is_rendered_once(stand_in, tmp_path):
    store = prepare_open("data/open", pixels=20, **QUIET)
    assert store.path == tmp_path / "data" / "open"
    assert store.kind == "rendered"
    assert (tmp_path / "data" / "open-release" / TRAIN / CLASS_FOLDERS[0] / "0.jpg").is_file()
    assert store.counts("train").tolist() == [2] * 6
    assert store.labels[store.rows("test")].tolist() == [2, 2]  # from the table
    assert np.isfinite(store.landmarks).all()
    assert set(store.faces["landmarks"]) == {"exact"}
    prepare_open("data/open", pixels=20, **QUIET)
    assert len(stand_in) == 1
    prepare_open("data/open", pixels=20, seed=1, **QUIET)
    assert [call["seed"] for call in stand_in] == [0, 1]


def test_open_or_render_renders_defaults_only(stand_in, tmp_path):
    small = open_or_render("", find_recipe("smoke"), progress=False)
    assert small.path == tmp_path / "data" / "open-smoke"
    assert [stand_in[0][name] for name in ("fraction", "validation", "test")] == [0.001, 60, 60]
    usual = open_or_render("", find_recipe("demo"), progress=False)
    assert usual.path == tmp_path / "data" / "open"
    assert (stand_in[1]["fraction"], stand_in[1]["validation"]) == (0.01, 600)
    assert open_or_render("data/open-smoke", find_recipe("paper")).keys == small.keys
    assert len(stand_in) == 2
    with pytest.raises(FileNotFoundError, match="lsdkit prepare"):
        open_or_render("data/mine", find_recipe("smoke"))
