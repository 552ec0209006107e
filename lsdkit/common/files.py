"""Files that are either whole or absent: written under a temporary name, then renamed; and their checksums."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

CHECKSUM = re.compile("[0-9a-f]{64}")  # hexadecimal SHA-256, which tells a reader nothing


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any exception it is removed.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with atomic(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` atomically as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write bytes atomically, such as a picture."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path | str, value: object) -> None:
    """Write `value` atomically as indented JSON; raises `ValueError` for NaN and infinity, which JSON lacks."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path | str) -> dict:
    """Read a JSON file; raises `ValueError` that names the file where it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not readable as JSON ({error}); delete it to have it made again") from error


def describe_difference(given: dict, expected: dict, prefix: str = "") -> str:
    """In words, where two nested dicts differ; of checksums only that they do.

    >>> describe_difference({"bag": 1, "recipe": {"epochs": 2}}, {"bag": 2, "recipe": {"epochs": 3}})
    'bag is 1, not 2; recipe.epochs is 2, not 3'
    >>> describe_difference({"store": {"faces": "0a" * 32}}, {"store": {"faces": "1b" * 32}})
    'store.faces has other content'
    """
    words = []
    for name in sorted(given.keys() | expected.keys()):
        old, new = given.get(name), expected.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            words.append(describe_difference(old, new, f"{prefix}{name}."))
        elif old != new:
            sums = any(CHECKSUM.search(str(value)) for value in (old, new))
            words.append(f"{prefix}{name} " + ("has other content" if sums else f"is {old}, not {new}"))
    return "; ".join(filter(None, words))


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def hold_lock(path: Path | str, busy: str = "", seconds: float = -1.0) -> Iterator[None]:
    """Hold a lock file against other processes; the system frees it when a process dies.

    Waits `seconds` (-1: as long as it takes), then raises `ValueError`: the folder is not free, but `busy`.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(path).acquire(timeout=seconds)
    except Timeout:
        raise ValueError(f"Expected {path.parent} to be free, but {busy}") from None
    with held:
        yield


def write_table(path: Path | str, table: "pd.DataFrame") -> None:
    """Write a table as CSV, whole or not at all; floats as %.9g, which gives a float32 back exactly."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
