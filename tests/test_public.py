"""The public face: a few names, loaded when they are used, and torch's threads kept from spinning."""

import os
import subprocess
import sys

import numpy as np
import pytest

import lsdkit


def ask(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_loads_nothing_heavy():
    loaded = ask("import sys, lsdkit; print({'torch', 'pandas', 'numpy', 'timm', 'sklearn'} & set(sys.modules))")
    assert loaded == "set()"
    loaded = ask("import sys, lsdkit.cli; print({'torch', 'pandas', 'numba', 'timm', 'sklearn'} & set(sys.modules))")
    assert loaded == "set()"


def test_the_model_that_ships_is_loaded_without_what_it_does_not_need():
    """timm and torchvision take longer to load than torch."""
    code = "import sys; from lsdkit.reading.reading import load_panel; print(len(load_panel('open-1', 'cpu').networks)"
    assert ask(f"{code}, {{'timm', 'torchvision'}} & set(sys.modules))") == "5 set()"


def test_every_public_name_is_there_and_documented():
    assert set(lsdkit.__all__) <= set(dir(lsdkit))
    for name in lsdkit.__all__:
        assert len(getattr(lsdkit, name).__doc__) > 40, name
    with pytest.raises(AttributeError, match="its names are Member, Recipe, Store, predict, read, read_many, train"):
        _ = lsdkit.fit


def test_threads_are_kept_from_spinning_unless_the_user_says_how():
    code = "import os, lsdkit; print(os.environ.get('GOMP_SPINCOUNT'))"
    assert ask(code) == "10000"
    assert ask(code, GOMP_SPINCOUNT="7") == "7"
    assert ask(code, OMP_WAIT_POLICY="ACTIVE") == "None"


def test_from_a_store_to_answers(tiny_store, tmp_path):
    """Train by the public names alone, then answer for arrays as for the store that they are of."""
    recipe = lsdkit.Member.of("smoke", epochs=1)
    run = lsdkit.train(recipe, tiny_store, tmp_path / "runs" / "one", device="cpu", progress=False)
    rows = tiny_store.rows("test")
    answers = lsdkit.predict(run, np.asarray(tiny_store.images)[rows])  # (B, 6)
    np.testing.assert_array_equal(answers, lsdkit.predict(run.folder, tiny_store))
    np.testing.assert_allclose(answers.sum(1), 1)
    left = run.read_predictions().query("split == 'test'")
    np.testing.assert_allclose(answers, left.iloc[:, 3:], atol=1e-6)
    np.testing.assert_array_equal(answers, lsdkit.predict(tmp_path / "runs", tiny_store))
    assert lsdkit.predict(run, np.empty((0, 40, 40, 3), np.uint8)).shape == (0, 6)


def test_what_is_no_face_is_said_before_any_network_is_read(tmp_path):
    for faces in (np.zeros((90, 90, 3), np.uint8), np.zeros((1, 90, 90, 3)), np.zeros((1, 90, 60, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \(B, S, S, 3\), but got"):
            lsdkit.predict([], faces)
