"""Copies among faces: where the threshold comes from, and banded search against comparing all pairs.

First part: each kind of copy is made of 400 faces of a store, and the bits of 256 that it changes are set beside the
bits between distinct faces of the store. The threshold lies above most copies and below every distinct pair. Second
part: the banded search and the reference, which compares each fingerprint with all later ones, on the same
fingerprints; both find the same pairs.
"""

import argparse
import io
import time

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from lsdkit.data.audit.fingerprints import GREY, THRESHOLD, count_bits, fingerprints, mirror, near_pairs
from lsdkit.data.audit.levels import measure_pictures
from lsdkit.openset.preparing import open_or_render
from lsdkit.recipes import DEMO


def jpeg(image, quality):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def smaller(image, share):
    return image.resize([round(side * share) for side in image.size], Image.Resampling.BICUBIC).resize(image.size)


def shifted(image, pixels):
    return Image.fromarray(np.roll(np.asarray(image), (pixels, pixels), (0, 1)))


COPIES = {
    "JPEG, quality 75": lambda image: jpeg(image, 75),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "half the size and back": lambda image: smaller(image, 0.5),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "blur, 1.5 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "brightness x 1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "contrast x 1.3": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "half the size, JPEG 50": lambda image: jpeg(smaller(image, 0.5), 50),
    "shifted by 1 pixel": lambda image: shifted(image, 1),
    "shifted by 2 pixels": lambda image: shifted(image, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", nargs="?", default="", help="folder of a store (default: the open set)")
    arguments = parser.parse_args()
    store = open_or_render(arguments.store, DEMO)
    _, prints, _ = measure_pictures(store.images, progress=False)
    rows = np.linspace(0, len(store) - 1, 400).astype(int)
    print(f"{store.path.name}: {len(store)} faces. Bits of 256 that a copy changes")
    print(f"{'copy':<26}{'median':>8}{'99 %':>8}{'most':>8}{f'within {THRESHOLD}':>12}{'within 15':>11}")
    for name, change in COPIES.items():
        changed = np.stack([np.asarray(change(Image.fromarray(store.images[row]))) for row in rows])
        bits = count_bits(prints[rows], fingerprints(changed @ GREY))
        share = [f"{(bits <= limit).mean():.1%}" for limit in (THRESHOLD, 15)]
        middle, most = np.quantile(bits, (0.5, 0.99))
        print(f"{name:<26}{middle:>8.0f}{most:>8.0f}{bits.max():>8}{share[0]:>12}{share[1]:>11}")

    started, reference, closest = time.perf_counter(), 0, []
    for row in range(len(prints) - 1):
        bits = count_bits(prints[row + 1 :], prints[row])
        reference += int((bits <= THRESHOLD).sum())
        closest.append(bits.min())
    slow = time.perf_counter() - started
    turned = prints ^ mirror(store.manifest["size"])
    mirrored = [count_bits(turned[row + 1 :], prints[row]).min() for row in range(len(prints) - 1)]
    print(f"distinct faces: the nearest pairs differ in {np.sort(closest)[:6].tolist()} bits,")
    print(f"  the nearest mirrored pairs in {np.sort(mirrored)[:6].tolist()}")
    started = time.perf_counter()
    pairs = sum(len(first) for first, _, _ in near_pairs(prints))
    fast = time.perf_counter() - started
    print(f"search: {pairs} pairs in {fast:.3f} s; all against all: {reference} in {slow:.3f} s; {slow / fast:.1f} x")

    count = 400_000
    rng = np.random.default_rng(0)
    many = np.resize(prints, (count, 4)) ^ np.packbits(rng.random((count, 256)) < 0.15, axis=1).view(np.uint64)
    started = time.perf_counter()
    pairs = sum(len(first) for first, _, _ in near_pairs(np.unique(many, axis=0)))
    took = time.perf_counter() - started
    print(f"{count:,} fingerprints, these with 15% of their bits changed: {took:.1f} s, {pairs} pairs")


if __name__ == "__main__":
    main()
