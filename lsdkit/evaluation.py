"""Predictions of a trained network over rows of a store, in batches and in float32, and its scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from lsdkit import checkpoints, metrics, results
from lsdkit.augment import to_float
from lsdkit.expressions import EXPRESSIONS
from lsdkit.multitask import MultiTask
from lsdkit.recipes import Member
from lsdkit.seeds import torch_generator
from lsdkit.store import Store

EYE_CORNERS = (36, 45)  # outer corners of the eyes among the 68 points: their distance is the unit of landmark errors


def faces(store: Store, rows: np.ndarray, member: Member, device: torch.device) -> torch.Tensor:
    """Faces of these rows as the network takes them: (B, 3, S, S) float32 RGB in [0, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(store.images[rows]))  # uint8 (B, H, W, 3)
    return to_float(images, member.recipe.image_size, device).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict_logits(
    network: MultiTask,
    store: Store,
    rows: np.ndarray,
    member: Member,
    device: torch.device,
    check: Callable = lambda: None,
) -> np.ndarray:
    """Logits (B, 6) float32 of these rows from the emotion branch alone, without augmentation.

    Of a network that learned neutral and contempt as well, the logits of the six expressions. `check` is called after
    each batch. Raises `FloatingPointError` where a logit is not finite.
    """
    network.eval()
    parts = [np.empty((0, len(EXPRESSIONS)), np.float32)]
    for start in range(0, len(rows), member.recipe.batch_size):
        chosen = rows[start : start + member.recipe.batch_size]
        logits = network.forward_emotion(faces(store, chosen, member, device)).logits[:, : len(EXPRESSIONS)]
        parts.append(logits.float().cpu().numpy())
        check()
    logits = np.concatenate(parts)
    if not np.isfinite(logits).all():
        face = store.keys[rows[np.flatnonzero(~np.isfinite(logits).all(1))[0]]]
        raise FloatingPointError(f"Expected finite logits, but those of face {face} are not: the network has diverged")
    return logits


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (B, 6) float64 from logits (B, 6)."""
    return F.softmax(torch.from_numpy(logits).double(), dim=1).numpy()


def validate(
    network: MultiTask, store: Store, member: Member, device: torch.device, check: Callable = lambda: None
) -> dict[str, float]:
    """Macro F1 in [0, 1] and mean cross-entropy (nats, unweighted) over the labelled validation faces."""
    rows = six_classes(store, "validation")
    logits, labels = predict_logits(network, store, rows, member, device, check), store.labels[rows]
    loss = F.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    return {"val_macro_f1": metrics.macro_f1(labels, logits.argmax(1)), "val_loss": float(loss)}


def six_classes(store: Store, split: str) -> np.ndarray:
    """Rows of a split whose label is one of the six expressions."""
    rows = store.rows(split)
    labels = store.labels[rows]
    return rows[(labels >= 0) & (labels < len(EXPRESSIONS))]


def predict(network: MultiTask, store: Store, member: Member, device: torch.device) -> pd.DataFrame:
    """Predictions for every validation and test face, as `results.prediction_table`."""
    parts = {split: store.rows(split) for split in ("validation", "test")}
    rows = np.concatenate(list(parts.values()))
    splits = [split for split, part in parts.items() for _ in part]
    probabilities = softmax(predict_logits(network, store, rows, member, device))
    return results.prediction_table([store.keys[row] for row in rows], splits, store.labels[rows], probabilities)


def scores(predictions: pd.DataFrame) -> dict:
    """`val_macro_f1`, `val_f1` and `val_balanced_accuracy`; the same as `test_...` where test labels are known."""
    found = {}
    for prefix, split in (("val", "validation"), ("test", "test")):
        labels, predicted = results.labelled(predictions, split)
        if len(labels):
            found[f"{prefix}_macro_f1"] = metrics.macro_f1(labels, predicted)
            per_class = metrics.f1_per_class(labels, predicted).tolist()
            found[f"{prefix}_f1"] = dict(zip(EXPRESSIONS, per_class, strict=True))
            found[f"{prefix}_balanced_accuracy"] = metrics.balanced_accuracy(labels, predicted)
    return found


def normalised_mean_error(predicted: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Landmark error of each face, (B,): mean distance of its points over the distance of its outer eye corners.

    Both (B, 68, 2) in the same unit. Points that are NaN in `landmarks` are left out; a face without its eye corners,
    or whose corners coincide, gives NaN.
    """
    distance = np.linalg.norm(predicted - landmarks, axis=2)  # (B, 68)
    unit = np.linalg.norm(landmarks[:, EYE_CORNERS[0]] - landmarks[:, EYE_CORNERS[1]], axis=1)  # (B,)
    usable = np.isfinite(unit) & (unit > 0)
    error = np.full(len(distance), np.nan)
    error[usable] = np.nanmean(distance[usable], axis=1) / unit[usable] if usable.any() else []
    return error


@torch.no_grad()
def landmark_error(network: MultiTask, store: Store, member: Member, device: torch.device) -> float | None:
    """Mean `normalised_mean_error` over the validation faces that have landmarks; None where none has, or no branch is.

    The appearance branch learns from colour-jittered, unmoved faces: this says how well it places points on new ones.
    """
    if not network.multitask:
        return None
    rows = store.rows("validation")
    rows = rows[np.isfinite(store.landmarks[rows]).any(axis=(1, 2))]
    network.eval()
    errors = [np.empty(0)]
    for start in range(0, len(rows), member.recipe.batch_size):
        chosen = rows[start : start + member.recipe.batch_size]
        points = network.forward_landmarks(faces(store, chosen, member, device))  # (B, 68, 2)
        errors.append(normalised_mean_error(points.float().cpu().numpy(), store.landmarks[chosen]))
    found = np.concatenate(errors)
    return float(np.nanmean(found)) if np.isfinite(found).any() else None


def load_network(run_dir: Path | str, device: torch.device | str = "cpu") -> MultiTask:
    """The trained network of a finished run, in evaluation mode: `network(faces (B, 3, S, S) in [0, 1])` gives logits.

    Raises `FileNotFoundError` for an unfinished run, `checkpoints.Damaged` where weights.pt is not what was written.
    """
    member = results.member_of(results.read_result(run_dir))
    network = MultiTask.build(member, torch_generator(member.seed, "load"))
    network.load_state_dict(checkpoints.load_weights(run_dir)["state"])
    return network.to(device, memory_format=torch.channels_last).eval()
