"""A release of the open set: laid out as the LSD release is, the same for the same seed, resumed and kept."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import COORDINATES
from lsdkit.data.preparing import prepare_release
from lsdkit.data.readers import read_release
from lsdkit.data.release import CLASS_FOLDERS, LIST_HEADER, TEST, TRAIN, VALIDATION
from lsdkit.openset import release as release_module
from lsdkit.openset.head import load_head
from lsdkit.openset.plan import plan_release, subject_seed
from lsdkit.openset.release import render_release
from lsdkit.openset.render import render_face

SMALL = {"fraction": 1e-5, "validation": 8, "test": 7, "pixels": 32, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return render_release(tmp_path_factory.mktemp("open") / "set", jobs=1, **SMALL)


def read_rows(folder: Path, table: str = "faces") -> pd.DataFrame:
    """A table of a release, by key."""
    return pd.read_csv(folder / f"{table}.csv", dtype={"key": str}).set_index("key")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    "change", [{"fraction": 0.0}, {"fraction": 1.5}, {"validation": 3}, {"test": -1}, {"pixels": 4}]
)
def test_settings_out_of_range_are_refused_before_anything_is_written(tmp_path, change):
    with pytest.raises(ValueError, match=f"`{next(iter(change))}`"):
        render_release(tmp_path / "set", **SMALL | change)
    assert not list(tmp_path.iterdir())


def test_a_release_has_the_layout_and_a_readable_table(release):
    for folder, name in zip(CLASS_FOLDERS, EXPRESSIONS, strict=True):
        assert len(list((release / TRAIN / folder).glob("*.jpg"))) == 8
        assert list((release / VALIDATION / name).glob("*.jpg"))
    assert len(list((release / TEST).glob("*.jpg"))) == 7
    assert (release / TEST / "list.csv").read_text().splitlines()[:2] == [LIST_HEADER, "0.jpg,"]
    text = (release / "README.txt").read_text()
    assert "RENDERED" in text
    assert "CC0" in text
    rows = read_rows(release)
    assert len(rows) == 48 + 8 + 7
    assert rows[list(COORDINATES)].abs().max(axis=None) < 1
    table = read_release(release).table
    assert set(table["key"]) == set(rows.index)
    assert (table["expression"] != "").all()  # test labels come from faces.csv
    assert (table["subject"] != "").all()


def test_a_row_of_the_table_renders_its_picture_again(release):
    key = "train/SURPRISE/3"
    row = read_rows(release).loc[key]
    person = subject_seed(0, row["subject"])
    face = render_face(row["expression"], variant=row["variant"], seed=row["seed"], subject_seed=person, pixels=32)
    with Image.open(release / TRAIN / "SURPRISE" / "3.jpg") as image:
        difference = np.abs(np.asarray(image, int) - face.image).mean()
    assert difference < 6  # what JPEG takes
    assert row["x30"] == pytest.approx(face.landmarks[30, 0], abs=1e-5)
    assert row["intensity"] == pytest.approx(face.intensity, abs=1e-5)
    assert row[["yaw", "pitch", "roll"]].tolist() == pytest.approx(face.pose.tolist(), abs=1e-5)
    assert row[["gaze_left", "gaze_up"]].tolist() == pytest.approx(face.gaze.tolist(), abs=1e-5)
    moved = read_rows(release, "actions").loc[key, list(load_head().unit_names)]
    assert moved.tolist() == pytest.approx(face.actions.tolist(), abs=1e-5)


def test_every_table_has_a_row_for_each_face_in_the_same_order(release):
    tables = {name: pd.read_csv(release / f"{name}.csv", dtype={"key": str}) for name in release_module.TABLES}
    assert all(table["key"].tolist() == tables["faces"]["key"].tolist() for table in tables.values())
    assert all(table.notna().all(axis=None) for table in tables.values())
    assert list(tables["actions"].columns) == ["key", *load_head().unit_names]
    faces, points = tables["faces"], list(COORDINATES)
    assert set(faces["style"][faces["split"] == "train"]) == {"training"}
    assert set(faces["style"][faces["split"] != "train"]) == {"photographic"}
    assert (faces[points[34:]] == tables["contour"][points[34:]]).all(axis=None)
    assert (faces[points[:34]] != tables["contour"][points[:34]]).any(axis=None)
    smiles = tables["actions"][faces["expression"] == "HAPPINESS"]["mouthSmileLeft"]
    assert smiles.mean() > tables["actions"][faces["expression"] == "SADNESS"]["mouthSmileLeft"].mean() + 0.3


def test_a_store_can_take_the_outline_instead_of_the_jaw(release, tmp_path):
    options = {"progress": False, "jobs": 1}
    store = prepare_release(release, tmp_path / "store", landmarks=f"table:{release / 'contour.csv'}", **options)
    wanted = read_rows(release, "contour").loc[store.keys[0], list(COORDINATES)].to_numpy(float).reshape(68, 2)
    assert store.landmarks[0] == pytest.approx(wanted, abs=1e-5)
    assert store.kind == "rendered"


@pytest.mark.slow
def test_two_processes_write_the_same_bytes_as_one(release, tmp_path):
    assert digests(render_release(tmp_path / "set", jobs=2, **SMALL)) == digests(release)


def test_some_faces_in_another_order_have_the_same_pictures_and_rows(release, tmp_path):
    rows = plan_release(**{name: SMALL[name] for name in ("fraction", "validation", "test")}, seed=0)[::-9]
    release_module.render_block(tmp_path, 0, rows, SMALL["pixels"], 0)
    for row in rows:
        assert (tmp_path / row.path).read_bytes() == (release / row.path).read_bytes()
    for table in release_module.TABLES:
        lines = {line.split(",")[0]: line for line in (release / f"{table}.csv").read_text().splitlines()}
        found = (tmp_path / "blocks" / f"{table}-0.csv").read_text().splitlines()
        assert found == [lines[row.key] for row in rows]


def test_an_interrupted_release_is_resumed(release, tmp_path, monkeypatch):
    rendered = []
    original = release_module.render_block

    def failing(partial, number, *rest):
        if len(rendered) == 1:
            raise KeyboardInterrupt
        rendered.append(number)
        return original(partial, number, *rest)

    monkeypatch.setattr(release_module, "render_block", failing)
    with pytest.raises(KeyboardInterrupt):
        render_release(tmp_path / "set", jobs=1, **SMALL)
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(release_module, "render_block", lambda *args: rendered.append(args[1]) or original(*args))
    render_release(tmp_path / "set", jobs=1, **SMALL)
    assert rendered == [0, 1]
    assert digests(tmp_path / "set") == digests(release)


def test_a_complete_release_is_kept_and_another_one_is_not_overwritten(release, monkeypatch):
    monkeypatch.setattr(release_module, "render_block", None)
    assert render_release(release, jobs=1, **SMALL) == release
    with pytest.raises(FileExistsError, match="delete the folder"):
        render_release(release, jobs=1, **SMALL | {"seed": 1})


def test_processes_that_render_do_without_torch():
    code = "import sys, lsdkit.openset.release; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
