"""The explorer of notebook 02: two faces, lambda between them, their soft label, a network's answer to the mixture."""

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import Store
from lsdkit.explore.explorer import Answer, Explorer
from lsdkit.explore.packing import ask_panel, pack_faces
from lsdkit.figures.faces import mixtures
from lsdkit.figures.style import LABELS, Figure
from lsdkit.prediction import Panel

SIDE = 192  # pixels of the faces that are blended, at most


class Mixing(Explorer):
    """Mix any two faces of a store's training split (paper section 2.1, figure 5).

    `first` and `second` are rows of the store; None is the first face of the first and of the last class. `model`, a
    run, a packed model or a folder of runs, answers to the mixture; "" is none.
    """

    script = "mixing"
    title = "Two faces mixed, and the label of the mixture"

    def __init__(self, store: Store, first: int | None = None, second: int | None = None, *, model: str = ""):
        self.store, self.panel = store, Panel.load(model) if model else None
        rows = store.rows("train")
        self.rows = rows[(store.labels[rows] >= 0) & (store.labels[rows] < len(EXPRESSIONS))]
        if len(self.rows) < 2:
            raise ValueError(
                f"Expected two training faces with an expression in {store.path}, but got {len(self.rows)}"
            )
        order = np.argsort(store.labels[self.rows], kind="stable")
        given = (self.rows[order[0]] if first is None else first, self.rows[order[-1]] if second is None else second)
        self.start = [int(row) for row in given]
        super().__init__()

    def still(self) -> Figure:
        """The two faces at three lambdas."""
        pictures = self.store.images[self.start] / 255
        first, second = (np.repeat(each[None], 3, axis=0) for each in pictures)
        return mixtures(first, second, np.repeat([self.store.labels[self.start]], 3, axis=0), (0.9, 0.7, 0.5))

    def answer_start(self) -> Answer:
        """Names, the two rows to begin with, and every row that can be mixed with its class."""
        said = {"names": LABELS, "start": self.start, "model": self.panel.name if self.panel else ""}
        return said, [self.rows.astype(np.int32), self.store.labels[self.rows].astype(np.int8)]

    def answer_pictures(self, rows: list[int]) -> Answer:
        """Faces to blend."""
        pictures = pack_faces(self.store, rows, SIDE)
        return {"size": pictures.shape[1]}, [pictures]

    def answer_mixture(self, rows: list[int], share: float) -> Answer:
        """What the model says of `share` of the first and 1 - `share` of the second face (section 2.1)."""
        first, second = self.store.images[rows].astype(np.float32)
        mixed = np.rint(share * first + (1 - share) * second).astype(np.uint8)
        return {"probabilities": ask_panel(self.panel, mixed[None])[0].tolist()}, []
