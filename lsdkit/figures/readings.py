"""The contact sheet of faces that were read: each face, its name, six bars. Arrays in, matplotlib Figure out."""

import math
import textwrap
from collections.abc import Sequence
from functools import cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from lsdkit.figures.style import COLOURS, GRID, INK, LABELS, MUTED, Figure, styled

FACE, LABEL, BAR = 1.3, 0.72, 0.92  # inches: side of a face, width of the bars' names, length of a bar of 1
CARD = (FACE + LABEL + BAR + 0.6, FACE + 0.5)  # width and height of a face's place
EDGE, HEAD, LETTER = 0.2, 0.3, 0.115  # around the sheet, for a line of its heading, and for a letter of that
LONGEST = 40  # characters of a name that are shown
MOST_COLUMNS = 5
UNKNOWN = "\N{WHITE SQUARE}"  # for characters that the font lacks


@styled
def reading_sheet(
    faces: Sequence[np.ndarray],
    probabilities: np.ndarray,
    names: Sequence[str],
    *,
    heading: str = "",
    columns: int = 0,
) -> Figure:
    """Faces in a grid, each with its name, the likeliest expression, and a bar for each of the six.

    faces: uint8 (S, S, 3) each. probabilities: (B, 6) in [0, 1], in the order of `EXPRESSIONS`. names: what stands
    above each face; of long ones the middle is cut out. heading: a line above all. columns: 0 = as many as make a page.
    Raises `ValueError` without a face.
    """
    if not len(faces):
        raise ValueError("Expected faces for a sheet, but got none")
    columns = min(columns or min(MOST_COLUMNS, math.ceil(math.sqrt(0.7 * len(faces)))), len(faces))
    rows, width = -(-len(faces) // columns), columns * CARD[0] + 2 * EDGE
    lines = textwrap.wrap(fit_text(heading, len(heading)), int(width / LETTER))
    head = HEAD * len(lines)
    height = rows * CARD[1] + 2 * EDGE + head
    drawn = Figure(figsize=(width, height))
    ax = drawn.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    ax.text(EDGE, EDGE, "\n".join(lines), fontsize=11, va="top", weight="bold", parse_math=False)
    for place, (face, chances, name) in enumerate(zip(faces, probabilities, names, strict=True)):
        row, column = divmod(place, columns)
        _draw_card(ax, EDGE + column * CARD[0], EDGE + head + row * CARD[1], face, np.asarray(chances), name)
    return drawn


def fit_text(text: str, longest: int = LONGEST) -> str:
    """A text as the figure's font can show it, without its middle where it is longer than `longest` characters.

    >>> fit_text("holiday/2026-08-14 at the lake/IMG_20260814_153012.jpg", 24)
    'holiday/2026…_153012.jpg'
    """
    text = "".join(letter if ord(letter) in _letters() else UNKNOWN for letter in text)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}…{text[len(text) - (longest - longest // 2 - 1) :]}"


@cache
def _letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


def _draw_card(ax: Axes, left: float, top: float, face: np.ndarray, chances: np.ndarray, name: str) -> None:
    best, lower = int(chances.argmax()), top + 0.24
    title = ax.text(left, top + 0.16, fit_text(name), fontsize=8, color=MUTED, parse_math=False)
    title.set_clip_path(Rectangle((left, top), CARD[0] - 0.1, CARD[1], transform=ax.transData))
    ax.imshow(face, extent=(left, left + FACE, lower + FACE, lower), interpolation="antialiased", aspect="auto")
    start, step = left + FACE + LABEL + 0.08, FACE / len(LABELS)
    for number, (label, colour) in enumerate(zip(LABELS, COLOURS.values(), strict=True)):
        middle, weight = lower + (number + 0.5) * step, "bold" if number == best else "normal"
        ink = INK if number == best else MUTED
        ax.add_patch(Rectangle((start, middle - 0.065), BAR, 0.13, color=GRID, lw=0))
        ax.add_patch(Rectangle((start, middle - 0.065), BAR * float(chances[number]), 0.13, color=colour, lw=0))
        ax.text(start - 0.05, middle, label, fontsize=7.5, ha="right", va="center", color=ink, weight=weight)
        share = f"{chances[number]:.2f}"
        ax.text(start + BAR + 0.04, middle, share, fontsize=7.5, va="center", color=ink, weight=weight)
