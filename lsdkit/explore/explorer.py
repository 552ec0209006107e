"""What every explorer is: a picture drawn in the browser by a small script, which asks the kernel for what it lacks.

A cell's output holds a still figure and nothing else. In JupyterLab the script finds it and takes its place; a saved,
exported or headless notebook goes on showing it. Pictures and columns travel as messages, so that a saved notebook
holds no widget state but the script.
"""

import base64
import html
from functools import cache
from importlib.resources import files
from uuid import uuid4

import anywidget
import numpy as np
import traitlets

from lsdkit.common.landmarks import LINES
from lsdkit.figures.style import Figure, png

Answer = tuple[dict, list[np.ndarray]]  # JSON, and arrays that travel as bytes
PARTS = [np.arange(68)[line].tolist() for line in LINES.values()]  # what `drawPoints` joins
HINT = "A still figure. With a running kernel, run this cell in JupyterLab to explore."


@cache
def read_script(name: str) -> str:
    """The text of `explore/scripts/<name>`."""
    return (files(__package__) / "scripts" / name).read_text(encoding="utf-8")


class Explorer(anywidget.AnyWidget):
    """Base of the explorers: the script `scripts/<script>.js` asks, `answer_<question>` methods answer.

    A subclass names its `script`, the `shared` ones that this builds on, and `title` (its name for screen readers),
    draws `still`, and has a method `answer_<question>(**given) -> (JSON, arrays)` for each question that its script
    asks.
    """

    script = ""
    shared = ()
    title = ""
    token = traitlets.Unicode().tag(sync=True)  # the class of the element that the script looks for

    def __init__(self):
        self._esm = "".join(map(read_script, ("base.js", *self.shared, f"{self.script}.js")))
        self._css = read_script("base.css")
        super().__init__(token=uuid4().hex)
        self.on_msg(self._receive)

    def still(self) -> Figure | str:
        """The figure, or text in HTML, that stands for the explorer where nothing is running."""
        raise NotImplementedError

    def answer(self, question: str, given: dict) -> Answer:
        """What the kernel says to a question of the script; raises `AttributeError` for one that nobody knows."""
        return getattr(self, f"answer_{question}")(**given)

    def _receive(self, _widget: object, message: dict, buffers: list[memoryview]) -> None:
        given = message["given"] | ({"buffers": buffers} if buffers else {})
        try:
            said, arrays = self.answer(message["question"], given)
        except Exception as error:  # whatever it is, the page says it and lives on
            self.send({"number": message["number"], "error": f"{type(error).__name__}: {error}"})
            return
        blocks = [np.ascontiguousarray(array).tobytes() for array in arrays]
        self.send({"number": message["number"], "answer": said}, blocks)

    def _repr_mimebundle_(self, **_options: object) -> tuple[dict, dict]:
        still, label = self.still(), html.escape(self.title, quote=True)
        if not isinstance(still, str):
            data = base64.b64encode(png(still)).decode()
            still = f'<img alt="{label}" style="max-width:100%" src="data:image/png;base64,{data}">'
        place = f'<div class="lsdkit-place lsdkit-{self.token}" aria-label="{label}">{still}'
        return {"text/html": f'{place}<p class="lsdkit-hint">{HINT}</p></div>', "text/plain": f"<{self.title}>"}, {}
