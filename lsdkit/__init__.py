"""Facial expressions in photographs, learned from synthetic faces (Jeong et al., ECCV 2022 Workshops).

The public face: `read` answers for a photograph and `read_many` for many; `Recipe` and `Member` say what is trained,
`Store` is the faces, `train` leaves a finished run, `predict` answers for its faces. The rooms behind it are in
lsdkit/README.md.

>>> import lsdkit
>>> member = lsdkit.Member.of("smoke", mix="mixup", appearance="dino", bag=1)
>>> member.recipe.heads, member.name
(4, 'smoke-mixup-dino-basic-bag1-seed0')
"""

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lsdkit.data.store import Store
    from lsdkit.prediction import predict
    from lsdkit.reading.reading import read, read_many
    from lsdkit.recipes import Member, Recipe
    from lsdkit.training.member import train_member as train

__version__ = "0.1.0"
__all__ = ["Member", "Recipe", "Store", "predict", "read", "read_many", "train"]

# Threads of torch that wait for one another spin, for ever by default: beside other work on the machine a step then
# takes twice as long and more (docs/results.md). It has to be said before torch is loaded.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

_HOMES = {
    "Recipe": ("recipes", "Recipe"),
    "Member": ("recipes", "Member"),
    "Store": ("data.store", "Store"),
    "train": ("training.member", "train_member"),
    "predict": ("prediction", "predict"),
    "read": ("reading.reading", "read"),
    "read_many": ("reading.reading", "read_many"),
}


def __getattr__(name: str) -> object:
    """Load a name of the public face when it is first used: torch and pandas take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lsdkit' has no attribute {name!r}; its names are {', '.join(__all__)}")
    module, attribute = _HOMES[name]
    globals()[name] = value = getattr(importlib.import_module(f"lsdkit.{module}"), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
