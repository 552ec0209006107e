"""The explorer of notebook 01: the faces of a store, filtered, sorted, looked at, and marked to be left out."""

import io

import numpy as np
import pandas as pd

from lsdkit.common.expressions import CLASSES
from lsdkit.common.landmarks import plausible
from lsdkit.data import shapes
from lsdkit.data.store import SPLITS, Store
from lsdkit.explore.explorer import Answer
from lsdkit.explore.sheets import SheetExplorer
from lsdkit.figures.faces import face_sheet
from lsdkit.figures.style import Figure
from lsdkit.training.predictions import probabilities_of

LANDMARKS = ("complete", "missing", "implausible", "far from the mean shape")  # a face is in one of these states
SMALL = 6000  # faces of a store whose thumbnails are all fetched ahead of time
STILL = 24


class Faces(SheetExplorer):
    """Look through the faces of a store; those that are marked are saved for `lsdkit prepare --leave-out`.

    `predictions`, a table as `Run.read_predictions` or `prediction.vote` gives it, sorts faces by confidence. Raises
    `ValueError` where none of its faces is in the store.
    """

    script = "faces"
    title = "Faces of a store"

    def __init__(self, store: Store, predictions: pd.DataFrame | None = None):
        self.store = store
        self.answers = np.full((len(store), 6), np.nan, np.float32)
        if predictions is not None:
            place = pd.Series(np.arange(len(store)), index=store.keys).reindex(predictions["key"]).to_numpy()
            if np.isnan(place).all():
                raise ValueError(
                    f"Expected predictions of faces in {store.path}, but none of {len(place)} keys is one of its"
                )
            known = np.isfinite(place)
            self.answers[place[known].astype(int)] = probabilities_of(predictions)[known]
        self.distance = shapes.distances(store.landmarks)
        super().__init__()

    def still(self) -> Figure:
        """Some faces, evenly spaced over the store, with their landmarks."""
        rows = np.unique(np.linspace(0, len(self.store) - 1, STILL).astype(int))
        titles = [(name or "unknown").capitalize() for name in self.store.faces["expression"].iloc[rows]]
        return face_sheet(self.store.images[rows], titles, self.store.landmarks[rows])

    def judge_landmarks(self) -> np.ndarray:
        """int8 (N,): the state of each face's landmarks, of `LANDMARKS`."""
        present = np.isfinite(self.store.landmarks).all((1, 2))
        far = self.distance > shapes.outlier_limit(self.distance)
        return np.select([~present, ~plausible(self.store.landmarks), far], [1, 2, 3], 0).astype(np.int8)

    def answer_start(self) -> Answer:
        """All columns, a number a face, with the words that they number; and how far each shape is from the mean."""
        faces = self.store.faces
        columns = {name: pd.Categorical(faces[name]) for name in ("subject", "landmarks")}
        certain = np.full((2, len(faces)), np.nan, np.float32)  # of its own class, of the answer
        known = np.isfinite(self.answers).all(1)
        certain[1, known] = self.answers[known].max(1)
        known &= (self.store.labels >= 0) & (self.store.labels < self.answers.shape[1])
        certain[0, known] = self.answers[known, self.store.labels[known]]
        said = {
            "classes": [name.capitalize() for name in CLASSES],
            "splits": SPLITS,
            "states": LANDMARKS,
            "subjects": columns["subject"].categories.tolist(),
            "found": columns["landmarks"].categories.tolist(),
            "sure": bool(np.isfinite(certain).any()),
            "originals": self.root is not None,
            "ahead": len(faces) <= SMALL,
            "kind": self.store.kind,
        }
        return said, [
            self.store.labels.astype(np.int8),
            faces["split"].map(SPLITS.index).to_numpy(np.int8),
            self.judge_landmarks(),
            columns["subject"].codes.astype(np.int32),
            columns["landmarks"].codes.astype(np.int32),
            self.distance.astype(np.float32),
            certain,
        ]

    def answer_originals(self, start: int, count: int) -> Answer:
        """Shorter sides, pixels, of the pictures that these faces were read from: float32, NaN where it is gone."""
        rows = range(start, min(start + count, len(self.store)))
        sides = [self.measure_original(row) for row in rows]
        return {}, [np.array([min(side) if side else np.nan for side in sides], np.float32)]

    def describe(self, row: int) -> list[tuple[str, str]]:
        """The record, with its shape's distance and what the predictions say."""
        more = []
        if np.isfinite(self.distance[row]):
            more.append(("distance to the mean shape", f"{self.distance[row]:.3f}"))
        if np.isfinite(self.answers[row]).all():
            answer = int(self.answers[row].argmax())
            more.append(("predicted", f"{CLASSES[answer].lower()} {self.answers[row, answer]:.2f}"))
        return [*super().describe(row), *more]

    def answer_list(self, rows: list[int], reason: str) -> Answer:
        """The table of marked faces that `lsdkit prepare --leave-out` reads, as text."""
        table = self.store.faces.iloc[rows][["path", "key", "expression"]].assign(reason=reason)
        stream = io.StringIO()
        table.to_csv(stream, index=False, lineterminator="\n")
        return {"text": stream.getvalue()}, []
