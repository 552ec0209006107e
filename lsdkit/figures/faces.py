"""Figures of faces and their 68 landmarks, in the style of `plots`: arrays in, matplotlib Figure out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from lsdkit.common.landmarks import LINES
from lsdkit.figures.style import COLOURS, INK, LABELS, MAIN, Figure, new_axes, styled

STEP = 1.04  # from face to face of a sheet, in sides of a face


def draw_points(ax: Axes, points: np.ndarray, colour: str = MAIN, **options: object) -> None:
    """Draw 68 points (68, 2) on `ax` as dots joined within each part of the face."""
    for line in LINES.values():
        ax.plot(*points[line].T, color=colour, marker="o", **{"lw": 1, "ms": 2, **options})


@styled
def face_sheet(
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    landmarks: np.ndarray | None = None,
    second: np.ndarray | None = None,
    *,
    columns: int = 8,
    size: float = 1.25,
) -> Figure:
    """Faces on a grid with a caption above each.

    images: (B, H, W, 3), uint8 or floats in [0, 1].  landmarks: (B, 68, 2) in [-1, 1] of the picture, drawn where
    they are not NaN, in blue on white lines; `second` likewise in orange.  `size` is a face's side in inches.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    lines = max((text.count("\n") for text in titles), default=0) + 1 if titles is not None else 0
    head = 0.17 * lines / size  # height of the captions
    drawn, axes = new_axes(1, 1, size * columns * STEP, size * rows * (STEP + head))
    ax = axes[0, 0]
    for place, image in enumerate(images):
        left, top = place % columns * STEP, place // columns * (STEP + head) + head
        ax.imshow(image, extent=(left, left + 1, top + 1, top), interpolation="antialiased")
        for points, colour, fill, dot in ((landmarks, "#ffffff", "#00d0ff", 1.7), (second, "#E69F00", "#E69F00", 1.0)):
            if points is not None and np.isfinite(points[place]).all():
                moved = (points[place] + 1) / 2 + (left, top)
                draw_points(ax, moved, colour, lw=0.6, ms=size * dot, mfc=fill, mew=0)
        if titles is not None:
            ax.text(left, top - 0.03, titles[place], fontsize=8, va="bottom", color=INK, linespacing=1.1)
    ax.set(xlim=(0, columns * STEP - 0.04), ylim=(rows * (STEP + head), 0), aspect="equal")
    ax.axis("off")
    return drawn


def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    landmarks: np.ndarray | None = None,
    second: np.ndarray | None = None,
    *,
    columns: int = 8,
) -> Figure:
    """A `face_sheet` of pictures of any size and shape, each centred in a square.

    images: uint8 (H, W, 3) each. landmarks, second: (B, 68, 2) in [-1, 1] of each picture, not drawn where NaN; points
    outside a picture are drawn on its border.
    """
    side, squares, shares = max(max(image.shape[:2]) for image in images), [], []
    for image in images:
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        picture = Image.fromarray(np.asarray(image)).resize((width, height))
        square = Image.new("RGB", (side, side), "white")
        square.paste(picture, ((side - width) // 2, (side - height) // 2))
        squares.append(np.asarray(square))
        shares.append(np.array([[width, height]]) / side)
    sets = (None if points is None else np.clip(points, -1, 1) * shares for points in (landmarks, second))
    return face_sheet(np.stack(squares), titles, *sets, columns=columns, size=1.35)


@styled
def class_shapes(shapes: np.ndarray, names: Sequence[str] = LABELS) -> Figure:
    """Mean landmarks (K, 68, 2) of each class in colour over the mean of all classes in grey, axes in [-1, 1]."""
    drawn, axes = new_axes(1, len(shapes), 2 * len(shapes), 2.5, sharex=True, sharey=True)
    centre = shapes.mean(axis=0)
    for ax, shape, name, colour in zip(axes[0], shapes, names, COLOURS.values(), strict=False):
        draw_points(ax, centre, "#b8b8b8", ms=0)
        draw_points(ax, shape, colour, ms=1.5)
        ax.set_title(name)
        ax.set(aspect="equal", xlabel="x of the crop")
        ax.label_outer()
    axes[0, 0].set_ylabel("y of the crop")
    low, high = np.nanmin(shapes) - 0.08, np.nanmax(shapes) + 0.08
    axes[0, 0].set(xlim=(low, high), ylim=(high, low))
    return drawn


@styled
def mixed_landmarks(mixed: np.ndarray, first: np.ndarray, second: np.ndarray, share: float) -> Figure:
    """A mixed face (H, W, 3) under both faces' landmarks and, beside it, under their average, which fits neither."""
    drawn, axes = new_axes(1, 2, 7.2, 3.9)
    for ax in axes[0]:
        ax.imshow(mixed, extent=(-1, 1, 1, -1))
        ax.axis("off")
    draw_points(axes[0, 0], first, "#56B4E9", ms=2.5)
    draw_points(axes[0, 0], second, "#E69F00", ms=2.5)
    draw_points(axes[0, 1], share * first + (1 - share) * second, "#ffffff", ms=2.5)
    axes[0, 0].set_title("both faces' own points")
    axes[0, 1].set_title("their average: nobody's points")
    return drawn


@styled
def mixtures(first: np.ndarray, second: np.ndarray, labels: np.ndarray, shares: Sequence[float]) -> Figure:
    """Rows of: first face, their mixture, second face, and the mixture's soft label as bars.

    first, second: (R, H, W, 3) in [0, 1].  labels: (R, 2) class indices of the two.  shares: R lambdas in [0, 1].
    """
    drawn, axes = new_axes(len(first), 4, 7.6, 1.75 * len(first) + 0.1, width_ratios=(1, 1, 1, 1.3))
    for row, one, two, (left, right), share in zip(axes, first, second, labels, shares, strict=True):
        label = share * np.eye(len(LABELS))[left] + (1 - share) * np.eye(len(LABELS))[right]
        titles = (LABELS[left], f"lambda = {share:.2f}", LABELS[right])
        for ax, image, title in zip(row, (one, share * one + (1 - share) * two, two), titles, strict=False):
            ax.imshow(np.clip(image, 0, 1), extent=(0, 1, 1, 0))
            ax.set_title(title, fontsize=9)
            ax.axis("off")
        row[3].barh(LABELS, label, color=list(COLOURS.values()))
        for place in np.flatnonzero(label > 0.005):
            row[3].text(label[place], place, f" {label[place]:.2f}", va="center", fontsize=8)
        row[3].set(xlim=(0, 1.3), xticks=(0, 0.5, 1), ylim=(5.6, -0.6))
        row[3].set_title("its label", fontsize=9)
        row[3].tick_params(left=False, labelsize=8)
    return drawn
