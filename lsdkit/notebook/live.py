"""Curves that grow while a notebook trains: one figure, drawn again in its place after each epoch."""

from pathlib import Path

import pandas as pd
from IPython.display import DisplayHandle, display

from lsdkit.figures.plots import training_curves
from lsdkit.figures.style import Figure


class LiveCurves:
    """What `lsdkit.train` calls after each epoch: draws the history of the run's folder in one place.

    A notebook that is saved, exported or run by papermill keeps the last figure alone.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.place: DisplayHandle | None = None

    def __call__(self, row: dict) -> None:
        """Draw all epochs so far; `row`, the last one, stands in the history already."""
        self.show(pd.read_csv(self.folder / "history.csv"))

    def show(self, history: pd.DataFrame) -> Figure:
        """Draw these epochs and show them in the place of the last ones; returns the figure."""
        drawn = training_curves(history)
        if self.place is None:
            self.place = display(drawn, display_id=True)
        else:
            self.place.update(drawn)
        return drawn
