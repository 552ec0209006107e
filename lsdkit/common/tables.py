"""CSV files from anywhere: read as what they are, or refused with the file's name, the line and what to do."""

import csv
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 files begin
SEPARATORS = {";": "semicolons", "\t": "tabs"}


def read_csv(path: Path | str, needed: Iterable[str] = (), **options: object) -> pd.DataFrame:
    """The table in a CSV file of one line of names and as many cells in every other line; `options` as of pandas.

    UTF-8 with or without a byte order mark. Every cell is text unless `options` say otherwise, an empty one is "", and
    blanks around names do not count. Raises `FileNotFoundError`, and `ValueError` that names the file, and the line
    where one is to blame, for another encoding, other separators, an empty file, lines of more or fewer cells, names
    that repeat, or where a name of `needed` is missing.
    """
    check_csv(path)
    table = parse_csv(path, **{"dtype": str} | options)
    if missing := [name for name in needed if name not in table.columns]:
        found = ", ".join(table.columns)[:200]
        raise ValueError(f"Expected the column {', '.join(missing)} in {path}, but found {found or 'nothing'}")
    return table


def parse_csv(path: Path | str, **options: object) -> pd.DataFrame:
    """The table in a file that was checked; raises `ValueError` that names the file."""
    try:
        table = pd.read_csv(path, **{"keep_default_na": False, "encoding": "utf-8-sig"} | options)
    except ValueError as error:  # of pandas and of UTF-8, neither of which names the file
        raise ValueError(f"Expected a CSV file in UTF-8, but {path} cannot be read as one: {error}") from error
    table.columns = [str(name).strip() for name in table.columns]
    return table


def check_csv(path: Path | str) -> None:
    """Raise what `read_csv` raises of a file's form; one pass over it."""
    path = Path(path)
    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    if start.startswith(WIDE):
        raise ValueError(f"Expected a CSV file in UTF-8, but {path} is in UTF-16: save it as UTF-8")
    names = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            for cells in lines:
                if names is None:
                    names = _check_names(cells, path)
                elif len(cells) != len(names) and cells:
                    raise ValueError(
                        f"Expected {len(names)} cells in each line of {path}, but line {lines.line_num} has "
                        f"{len(cells)}: put a cell with a comma in quotes, and take surplus commas away"
                    )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected a CSV file in UTF-8, but line {_find_foreign(path)} of {path} is in another encoding: save it "
            "as UTF-8"
        ) from error
    except csv.Error as error:
        raise ValueError(f"Expected a CSV file, but line {lines.line_num} of {path} is none: {error}") from error
    if names is None:
        raise ValueError(f"Expected a CSV file, but {path} is empty")


def _find_foreign(path: Path) -> int:
    """The number of the first line that is no UTF-8."""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 0


def _check_names(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    for separator, words in SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            raise ValueError(f"Expected commas between the cells of {path}, but its first line has {words}: save it so")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"Expected each column of {path} once, but {twice!r} repeats")
    return names
