"""What models see of an aligned face: the view "inner", brows to chin, or "whole", all of the crop; each is a store.

HOG and the networks that begin with it look at the inner face: hair, ears and ground say nothing about an expression.
The face-recognition network wants the whole crop, of which it takes a part of its own (`lsdkit.method.recognition`).
"""

from collections.abc import Mapping
from pathlib import Path

from lsdkit.data.combining import WHOLE as ALL
from lsdkit.data.combining import view_store
from lsdkit.data.store import Store

INNER, WHOLE = "inner", "whole"
VIEWS = (INNER, WHOLE)


class Faces:
    """A store of aligned faces, whole and in colour, and what models see of them.

    windows: view -> left, top and side of it, in shares of the crop's side. grey: whether views have no colour. Views
    are made in `folder` when they are first asked for, and kept; rows are those of `store`.
    """

    def __init__(
        self, store: Store, folder: Path, windows: Mapping[str, tuple[float, float, float]], *, grey: bool = True
    ):
        self.store, self.folder, self.windows, self.grey = store, folder, windows, grey
        self._seen: dict[str, Store] = {}

    def seen(self, view: str) -> Store:
        """The faces as a view shows them; `KeyError` for an unknown view."""
        if view not in self._seen:
            window = self.windows[view]
            kind = (WHOLE if window == ALL else view) + ("-grey" if self.grey else "")
            place = self.folder / f"{self.store.path.name}-{kind}"
            self._seen[view] = view_store(self.store, place, window=window, grey=self.grey)
        return self._seen[view]
