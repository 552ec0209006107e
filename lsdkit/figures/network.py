"""The network of figure 1a drawn from what it is: boxes with shapes, of two branches that meet in shared layers."""

from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from lsdkit.figures.style import COLOURS, INK, MUTED, Figure, new_axes, styled

EMOTION, APPEARANCE, SHARED = COLOURS["FEAR"], COLOURS["DISGUST"], COLOURS["SADNESS"]
WIDTH, HEIGHT, STEP = 1.62, 0.98, 1.92  # of a box, and from box to box, in inches
ROWS = {"emotion": 0.0, "appearance": -2.15}  # how high the middle of each branch is


class Part(NamedTuple):
    """A box: its name, what it is in a few words, the shape that leaves it, and how many numbers it has."""

    name: str
    about: str
    shape: tuple[int, ...]
    trained: int = 0
    frozen: int = 0
    shared: bool = False  # with the other branch


@styled
def architecture(branches: Mapping[str, list[Part]], title: str = "") -> Figure:
    """The network of one member: its branches from picture to answer, with shapes, numbers and what is frozen.

    branches: "emotion" and, where there is one, "appearance", each its boxes from left to right. Boxes that are
    `shared` stand in one frame; hatched ones hold frozen numbers, which training does not change.
    """
    longest = max(map(len, branches.values()))
    low = ROWS["appearance"] if len(branches) > 1 else ROWS["emotion"]
    width, height = longest * STEP + 0.3, HEIGHT + ROWS["emotion"] - low + 1.25
    drawn, axes = new_axes(1, 1, width, height)
    ax = axes[0, 0]
    ax.set(xlim=(-0.2, width - 0.2), ylim=(low - HEIGHT / 2 - 0.45, HEIGHT / 2 + 0.75), aspect="equal")
    ax.axis("off")
    ax.set_title(title)
    ends = []  # left and right end of the shared boxes of each branch
    for name, parts in branches.items():
        colour, middle = {"emotion": EMOTION, "appearance": APPEARANCE}[name], ROWS[name]
        text = f"{name} branch" if name == "emotion" else f"{name} branch: it teaches, and is not needed to answer"
        ax.text(0, middle + HEIGHT / 2 + 0.1, text, color=INK, weight="bold", fontsize=10)
        first = longest - len(parts)  # answers stand at the right, below each other
        places = [0, *(place + first for place in range(1, len(parts)))]
        for number, (place, part) in enumerate(zip(places, parts, strict=True)):
            left = place * STEP
            _draw_box(ax, left, middle, part, SHARED if part.shared else colour)
            if number:
                start = places[number - 1] * STEP + WIDTH
                ax.annotate(
                    "", (left, middle), (start, middle), arrowprops={"arrowstyle": "->", "color": INK, "lw": 1.3}
                )
            if part.shared:
                ends.append(left)
    if len(branches) > 1 and ends:
        left, top = min(ends) - 0.12, ROWS["emotion"] + HEIGHT / 2 + 0.12
        frame = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": "none", "ec": SHARED, "lw": 1.6, "ls": "--"}
        across, down = max(ends) + WIDTH + 0.12 - left, top - (low - HEIGHT / 2 - 0.12)
        ax.add_patch(FancyBboxPatch((left, low - HEIGHT / 2 - 0.12), across, down, **frame))
        words = "shared:\none set of weights,\nused twice"
        ax.text(
            left + across / 2, (ROWS["emotion"] + low) / 2, words, ha="center", va="center", fontsize=9, color=SHARED
        )
    foot = "below each name: what leaves the box; M, k: millions, thousands of numbers; hatched: holds frozen numbers"
    ax.text(0, low - HEIGHT / 2 - 0.36, foot, fontsize=8.5, color=MUTED)
    return drawn


def shorten_count(count: int) -> str:
    """A number of parameters in three digits.

    >>> shorten_count(812), shorten_count(23_512), shorten_count(5_600_000)
    ('812', '23.5k', '5.60M')
    """
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size:
            value = count / size
            return f"{value:.{max(0, 3 - len(str(int(value))))}f}{unit}"
    return str(count)


def _draw_box(ax: Axes, left: float, middle: float, part: Part, colour: str) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "ec": colour, "lw": 1.6}
    bottom = middle - HEIGHT / 2
    ax.add_patch(FancyBboxPatch((left, bottom), WIDTH, HEIGHT, fc="white", **style))
    ax.add_patch(FancyBboxPatch((left, bottom), WIDTH, HEIGHT, fc=colour, alpha=0.12, lw=0, boxstyle=style["boxstyle"]))
    if part.frozen:
        hatch = {"fc": "none", "ec": colour, "alpha": 0.35, "hatch": "////", "lw": 0, "boxstyle": style["boxstyle"]}
        ax.add_patch(FancyBboxPatch((left, bottom), WIDTH, HEIGHT, **hatch))
    behind = {"fc": "white", "alpha": 0.8, "lw": 0, "pad": 0.8} if part.frozen else None
    counts = [f"{shorten_count(part.trained)} trained"] if part.trained else []
    counts += [f"{shorten_count(part.frozen)} frozen"] if part.frozen else []
    lines = [(part.name, 9.5, "bold", INK), (" x ".join(map(str, part.shape)), 9, "normal", INK)]
    lines += [(part.about, 7.5, "normal", MUTED)] if part.about else []
    lines += [(", ".join(counts), 7.5, "normal", INK)] if counts else []
    for number, (text, size, weight, ink) in enumerate(lines):
        height = middle + HEIGHT / 2 - (number + 0.62) * HEIGHT / (len(lines) + 0.25)
        place = {"ha": "center", "va": "center", "fontsize": size, "weight": weight, "color": ink}
        ax.text(left + WIDTH / 2, height, text, bbox=behind, parse_math=False, **place)
