"""Predictions of a trained network over rows of a store, in batches and in float32, and its scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import inter_ocular_error, mean_landmarks
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import Store
from lsdkit.method import metrics
from lsdkit.method.backbones import mark_aligned
from lsdkit.method.network import MultiTask
from lsdkit.method.views import to_float
from lsdkit.recipes import Member
from lsdkit.training import checkpoints
from lsdkit.training.predictions import answers_of, prediction_table
from lsdkit.training.runs import read_run


def load_faces(images: np.ndarray, rows: np.ndarray, member: Member, device: torch.device) -> torch.Tensor:
    """Faces of these rows as the network takes them: (B, 3, S, S) float32 RGB in [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images[rows]))  # uint8 (B, H, W, 3)
    return to_float(pixels, member.recipe.image_size, device).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _forward(
    forward: Callable, images: np.ndarray, rows: np.ndarray, member: Member, device: torch.device, check: Callable
) -> list[np.ndarray]:
    """What a network's pass gives for these rows, in batches and float32; `check` is called after each batch."""
    parts, size = [], member.recipe.batch_size
    for start in range(0, len(rows), size):
        parts.append(forward(load_faces(images, rows[start : start + size], member, device)).float().cpu().numpy())
        check()
    return parts


def predict_logits(
    network: MultiTask,
    faces: Store | np.ndarray,
    rows: np.ndarray,
    member: Member,
    device: torch.device,
    check: Callable = lambda: None,
    *,
    aligned: bool = True,
) -> np.ndarray:
    """Logits (B, 6) float32 of these rows of `faces`, a store or uint8 (N, H, W, 3), from the emotion branch alone.

    Of a network that learned neutral and contempt as well, the logits of the six expressions. `check` is called after
    each batch. `aligned`: whether an array's faces are cut as our alignment cuts them; a store says so itself. Raises
    `FloatingPointError`, naming the face, where a logit is not finite.
    """
    images = faces.images if isinstance(faces, Store) else faces
    mark_aligned(network, faces.aligned if isinstance(faces, Store) else aligned)
    parts = _forward(network.eval(), images, rows, member, device, check)
    logits = np.concatenate([np.empty((0, member.recipe.classes), np.float32), *parts])[:, : len(EXPRESSIONS)]
    broken = rows[~np.isfinite(logits).all(1)]
    if len(broken):
        face = faces.keys[broken[0]] if isinstance(faces, Store) else broken[0]
        raise FloatingPointError(f"Expected finite logits, but those of face {face} are not: the network has diverged")
    return logits


def read_features(
    network: MultiTask, store: Store, rows: np.ndarray, member: Member, device: torch.device
) -> np.ndarray:
    """Features (B, D) float32 of these rows, from the emotion branch: what the affinity loss gathers by class."""
    mark_aligned(network.eval(), store.aligned)
    parts = _forward(lambda x: network.forward_emotion(x).features, store.images, rows, member, device, lambda: None)
    return np.concatenate([np.empty((0, member.recipe.features), np.float32), *parts])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (B, 6) float64 from logits (B, 6)."""
    return F.softmax(torch.from_numpy(logits).double(), dim=1).numpy()


def validate(
    network: MultiTask, store: Store, member: Member, device: torch.device, check: Callable = lambda: None
) -> dict[str, float]:
    """Macro F1 in [0, 1] and mean cross-entropy (nats, unweighted) over the labelled validation faces."""
    rows = labelled_rows(store, "validation")
    logits, labels = predict_logits(network, store, rows, member, device, check), store.labels[rows]
    loss = F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    return {"val_macro_f1": metrics.macro_f1(labels, logits.argmax(1)), "val_loss": float(loss)}


def labelled_rows(store: Store, split: str) -> np.ndarray:
    """Rows of a split whose label is one of the six expressions."""
    rows = store.rows(split)
    labels = store.labels[rows]
    return rows[(labels >= 0) & (labels < len(EXPRESSIONS))]


def predict_store(network: MultiTask, store: Store, member: Member, device: torch.device) -> pd.DataFrame:
    """Predictions for every validation and test face, as `prediction_table`."""
    parts = {split: store.rows(split) for split in ("validation", "test")}
    rows = np.concatenate(list(parts.values()))
    splits = [split for split, part in parts.items() for _ in part]
    probabilities = softmax(predict_logits(network, store, rows, member, device))
    return prediction_table([store.keys[row] for row in rows], splits, store.labels[rows], probabilities)


def score_predictions(predictions: pd.DataFrame) -> dict:
    """`val_macro_f1`, `val_f1` and `val_balanced_accuracy`; the same as `test_...` where test labels are known."""
    found = {}
    for prefix, split in (("val", "validation"), ("test", "test")):
        labels, predicted = answers_of(predictions, split)
        if len(labels):
            found[f"{prefix}_macro_f1"] = metrics.macro_f1(labels, predicted)
            per_class = metrics.f1_per_class(labels, predicted).tolist()
            found[f"{prefix}_f1"] = dict(zip(EXPRESSIONS, per_class, strict=True))
            found[f"{prefix}_balanced_accuracy"] = metrics.balanced_accuracy(labels, predicted)
    return found


def measure_landmarks(network: MultiTask, store: Store, member: Member, device: torch.device) -> float | None:
    """Mean `inter_ocular_error` over the validation faces that have landmarks; None where none has, or no branch is.

    The appearance branch learns from colour-jittered, unmoved faces: this says how well it places points on new ones.
    """
    rows = store.rows("validation")
    rows = rows[np.isfinite(store.landmarks[rows]).any(axis=(1, 2))]
    if not network.multitask or not len(rows):
        return None
    mark_aligned(network, store.aligned)
    parts = _forward(network.eval().forward_landmarks, store.images, rows, member, device, lambda: None)
    return _mean_error(np.concatenate(parts), store.landmarks[rows])


def measure_mean_shape(store: Store, trained_on: np.ndarray) -> float | None:
    """What `measure_landmarks` would give a network that answers the mean landmarks of these rows for every face.

    None where none of them has all its landmarks.
    """
    if not np.isfinite(store.landmarks[trained_on]).all((1, 2)).any():
        return None
    truth = store.landmarks[store.rows("validation")]
    return _mean_error(np.broadcast_to(mean_landmarks(store.landmarks[trained_on]), truth.shape), truth)


def _mean_error(points: np.ndarray, truth: np.ndarray) -> float | None:
    errors = inter_ocular_error(points, truth)  # (N,)
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else None


def load_network(run_dir: Path | str, device: torch.device | str = "cpu", *, aligned: bool = True) -> MultiTask:
    """The trained network of a finished run, in evaluation mode: `network(faces (B, 3, S, S) in [0, 1])` gives logits.

    `aligned`: whether the faces to come are cut as our alignment cuts them; others are seen whole. Raises
    `FileNotFoundError` for an unfinished run, `checkpoints.Damaged` where weights.pt is not what was written, and
    `ValueError` where its tensors are those of another version of a backbone.
    """
    run = read_run(run_dir)
    run.check_file("weights.pt")
    member = run.member
    network = MultiTask.build(member, torch_generator(member.seed, "load"))
    try:
        network.load_state_dict(checkpoints.read_weights(run_dir)["state"])
    except RuntimeError as error:
        raise ValueError(
            f"Expected weights in {run_dir} that fit the network of its settings, but they are those of "
            f"another version of its backbone {member.recipe.emotion} or other parts; train it again, in a new folder"
        ) from error
    mark_aligned(network, aligned)
    return network.to(device, memory_format=torch.channels_last).eval()
