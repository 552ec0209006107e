"""A photograph that scikit-image brings (NASA's portrait of Eileen Collins), and small trained models."""

from dataclasses import replace

import pytest
from PIL import Image
from skimage import data

from lsdkit.data.combining import view_store
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.bundles import pack
from lsdkit.training.member import train_member


@pytest.fixture(scope="session")
def photograph():
    """One face, 512 x 512 pixels, which the first detector finds."""
    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="session")
def photographs(photograph, tmp_path_factory):
    """Files of one face each, turned and lit in different ways, in a folder."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, angle in enumerate((0, 4, -5, 8), start=1):
        photograph.rotate(angle, Image.Resampling.BICUBIC).resize((400, 400)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def inner(tiny_store, tmp_path_factory):
    return view_store(tiny_store, tmp_path_factory.mktemp("store") / "inner", window=(0.2, 0.3, 0.6))


@pytest.fixture(scope="session")
def runs(tiny_store, inner, tmp_path_factory):
    """Runs that learned from whole crops in colour, and from their inner part without: `whole` and `inner`."""
    root = tmp_path_factory.mktemp("runs")
    recipe = replace(SMOKE, averaging=0.9, statistics="measured", learning_rate=1e-3, epochs=1)
    stores = {"inner": inner, "whole": tiny_store}
    for name, store in stores.items():
        train_member(Member(recipe=recipe, appearance="none"), store, root / name, device="cpu", progress=False)
    return root


@pytest.fixture(scope="session")
def model(runs, tmp_path_factory):
    """The file of a packed model of both runs."""
    from lsdkit.training.runs import list_runs

    return pack(list_runs(runs), tmp_path_factory.mktemp("model") / "both.safetensors", name="both", half=False)
