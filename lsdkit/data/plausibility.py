"""Whether given landmarks lie on faces: those that do not are left away and named, a set that mostly does not refused.

Landmarks of another axis, another order or another frame are numbers like any others; only where they lie tells.
"""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from lsdkit.common.landmarks import anchor_points, complete, plausible
from lsdkit.data import shapes
from lsdkit.data.alignment import TARGETS, similarity
from lsdkit.data.detection import load_mean_shape

STRANGE = 0.45  # Procrustes distance: of faces at most 0.40, of faces whose points are shifted by one at least 0.49
FEW = 8  # faces, of which it may be chance that all lie in one quarter of the picture
MISTAKES: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # how to undo it
    "x and y are swapped": lambda points: points[..., ::-1],
    "y points up": lambda points: points * [1, -1],
    "x points to the left": lambda points: points * [-1, 1],
    "the points are shifted by one": lambda points: np.roll(points, 1, -2),
    "the points are shifted by one, the other way": lambda points: np.roll(points, -1, -2),
}
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF orientation -> points of the stored frame, turned
    2: lambda points: points * [-1, 1],
    3: lambda points: -points,
    4: lambda points: points * [1, -1],
    5: lambda points: points[..., ::-1],
    6: lambda points: points[..., ::-1] * [-1, 1],
    7: lambda points: -points[..., ::-1],
    8: lambda points: points[..., ::-1] * [1, -1],
}


def judge_landmarks(
    points: Mapping[str, np.ndarray], files: Mapping[str, Path], source: str | Path, *, anywhere: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The landmarks that can lie on a face, by key, and why others are left away ("missing: ...").

    points: (68, 2) in [-1, 1] of each picture, single ones may be NaN. files: the pictures, by key; only those of doubt
    are opened, for an EXIF turn that the points do not follow. anywhere: faces may be small and turned, as in
    photographs before they are aligned. Raises `ValueError`, with what the mistake may be, where most lie on no face.
    """
    if not points:
        return {}, {}
    keys, stack = list(points), np.stack([complete(each) for each in points.values()])  # (N, 68, 2)
    fine, why = _judge(stack, anywhere), {}
    for row in np.flatnonzero(~fine):
        turn = TURNS.get(_read_turn(files.get(keys[row])))
        turned = turn is not None and bool(_judge(turn(stack[row : row + 1]), anywhere)[0])
        why[keys[row]] = "missing: points of the picture before its EXIF turn" if turned else "missing: implausible"
    _refuse_mistakes(stack, fine, source, anywhere)
    return {key: points[key] for key in keys if key not in why}, why


def _judge(points: np.ndarray, anywhere: bool) -> np.ndarray:
    """bool (N,); a face of which whole parts are missing is not judged: fine."""
    known = np.isfinite(points[:, 36:]).all((1, 2))  # eyes and mouth
    shown = _bring_upright(points) if anywhere else points
    return ~known | plausible(np.nan_to_num(shown))


def _bring_upright(points: np.ndarray) -> np.ndarray:
    """Each face where `lsdkit.data.alignment` would put it; zeros, which are no face, where its points are one."""
    upright = np.zeros_like(points)
    for row, face in enumerate(points):
        try:
            matrix = similarity(anchor_points(face), 2 * TARGETS - 1)
        except ValueError:
            continue
        upright[row] = face @ matrix[:, :2].T + matrix[:, 2]
    return upright


def _refuse_mistakes(points: np.ndarray, fine: np.ndarray, source: str | Path, anywhere: bool) -> None:
    whole = points[np.isfinite(points).all((1, 2))]
    count, mean = len(points), load_mean_shape()

    def share(some: np.ndarray) -> float:
        shaped = shapes.distances_to(mean, some) <= STRANGE
        return float((_judge(some, anywhere) & shaped).mean()) if len(some) else 0.0

    few = 2 * fine.sum() < count
    found = [words for words, undo in MISTAKES.items() if share(undo(whole)) > 0.5] if share(whole) < 0.5 else []
    if few or found:
        guess = (
            f"it seems that {' or '.join(found)}"
            if found
            else "are they in [-1, 1] of these pictures, x right and y down?"
        )
        where = f"only {fine.sum()} of {count} faces have them" if few else "they are in another order"
        raise ValueError(f"Expected landmarks where a face can have them in {source}, but {where}: {guess}")
    if len(whole) >= FEW and whole.min() >= 0 and whole.max() <= 1:
        raise ValueError(
            f"Expected landmarks in [-1, 1] of the image in {source}, but all lie in [0, 1]: write 2 x - 1"
        )


def _read_turn(file: Path | None) -> int:
    """The EXIF orientation of a picture; 0 where it cannot be read."""
    if file is None or not file.is_file():
        return 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                return int(image.getexif().get(Base.Orientation) or 0)
    except Exception:  # as in `pictures.open_picture`, which will say why
        return 0
