"""Faces found in a folder of photographs by class: one pass of dlib's first detector against all attempts.

    python benchmarks/speed/detection.py DIR [--every N] [--boxes]

DIR: a folder per expression. Prints found / all by class, the attempts that won, seconds of processor time a
photograph; and with --boxes how far dlib's two predictors differ on faces, in random boxes and on faces upside down,
which is what the limit `lsdkit.data.detection.AGREE` rests on. The two searches run in the same process, photograph by
photograph, so their times compare.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.data import detection
from lsdkit.data.pictures import open_picture

FACTS = ("photographs", "one pass", "all attempts", "lost")


def time_search(image: Image.Image, attempts: tuple) -> tuple[detection.Face | None, float]:
    start = time.process_time()
    return detection.find_face(image, attempts), time.process_time() - start


def measure_differences(image: Image.Image, rng: np.random.Generator) -> dict[str, float]:
    """Disagreement of the predictors in the first detector's box, in a random box beside it, and upside down."""
    boxes = detection.find_boxes(image, detection.ATTEMPTS[0])
    if not boxes:
        return {}
    x, y, side = boxes[0]
    apart = {"face": detection.predict_points(image, boxes[0], refine=False)[1]}
    upside_down = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    apart["upside down"] = detection.predict_points(upside_down, (x, image.height - 1 - y, side), refine=False)[1]
    width = rng.uniform(0.15, 0.5) * min(image.size)
    place = rng.uniform(width / 2, np.array(image.size) - width / 2)
    if np.linalg.norm(place - (x, y)) > 0.4 * side:
        apart["elsewhere"] = detection.predict_points(image, (*place, width), refine=False)[1]
    return apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder per expression")
    parser.add_argument("--every", type=int, default=1, help="take every n-th photograph (default all)")
    parser.add_argument("--boxes", action="store_true", help="also what the limit AGREE rests on")
    arguments = parser.parse_args()
    files = sorted(file for file in arguments.folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[:: arguments.every]
    counts, ways, seconds, boxes = {}, Counter(), np.zeros(2), {}
    rng = np.random.default_rng(0)
    for file in files:
        image = open_picture(file)
        once, first = time_search(image, detection.ATTEMPTS[:1])
        face, second = time_search(image, detection.ATTEMPTS)
        seconds += (first, second)
        row = counts.setdefault(file.parent.name, Counter())
        row.update({"photographs": 1, "one pass": once is not None, "all attempts": face is not None})
        row["lost"] += face is None
        ways[face.status if face else "none"] += 1
        for name, value in measure_differences(image, rng).items() if arguments.boxes else ():
            boxes.setdefault(name, []).append(value)
    counts["all"] = sum(counts.values(), Counter())
    print(f"{'':<12}" + "".join(f"{fact:>14}" for fact in FACTS))
    for name, row in counts.items():
        print(f"{name:<12}" + "".join(f"{row[fact]:>14}" for fact in FACTS))
    print("found by: " + ", ".join(f"{way} {count}" for way, count in ways.most_common()))
    print(f"seconds a photograph: {seconds[0] / len(files):.3f} once, {seconds[1] / len(files):.3f} all attempts")
    for name, values in boxes.items():
        shares = np.quantile(values, [0.05, 0.5, 0.95])
        passed = np.mean(np.array(values) <= detection.AGREE)
        print(f"{name}: {len(values)}, 5%/50%/95% {shares.round(3).tolist()}, within {detection.AGREE}: {passed:.3f}")


if __name__ == "__main__":
    main()
