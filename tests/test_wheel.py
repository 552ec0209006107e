"""The built package: everything that it needs is in it, and it works where there is no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import sys
import lsdkit
from lsdkit.cli import main
from lsdkit.data.detection import load_mean_shape
from lsdkit.reproduce.claims import read_paper
from lsdkit.reproduce.estimate import read_cards

assert lsdkit.__file__.startswith(sys.argv[1]), lsdkit.__file__
assert main(["--help"]) == 0
assert (len(read_cards()), len(load_mean_shape()), len(read_paper())) == (6, 68, 41)
member = lsdkit.Member.of("smoke", epochs=1)
run = lsdkit.train(member, lsdkit.Store.open(sys.argv[2]), "run", device="cpu", progress=False)
print(lsdkit.predict(run, lsdkit.Store.open(sys.argv[2])).shape)
"""


def list_sources() -> list[Path]:
    paths = (ROOT / "lsdkit").rglob("*.*")
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git would hold: a build leaves files beside its sources."""
    out, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources")
    for path in [*list_sources(), *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE"))]:
        place = copy / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(out)]
    subprocess.run([*command, str(copy)], check=True, capture_output=True, text=True)
    (found,) = out.glob("*.whl")
    return found


@pytest.mark.slow
def test_every_module_and_table_is_inside(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT).as_posix() for path in list_sources()}
    assert wanted <= inside
    assert {name for name in wanted if name.endswith(".csv")} >= {
        "lsdkit/data/mean_shape.csv",
        "lsdkit/reproduce/paper_scores.csv",
    }
    assert not [name for name in inside if name.startswith(("tests/", "notebooks/", "benchmarks/"))]


@pytest.mark.slow
def test_it_works_outside_the_checkout(wheel, tiny_store, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", USE, str(site), str(tiny_store.path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(12, 6)"
