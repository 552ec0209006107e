"""Landmarks that files hold: tables of points in [-1, 1] of the images, by key."""

from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common.landmarks import COORDINATES, POINTS
from lsdkit.common.tables import check_csv, parse_csv

GAPS = ("", "nan", "NaN")  # cells of points that are not known


def extract_points(table: pd.DataFrame, source: str | Path) -> dict[str, np.ndarray]:
    """Landmarks of a table: key, x0, y0, ..., x67, y67 in [-1, 1].

    A point with an empty cell is NaN, and a face without any point is left away. Raises `ValueError` for missing
    columns, repeated keys, or values that are no [-1, 1] coordinates (pixels, for one).
    """
    if missing := [name for name in ("key", *COORDINATES) if name not in table.columns]:
        raise ValueError(
            f"Expected the columns key, x0, y0, ..., x67, y67 in {source}, but {len(missing)} are missing: "
            f"{', '.join(missing[:5])}"
        )
    repeated = table["key"][table["key"].duplicated()]
    if len(repeated):
        raise ValueError(f"Expected each key once in {source}, but {repeated.iloc[0]!r} repeats")
    cells = table[list(COORDINATES)]
    numbers = cells.apply(pd.to_numeric, errors="coerce")
    strange = numbers.isna() & cells.notna() & ~cells.astype(str).apply(lambda each: each.str.strip()).isin(GAPS)
    if strange.any(axis=None):
        row = int(strange.any(axis=1).to_numpy().argmax())
        column = strange.columns[strange.iloc[row]][0]
        raise ValueError(
            f"Expected numbers in {source}, but {column} of {table['key'].iloc[row]} is {cells[column].iloc[row]!r}"
        )
    values = numbers.to_numpy(float)
    return _check(table["key"].tolist(), values.reshape(-1, POINTS, 2), source)


def read_table(file: str | Path) -> dict[str, np.ndarray]:
    """Landmarks from a CSV file (see `extract_points`), or from `X.npy` (N, 68, 2) with `X.keys.txt`, a key a line."""
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a table of landmarks (.csv, or .npy with a .keys.txt beside it), but {file} is no file"
        )
    if file.suffix.lower() != ".npy":
        check_csv(file)
        return extract_points(parse_csv(file, dtype={"key": str}), file)
    names = file.with_suffix(".keys.txt")
    if not names.is_file():
        raise FileNotFoundError(f"Expected {names} with one key a line for the rows of {file}")
    try:
        lines = names.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected keys in UTF-8 in {names}, but it is in another encoding: save it as UTF-8"
        ) from error
    keys = [line.removesuffix("\r") for line in lines if line.strip()]
    try:
        values = np.load(file, allow_pickle=False)
    except Exception as error:  # numpy names no file, and reads a header as Python: TokenError, SyntaxError, ...
        raise ValueError(f"Expected an array of landmarks in {file}, but it cannot be read: {error}") from error
    if values.dtype.kind not in "fiu":
        raise ValueError(f"Expected numbers in {file}, but got {values.dtype}")
    if values.shape != (len(keys), POINTS, 2) or len(set(keys)) < len(keys):
        raise ValueError(
            f"Expected ({len(keys)}, 68, 2) in {file} for {len(set(keys))} different keys, but got {values.shape}"
        )
    return _check(keys, values, file)


def _check(keys: list[str], values: np.ndarray, source: str | Path) -> dict[str, np.ndarray]:
    values = np.asarray(values, dtype=float)
    largest = np.nanmax(np.abs(values), initial=0)
    if largest > 3:
        raise ValueError(
            f"Expected landmarks in [-1, 1] of the image in {source}, but got {largest:.6g}; "
            "turn pixels into that with lsdkit.common.landmarks.normalise"
        )
    some = np.isfinite(values).all(2).any(1)
    return {key: value for key, value, known in zip(keys, values, some, strict=True) if known}
