"""The sheet of rendered faces in the README: each expression's variants in turn, then two photographic stand-ins.

    python benchmarks/openset/sheet.py                          writes docs/open_set.png
    python benchmarks/openset/sheet.py --seed 1 --out OTHER.png  other people

The last two of a row have style "photographic", with their 68 landmarks on the visible outline.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.figures.faces import face_sheet
from lsdkit.openset.render import render_face
from lsdkit.openset.variants import VARIANTS

COLUMNS, STAND_INS = 8, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/open_set.png"), help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="other faces of other people (default %(default)s)")
    arguments = parser.parse_args()
    images, titles, landmarks = [], [], []
    for row, expression in enumerate(EXPRESSIONS):
        for column in range(COLUMNS):
            number = 1000 * arguments.seed + COLUMNS * row + column
            variant = VARIANTS[expression][column % len(VARIANTS[expression])].name
            stand_in = column >= COLUMNS - STAND_INS
            style = "photographic" if stand_in else "training"
            face = render_face(expression, seed=number, subject_seed=number, variant=variant, style=style)
            images.append(face.image)
            titles.append(f"{expression.capitalize()}: {variant}")
            landmarks.append(face.contour if stand_in else np.full((68, 2), np.nan))
    figure = face_sheet(np.stack(images), titles, np.stack(landmarks), columns=COLUMNS)
    figure.savefig(arguments.out, dpi=72)
    with Image.open(arguments.out) as picture:
        small = picture.convert("RGB").quantize(128)
    small.save(arguments.out, optimize=True)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
