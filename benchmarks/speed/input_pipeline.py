"""Store + batched views, against ImageFolder + PIL transforms + DataLoader with two workers.

Both sides give the same: batches of an emotion view (flip, affine, jitter with hue, erasing) and an appearance view
(jitter with hue) of the same JPEG files of 112 pixels, at 64 and at 112 pixels, in shuffled order. The reference
decodes, resizes and transforms each image in a worker process; ours reads the decoded store and works on batches, with
the threads that torch takes by itself and waits with as `import lsdkit` says. Both are measured on the machine as it is
found, and again beside as many busy processes as it has cores.
"""

import lsdkit  # isort: skip: before torch, which reads how its threads wait when it is loaded

import argparse
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import torch
from measuring import Line, busy_processes, time_in_turn
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

from lsdkit.common.machine import cores
from lsdkit.common.seeds import numpy_generator, torch_generator
from lsdkit.method.views import to_float, views
from lsdkit.recipes import find_recipe

STORED, TARGETS, BUSY_TARGET = 112, {64: 4.0, 112: 2.5}, 2.0  # pixels of a file; output pixels -> ratio to reach


def write_faces(folder: Path, count: int) -> None:
    """Smooth coloured JPEGs in six class folders, and the same pixels decoded, as a store keeps them."""
    generator = numpy_generator(0, "benchmark")
    decoded = np.empty((count, STORED, STORED, 3), np.uint8)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8))
        path = folder / "jpeg" / str(number % 6) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((STORED, STORED), Image.Resampling.BICUBIC).save(path, quality=90)
        with Image.open(path) as image:
            decoded[number] = np.asarray(image)
    np.save(folder / "images.npy", decoded)


class TwoViews:
    """The reference's transform of one PIL image: torchvision's operations with the kit's ranges."""

    def __init__(self, size: int):
        jitter = T.ColorJitter(0.5, 0.5, 0.5, 0.5)
        resize = [] if size == STORED else [T.Resize(size)]
        move = [T.RandomHorizontalFlip(), T.RandomApply([bilinear_affine()], p=0.7)]
        self.emotion = T.Compose([*resize, *move, jitter, T.ToTensor(), T.RandomErasing()])
        self.appearance = T.Compose([*resize, jitter, T.ToTensor()])

    def __call__(self, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        return self.emotion(image), self.appearance(image)


def bilinear_affine() -> T.RandomAffine:
    """Rotation 20 degrees, translation .2, scale .8-1."""
    return T.RandomAffine(20, translate=(0.2, 0.2), scale=(0.8, 1.0), interpolation=T.InterpolationMode.BILINEAR)


def make_reference(folder: Path, size: int, batch: int):
    """A function that makes all views once; the workers start before the first and stay."""
    dataset = ImageFolder(folder / "jpeg", TwoViews(size))
    loader = DataLoader(dataset, batch, shuffle=True, num_workers=2, persistent_workers=True)

    def make_views():
        for (emotion, appearance), _ in loader:
            assert emotion.shape[1:] == appearance.shape[1:] == (3, size, size)

    return make_views


def make_ours(folder: Path, size: int, batch: int):
    """The same from the store, in the caller's process."""
    images = np.load(folder / "images.npy", mmap_mode="r")
    recipe, generator = find_recipe("paper"), torch_generator(0, "benchmark")

    def make_views():
        for rows in torch.randperm(len(images), generator=generator).split(batch):
            x = to_float(torch.from_numpy(images[rows.numpy()]), size)
            emotion, appearance = views(x, generator, basic=True, recipe=recipe)
            assert emotion.shape[1:] == appearance.shape[1:] == (3, size, size)

    return make_views


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=768)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of ours (default: torch's own)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    print(f"lsdkit {lsdkit.__version__}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        write_faces(Path(folder), arguments.images)
        for busy, size in product((0, cores()), TARGETS):
            given = (Path(folder), size, arguments.batch)
            sides = {"reference": make_reference(*given), "ours": make_ours(*given)}
            with busy_processes(busy):
                seconds = time_in_turn(sides, arguments.repeats)
            rates = {name: f"{arguments.images / each:.0f}" for name, each in seconds.items()}
            beside = f", beside {busy} busy processes" if busy else ""
            print(f"{size} px{beside}: images a second {rates} (medians of {arguments.repeats})")
            what, reference = f"store and views at {size} px{beside}", "ImageFolder and DataLoader, two workers"
            target = BUSY_TARGET if busy else TARGETS[size]
            print(Line(what, reference, seconds["reference"] / seconds["ours"], target), flush=True)


if __name__ == "__main__":
    main()
