"""The store: every face decoded once, kept as memory-mapped pixels beside its label, landmarks and key.

A store is a folder:

    images.npy      uint8 (N, S, S, 3) RGB, opened as a memory map
    landmarks.npy   float32 (N, 68, 2), [-1, 1] of the image (x right, y down), NaN where missing
    faces.csv       one row a face, same order: key, split, expression, subject, path, landmarks (where they came from)
    manifest.json   format, kind, size, counts, checksums, source, settings, left_out, notes
    left_out.csv    path, reason, detail: every image that is not in the store

`lsdkit.data.writer` writes it, under a temporary name and renamed when whole.
"""

from functools import cached_property
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
        if not (path / "manifest.json").is_file():
            raise FileNotFoundError(_explain_absence(path))
        manifest = files.read_json(path / "manifest.json")
        if (got := manifest.get("format")) != FORMAT:
            raise ValueError(f"Expected a store of format {FORMAT} in {path}, but got {got!r}; {_AGAIN}")
        if missing := [name for name in CHECKED if not (path / name).is_file()]:
            raise ValueError(f"The store in {path} lacks {', '.join(missing)}; {_AGAIN}")
        try:
            faces = pd.read_csv(path / "faces.csv", dtype=str, keep_default_na=False)
            images = np.load(path / "images.npy", mmap_mode="r", allow_pickle=False)
            landmarks = np.load(path / "landmarks.npy", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"The store in {path} is damaged ({error}); {_AGAIN}") from error
        count, size = len(faces), manifest["size"]
        if images.shape != (count, size, size, 3) or images.dtype != np.uint8 or landmarks.shape != (count, POINTS, 2):
            raise ValueError(
                f"The files of the store in {path} disagree: {count} rows in faces.csv, images {images.shape}, "
                f"landmarks {landmarks.shape}, size {size}; {_AGAIN}"
            )
        return cls(path, manifest, faces, images, landmarks)

    def verify(self) -> None:
        """Compare every file's SHA-256 with the manifest's; raises `ValueError` naming the files that changed."""
        wrong = [name for name, value in self.manifest["checksums"].items() if files.sha256(self.path / name) != value]
        if wrong:
            wrong = ", ".join(wrong)
            raise ValueError(f"The store in {self.path} is damaged: {wrong} differ from the manifest; {_AGAIN}")

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
        return pd.read_csv(self.path / "left_out.csv", dtype=str, keep_default_na=False)

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
