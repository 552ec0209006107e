"""`pretrain_dino`: a training with DINO from stores to a folder that is a source of weights.

    backbone.safetensors  the teacher's backbone after the last epoch, under the names of its graph
    backbone.json         which backbone that is, the settings, the scores before and after; written last
    history.csv           a row an epoch: rates, loss, the measures of collapse, the scores of the probes
    member.json, .lock    whose folder it is (`lsdkit.training.ownership`); until the end, checkpoints as well

No label chooses anything: the last epoch is kept.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from lsdkit.common.devices import choose_device
from lsdkit.common.files import Damaged, atomic, read_json, write_json, write_table
from lsdkit.common.machine import list_versions
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.combining import join_stores
from lsdkit.data.store import Store
from lsdkit.method import backbones
from lsdkit.selfsupervision.probes import list_collapses
from lsdkit.selfsupervision.settings import DinoSettings
from lsdkit.selfsupervision.task import DinoTask
from lsdkit.training import checkpoints
from lsdkit.training.lines import Lines
from lsdkit.training.loop import fit
from lsdkit.training.ownership import check_owner, claim_folder, hold_run_folder
from lsdkit.training.progress import Progress
from lsdkit.training.runs import is_finished
from lsdkit.weights.published import MADE, MADE_WEIGHTS, Published, fingerprint


@dataclass(frozen=True)
class SelfSupervised:
    """A finished training; its folder is what EMOTION_WEIGHTS or APPEARANCE_WEIGHTS is to name."""

    folder: Path
    backbone: str
    faces: int
    before: dict[str, float | None]  # the scores of the start
    after: dict[str, float | None]  # of what came out; None where the store has no labels or landmarks
    notes: tuple[str, ...]

    def __str__(self) -> str:
        place, words = project_path(self.folder), []
        for name in self.after:
            before, after = ("-" if v is None else f"{v:.3f}" for v in (self.before[name], self.after[name]))
            words.append(f"  {name:<18}{before:>8} ->{after:>7}")
        use = f"Use it with EMOTION_WEIGHTS={place} or APPEARANCE_WEIGHTS={place} where the backbone is {self.backbone}"
        return "\n".join([f"{place}: {self.backbone}, {self.faces} faces without labels", *words, *self.notes, use])


def pretrain_dino(
    stores: Sequence[str | Path],
    out: str | Path,
    settings: DinoSettings,
    *,
    kind: str = "",
    device: str = "auto",
    progress: bool = True,
    checkpoint_every: float = 300.0,
) -> SelfSupervised:
    """Train a backbone on the training faces of stores (and their split "extra"), whose labels it never sees.

    Several stores are joined first, in `out`-joined (`kind`: see `join_stores`). A finished training is kept, and one
    that was interrupted goes on. Warns of a collapse, naming which. Raises, before any training, `ValueError` for an
    unknown backbone or one that does not take crops of these sizes, for weights of another backbone, for a store with
    fewer than two faces and for a folder of another training; `FloatingPointError` where the loss is not finite.
    """
    out, place = resolve(out), choose_device(device)
    backbones.check_name(settings.backbone)
    weights = fingerprint(settings.weights)
    if not len(stores):
        raise ValueError("Expected at least one store to pre-train on, but got none; see docs/pretraining.md")
    opened = [Store.open(resolve(path)) for path in stores]
    store = opened[0]
    if len(opened) > 1:
        joined = out.with_name(f"{out.name}-joined")
        store = join_stores([each.path for each in opened], joined, kind=kind, progress=progress)
    store.verify()
    identity = {"settings": asdict(settings), "store": dict(store.manifest["checksums"]), "weights": weights}
    with hold_run_folder(out):
        if is_finished(out):
            raise ValueError(f"Expected a folder for a backbone, but {out} holds a member's run; choose another --out")
        if check_owner(out, identity, "choose another --out, or remove it") and (out / MADE).is_file():
            return read_dino(out)
        task = DinoTask(settings, store, place)  # what is wrong ends here, and claims nothing
        claim_folder(out, identity)
        before = task.measure(probe=True)
        reached = _resume(task, out, identity)
        scored = ("knn_macro_f1", "macro F1 of the nearest neighbours")
        lines = Lines(reached, task.epochs, task.per_epoch, *scored, silent=not progress)

        def end_epoch(row: dict) -> None:
            write_table(out / "history.csv", pd.DataFrame(reached.history))
            before_it, notes = map(list_collapses, (reached.history[:-1], reached.history))
            for kind in notes.keys() - before_it.keys():
                warnings.warn(notes[kind], stacklevel=2)
            lines.end_epoch(row)

        def save() -> None:
            checkpoints.save(out, {"identity": identity, "progress": asdict(reached), **task.state()})

        fit(task, reached, save, checkpoint_every=checkpoint_every, on_step=lines.end_step, on_epoch=end_epoch)
        return _finish(task, store, out, reached, before)


def read_dino(folder: Path | str) -> SelfSupervised:
    """The finished training in a folder; raises `FileNotFoundError` where there is none."""
    folder = Path(folder)
    if not (folder / MADE).is_file():
        raise FileNotFoundError(f"Expected {MADE} in {folder}, but there is none; run `lsdkit pretrain dino` first")
    result = read_json(folder / MADE, "run `lsdkit pretrain dino` again, in a new folder")
    try:
        backbone = result["published"]["backbone"]
        scores = result["before"], result["after"]
        return SelfSupervised(folder, backbone, result["faces"], *scores, tuple(result["notes"]))
    except (KeyError, TypeError) as error:
        raise Damaged(
            f"Expected what a training left in {folder / MADE}, but it lacks {error}; train it again"
        ) from error


def _resume(task: DinoTask, folder: Path, identity: dict) -> Progress:
    """Where the folder's newest sound checkpoint stands, which the task takes up; the beginning where there is none."""
    saved, damaged = checkpoints.load(folder, identity)
    for note in damaged:
        warnings.warn(note, stacklevel=3)
    if saved is None:
        return Progress(notes=damaged)
    task.load(saved)
    progress = Progress(**saved["progress"])
    progress.notes += damaged
    return progress


def _finish(task: DinoTask, store: Store, folder: Path, progress: Progress, before: dict) -> SelfSupervised:
    """Write the backbone, then what is known of it; then the checkpoints go."""
    settings, last = task.settings, progress.history[-1]
    write_table(folder / "history.csv", pd.DataFrame(progress.history))
    with atomic(folder / MADE_WEIGHTS) as temporary:
        save_file(progress.best["state"], temporary)
    made = Published(
        name="dino",
        backbone=settings.backbone,
        what=f"trained with DINO on {len(task.rows)} faces ({store.kind}), without labels",
        origin=f"lsdkit pretrain dino on {project_path(store.path)}, from {settings.weights}",
        licence="that of the faces and of the weights that it started from",
        file=MADE_WEIGHTS,
    )
    scores = {"before": before, "after": {name: last[name] for name in before}}
    result = {
        "published": asdict(made),
        "settings": asdict(settings),
        "faces": len(task.rows),
        **{when: {k: v if math.isfinite(v) else None for k, v in found.items()} for when, found in scores.items()},
        "store": {"path": str(project_path(store.path)), "checksums": dict(store.manifest["checksums"])},
        "device": str(task.device),
        "threads": torch.get_num_threads(),
        "seconds": progress.seconds,
        "versions": list_versions(),
        "weights_sha256": checkpoints.hash_weights(progress.best["state"]),
        "notes": [*progress.notes, *list_collapses(progress.history).values()],
    }
    write_json(folder / MADE, result)
    checkpoints.clear(folder)
    return read_dino(folder)
