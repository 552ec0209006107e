"""DECA's landmark files: which of its two conventions they are in, whose they are, and whether they lie on a face.

DECA writes `<name>/<name>_kpt2d.txt`, 68 rows "x y" in iBUG's order. Source: https://github.com/yfeng95/DECA
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lsdkit.common.expressions import recognise
from lsdkit.common.landmarks import POINTS, plausible
from lsdkit.data.release import FOLDER_OF_SPLIT


class DecaLandmarks(NamedTuple):
    """Points by key, (68, 2) in [-1, 1] of the image; the keys whose points lie on no face; the files' convention."""

    points: dict[str, np.ndarray]
    implausible: list[str]
    convention: str


def read_deca(
    folder: str | Path,
    keys: Iterable[str],
    *,
    iscrop_false: bool = False,
    transforms: Mapping[str, np.ndarray] | None = None,
) -> DecaLandmarks:
    """Landmarks that DECA wrote for the faces of `keys`.

    Two conventions exist: pixels of a 224 crop (before August 2021) and [-1, 1] (after); the range of the numbers
    tells which, and a folder that fits neither, or mixes them, is refused. By default DECA (its `--iscrop` defaults
    to true) cuts out the face by its own detector and does not save where; so either state `iscrop_false` (it was run
    with `--iscrop False`: the whole image is the crop), or give `transforms`: key -> (3, 3) matrix from [-1, 1] of
    DECA's crop to [-1, 1] of the image.

    Files pair with faces by name, never by position: a file in .../ANGER/12/ belongs to "train/ANGER/12" (any known
    spelling of the class), one in 12/ to the one key that ends in "/12"; it is an error where several do, or where two
    files (in ANGRER/12/ and anger/12/) belong to one face. A face whose eyes do not fall where eyes can be gets none
    ("implausible"); more than half such is an error.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"Expected a folder of DECA results (<name>/<name>_kpt2d.txt), but {folder} is not one")
    if not iscrop_false and transforms is None:
        raise ValueError(
            "DECA's landmarks lie in the crop of its own detector, which it does not save, unless it was run with "
            "--iscrop False. State that it was (--iscrop-false, iscrop_false=True), or give the transforms; else the "
            "points miss the faces"
        )
    keys = list(keys)
    paired = _pair(folder, keys)
    if not paired:
        such = Path(*keys[0].split("/")[-2:])
        raise ValueError(f"Expected files such as {such}/..._kpt2d.txt in {folder}, but none fits a face")
    raw = {key: _read_points(file) for key, file in paired.items()}
    convention = _detect_convention(raw, paired, folder)
    points = {key: each / 112 - 1 if convention == "pixels of 224" else each for key, each in raw.items()}
    if transforms is not None:
        known = {key: np.c_[each, np.ones(POINTS)] for key, each in points.items() if key in transforms}
        points = {key: (each @ np.asarray(transforms[key]).T)[:, :2] for key, each in known.items()}
    implausible = [key for key, each in points.items() if not plausible(each)]
    points = {key: each for key, each in points.items() if key not in implausible}
    if 2 * len(points) < len(raw):
        raise ValueError(
            f"Expected eyes where a face's eyes can be, but only {len(points)} of {len(raw)} faces of {folder} have "
            "them there: was DECA really run with --iscrop False on these images?"
        )
    return DecaLandmarks(points, implausible, convention)


def _pair(folder: Path, keys: list[str]) -> dict[str, Path]:
    """key -> its file, by the longest ending of the key that names a folder."""
    places = {}
    for file in sorted(folder.rglob("*_kpt2d.txt")):
        parts = [*file.relative_to(folder).parent.parts[:-1], file.name.removesuffix("_kpt2d.txt")]
        places.setdefault("/".join([*map(_name_place, parts[:-1]), parts[-1]]), []).append(file)
    endings = Counter("/".join(key.split("/")[-n:]) for key in keys for n in range(1, key.count("/") + 2))
    paired = {}
    for key in keys:
        parts = key.split("/")
        for place in ("/".join(parts[-n:]) for n in range(len(parts), 0, -1)):
            if place in places:
                file, *others = places[place]
                if others:
                    raise ValueError(
                        f"Expected one file for the face {key}, but {file} and {others[0]} both belong to it: keep the "
                        "one that DECA made of this image, and move the other out of the folder"
                    )
                if endings[place] > 1:
                    same = [other for other in keys if f"/{other}".endswith(f"/{place}")]
                    raise ValueError(
                        f"{file} could belong to {' or '.join(same[:3])}: run DECA on each class folder by "
                        f"itself, so that its results lie in {Path(folder.name, *parts[:-1])}"
                    )
                paired[key] = file
                break
    return paired


def _name_place(folder: str) -> str:
    """What keys call a folder: a class by its name, a folder of the release by its split, any other as it is called."""
    return recognise(folder) or next((split for split, name in FOLDER_OF_SPLIT.items() if name == folder), folder)


def _read_points(file: Path) -> np.ndarray:
    try:
        rows = [
            line.replace(",", " ").split() for line in file.read_bytes().decode("utf-8-sig").split("\n") if line.strip()
        ]
        points = np.array(rows, dtype=float)
    except ValueError as error:
        raise ValueError(f"Expected 68 rows of numbers in {file}, but could not read them: {error}") from error
    if points.ndim != 2 or points.shape[0] != POINTS or points.shape[1] < 2 or not np.isfinite(points).all():
        raise ValueError(f"Expected 68 rows 'x y' in {file}, but got an array of shape {points.shape}")
    return points[:, :2]


def _detect_convention(raw: dict[str, np.ndarray], paired: dict[str, Path], folder: Path) -> str:
    """Which of DECA's two conventions every file fits; `ValueError` names those that do not fit the commoner one."""
    lows, highs = (np.array([f(points) for points in raw.values()]) for f in (np.min, np.max))
    spans = highs - lows
    fits = {
        "[-1, 1]": (np.abs([lows, highs]) <= 2).all(0),
        "pixels of 224": (highs > 2) & (lows >= -112) & (highs <= 336) & (spans > 20),
    }
    convention = max(fits, key=lambda name: fits[name].sum())
    if fits[convention].all():
        return convention
    odd = [(paired[key], *rest) for key, *rest, fit in zip(raw, lows, highs, fits[convention], strict=True) if not fit]
    named = ", ".join(f"{file} ({low:.6g} to {high:.6g})" for file, low, high in odd[:5])
    advice = "; run DECA on these again, or move their files away: their faces then have no landmarks"
    raise ValueError(
        f"Expected the numbers of all files in {folder} in [-1, 1] or in pixels of a 224 crop, but they span "
        f"{lows.min():.6g} to {highs.max():.6g}. {len(raw) - len(odd)} of {len(raw)} fit {convention}; not so {named}"
        f"{' and others' if len(odd) > 5 else ''}{advice if len(odd) < len(raw) else ''}"
    )
