"""Relative paths mean the same from every folder."""

from pathlib import Path

import pytest

from lsdkit.common.paths import PACKAGE_PARENT, project_root, resolve


def test_root_is_the_clone_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LSDKIT_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert project_root() == PACKAGE_PARENT
    assert resolve("data/open") == PACKAGE_PARENT / "data" / "open"


def test_installed_elsewhere_the_nearest_clone_above_counts(tmp_path, monkeypatch):
    monkeypatch.delenv("LSDKIT_ROOT", raising=False)
    monkeypatch.setattr("lsdkit.common.paths.PACKAGE_PARENT", tmp_path / "site-packages")
    clone = tmp_path / "clone"
    (clone / "lsdkit").mkdir(parents=True)
    (clone / "notebooks").mkdir()
    (clone / "pyproject.toml").touch()
    monkeypatch.chdir(clone / "notebooks")
    assert project_root() == clone
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path  # none: the current folder


def test_environment_overrides(tmp_path, monkeypatch):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    assert resolve("runs") == tmp_path / "runs"
    assert resolve(Path("/elsewhere")) == Path("/elsewhere")
    assert resolve("~") == Path.home()
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="LSDKIT_ROOT"):
        project_root()


def test_the_home_of_nobody_is_told():
    with pytest.raises(ValueError, match="~nosuchuser in ~nosuchuser/runs is no home folder"):
        resolve("~nosuchuser/runs")
