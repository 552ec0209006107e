"""A release of six test images, one of them truncated, in an order of its own, which several test files share."""

from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.data.release import CLASS_FOLDERS, LIST_HEADER, TEST, TRAIN, VALIDATION

BROKEN = "4.jpg"
NAMES = ["10.jpg", "2.jpg", BROKEN, "0.jpg", "7.JPG", "1.jpg"]  # the order of the list: neither of names nor of numbers


def write_broken_release(root: Path) -> Path:
    """Three training and two validation faces a class, the test images and their list."""
    generator = np.random.default_rng(0)

    def picture(path: Path, index: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = 40 * index + generator.integers(0, 40, (24, 24, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(path, format="JPEG")

    for folder, count in ((TRAIN, 3), (VALIDATION, 2)):
        for index, name in enumerate(CLASS_FOLDERS):
            for number in range(count):
                picture(root / folder / name / f"{number}.jpg", index)
    for index, name in enumerate(NAMES):
        picture(root / TEST / name, index)
    broken = root / TEST / BROKEN
    broken.write_bytes(broken.read_bytes()[:60])
    (root / TEST / "list.csv").write_text(f"{LIST_HEADER}\n" + "".join(f"{name},\n" for name in NAMES))
    return root
