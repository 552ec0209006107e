"""Where the project is: relative paths mean the same from JupyterLab, papermill and a terminal.

JupyterLab starts a kernel in `notebooks/`, papermill in the caller's folder. Every relative path of a notebook's
parameters is therefore resolved against the project root.
"""

import os
from pathlib import Path

PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def project_root() -> Path:
    """Folder that relative paths start from.

    The environment variable `LSDKIT_ROOT` where set; else the folder that holds this package and `pyproject.toml` (a
    clone, installed in place); else the nearest folder above the current one that holds `lsdkit` and
    `pyproject.toml`; else the current folder. Raises `ValueError` where `LSDKIT_ROOT` is not a folder.
    """
    given = os.environ.get("LSDKIT_ROOT", "")
    if given:
        root = Path(given).expanduser().resolve()
        if not root.is_dir():
            raise ValueError(f"Expected LSDKIT_ROOT to be a folder, but got {given!r}; unset it or create the folder")
        return root
    here = Path.cwd()
    for folder in (PACKAGE_PARENT, here, *here.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "lsdkit").is_dir():
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """Absolute path: `~` is expanded, an absolute path stays, a relative one starts from `project_root()`.

    Raises `ValueError` as `expand` does.

    >>> resolve("data/open") == project_root() / "data" / "open"
    True
    """
    path = expand(path)
    return path if path.is_absolute() else project_root() / path


def expand(path: str | Path) -> Path:
    """The path with `~` expanded; `ValueError` for the home of a user whom the system does not know."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"Expected a path, but {Path(path).parts[0]} in {path} is no home folder") from error


def project_path(path: str | Path) -> Path:
    """The path relative to the project root where it lies below it: `resolve` finds it again after a move.

    >>> project_path(project_root() / "data" / "open").as_posix()
    'data/open'
    """
    path = Path(path)
    return path.relative_to(project_root()) if path.is_relative_to(project_root()) else path
