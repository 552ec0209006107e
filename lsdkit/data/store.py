"""The store: every face decoded once, kept as memory-mapped pixels beside its label, landmarks and key.

A store is a folder:

    images.npy      uint8 (N, S, S, 3) RGB, opened as a memory map
    landmarks.npy   float32 (N, 68, 2), [-1, 1] of the image (x right, y down), NaN where missing
    faces.csv       one row a face, same order: key, split, expression, subject, path, landmarks (where they came from)
    manifest.json   format, kind, size, counts, checksums, source, settings, left_out, notes
    left_out.csv    path, reason, detail: every image that is not in the store

`lsdkit.data.writer` writes it, under a temporary name and renamed when whole.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from shlex import quote

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.common.expressions import CLASSES, EXPRESSIONS, UNKNOWN
from lsdkit.common.landmarks import POINTS
from lsdkit.data.viewing import View

FORMAT = 1
KINDS = {  # what a store's faces are, and that in words
    "rendered": "rendered faces: drawn by this kit, no photographs and no real people",
    "photographs": "photographs",
    "synthetic": "synthetic faces",
}
SPLITS = ("train", "validation", "test", "extra")
COLUMNS = ("key", "split", "expression", "subject", "path")
CHECKED = ("images.npy", "landmarks.npy", "faces.csv", "left_out.csv")
LABELS = {"": UNKNOWN} | {name: index for index, name in enumerate(CLASSES)}
MANIFEST = {"kind": str, "source": str, "size": int}  # what a manifest holds, each of this type
MANIFEST |= dict.fromkeys(("counts", "checksums", "settings", "left_out", "notes"), dict)
_AGAIN = "run the `lsdkit prepare` command that made it again, after removing the folder"


def describe_kind(kind: str) -> str:
    """What a store's faces are, in words for a heading.

    >>> describe_kind("rendered")
    'rendered faces: drawn by this kit, no photographs and no real people'
    """
    return KINDS[kind]


class Store:
    """A finished store, opened for reading. Pixels stay on disk until rows of `images` are taken."""

    def __init__(self, path: Path, manifest: dict, faces: pd.DataFrame, images: np.ndarray, landmarks: np.ndarray):
        self.path = path
        self.manifest = manifest
        self.faces = faces
        self.images = images  # uint8 (N, S, S, 3), a memory map
        self.landmarks = landmarks  # float32 (N, 68, 2), NaN where missing
        self.kind = str(manifest["kind"])
        self.keys = faces["key"].tolist()

    @classmethod
    def open(cls, path: str | Path) -> "Store":
        """Open the store in this folder.

        Raises `FileNotFoundError` where there is none, naming the command that makes one, and `ValueError` where it is
        incomplete or its files disagree. Pixels are not read: `verify` does that.
        """
        path = Path(path)
        if files.find_older(path):
            with hold_folder(path):
                pass
        if not (path / "manifest.json").is_file():
            raise FileNotFoundError(_explain_absence(path))
        manifest = read_manifest(path)
        if missing := [name for name in CHECKED if not (path / name).is_file()]:
            raise ValueError(f"The store in {path} lacks {', '.join(missing)}; {_AGAIN}")
        faces = _read_faces(path / "faces.csv")
        images, landmarks = (_load(path / name, mode) for name, mode in (("images.npy", "r"), ("landmarks.npy", None)))
        count, size = len(faces), manifest["size"]
        if images.shape != (count, size, size, 3) or landmarks.shape != (count, POINTS, 2):
            raise files.Damaged(
                f"The files of the store in {path} disagree: {count} rows in faces.csv, images {images.shape}, "
                f"landmarks {landmarks.shape}, size {size}; {_AGAIN}"
            )
        if images.dtype != np.uint8 or landmarks.dtype != np.float32:
            kinds = f"{images.dtype} and {landmarks.dtype}"
            raise files.Damaged(
                f"Expected uint8 and float32 in images.npy and landmarks.npy of {path}, but got {kinds}"
            )
        return cls(path, manifest, faces, images, landmarks)

    def verify(self) -> None:
        """Compare every file's SHA-256 with the manifest's; raises `Damaged` naming the files that changed.

        Once in a process, while size and times of the files stay as they are. Whatever trains, predicts, scores or
        makes another store calls it.
        """
        stamps = tuple((name, *_stamp(self.path / name)) for name in CHECKED)
        wrong = _find_changes(self.path.resolve(), tuple(self.manifest["checksums"].items()), stamps)
        if wrong:
            wrong = ", ".join(wrong)
            raise files.Damaged(f"The store in {self.path} is damaged: {wrong} differ from the manifest; {_AGAIN}")

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of what a training learns from: images and landmarks, by the manifest, and the table of keys, splits
        and expressions."""
        table = self.faces[["key", "split", "expression"]].to_csv(index=False, lineterminator="\n")
        told = {name: self.manifest["checksums"][name] for name in ("images.npy", "landmarks.npy")}
        return {**told, "faces": hashlib.sha256(table.encode()).hexdigest()}

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 (N,): 0..5 the six expressions, 6 neutral, 7 contempt, -1 unknown."""
        return self.faces["expression"].map(LABELS).to_numpy(np.int64)

    @cached_property
    def view(self) -> View:
        """What its faces show of the crops that it was made of: all, or what `combining.view_store` left."""
        settings = self.manifest["settings"]
        if "view" in settings:
            return View.read(settings["view"])
        if settings.get("reader") == "inner":  # of a version that did not tell it
            return View(window=tuple(settings["window"]), grey=bool(settings.get("grey")))
        return View(int(self.manifest["size"]))

    @property
    def aligned(self) -> bool:
        """Whether every face is a whole crop of our own alignment, or rendered so: what weights with a window rely on.

        A store made of another one is aligned where that one is and nothing was cut off.
        """
        settings = self.manifest["settings"]
        while "from" in settings:
            settings = settings["from"]
        return self.view.whole and (settings.get("reader") == "open" or bool(settings.get("crop")))

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """The images that are not in the store: path, reason and detail, all text."""
        return _read_text(self.path / "left_out.csv", ("path", "reason", "detail"))

    def rows(self, split: str) -> np.ndarray:
        """int64 row numbers of a split, ascending; raises `ValueError` for an unknown split."""
        if split not in SPLITS:
            raise ValueError(f"Expected `split` to be one of {', '.join(SPLITS)}, but got {split!r}")
        return np.flatnonzero(self.faces["split"].to_numpy() == split).astype(np.int64)

    def counts(self, split: str) -> np.ndarray:
        """int64 (6,): faces of each of the six expressions in a split."""
        labels = self.labels[self.rows(split)]
        return np.bincount(labels[(labels >= 0) & (labels < len(EXPRESSIONS))], minlength=len(EXPRESSIONS))

    def __len__(self) -> int:
        return len(self.faces)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, {len(self)} faces, {self.kind}, {self.manifest['size']} px)"


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Hold the lock of a store's folder, which the system frees when a process dies, and mend what a kill has left."""
    with files.hold_lock(out.parent / f".{out.name}.lock"):
        files.heal_folder(out)
        yield


