"""Members beyond the paper's, as a person writes them: the text of a grid, or a CSV file with a row a run.

Both become rows: {where it is written, in words: parameters of notebook 03}, whose names and types were checked.
"""

import inspect
import shlex
from itertools import product
from pathlib import Path

from lsdkit.common.tables import read_csv
from lsdkit.notebook.parameters import TYPES, check_names, member_from_parameters
from lsdkit.recipes import SETTABLE

KINDS = {  # parameter -> its type
    name: each.annotation
    for name, each in inspect.signature(member_from_parameters).parameters.items()
    if name not in ("DEVICE", "DEVICES")
}
ELSEWHERE = {"DATA_DIR": "--data", "RUN_DIR": "--out", "DEVICE": "--device"}  # what all runs of a sweep share
EXAMPLE = "MIX=mixup,mixaugment SEED=0:5 SETTINGS='alpha=0.2 averaging=0.98'"

Rows = dict[str, dict]


def parse_grid(text: str) -> Rows:
    """The runs of a grid, "NAME=VALUE,VALUE NAME=FROM:TO": every combination, the last parameter changing first.

    FROM:TO are the whole numbers from FROM to TO - 1. Values with spaces or commas stand in quotes. Raises `ValueError`
    for another form, a parameter that is none of a member (with the nearest), a value of another type, and for a
    parameter or a value that comes twice.

    >>> list(parse_grid("MIX=mixup SEED=0:2 SETTINGS='alpha=0.2 averaging=0.98','alpha=0.3'"))[1]
    "MIX=mixup SEED=0 SETTINGS='alpha=0.3'"
    """
    values: dict[str, list] = {}
    for name, given in _split_grid(text):
        _check_columns([name], "--grid")
        if name in values:
            raise ValueError(f"Expected each parameter of --grid once, but got {name} twice: {text!r}")
        parts = [part for each in given for part in _expand_range(name, each)]
        values[name] = [_convert(name, part, "--grid") for part in parts]
        twice = [value for value in values[name] if values[name].count(value) > 1]
        if twice:
            raise ValueError(f"Expected each value of {name} in --grid once, but got {twice[0]!r} twice")
    if not values:
        raise ValueError(f'Expected --grid such as "{EXAMPLE}", but got {text!r}')
    rows = [dict(zip(values, each, strict=True)) for each in product(*values.values())]
    return {" ".join(f"{name}={_quote(value)}" for name, value in row.items()): row for row in rows}


def read_rows(path: Path | str) -> Rows:
    """The runs of a CSV file: its columns are parameters; an empty cell leaves one to the command's options.

    Raises `FileNotFoundError`, and `ValueError`, naming file and row (from 1, below the line of names), for what
    `parse_grid` refuses, for a row that comes twice, and where there is none.
    """
    path, rows = Path(path), {}
    table = read_csv(path)
    _check_columns(table.columns, str(path))
    for number, record in enumerate(table.to_dict("records"), 1):
        where = f"row {number} of {path.name}"
        rows[where] = {name: _convert(name, cell, where) for name, cell in record.items() if cell.strip()}
        if not rows[where]:
            raise ValueError(f"Expected a value in each row of {path}, but row {number} has none: take it away")
        earlier = next((other for other in rows if rows[other] == rows[where]), where)
        if earlier != where:
            raise ValueError(f"Expected each run of {path} once, but {where} is {earlier} again")
    if not rows:
        raise ValueError(f"Expected a row for each run in {path}, but it has a line of names alone")
    return rows


def _check_columns(names: list[str], whose: str) -> None:
    for name in names:
        if name in ELSEWHERE:
            raise ValueError(
                f"Expected no {name} in {whose}: all runs of a sweep share it, give it as {ELSEWHERE[name]}"
            )
        if name in SETTABLE:
            raise ValueError(
                f"Expected parameters in {whose}, but {name} is a setting of the recipe: write SETTINGS='{name}=...'"
            )
    check_names(names, KINDS, f"a member in {whose}")


def _split_grid(text: str) -> list[tuple[str, list[str]]]:
    """Each parameter with its values, all text: commas and spaces part them, but not within quotes."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=",")
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        words = list(lexer)
    except ValueError:
        raise ValueError(f"Expected --grid with each quotation mark closed, but got {text!r}") from None
    found, after_comma = [], False
    for word in words:
        if word and not word.strip(","):
            if not found or after_comma or word != ",":
                raise ValueError(f"Expected a value before each comma of --grid, but got {text!r}")
            after_comma = True
        elif after_comma:
            found[-1][1].append(word)
            after_comma = False
        else:
            name, sign, value = word.partition("=")
            if not sign:
                raise ValueError(f'Expected --grid such as "{EXAMPLE}" (commas between values), but got {word!r}')
            found.append((name, [value]))
    if after_comma:
        raise ValueError(f"Expected a value after each comma of --grid, but got {text!r}")
    return found


def _expand_range(name: str, text: str) -> list[str]:
    """The numbers of "FROM:TO"; another text alone."""
    first, sign, end = text.partition(":")
    if KINDS[name] is not int or not sign or not (first.isdecimal() and end.isdecimal()):
        return [text]
    if int(first) >= int(end):
        raise ValueError(f"Expected {name} in --grid as FROM:TO with FROM below TO (0:5 is 0 to 4), but got {text!r}")
    return [str(number) for number in range(int(first), int(end))]


def _convert(name: str, text: str, where: str) -> object:
    """A parameter's value of its type."""
    kind, text = KINDS[name], text.strip()
    try:
        return {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"Expected {name} in {where} to be {TYPES[kind.__name__][0]}, but got {text!r}") from None


def _quote(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) and (not value or set(value) & set(" ,=")) else str(value)
