"""What a run leaves in its folder, and how it is read back.

    result.json      the member's settings, the weights it started from, its scores, counts, versions, seed, seconds
    history.csv      one row an epoch: epoch, lr, loss and its four parts in training, val_macro_f1 and val_loss of what
                     is scored (the mean of weights, where there is one), seconds
    predictions.csv  key, split, expression and six probabilities for each validation and test face
    bag.csv          the faces trained on: row in the store and key
    weights.pt       the tensors of the kept epoch, with their checksum in weights.pt.sha256

`result.json` is written last: where it stands, the run is finished.
"""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lsdkit.expressions import EXPRESSIONS, name_of
from lsdkit.files import atomic, read_json, write_json
from lsdkit.recipes import Member, Recipe

FORMAT = 1
RUN_COLUMNS = (
    *("run", "path", "recipe", "mix", "appearance", "basic_aug", "bag", "seed", "epochs", "kind"),
    *("val_macro_f1", "test_macro_f1", "best_epoch", "trained_on", "seconds", "spec_hash", "weights_sha256"),
    *("emotion_weights", "appearance_weights"),
)


def result_path(run_dir: Path | str) -> Path:
    """Where a run's result lies once it is finished."""
    return Path(run_dir) / "result.json"


def read_result(run_dir: Path | str) -> dict:
    """The result of a finished run. Raises `FileNotFoundError` where there is none, `ValueError` for a damaged one."""
    path = result_path(run_dir)
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a finished run in {Path(run_dir)}, but it has no result.json; train it first"
        )
    result = read_json(path)
    if result.get("format") != FORMAT:
        raise ValueError(f"Expected format {FORMAT} in {path}, but got {result.get('format')!r}; train the run again")
    return result


def write_result(run_dir: Path | str, result: dict) -> None:
    """Write the result, whole or not at all. Raises `ValueError` for a number that JSON lacks (NaN, infinity)."""
    write_json(result_path(run_dir), {"format": FORMAT, **result})


def member_of(result: dict) -> Member:
    """The member that a result tells of. Raises `ValueError` where this version no longer knows its settings."""
    spec = dict(result["member"])
    settings = {name: _frozen(value) for name, value in spec.pop("recipe").items()}
    try:
        return Member(recipe=Recipe(**settings), **spec)
    except TypeError as error:
        raise ValueError(
            f"Expected the settings of this version of lsdkit in the result, but got others: {error}"
        ) from error


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def list_runs(folder: Path | str) -> pd.DataFrame:
    """The finished runs in `folder`, ordered by name: one row a run (none where none is), columns `RUN_COLUMNS`.

    `run` is the folder's name and `path` the folder; scores are in [0, 1], `test_macro_f1` is NaN where no test labels
    are known. Runs that are not finished are left out.
    """
    rows = []
    for path in sorted(Path(folder).glob("*/result.json")):
        result = read_result(path.parent)
        member, metrics, started = result["member"], result["metrics"], result.get("weights", {})
        rows.append(
            {
                **{name: member[name] for name in ("mix", "appearance", "basic_aug", "bag", "seed", "epochs")},
                **{name: result[name] for name in ("kind", "best_epoch", "seconds", "spec_hash", "weights_sha256")},
                "run": path.parent.name,
                "path": str(path.parent),
                "recipe": member["recipe"]["name"],
                "val_macro_f1": metrics["val_macro_f1"],
                "test_macro_f1": metrics.get("test_macro_f1", float("nan")),
                "trained_on": sum(result["counts"]["trained_on"].values()),
                "emotion_weights": started.get("emotion", {}).get("source", ""),
                "appearance_weights": started.get("appearance", {}).get("source", ""),
            }
        )
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def write_table(path: Path | str, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all; floats as %.9g, which gives a float32 back exactly."""
    with atomic(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.9g")


def prediction_table(keys: list[str], splits: list[str], labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Predictions as a table: key, split, expression ("" = unknown), a probability for each of `EXPRESSIONS`.

    `labels`: (B,) with -1 for unknown; `probabilities`: (B, 6) in [0, 1].
    """
    table = pd.DataFrame(np.asarray(probabilities, dtype=np.float64), columns=list(EXPRESSIONS))
    table.insert(0, "expression", [name_of(int(label)) for label in labels])
    table.insert(0, "split", splits)
    table.insert(0, "key", keys)
    return table


def read_predictions(run_dir: Path | str) -> pd.DataFrame:
    """A run's predictions: key, split, expression ("" = unknown) and a probability for each class."""
    return _read_csv(run_dir, "predictions.csv", dtype={"key": str, "split": str, "expression": str})


def read_history(run_dir: Path | str) -> pd.DataFrame:
    """A run's history: one row an epoch."""
    return _read_csv(run_dir, "history.csv")


def read_bag(run_dir: Path | str) -> pd.DataFrame:
    """The faces that a run was trained on: `row` in the store and `key`."""
    return _read_csv(run_dir, "bag.csv", dtype={"key": str})


def _read_csv(run_dir: Path | str, name: str, **options: object) -> pd.DataFrame:
    path = Path(run_dir) / name
    if not path.is_file():
        raise FileNotFoundError(f"Expected {name} in {Path(run_dir)}, but there is none; train the run first")
    return pd.read_csv(path, keep_default_na=False, na_values={"val_loss": [""], "val_macro_f1": [""]}, **options)


def probabilities_of(predictions: pd.DataFrame) -> np.ndarray:
    """The six probabilities of each face, (B, 6) float64."""
    return predictions[list(EXPRESSIONS)].to_numpy(np.float64)


def labels_of(predictions: pd.DataFrame) -> np.ndarray:
    """The true class of each face, (B,) int64 in 0..5; -1 where it is unknown or none of the six."""
    index = {name: number for number, name in enumerate(EXPRESSIONS)}
    return np.array([index.get(name, -1) for name in predictions["expression"]], dtype=np.int64)


def labelled(predictions: pd.DataFrame, split: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    """True and predicted classes, both (B,) in 0..5, over the faces of `split` whose expression is known."""
    part = predictions[predictions["split"] == split]
    labels, predicted = labels_of(part), probabilities_of(part).argmax(1)
    return labels[labels >= 0], predicted[labels >= 0]


def weights_sha256(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over tensors: names in sorted order, each with its type, shape and bytes; the same on CPU and GPU.

    >>> weights_sha256({"a": torch.zeros(2)}) == weights_sha256({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
