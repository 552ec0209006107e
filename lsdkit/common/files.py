"""Files that are either whole or absent: written under a temporary name, then renamed; and their checksums."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from lsdkit.common.signals import refuse_while_starting

if TYPE_CHECKING:
    import pandas as pd

CHECKSUM = re.compile("[0-9a-f]{64}")  # hexadecimal SHA-256, which tells a reader nothing
SEAL = "sha256"  # the last entry of a sealed JSON file: the checksum of all others
FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)  # what cannot be written in such a folder, nobody else writes for us
LITTLE = 1 << 20  # bytes: a disk with less free is full, whatever a writer's error says


class Damaged(ValueError):
    """A file whose bytes are not those that were written; the message names it."""


class DiskFull(OSError):
    """No room; the message says where, and how much is missing where that is known."""


@contextmanager
def atomic(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any exception it is removed.

    A symbolic link under either name is replaced, never followed. Raises `DiskFull` where there is no room.

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
    temporary.unlink(missing_ok=True)
    try:
        with tell_full_disk(path.parent):
            yield temporary
            with temporary.open("r+b") as written:  # Windows flushes only what may be written
                os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def tell_full_disk(folder: Path, needed: int = 0) -> Iterator[None]:
    """Turn the errors of a writer that a full disk explains into `DiskFull`; needed: bytes that are still to come."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError
        if isinstance(error, DiskFull):
            raise
        if getattr(error, "errno", None) in FULL or (isinstance(error, RuntimeError) and _free(folder) < LITTLE):
            raise _describe_full(folder, needed) from error
        raise


def check_room(folder: Path, needed: int) -> None:
    """Raise `DiskFull` where fewer than `needed` bytes are free in a folder."""
    if needed > _free(folder):
        raise _describe_full(folder, needed)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _describe_full(folder: Path, needed: int) -> DiskFull:
    free = _free(folder)
    missing = f", {(needed - free) / 1e6:,.0f} MB are missing" if needed > free else ""
    return DiskFull(
        f"The disk of {folder} is full: {free / 1e6:,.0f} MB are free{missing}; make room, then start again"
    )


def replace_folder(new: Path, folder: Path) -> None:
    """Put a whole folder in place of an older one; `heal_folder` mends what a kill between the two renames leaves."""
    old = _name_old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def heal_folder(folder: Path) -> None:
    """Put back the older folder where `replace_folder` was killed before the new one was in its place."""
    if old := find_older(folder):
        old.rename(folder)


def find_older(folder: Path) -> Path | None:
    """What `heal_folder` would put back, or None."""
    return old if not folder.exists() and (old := _name_old(folder)).is_dir() else None


def _name_old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


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


def read_json(path: Path | str, advice: str = "delete it to have it made again") -> dict:
    """The object in a JSON file; raises `Damaged`, naming the file, for anything else, or where its seal is broken."""
    try:
        value = json.loads(Path(path).read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # of JSON and of UTF-8
        raise Damaged(f"{path} is not readable as JSON ({error}); {advice}") from error
    if not isinstance(value, dict):
        raise Damaged(f"Expected an object in {path}, but got {str(value)[:40]!r}; {advice}")
    if SEAL in value and seal(value)[SEAL] != value[SEAL]:
        raise Damaged(f"{path} is damaged: it is not what was written; {advice}")
    return value


def seal(value: Mapping) -> dict:
    """A value for `write_json` with the SHA-256 of all it holds, which `read_json` compares.

    >>> seal({"a": 1})[SEAL] == seal(seal({"a": 1}))[SEAL] != seal({"a": 2})[SEAL]
    True
    """
    content = {key: entry for key, entry in value.items() if key != SEAL}
    return {**content, SEAL: hashlib.sha256(json.dumps(content, allow_nan=False).encode()).hexdigest()}


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

    Waits `seconds` (-1: as long as it takes), then raises `ValueError`: the folder is not free, but `busy`. In a folder
    that may not be written nothing is held: what is finished there can still be read. Raises `RuntimeError` in a
    process that a script without `if __name__ == "__main__":` has started, which would wait for the script for ever.
    """
    from filelock import FileLock, Timeout

    refuse_while_starting()
    path, held = Path(path), nullcontext()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path).acquire(timeout=seconds)
    except Timeout:
        raise ValueError(f"Expected {path.parent} to be free, but {busy}") from None
    except OSError as error:
        if error.errno not in CLOSED or not path.parent.is_dir():
            raise
    with held:
        yield


def is_held(path: Path | str) -> bool | None:
    """Whether a process holds a lock file (`hold_lock`); None where the system does not tell.

    Only looks: it writes nothing, makes nobody wait, and can be asked of a folder that may not be written. On a disk
    that machines share, a lock that another one holds may look free: not every such disk passes locks on.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        with Path(path).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def write_table(path: Path | str, table: "pd.DataFrame") -> None:
    """Write a table as CSV, whole or not at all; floats as %.9g, which gives a float32 back exactly."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")
