"""Where a training places the landmarks of a few validation faces, epoch by epoch: landmarks.csv of a run.

Columns: epoch (0 is before training), key, point (0 to 67), x and y in [-1, 1] of the crop. The faces are the same for
every member on a store, so that runs can be looked at side by side.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lsdkit.common.files import write_table
from lsdkit.common.landmarks import POINTS
from lsdkit.data.store import Store
from lsdkit.method.network import MultiTask
from lsdkit.recipes import Member
from lsdkit.training.evaluation import load_faces
from lsdkit.training.runs import LANDMARKS, Run

FACES = 4


def note_landmarks(
    folder: Path, network: MultiTask, store: Store, member: Member, device: torch.device, epoch: int
) -> None:
    """Write the points after `epoch` epochs into `folder`/landmarks.csv, in the place of older notes of that epoch on.

    Nothing is written by a network without an appearance branch, nor where no validation face has its landmarks.
    """
    rows = store.rows("validation")
    rows = rows[np.isfinite(store.landmarks[rows]).all(axis=(1, 2))]
    if not network.multitask or not len(rows):
        return
    rows = np.unique(rows[np.linspace(0, len(rows) - 1, FACES).round().astype(int)])
    with torch.no_grad():
        points = network.eval().forward_landmarks(load_faces(store.images, rows, member, device))
    points = points.float().cpu().numpy().round(4).reshape(-1, 2)  # (F * 68, 2)
    keys = [store.keys[row] for row in rows]
    named = {"epoch": epoch, "key": np.repeat(keys, POINTS), "point": np.tile(np.arange(POINTS), len(keys))}
    table, path = pd.DataFrame({**named, "x": points[:, 0], "y": points[:, 1]}), folder / LANDMARKS
    if epoch and path.is_file():
        before = pd.read_csv(path, dtype={"key": str}, keep_default_na=False)
        table = pd.concat([before[before["epoch"] < epoch], table], ignore_index=True)
    write_table(path, table)


def read_points(run: Run) -> tuple[list[str], list[int], np.ndarray]:
    """The keys (F) and epochs (E) that a run noted, and its points (F, E, 68, 2) in [-1, 1] of the crop.

    All three are empty where it learned no landmarks, or was trained by a version that noted none.
    """
    table = run.read_landmarks()
    keys, epochs = list(dict.fromkeys(table["key"])), sorted(set(table["epoch"]))
    if not keys:
        return [], [], np.empty((0, 0, POINTS, 2))
    index = pd.MultiIndex.from_product([keys, epochs, range(POINTS)])
    points = table.set_index(["key", "epoch", "point"])[["x", "y"]].reindex(index)
    return keys, [int(epoch) for epoch in epochs], points.to_numpy().reshape(len(keys), len(epochs), POINTS, 2)
