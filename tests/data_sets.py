"""The public data sets in their own layouts, made small, and how tests read and store them."""

import numpy as np

from lsdkit.common.landmarks import denormalise
from lsdkit.data.datasets import read_data_set
from lsdkit.data.datasets.affectnet import COLUMNS
from lsdkit.data.preparing import prepare_data_set
from tests.schematic import face
from tests.small_release import photo

QUIET = {"progress": False, "jobs": 1}
SIZE = (60, 40)
POINTS = face(0.01)


def read(name, root, **options):
    return read_data_set(name, root, root.parent / "faces", **QUIET, **options)


def prepare(name, root, **options):
    return prepare_data_set(name, root, root.parent / "store", **QUIET, **options)


def text_of(points):
    return ";".join(f"{number:.4f}" for number in denormalise(points, *SIZE).ravel())


def line(path, code, points=None):
    return f"{path},1,2,30,30,{text_of(POINTS) if points is None else points},{code},0.1,-0.2"


def affectnet(root, train=(), validation=(), end="\n", mark="", header=True):
    """Each class once in training and in validation, and the given lines."""
    lists = {"training": list(train), "validation": list(validation)}
    for number, (name, lines) in enumerate(lists.items()):
        for code in range(8):
            photo(root / str(number) / f"{code}.jpg", 100 * number + code, SIZE)
        own = [line(f"{number}/{code}.jpg", code) for code in range(8)]
        head = [",".join(COLUMNS)] if header else []
        (root / f"{name}.csv").write_bytes((mark + end.join([*head, *own, *lines]) + end).encode())
    return root


def arrays(root, split, codes, kind=int):
    notes = root / split / "annotations"
    notes.mkdir(parents=True)
    for number, code in enumerate(codes):
        photo(root / split / "images" / f"{number}.jpg", len(split) * 100 + number, SIZE)
        np.save(notes / f"{number}_exp.npy", np.array(kind(code)))
        np.save(notes / f"{number}_lnd.npy", denormalise(POINTS, *SIZE).ravel())
        for name in ("val", "aro"):
            np.save(notes / f"{number}_{name}.npy", np.array("0.5"))
    return notes


def expw(root, lines=(), end="\n", mark="", prefix=""):
    """Two pictures of 60 x 40, each with seven faces in boxes of 20 x 20, and the given lines."""
    own = []
    for name in ("a man.jpg", "b.jpg"):
        photo(root / f"{prefix}origin" / name, len(name), SIZE)
        own += [f"{name} {code} {code} {2 * code} {2 * code + 20} {code + 20} 0.9 {code}" for code in range(7)]
    place = root / ("label" if prefix else "") / "label.lst"
    place.parent.mkdir(exist_ok=True)
    place.write_bytes((mark + end.join([*own, *lines]) + end).encode())
    return root


def rafdb(root, lines=(), end="\n", mark=""):
    """Five training faces and one test face of each class."""
    own, seed = [], 0
    for split, count in (("train", 35), ("test", 7)):
        for number in range(count):
            photo(root / "Image" / "aligned" / f"{split}_{number:05}_aligned.jpg", seed := seed + 1)
            own.append(f"{split}_{number:05}.jpg {number % 7 + 1}")
    place = root / "EmoLabel" / "list_patition_label.txt"
    place.parent.mkdir()
    place.write_bytes((mark + end.join([*own, *lines]) + end).encode())
    return root


def fer2013(root, lines=(), end="\n", mark="", columns="emotion,pixels,Usage"):
    """Each class once for each usage, and the given lines."""
    own = []
    for usage, number in (("Training", 0), ("PublicTest", 1), ("PrivateTest", 2)):
        for code in range(7):
            cells = {"emotion": code, "pixels": numbers(10 * number + code), "Usage": usage}
            own.append(",".join(str(cells[name.strip()]) for name in columns.split(",")))
    root.mkdir()
    (root / "fer2013.csv").write_bytes((mark + end.join([columns, *own, *lines]) + end).encode())
    return root


def numbers(seed, count=48 * 48):
    return " ".join(map(str, np.random.default_rng(seed).integers(0, 256, count)))