def read_manifest(path: Path) -> dict:
    """The manifest of the store in a folder; `ValueError`, naming it, where it is damaged or of another format."""
    file = path / "manifest.json"
    manifest = files.read_json(file, _AGAIN)
    if (got := manifest.get("format")) != FORMAT:
        raise ValueError(f"Expected a store of format {FORMAT} in {path}, but got {got!r}; {_AGAIN}")
    wrong = [name for name, kind in MANIFEST.items() if type(manifest.get(name)) is not kind]
    if not wrong and manifest["kind"] not in KINDS:
        wrong = ["kind"]
    sums = manifest["checksums"] if not wrong else {}
    if wrong or set(sums) != set(CHECKED) or not all(files.CHECKSUM.fullmatch(str(each)) for each in sums.values()):
        raise files.Damaged(
            f"{file} is damaged: {', '.join(wrong) or 'checksums'} cannot be what was written; {_AGAIN}"
        )
    return manifest


def _read_faces(file: Path) -> pd.DataFrame:
    faces = _read_text(file, (*COLUMNS, "landmarks"))
    for name, valid in (("split", SPLITS), ("expression", tuple(LABELS))):
        if len(wrong := np.flatnonzero(~faces[name].isin(valid))):
            got = faces[name].iloc[wrong[0]]
            raise files.Damaged(
                f"Expected `{name}` in {file} to be one of {', '.join(filter(None, valid))}, but face {wrong[0] + 1} "
                f"has {got!r}; {_AGAIN}"
            )
    if faces["key"].duplicated().any():
        key = faces["key"][faces["key"].duplicated()].iloc[0]
        raise files.Damaged(f"Expected each key of {file} once, but {key!r} repeats; {_AGAIN}")
    return faces


def _read_text(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table of a store, all text."""
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise files.Damaged(f"{file} is damaged ({error}); {_AGAIN}") from error
    if tuple(table.columns) != columns or table.isna().any(axis=None):
        got = ", ".join(map(str, table.columns))[:100]
        raise files.Damaged(f"Expected {file} to have the columns {', '.join(columns)}, but got {got}; {_AGAIN}")
    return table


def _load(file: Path, mode: str | None) -> np.ndarray:
    try:
        return np.load(file, mmap_mode=mode, allow_pickle=False)
    except Exception as error:  # numpy names no file, and reads a header as Python: TokenError, SyntaxError, ...
        raise files.Damaged(f"{file} is damaged ({error}); {_AGAIN}") from error


def _stamp(file: Path) -> tuple[int, int, int, int]:
    try:
        told = file.stat()
    except FileNotFoundError:
        raise files.Damaged(f"The store in {file.parent} lacks {file.name}; {_AGAIN}") from None
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


@cache
def _find_changes(folder: Path, checksums: tuple[tuple[str, str], ...], stamps: tuple) -> tuple[str, ...]:
    return tuple(name for name, value in checksums if files.sha256(folder / name) != value)


def _explain_absence(path: Path) -> str:
    """That there is no store, and the command that makes one: beside a folder that holds something else."""
    if path.is_dir() and any(path.iterdir()):
        out = path.with_name(f"{path.name}-store")
        return (
            f"Expected a store in {path}, but it has no manifest.json. Photographs are prepared into another folder: "
            f"`lsdkit prepare folder {quote(str(path))} --out {quote(str(out))}` makes a store of a folder per "
            f"expression, then name {out} instead (`lsdkit prepare --help` lists other layouts)"
        )
    there = "is empty" if path.is_dir() else "does not exist"
    return (
        f"Expected a store in {path}, but it {there}. Make one with `lsdkit prepare open --out {quote(str(path))}` "
        "(rendered faces), or of your own with `lsdkit prepare release|folder|csv|affectnet|expw|rafdb|fer2013 "
        f"SOURCE --out {quote(str(path))}`"
    )
