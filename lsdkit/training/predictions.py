"""Predictions as a table: a row a face with its key, split, expression ("" = unknown) and six probabilities."""

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS, name_of


def prediction_table(keys: list[str], splits: list[str], labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The table, columns key, split, expression and a probability for each of `EXPRESSIONS`.

    `labels`: (B,) with -1 for unknown; `probabilities`: (B, 6) in [0, 1].
    """
    table = pd.DataFrame(np.asarray(probabilities, dtype=np.float64), columns=list(EXPRESSIONS))
    table.insert(0, "expression", [name_of(int(label)) for label in labels])
    table.insert(0, "split", splits)
    table.insert(0, "key", keys)
    return table


def probabilities_of(predictions: pd.DataFrame) -> np.ndarray:
    """The six probabilities of each face, (B, 6) float64."""
    return predictions[list(EXPRESSIONS)].to_numpy(np.float64)


def labels_of(predictions: pd.DataFrame) -> np.ndarray:
    """The true class of each face, (B,) int64 in 0..5; -1 where it is unknown or none of the six."""
    return pd.Index(EXPRESSIONS).get_indexer(predictions["expression"]).astype(np.int64)


def select_labelled(predictions: pd.DataFrame, *splits: str) -> pd.DataFrame:
    """The rows of the faces of these splits that show one of the six expressions."""
    return predictions[predictions["split"].isin(splits) & predictions["expression"].isin(EXPRESSIONS)]


def answers_of(predictions: pd.DataFrame, split: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes, both (B,) in 0..5, over the faces of `select_labelled`."""
    part = select_labelled(predictions, split)
    return labels_of(part), probabilities_of(part).argmax(1)
