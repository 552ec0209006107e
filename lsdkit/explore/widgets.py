"""What the explorer of a reading rests on: ipywidgets around one picture, redrawn as PNG at each change.

`display(view, view.static)` leaves a picture of the first view beside the widget, hidden where the widget itself is
drawn: a page without a kernel (an exported one, say) still shows something in its place.
"""

import base64
import html
from collections.abc import Callable

import ipywidgets
from IPython.display import HTML

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
