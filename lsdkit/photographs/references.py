"""Reference lines: the regressions trained on photographs, beside which those trained on rendered faces are read.

Trained on the photographs of another collection, they say how well one collection's labels read another's; trained on
the same collection, by cross-validation in which nobody is in both parts, how well its own labellers can be imitated.
"""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import derive
from lsdkit.photographs.collection import Collection
from lsdkit.photographs.regressions import fit_all
from lsdkit.photographs.views import Faces


def answer_all(
    names: Sequence[str], collections: Mapping[str, Collection], folds: int = 5
) -> tuple[dict[tuple[str, str, str], np.ndarray], dict[str, str]]:
    """What regressions of these names, trained on photographs with a face, say of the photographs with a face.

    The first: (what it was trained on, collection, model) -> probabilities (B, 6). Trained on is the name of another
    collection, or "NAME, 5-fold by person". The second: what could not be trained on -> why, such as too few people or
    expressions.
    """
    answers, left_out = {}, {}
    for name, source in collections.items():
        (faces, rows), taken = source.target, source.photographs
        targets = {other: each.target for other, each in collections.items() if other != name}
        within = f"{name}, {folds}-fold by person"
        try:
            for model, (found, _) in fit_all(names, faces, rows, targets).items() if targets else ():
                answers |= {(name, other, model): each for other, each in found.items()}
        except ValueError as error:
            left_out[name] = str(error)
        try:
            for model, found in answer_within(names, faces, rows, taken.people[taken.has_face], folds).items():
                answers[within, name, model] = found
        except ValueError as error:
            left_out[within] = str(error)
    return answers, left_out


def answer_within(
    names: Sequence[str], faces: Faces, rows: np.ndarray, people: np.ndarray, folds: int = 5
) -> dict[str, np.ndarray]:
    """model -> probabilities (B, 6) of these rows, each by regressions that saw no photograph of its person.

    people (B,). Raises `ValueError` for fewer people than folds.
    """
    labels = faces.store.labels[rows]
    answers = {name: np.zeros((len(rows), len(EXPRESSIONS))) for name in names}
    place = draw_folds(labels, people, folds)
    for fold in range(folds):
        tests = {"fold": (faces, rows[place == fold])}
        for name, (found, _) in fit_all(names, faces, rows[place != fold], tests).items():
            answers[name][place == fold] = found["fold"]
    return answers


def draw_folds(labels: np.ndarray, people: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """The fold, 0 to folds - 1, of each photograph, (B,): nobody is in two, and expressions are spread where possible.

    labels (B,) in 0..5; people (B,). A function of its arguments alone. Raises `ValueError` for fewer people than
    folds, or fewer than so many photographs of every expression.

    >>> sorted(draw_folds(np.array([0, 0, 0, 1, 1, 1]), np.arange(6), 3).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    if (number := len(np.unique(people))) < folds:
        raise ValueError(f"Expected at least {folds} people, one a fold, but got {number}")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=derive(seed, "folds") % 2**32)
    place = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rare expressions miss some folds
        for fold, (_, chosen) in enumerate(splitter.split(labels, labels, people)):
            place[chosen] = fold
    return place
