"""What networks make of one face: found, attended to, its landmarks, a vote. Arrays in, matplotlib Figure out.

Each `draw_...` draws one panel on axes, for figures of several steps; the others are figures of one step.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.figures.faces import draw_points
from lsdkit.figures.style import COLOURS, GRID, INK, LABELS, Figure, new_axes, styled

CHOSEN, POINTS, PREDICTED = "#E69F00", "#00d0ff", "#E69F00"  # the chosen face's box; dlib's landmarks, the network's
TINT = (0.835, 0.369, 0.0)  # of the places that a head attends to
MOST_PIXELS = 1200  # about as many of a photograph's longer side are drawn
MOST_SHARES = 4  # places a side of which each is told in digits

Box = tuple[float, float, float, float]


@styled
def found_faces(
    picture: np.ndarray, boxes: Sequence[Box], landmarks: Sequence[np.ndarray], chosen: int = 0, title: str = ""
) -> Figure:
    """A photograph and the faces in it, see `draw_found`."""
    height, width = picture.shape[:2]
    scale = 5 / max(height, width)
    drawn, axes = new_axes(1, 1, max(scale * width, 3.2), scale * height + 0.3)
    draw_found(axes[0, 0], picture, boxes, landmarks, chosen, title)
    return drawn


@styled
def attention_maps(
    crop: np.ndarray, maps: np.ndarray, window: Box | None, *, titles: Sequence[str] = (), columns: int = 4
) -> Figure:
    """The maps of each of k heads, (k, h, w), a panel each on one scale, see `draw_attention`."""
    columns = min(columns, len(maps))
    rows = -(-len(maps) // columns)
    drawn, axes = new_axes(rows, columns, 2.3 * columns, 2.5 * rows)
    for number, ax in enumerate(axes.flat):
        ax.axis("off")
        if number < len(maps):
            title = titles[number] if titles else f"head {number + 1}"
            draw_attention(ax, crop, maps[number], window, float(maps.max()), title)
    return drawn


@styled
def landmark_pair(crop: np.ndarray, landmarks: np.ndarray, predicted: np.ndarray | None, title: str = "") -> Figure:
    """A crop under two sets of landmarks, see `draw_landmarks`."""
    drawn, axes = new_axes(1, 1, 4.4, 4.75)
    draw_landmarks(axes[0, 0], crop, landmarks, predicted, title)
    return drawn


@styled
def vote_bars(members: np.ndarray, vote: np.ndarray, title: str = "") -> Figure:
    """The six probabilities of a vote and of its members, see `draw_vote`."""
    drawn, axes = new_axes(1, 1, 5.6, 3.0)
    draw_vote(axes[0, 0], members, vote, title)
    return drawn


def draw_found(
    ax: Axes,
    picture: np.ndarray,
    boxes: Sequence[Box],
    landmarks: Sequence[np.ndarray],
    chosen: int = 0,
    title: str = "",
) -> None:
    """Draw a photograph, uint8 (H, W, 3), with each face's box (x, y, width, height) and 68 points, in pixels.

    Faces are numbered from 1 where there are several; `chosen`, from 0, is the one whose points are drawn.
    """
    height, width = picture.shape[:2]
    smaller = Image.fromarray(picture).reduce(max(1, max(height, width) // MOST_PIXELS))  # a camera's takes seconds
    draw_picture(ax, np.asarray(smaller), title, extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    ax.set_autoscale_on(False)
    for number, (x, y, across, down) in enumerate(boxes):
        colour = CHOSEN if number == chosen else "#ffffff"
        for line, ink in ((3.2, INK), (1.6, colour)):  # seen on light and on dark ground
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), across, down, fill=False, lw=line, ec=ink))
        if len(boxes) > 1:
            style = {"fontsize": 9, "weight": "bold", "color": INK, "va": "bottom", "ha": "left"}
            ax.text(x, y, f"{number + 1}", bbox={"fc": colour, "lw": 0, "pad": 1.5}, **style)
    if len(landmarks):
        draw_points(ax, landmarks[chosen], "#ffffff", lw=0.5, ms=1.3, mfc=POINTS, mew=0)


def draw_picture(ax: Axes, picture: np.ndarray, title: str = "", **options: object) -> None:
    """Draw a picture, uint8 (H, W, 3), without axes, under a title; `options` are those of `Axes.imshow`."""
    ax.imshow(picture, interpolation="antialiased", **options)
    ax.set_title(title)
    ax.axis("off")


def draw_attention(
    ax: Axes, crop: np.ndarray, shares: np.ndarray, window: Box | None, most: float, title: str = ""
) -> None:
    """Draw a head's map (h, w), shares that add up to 1, over a crop, uint8 (S, S, 3), in grey.

    window: left, top, right and bottom of the part of the crop that the map covers, in shares of the crop's side; what
    lies outside is paled. None: the map covers no part of it, and is drawn without the crop. A place is tinted by its
    share, fully at `most`. Each share is told where they are few.
    """
    left, top, right, bottom = window or (0, 0, 1, 1)
    grey = np.repeat(np.asarray(crop, dtype=float).mean(2, keepdims=True), 3, axis=2) / 255
    ax.imshow(grey if window else np.ones_like(grey), extent=(0, 1, 1, 0), interpolation="antialiased")
    for x, y, across, down in ((0, 0, 1, top), (0, bottom, 1, 1), (0, top, left, bottom), (right, top, 1, bottom)):
        ax.add_patch(Rectangle((x, y), across - x, down - y, fc="#ffffff", alpha=0.7, lw=0))
    tint = np.empty((*shares.shape, 4))
    tint[..., :3], tint[..., 3] = TINT, 0.65 * shares / max(most, 1e-9)
    ax.imshow(tint, extent=(left, right, bottom, top), interpolation="nearest")
    height, width = shares.shape
    across, down = np.linspace(left, right, width + 1), np.linspace(top, bottom, height + 1)
    if max(shares.shape) <= MOST_SHARES:
        ax.vlines(across, top, bottom, color="#ffffff" if window else GRID, lw=0.6)
        ax.hlines(down, left, right, color="#ffffff" if window else GRID, lw=0.6)
        for row, column in np.ndindex(shares.shape):
            place = (across[column] + across[column + 1]) / 2, (down[row] + down[row + 1]) / 2
            style = {"fontsize": 8, "color": INK, "ha": "center", "va": "center"}
            text = f"{shares[row, column]:.0%}"
            ax.text(*place, text, bbox={"fc": "#ffffff", "alpha": 0.75, "lw": 0, "pad": 1}, **style)
    ax.set(xlim=(0, 1), ylim=(1, 0))
    ax.set_title(title, fontsize=10)
    ax.axis("off")


def draw_landmarks(
    ax: Axes, crop: np.ndarray, landmarks: np.ndarray, predicted: np.ndarray | None, title: str = ""
) -> None:
    """Draw two sets of 68 points (68, 2), in [-1, 1] of a crop, uint8 (S, S, 3): dlib's and, where any, a network's."""
    ax.imshow(crop, extent=(-1, 1, 1, -1), interpolation="antialiased")
    draw_points(ax, landmarks, POINTS, lw=0.9, ms=2.2, mew=0)
    ax.plot([], [], "o-", color=POINTS, ms=4, lw=1.2, label="dlib")
    if predicted is not None:
        draw_points(ax, predicted, PREDICTED, lw=0.9, ms=2.2, mew=0)
        ax.plot([], [], "o-", color=PREDICTED, ms=4, lw=1.2, label="appearance branch")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=8, handlelength=1.2, columnspacing=1)
    ax.set(xlim=(-1, 1), ylim=(1, -1))
    ax.set_title(title)
    ax.axis("off")


def draw_vote(ax: Axes, members: np.ndarray, vote: np.ndarray, title: str = "") -> None:
    """Draw the six probabilities of a vote (6,) as bars with digits, and each member's (M, 6) as a faint line."""
    vote, best = np.asarray(vote), int(np.argmax(vote))
    places = np.arange(len(EXPRESSIONS))
    ax.barh(places, np.ones(len(places)), height=0.62, color=GRID, lw=0)
    ax.barh(places, vote, height=0.62, color=list(COLOURS.values()), lw=0)
    if len(members) > 1:
        for member in members:
            ax.vlines(member, places - 0.42, places + 0.42, color=INK, lw=1, alpha=0.45)
    for place, value in enumerate(vote):
        weight = "bold" if place == best else "normal"
        ax.text(1.02, place, f"{value:.2f}", va="center", fontsize=9, weight=weight)
    ax.set_yticks(places, LABELS)
    for label in ax.get_yticklabels():
        label.set(weight="bold" if label.get_text() == LABELS[best] else "normal", fontsize=9)
    ax.set(xlim=(0, 1.16), ylim=(5.6, -0.6), xticks=(0, 0.5, 1))
    lines = f" (lines: each of {len(members)} members)" if len(members) > 1 else ""
    ax.set_xlabel(f"probability{lines}", fontsize=9)
    ax.set_title(title)
    ax.tick_params(left=False, labelsize=9)
    ax.spines["left"].set_visible(False)
    ax.spines["bottom"].set_visible(False)
