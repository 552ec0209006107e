"""The explorer of notebook 02: what the emotion and the appearance branch see of a face, draw by draw."""

from dataclasses import replace

import numpy as np
import torch

from lsdkit.common.expressions import CLASSES
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import SPLITS, Store
from lsdkit.explore.explorer import PARTS, Answer, Explorer
from lsdkit.figures.faces import face_sheet
from lsdkit.figures.style import Figure
from lsdkit.method.views import to_float, views
from lsdkit.recipes import Recipe

DRAWS = 6  # of one face at a time


class Views(Explorer):
    """The two views of a store's faces under a recipe (paper sections 2.2 and 3.2), each drawn several times.

    The strength of the augmentation can be moved away from the recipe's `aug_strength`, and a number decides the
    draws: the same number gives the same ones. Raises `ValueError` where the store has no training faces.
    """

    script = "views"
    title = "What the emotion and the appearance branch see"

    def __init__(self, store: Store, recipe: Recipe):
        self.store, self.recipe = store, recipe
        self.rows = store.rows("train")
        if not len(self.rows):
            there = ", ".join(name for name in SPLITS if len(store.rows(name)))
            raise ValueError(f"Expected training faces in {store.path}, but it has those of {there} alone")
        super().__init__()

    def draw(self, row: int, strength: float, number: int, basic: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """(emotion views, appearance views) of one face, both uint8 (`DRAWS`, S, S, 3) of the recipe's size."""
        face = to_float(torch.from_numpy(self.store.images[[row]]), self.recipe.image_size)  # (1, 3, S, S)
        recipe = replace(self.recipe, aug_strength=strength)
        both = views(face.repeat(DRAWS, 1, 1, 1), torch_generator(number, "views"), basic=basic, recipe=recipe)
        return tuple((255 * each).round().byte().permute(0, 2, 3, 1).contiguous().numpy() for each in both)

    def still(self) -> Figure:
        """The first face: emotion views above, appearance views with their landmarks below."""
        row = int(self.rows[0])
        pictures = np.concatenate(self.draw(row, self.recipe.aug_strength, 0))
        points = np.repeat(self.store.landmarks[[row]], 2 * DRAWS, axis=0)
        points[:DRAWS] = np.nan
        return face_sheet(pictures, ["emotion view"] * DRAWS + ["appearance view"] * DRAWS, points, columns=DRAWS)

    def answer_start(self) -> Answer:
        """The recipe's strength, and every training face with its class."""
        said = {
            "classes": [name.capitalize() for name in CLASSES],
            "recipe": self.recipe.name,
            "strength": self.recipe.aug_strength,
            "draws": DRAWS,
            "parts": PARTS,
        }
        return said, [self.rows.astype(np.int32), self.store.labels[self.rows].astype(np.int8)]

    def answer_views(self, row: int, strength: float, number: int, basic: bool) -> Answer:
        """The face itself, its views, and its landmarks, which the appearance view keeps."""
        original = to_float(torch.from_numpy(self.store.images[[row]]), self.recipe.image_size)
        picture = (255 * original).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        emotion, appearance = self.draw(row, strength, number, basic)
        return {"size": picture.shape[1]}, [picture, emotion, appearance, self.store.landmarks[row]]
