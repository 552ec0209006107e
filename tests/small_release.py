"""A small release of noise in the LSD release's layout, and what it is made of, which several test files share."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import COORDINATES, LEFT_EYE, MOUTH, RIGHT_EYE
from lsdkit.data.release import CLASS_FOLDERS, FOLDER_OF_SPLIT, LIST_HEADER, TEST


def photo(file: Path, seed: int, size: tuple[int, int] = (20, 20)) -> None:
    """Write a JPEG of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG")


def points(shift: float = 0.0) -> np.ndarray:
    """(68, 2) that pass for a face: eyes, mouth, the rest in between."""
    face = np.zeros((68, 2))
    face[LEFT_EYE], face[RIGHT_EYE], face[MOUTH] = (-0.4, -0.2), (0.4, -0.2), (0, 0.4)
    return face + shift


def point_table(keys: Sequence[str], values: Sequence[np.ndarray]) -> pd.DataFrame:
    """A table of landmarks as files hold them."""
    return pd.DataFrame(np.reshape(values, (len(keys), 136)), columns=list(COORDINATES)).assign(key=keys)


def write_release(root: Path, *, rendered: bool = True) -> Path:
    """A release of two training, one validation face a class and two test faces, with the open set's table."""
    keys, seed = [], 0
    for split, count in (("train", 2), ("validation", 1)):
        for name, folder in zip(EXPRESSIONS, CLASS_FOLDERS, strict=True):
            for i in range(count):
                photo(root / FOLDER_OF_SPLIT[split] / folder / f"{i}.jpg", seed := seed + 1)
                keys.append(f"{split}/{name}/{i}")
    for i in range(2):
        photo(root / TEST / f"{i}.jpg", seed := seed + 1)
        keys.append(f"test/{i}")
    (root / TEST / "list.csv").write_text(f"{LIST_HEADER}\n0.jpg,\n1.jpg,\n")
    if rendered:
        table = point_table(keys, [points()] * len(keys)).assign(split="", subject="s1", variant=0, seed=0)
        table["expression"] = [key.split("/")[1] if key.count("/") == 2 else "FEAR" for key in keys]
        table.to_csv(root / "faces.csv", index=False)
    return root
