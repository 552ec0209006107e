"""The explorer of notebook 03: what a network attends to on a face, what speaks for its answer, its landmarks."""

from dataclasses import replace
from functools import cache

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import inter_ocular_error
from lsdkit.data.store import Store
from lsdkit.data.viewing import View
from lsdkit.explore.explorer import PARTS, Answer, Explorer
from lsdkit.explore.packing import name_members, resize_faces
from lsdkit.figures import inside as panels
from lsdkit.figures.style import LABELS, Figure, new_axes, styled
from lsdkit.prediction import predict
from lsdkit.reading.inside import Inside as Looked
from lsdkit.reading.inside import find_evidence, look_at_crops
from lsdkit.reading.reading import Model, load_panel
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import Run

SIDE = 224  # pixels of the face, at most


class Inside(Explorer):
    """Attention maps, Grad-CAM, and predicted against known landmarks, face by face of a store.

    `run`: a run or its folder, a packed model, or a folder of runs, whose members are looked at one by one. Grad-CAM
    needs captum (extra `explain`); where it is missing the rest is shown and that is said. Raises what `load_panel`
    raises, and `ValueError` for a store without faces.
    """

    script = "inside"
    shared = ("maps.js",)
    title = "What a network attends to, what speaks for its answer, and its landmarks"

    def __init__(self, run: Model, store: Store):
        self.panel, self.store = load_panel(run), store
        self.splits = [split for split in ("validation", "test", "train", "extra") if len(store.rows(split))]
        if not self.splits:
            raise ValueError(f"Expected faces in {store.path}, but there are none")
        self.ask = cache(self._ask)
        super().__init__()

    @styled
    def still(self) -> Figure:
        """The first member on the first face of the first split."""
        row = int(self.store.rows(self.splits[0])[0])
        looked, evidence, _ = self._look(0, row)
        one = looked.members[0]
        heads = len(one.attention)
        drawn, axes = new_axes(1, heads + 1 + (evidence is not None), 2.2 * (heads + 2), 2.75)
        panels.draw_landmarks(axes[0, 0], looked.crop, looked.landmarks, looked.predicted, "landmarks")
        most = float(one.attention.max())
        for number, shares in enumerate(one.attention):
            panels.draw_attention(axes[0, number + 1], looked.crop, shares, one.window, most, f"head {number + 1}")
        if evidence is not None:
            title = f"for {LABELS[one.probabilities.argmax()].lower()}"
            panels.draw_attention(axes[0, -1], looked.crop, evidence, one.window, float(evidence.max()), title)
        return drawn

    def answer_start(self) -> Answer:
        """Names of classes, splits and members."""
        return {"classes": LABELS, "splits": self.splits, "members": name_members(self.panel), "parts": PARTS}, []

    def answer_faces(self, member: int, split: str) -> Answer:
        """Of each face of a split its row, its label (-1: none of the six) and the probabilities it is given (B, 6)."""
        rows = self.store.rows(split)
        labels = self.store.labels[rows]
        labels = np.where(labels < len(EXPRESSIONS), labels, -1)
        return {}, [rows.astype(np.int32), labels.astype(np.int8), self.ask(member, split).astype(np.float32)]

    def answer_look(self, member: int, row: int, expression: int = -1) -> Answer:
        """One face inside one member; `expression` is the class whose evidence is asked for, -1 that of the answer."""
        looked, evidence, missing = self._look(member, row, expression)
        one = looked.members[0]
        crop = resize_faces(looked.crop[None], min(SIDE, len(looked.crop)))
        said = {"size": crop.shape[1], "key": self.store.keys[row], "map": one.attention.shape, "window": one.window}
        said |= {
            "probabilities": one.probabilities.tolist(),
            "missing": missing,
            "placed": looked.predicted is not None,
        }
        known = bool(np.isfinite(looked.landmarks).all())
        if known and looked.predicted is not None:
            said["error"] = float(inter_ocular_error(looked.predicted[None], looked.landmarks[None])[0])
        blank = np.zeros_like(one.attention[0])
        points = np.full((68, 2), np.nan, np.float32) if looked.predicted is None else looked.predicted
        maps = [one.attention, blank if evidence is None else evidence]
        return said, [crop, *(each.astype(np.float32) for each in (*maps, looked.landmarks, points))]

    def _look(self, member: int, row: int, expression: int = -1) -> tuple[Looked, np.ndarray | None, str]:
        """What one member makes of a face, the evidence for a class, and why there is none."""
        chosen = slice(member, member + 1)
        voters, views, networks = (getattr(self.panel, name)[chosen] for name in ("voters", "views", "networks"))
        panel = replace(self.panel, voters=voters, views=views, networks=networks)
        crops = {views[0].pixels: self._cut(views[0], row)}
        looked = look_at_crops(crops, self.store.landmarks[row], panel, aligned=self.store.aligned)
        asked = int(looked.members[0].probabilities.argmax()) if expression < 0 else expression
        try:
            return looked, find_evidence(panel, crops, asked, aligned=self.store.aligned), ""
        except ModuleNotFoundError as error:
            return looked, None, str(error)

    def _cut(self, view: View, row: int) -> np.ndarray:
        """A face as a network with this view takes it, as `predict` does: of another side only where it is cut."""
        pictures = self.store.images[[row]]
        return (pictures if view.whole or pictures.shape[1] == view.window[2] else resize_faces(pictures, view.pixels))[
            0
        ]

    def _ask(self, member: int, split: str) -> np.ndarray:
        """Probabilities (B, 6) of a split's faces: those that a run left of this very store, else asked for now."""
        voter, store = self.panel.voters[member], self.store
        checksums = store.manifest["checksums"]
        if isinstance(voter, Run) and voter.checksums == {name: checksums.get(name) for name in voter.checksums}:
            left = voter.read_predictions()
            left = left[left["split"] == split]
            if left["key"].tolist() == self.store.faces["key"].iloc[store.rows(split)].tolist():
                return probabilities_of(left)
        return predict(voter, store, split=split, device=str(self.panel.device))
