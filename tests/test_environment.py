"""The set-up files agree: conda's list, the make targets and pyproject.toml are one environment."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BY_HAND = {"face-alignment", "cuda", "cluster"}  # left out: OpenCV and downloads; only for GPUs; 240 MB for clusters
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_brings_python_and_pip_only_and_pip_installs_the_project():
    plain = [entry for entry in CONDA["dependencies"] if isinstance(entry, str)]
    (pip_section,) = (entry for entry in CONDA["dependencies"] if isinstance(entry, dict))
    assert [re.split("[<>=]", entry)[0] for entry in plain] == ["python", "pip"]
    assert f"python{PROJECT['requires-python']}" in plain
    (line,) = pip_section["pip"]
    extras = re.fullmatch(r"-e \.\[(.+)\]", line).group(1).split(",")
    assert set(extras) == set(PROJECT["optional-dependencies"]) - BY_HAND


def test_make_installs_the_same_extras_as_conda():
    (extras,) = re.findall(r"-e '\.\[(.+)\]'", (ROOT / "Makefile").read_text())
    assert set(extras.split(",")) == set(PROJECT["optional-dependencies"]) - BY_HAND


def test_torch_and_torchvision_have_floors_and_no_ceiling():
    floors = {re.split("[<>=]", entry)[0]: entry for entry in PROJECT["dependencies"]}
    for name in ("torch", "torchvision"):
        assert re.fullmatch(rf"{name}>=[\d.]+", floors[name]), f"{name} must have a floor alone: {floors[name]}"


def test_every_dependency_has_its_reason_written_down():
    reasons = (ROOT / "CONTRIBUTING.md").read_text()
    extras = [entry for entries in PROJECT["optional-dependencies"].values() for entry in entries]
    for entry in PROJECT["dependencies"] + extras:
        name = re.split(r"[<>=\[]", entry)[0]
        assert f"`{name}`" in reasons, f"CONTRIBUTING.md does not say why {name} is here"


def test_continuous_integration_runs_the_readme_test_command():
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_every_imported_package_is_declared():
    """What lsdkit imports is named in pyproject.toml, not just brought along by something else."""
    provided_by = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "dlib": "dlib-bin",
        "IPython": "ipython",
        "face_alignment": "face-alignment",
        "lightning_fabric": "lightning-fabric",
        "onnx_ir": "onnx-ir",
        "bs4": "beautifulsoup4",
        "yaml": "pyyaml",
    }
    extras = [entry for entries in PROJECT["optional-dependencies"].values() for entry in entries]
    declared = {re.split("[<>=]", entry)[0] for entry in PROJECT["dependencies"] + extras}
    undeclared = {}
    for path in [*(ROOT / "lsdkit").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"lsdkit", "tests"}:
                if provided_by.get(top, top) not in declared:
                    undeclared.setdefault(top, path.name)
    assert not undeclared
