"""The interactive explorers of the notebooks: ipywidgets around one picture, redrawn as PNG at each change.

`display(view, view.static)` leaves a picture of the first view beside the widget, hidden where the widget itself is
drawn: a page without a kernel (an exported one, say) still shows something in its place.
"""

import base64
import html
from collections.abc import Callable

import ipywidgets
import numpy as np
from IPython.display import HTML

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import Store
from lsdkit.figures.faces import face_sheet, mixtures
from lsdkit.figures.plots import Figure, png

EVERY = "all"
HIDE = "<style>.jp-OutputArea:has(.widget-vbox) .lsdkit-static { display: none }</style>"


class Explorer(ipywidgets.VBox):
    """Controls above a picture; `draw(**values)` makes the picture from the controls' values, by name."""

    def __init__(self, draw: Callable[..., Figure], controls: dict[str, ipywidgets.Widget]):
        self.draw, self.controls = draw, controls
        self.picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width="100%", object_fit="contain"))
        self.message = ipywidgets.Label()
        super().__init__(
            [ipywidgets.HBox([*controls.values()], layout={"flex_flow": "row wrap"}), self.message, self.picture]
        )
        for control in controls.values():
            control.observe(self.refresh, names="value")
        self.refresh()

    def refresh(self, _change: object = None) -> None:
        """Draw the picture anew from the controls' values."""
        drawn = self.draw(**{name: control.value for name, control in self.controls.items()})
        self.message.value = drawn.get_label()
        self.picture.value, self.alt = png(drawn), drawn.alt

    @property
    def static(self) -> HTML:
        """The picture as it is now, which a page shows where it cannot draw the widget before it, and else hides."""
        data = base64.b64encode(self.picture.value).decode()
        looks = f'class="lsdkit-static" alt="{html.escape(self.alt)}" style="max-width:100%"'
        return HTML(f'{HIDE}<img {looks} src="data:image/png;base64,{data}">')


def say(message: str) -> Figure:
    """An empty figure, where a message is all that an explorer shows."""
    drawn = Figure(figsize=(8, 0.4))
    drawn.set_label(message)
    return drawn


def explorer(store: Store, *, split: str = "train", faces: int = 16) -> Explorer:
    """Look through a split of a store: class, subject, page, and landmarks on or off; `faces` faces a page."""
    rows = store.rows(split)
    table = store.faces.iloc[rows]
    subjects = sorted({name for name in table["subject"] if name})

    def draw(expression: str, subject: str, page: int, landmarks: bool) -> Figure:
        chosen = np.ones(len(rows), dtype=bool)
        for column, value in (("expression", expression), ("subject", subject)):
            chosen &= (value == EVERY) | (table[column] == value).to_numpy()
        matching = rows[chosen]
        pages = max(1, -(-len(matching) // faces))
        shown = matching[(page - 1) % pages * faces :][:faces]
        if not len(shown):
            return say("No face of this class and subject.")
        named = store.faces.iloc[shown].itertuples()
        titles = [f"{face.expression.capitalize()}\n{face.subject}" for face in named]
        drawn = face_sheet(store.images[shown], titles, store.landmarks[shown] if landmarks else None)
        drawn.set_label(f"{len(matching):,} {store.kind} faces, page {(page - 1) % pages + 1} of {pages}")
        return drawn

    controls = {
        "expression": ipywidgets.Dropdown(options=[EVERY, *EXPRESSIONS], description="Class"),
        "subject": ipywidgets.Dropdown(options=[EVERY, *subjects], description="Subject", disabled=not subjects),
        "page": ipywidgets.BoundedIntText(value=1, min=1, max=9999, description="Page"),
        "landmarks": ipywidgets.Checkbox(value=True, description="Landmarks"),
    }
    return Explorer(draw, controls)


def mix_slider(first: np.ndarray, second: np.ndarray, labels: tuple[int, int], *, share: float = 0.7) -> Explorer:
    """A slider of lambda from 0 to 1 over two faces (H, W, 3) in [0, 1]: their mixture and its soft label."""

    def draw(share: float) -> Figure:
        return mixtures(first[None], second[None], np.array([labels]), [share])

    slider = ipywidgets.FloatSlider(share, min=0, max=1, step=0.05, description="lambda", continuous_update=True)
    return Explorer(draw, {"share": slider})
