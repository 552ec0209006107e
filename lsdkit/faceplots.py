"""Figures of faces and their 68 landmarks, in the style of `plots`: arrays in, matplotlib Figure out."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from lsdkit.plots import COLOURS, INK, LABELS, MAIN, Figure, new_axes, styled

PARTS = {  # iBUG's 68 points: each part's points in drawing order, a closed part's first point repeated
    "jaw": [*range(17)],
    "brow, subject's right": [*range(17, 22)],
    "brow, subject's left": [*range(22, 27)],
    "nose": [*range(27, 36)],
    "eye, subject's right": [*range(36, 42), 36],
    "eye, subject's left": [*range(42, 48), 42],
    "lips outside": [*range(48, 60), 48],
    "lips inside": [*range(60, 68), 60],
}


def draw_points(ax: Axes, points: np.ndarray, colour: str = MAIN, **options: object) -> None:
    """Draw 68 points (68, 2) on `ax` as dots joined within each part of the face."""
    for part in PARTS.values():
        ax.plot(*points[part].T, color=colour, marker="o", **{"lw": 1, "ms": 2, **options})


@styled
def face_sheet(
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    landmarks: np.ndarray | None = None,
    *,
    columns: int = 8,
    size: float = 1.25,
    colours: Sequence[str] | None = None,
) -> Figure:
    """Faces on a grid with a caption above each.

    images: (B, H, W, 3), uint8 or floats in [0, 1].  landmarks: (B, 68, 2) in [-1, 1] of the picture, drawn where
    they are not NaN.  `size` is a face's side in inches, `colours` the captions' colours.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    head = _caption(titles, size)
    drawn, axes = new_axes(1, 1, size * columns * 1.04, size * rows * (1.04 + head))
    ax = axes[0, 0]
    for place, image in enumerate(images):
        left, top = place % columns * 1.04, place // columns * (1.04 + head) + head
        ax.imshow(image, extent=(left, left + 1, top + 1, top), interpolation="antialiased")
        if landmarks is not None and np.isfinite(landmarks[place]).all():
            draw_points(
                ax, (landmarks[place] + 1) / 2 + (left, top), "#ffffff", lw=0.6, ms=size * 1.7, mfc="#00d0ff", mew=0
            )
        if titles is not None:
            colour = colours[place] if colours is not None else INK
            ax.text(left, top - 0.03, titles[place], fontsize=8, va="bottom", color=colour, linespacing=1.1)
    ax.set(xlim=(0, columns * 1.04 - 0.04), ylim=(rows * (1.04 + head), 0), aspect="equal")
    ax.axis("off")
    return drawn


def contact_sheet(
    images: Sequence[np.ndarray],
    titles: Sequence[str],
    landmarks: np.ndarray | None = None,
    second: np.ndarray | None = None,
    *,
    columns: int = 8,
    size: float = 1.35,
) -> Figure:
    """Pictures of any size and shape on a grid, each centred in a square, with captions and up to two sets of points.

    images: uint8 (H, W, 3) each. landmarks, second: (B, 68, 2) in [-1, 1] of each picture, not drawn where NaN; points
    outside a picture are drawn on its border. The first set is blue on white lines, the second orange.
    """
    side = max(max(image.shape[:2]) for image in images)
    squares, moved = [], []
    for place, image in enumerate(images):
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        square = Image.new("RGB", (side, side), "white")
        square.paste(
            Image.fromarray(np.asarray(image)).resize((width, height)), ((side - width) // 2, (side - height) // 2)
        )
        squares.append(np.asarray(square))
        share = np.array([width, height]) / side
        moved.append([np.clip(points[place], -1, 1) * share for points in (landmarks, second) if points is not None])
    first = None if landmarks is None else np.stack([points[0] for points in moved])
    drawn = face_sheet(np.stack(squares), titles, first, columns=columns, size=size)
    if second is not None:
        _draw_second(drawn.axes[0], [points[-1] for points in moved], min(columns, len(images)), titles, size)
    return drawn


def _draw_second(ax: Axes, points: Sequence[np.ndarray], columns: int, titles: Sequence[str], size: float) -> None:
    """Draw a second set of points on a finished `face_sheet`, whose rows are as high as its captions ask for."""
    head = _caption(titles, size)
    for place, each in enumerate(points):
        if np.isfinite(each).all():
            left, top = place % columns * 1.04, place // columns * (1.04 + head) + head
            draw_points(ax, (each + 1) / 2 + (left, top), "#E69F00", lw=0.6, ms=size, mew=0)


def _caption(titles: Sequence[str] | None, size: float) -> float:
    """Height of a sheet's captions in sides of a face."""
    return 0.0 if titles is None else 0.17 * (1 + max((text.count("\n") for text in titles), default=0)) / size


@styled
def mean_shapes(shapes: np.ndarray, names: Sequence[str] = LABELS) -> Figure:
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
