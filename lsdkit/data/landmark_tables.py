"""Landmarks that files hold: tables of points in [-1, 1] of the images, by key."""

from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.landmarks import COORDINATES, POINTS


def extract_points(table: pd.DataFrame, source: str | Path) -> dict[str, np.ndarray]:
    """Landmarks of a table: key, x0, y0, ..., x67, y67 in [-1, 1]; a face with an empty cell is left away.

    Raises `ValueError` for missing columns, repeated keys, or values that are no [-1, 1] coordinates (pixels, for one).
    """
    if missing := [name for name in ("key", *COORDINATES) if name not in table.columns]:
        raise ValueError(
            f"Expected the columns key, x0, y0, ..., x67, y67 in {source}, but {len(missing)} are missing: "
            f"{', '.join(missing[:5])}"
        )
    repeated = table["key"][table["key"].duplicated()]
    if len(repeated):
        raise ValueError(f"Expected each key once in {source}, but {repeated.iloc[0]!r} repeats")
    values = table[list(COORDINATES)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    return _check(table["key"].tolist(), values.reshape(-1, POINTS, 2), source)


def read_table(file: str | Path) -> dict[str, np.ndarray]:
    """Landmarks from a CSV file (see `extract_points`), or from `X.npy` (N, 68, 2) with `X.keys.txt`, a key a line."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a table of landmarks (.csv, or .npy with a .keys.txt beside it), but {file} is no file"
        )
    if file.suffix.lower() != ".npy":
        return extract_points(pd.read_csv(file, dtype={"key": str}), file)
    names = file.with_suffix(".keys.txt")
    if not names.is_file():
        raise FileNotFoundError(f"Expected {names} with one key a line for the rows of {file}")
    keys = [line for line in names.read_text(encoding="utf-8").splitlines() if line.strip()]
    values = np.load(file, allow_pickle=False)
    if values.shape != (len(keys), POINTS, 2) or len(set(keys)) < len(keys):
        raise ValueError(
            f"Expected ({len(keys)}, 68, 2) in {file} for {len(set(keys))} different keys, but got {values.shape}"
        )
    return _check(keys, values, file)


def _check(keys: list[str], values: np.ndarray, source: str | Path) -> dict[str, np.ndarray]:
    whole = np.isfinite(values).all((1, 2))
    largest = np.abs(values[whole]).max(initial=0)
    if largest > 3:
        raise ValueError(
            f"Expected landmarks in [-1, 1] of the image in {source}, but got {largest:.6g}; "
            "turn pixels into that with lsdkit.common.landmarks.normalise"
        )
    return {key: value for key, value, complete in zip(keys, values, whole, strict=True) if complete}
