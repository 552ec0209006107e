"""The one style of all figures: colours, letters, and a Figure that says in words what it shows.

Nothing here touches pyplot's list of open figures, so a notebook that draws a hundred keeps none of them. Colours
are Okabe and Ito's, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/); no figure
relies on colour alone, and a page that shows one says in words what it is (`Figure.alt`).
"""

import base64
import html
import io
import re
from collections.abc import Callable
from functools import wraps
from typing import Self

import matplotlib as mpl
import numpy as np
from matplotlib import figure
from matplotlib.text import Text

from lsdkit.common.expressions import EXPRESSIONS

COLOURS = dict(zip(EXPRESSIONS, ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#0072B2", "#56B4E9"), strict=True))
INK, MUTED, GRID, MAIN, SECOND = "#222222", "#6b6b6b", "#e4e4e4", "#0072B2", "#D55E00"
SERIES = tuple(zip((MAIN, SECOND, "#009E73", "#E69F00"), ("-", "--", ":", "-."), strict=True))
LABELS = tuple(name.capitalize() for name in EXPRESSIONS)
STYLE = {
    **dict.fromkeys(("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), MUTED),
    **dict.fromkeys(("axes.grid", "axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **dict.fromkeys(("axes.labelsize", "font.size"), 10),
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "grid.color": GRID,
    "legend.fontsize": 9,
    "lines.linewidth": 2,
}

LONGEST = 400  # characters of a figure's text in words


def styled(draw: Callable[..., "Figure"]) -> Callable[..., "Figure"]:
    """Decorates each function that draws: the style, and how its docstring begins as what the figure is."""

    @wraps(draw)
    def draw_in_style(*args: object, **options: object) -> Figure:
        with mpl.rc_context(STYLE):
            drawn = draw(*args, **options)
        _take_names_as_they_are(drawn)
        first = re.split(r"[.;]\s|[.]$|, see `", draw.__doc__ or "", maxsplit=1)[0]
        drawn.about = drawn.about or re.sub(r"`|,? \((?:\w+, )+\w+\)", "", first)  # without shapes
        return drawn

    return draw_in_style


def _take_names_as_they_are(drawn: figure.Figure) -> None:
    """Names of files, people and runs are data: a "$" in them begins no formula. Powers of ten stay formulae."""
    axes = (axis for ax in drawn.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log")
    powers = {id(text) for axis in axes for text in axis.findobj(Text)}
    for text in drawn.findobj(Text):
        text.set_parse_math(id(text) in powers)


class Figure(figure.Figure):
    """A matplotlib Figure that a notebook shows by itself, whichever backend is active, and says in words.

    `about` is what kind of figure it is (`styled` sets it), `caption` a text that stands below it.
    """

    about = caption = ""

    def captioned(self, text: str) -> Self:
        """The figure, with a text below it; of several, the last."""
        self.caption = text
        return self

    @property
    def alt(self) -> str:
        """The figure for those who cannot see it: its label or what it is, titles and axes, or the captions in it."""
        axes = [ax for ax in self.axes if ax.get_label() != "<colorbar>"]
        titles = [ax.get_title(place) for ax in axes for place in ("left", "center", "right")]
        units = [text for ax in axes for text in (ax.get_xlabel(), ax.get_ylabel())]
        inside = [text.get_text() for ax in axes if not ax.axison for text in ax.texts]
        parts = ("; ".join(dict.fromkeys(filter(None, texts))) for texts in (titles, units, inside))
        text = re.sub(r"\s+", " ", ". ".join(filter(None, (self.get_label() or self.about, *parts))))
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"

    def _repr_mimebundle_(self, **_options: object) -> dict[str, str]:
        """As HTML, since JupyterLab gives bare pictures no text in words."""
        data, alt = base64.b64encode(png(self)).decode(), html.escape(self.alt)
        shown = f'<img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{data}">'
        if self.caption:
            shown = f'<figure style="margin:0">{shown}<figcaption>{html.escape(self.caption)}</figcaption></figure>'
        return {"text/html": shown, "text/plain": f"<Figure: {self.alt}>"}


def png(drawn: figure.Figure, dpi: float | None = None) -> bytes:
    """The figure as the bytes of a PNG file, at the figure's own resolution unless `dpi` says otherwise."""
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=dpi or drawn.dpi)
    return stream.getvalue()


def new_axes(rows: int, columns: int, width: float, height: float, **options: object) -> tuple[Figure, np.ndarray]:
    """A figure of `width` x `height` inches and its axes as an array (rows, columns)."""
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False, **options)
