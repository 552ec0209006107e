"""The fixed directions of a projection (`lsdkit.method.gradients`), fitted to a member's faces before its training."""

import numpy as np
import torch

from lsdkit.data.store import Store
from lsdkit.method.backbones import FaceGradients
from lsdkit.method.network import MultiTask
from lsdkit.recipes import Member
from lsdkit.training.evaluation import load_faces


@torch.no_grad()
def fit_directions(
    network: MultiTask, store: Store, rows: np.ndarray, member: Member, device: torch.device | str
) -> None:
    """Fit the fixed directions of an emotion branch to these rows of a store, as they are; other branches have none.

    One pass over the faces through what is frozen before them.
    """
    backbone = network.emotion.backbone
    if not isinstance(backbone.graph, FaceGradients):
        return
    size, parts = member.recipe.batch_size, []
    backbone.eval()
    for start in range(0, len(rows), size):
        faces = load_faces(store.images, rows[start : start + size], member, device)
        parts.append([each.float().cpu() for each in backbone.graph.measure(faces)])
    maps = [torch.cat(each) for each in zip(*parts, strict=True)]
    backbone.graph.projection.fit(*maps, labels=torch.from_numpy(store.labels[rows]))
    backbone.train()
