"""Faces of a store as the browser and a panel get them: packed pictures of the rows that are asked for."""

import numpy as np
from PIL import Image

from lsdkit.data.store import Store
from lsdkit.ensembles.votes import name_run
from lsdkit.prediction import Panel
from lsdkit.training.runs import Run

THUMBNAIL = 64  # pixels a side at most


def resize_faces(pictures: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, S, S, 3) at `size` pixels a side; the same array where they have it."""
    if not len(pictures) or pictures.shape[1] == size:
        return pictures
    way = Image.Resampling.BOX if size < pictures.shape[1] else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(each).resize((size, size), way)) for each in pictures])


def pack_faces(store: Store, rows: list[int], size: int = THUMBNAIL) -> np.ndarray:
    """Pictures of these rows, uint8 (N, S, S, 3), S at most `size`."""
    pictures = store.images[rows]
    return resize_faces(pictures, min(size, store.images.shape[1]))


def ask_panel(panel: Panel, pictures: np.ndarray) -> np.ndarray:
    """Probabilities (N, 6) of a panel for pictures uint8 (N, S, S, 3) that show faces as its networks learned them."""
    cut = {view.pixels: {view.window[2], view.pixels} for view in panel.views}  # either side is taken as it is
    side = pictures.shape[1]
    return panel.ask({size: pictures if side in sides else resize_faces(pictures, size) for size, sides in cut.items()})


def name_members(panel: Panel) -> list[str]:
    """A name for each network of a panel: what a run trained, in words, or what a packed model calls it."""
    return [name_run(voter) if isinstance(voter, Run) else voter.name for voter in panel.voters]
