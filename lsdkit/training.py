"""Training of one member: fit, evaluate, keep the best epoch, checkpoint, resume.

Every draw is a function of (seed, bag, epoch, step), so a run that is killed at any step and started again makes the
same steps: it ends with the same weights, bit for bit, as one that was not (same device and number of threads; on a
GPU, kernels that add in no fixed order can still differ in the last bits).

The optimiser is Adam with the learning rate multiplied by `lr_decay` after each epoch (paper section 3.1 names an
exponential decay and not its rate); the centres of the affinity loss are parameters like all others. The kept epoch is
the one of the best macro F1 on the validation faces, the earlier one of two equal ones. Where the recipe asks for a
running mean of weights (`lsdkit.averaging`), that mean is what is scored and kept.
"""

import hashlib
import math
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import AveragedModel
from tqdm.auto import tqdm

import lsdkit
from lsdkit import checkpoints, evaluation, files, initial, results
from lsdkit.averaging import running_mean
from lsdkit.device import device_named
from lsdkit.interrupts import Interrupts, Stopped
from lsdkit.losses import class_weights
from lsdkit.multitask import MultiTask
from lsdkit.objective import step_loss
from lsdkit.paths import project_path
from lsdkit.recipes import Member
from lsdkit.sampling import batches, named_counts, training_rows
from lsdkit.seeds import torch_generator
from lsdkit.store import Store

PARTS = ("expression", "affinity", "partition", "landmarks")
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pandas", "scikit-learn")


@dataclass
class Progress:
    """How far a training has come: what a checkpoint holds beside the tensors of network, mean and optimiser."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the epoch under way
    faces: int = 0  # faces seen in those steps
    sums: list[float] = field(default_factory=lambda: [0.0] * (1 + len(PARTS)))  # of the loss and its parts, over faces
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)
    best: dict = field(default_factory=dict)  # epoch (from 1), val_macro_f1, state: what will be kept
    notes: list[str] = field(default_factory=list)  # what a reader of the result should know


@dataclass
class Run:
    """One training under way."""

    member: Member
    store: Store
    rows: np.ndarray  # the faces trained on
    folder: Path
    identity: dict
    device: torch.device
    started_from: dict[str, dict]  # which weights each branch began with, and what became of each key
    network: MultiTask
    mean: AveragedModel | None  # the running mean of the network's weights, where the recipe asks for one
    optimiser: torch.optim.Optimizer
    progress: Progress

    @property
    def scored(self) -> MultiTask:
        """The network that is scored and kept."""
        return self.network if self.mean is None else self.mean.module


def train_member(
    member: Member,
    store: Store,
    run_dir: Path | str,
    *,
    device: str = "auto",
    progress: bool = True,
    checkpoint_every: float = 300.0,
    on_epoch: Callable[[dict], None] | None = None,
) -> dict:
    """Train one member on a store and leave its files in `run_dir`; returns the result (see `lsdkit.results`).

    A finished run of the same member on the same data is returned untouched; one that was interrupted goes on where it
    stood. `device` is "auto" (a CUDA device where there is one), "cpu", "cuda" or "cuda:N". A checkpoint is written
    after each epoch and, inside one, every `checkpoint_every` seconds. `on_epoch` is called with each new row of the
    history. SIGTERM and an interrupt (Ctrl-C, Jupyter's stop button) are answered after the step under way: the
    checkpoint is written, then `SystemExit` or `KeyboardInterrupt` is raised.

    Raises `ValueError`, before any work, where the folder holds the run of another member or data, where another
    process trains in it, where the store lacks faces to train on or to validate with, or for an unknown device;
    `FloatingPointError`, naming epoch and step, where the loss is not finite (the last good checkpoint stays).
    """
    folder, where = Path(run_dir), device_named(device)
    with checkpoints.alone(folder):
        return _train(member, store, folder, where, bar=progress, checkpoint_every=checkpoint_every, on_epoch=on_epoch)


def _train(member: Member, store: Store, folder: Path, where: torch.device, **options) -> dict:
    """`train_member` once the folder is ours; `options` are those of `fit`."""
    identity = identity_of(member, store)
    finished = _claim(folder, identity)
    if finished is not None:
        return finished
    rows, notes = training_rows(member, store)
    network = MultiTask.build(member, torch_generator(member.seed, "init", member.bag))
    started_from = initial.start(network, member.recipe, member.appearance)
    network.to(where, memory_format=torch.channels_last)
    rates = {"lr": member.recipe.learning_rate, "weight_decay": member.recipe.weight_decay}
    optimiser, mean = torch.optim.Adam(network.parameters(), **rates), running_mean(network, member.recipe.averaging)
    started = Progress(notes=notes)
    run = Run(member, store, rows, folder, identity, where, started_from, network, mean, optimiser, started)
    _resume(run)
    fit(run, **options)
    return _finish(run)


def fit(run: Run, *, bar: bool, checkpoint_every: float, on_epoch: Callable[[dict], None] | None) -> None:
    """Train from where `run.progress` stands to the member's last epoch; changes `run` in place."""
    member, progress = run.member, run.progress
    weights = _class_weights(run)
    labels = run.store.labels[run.rows]
    per_epoch = len(batches(member, run.rows, labels, 0))
    mark = time.monotonic()  # when `progress.seconds` was brought up to date

    def checkpoint() -> None:
        nonlocal mark
        now = time.monotonic()
        progress.seconds, mark = progress.seconds + now - mark, now
        save(run)

    total, done = member.epochs * per_epoch, progress.epoch * per_epoch + progress.step
    with tqdm(total=total, initial=done, desc=member.name, disable=not bar) as line, Interrupts() as interrupts:
        try:
            while progress.epoch < member.epochs:
                rate = member.recipe.learning_rate * member.recipe.lr_decay**progress.epoch
                for group in run.optimiser.param_groups:
                    group["lr"] = rate
                run.network.train()
                for chosen in batches(member, run.rows, labels, progress.epoch)[progress.step :]:
                    take_step(run, chosen, weights)
                    line.update()
                    if time.monotonic() - mark > checkpoint_every:
                        checkpoint()
                    interrupts.check()
                scores = evaluation.validate(run.scored, run.store, member, run.device, interrupts.check)
                means = [value / progress.faces for value in progress.sums]
                seconds = progress.seconds + time.monotonic() - mark - sum(row["seconds"] for row in progress.history)
                row = {"epoch": progress.epoch + 1, "lr": rate, **dict(zip(("loss", *PARTS), means, strict=True))}
                row |= scores | {"seconds": seconds}
                end_epoch(run, row)
                checkpoint()
                results.write_table(run.folder / "history.csv", pd.DataFrame(progress.history))
                line.set_postfix(loss=f"{row['loss']:.3f}", val_macro_f1=f"{row['val_macro_f1']:.3f}")
                if on_epoch is not None:
                    on_epoch(row)
                interrupts.check()
        except Stopped as stopped:
            checkpoint()
            raise stopped.reason from None


def take_step(run: Run, chosen: np.ndarray, weights: torch.Tensor | None) -> None:
    """One step of the optimiser on the faces of these rows; `FloatingPointError` for a loss that is not finite."""
    member, store, progress = run.member, run.store, run.progress
    loss, parts = step_loss(
        run.network,
        torch.from_numpy(np.ascontiguousarray(store.images[chosen])),
        torch.from_numpy(store.labels[chosen]),
        torch.from_numpy(np.ascontiguousarray(store.landmarks[chosen])),
        member=member,
        generator=torch_generator(member.seed, "step", member.bag, progress.epoch, progress.step),
        device=run.device,
        class_weights=weights,
    )
    values = torch.stack([loss.detach(), *(parts[name] for name in PARTS)]).tolist()
    if not all(map(math.isfinite, values)):
        _diverged(
            run, f"the loss is {values[0]} ({', '.join(f'{n} {v}' for n, v in zip(PARTS, values[1:], strict=True))})"
        )
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    run.optimiser.step()
    if run.mean is not None:
        run.mean.update_parameters(run.network)
    progress.step += 1
    progress.faces += len(chosen)
    progress.sums = [total + len(chosen) * value for total, value in zip(progress.sums, values, strict=True)]


def end_epoch(run: Run, row: dict) -> None:
    """Add the epoch's row to the history, keep its weights where they are the best yet, and turn to the next epoch."""
    progress = run.progress
    progress.history.append(row)
    if not progress.best or row["val_macro_f1"] > progress.best["val_macro_f1"]:
        state = {name: tensor.detach().cpu().clone() for name, tensor in run.scored.state_dict().items()}
        progress.best = {"epoch": row["epoch"], "val_macro_f1": row["val_macro_f1"], "state": state}
    progress.epoch, progress.step, progress.faces, progress.sums = progress.epoch + 1, 0, 0, Progress().sums


def identity_of(member: Member, store: Store) -> dict:
    """What decides which weights come out: the member's settings, the data, the weight files that it starts from.

    The data are the pixels, the landmarks and the table of keys, splits and expressions; not where they lie on disk.
    """
    checksums = {name: store.manifest["checksums"][name] for name in ("images.npy", "landmarks.npy")}
    table = store.faces[["key", "split", "expression"]].to_csv(index=False, lineterminator="\n")
    checksums["faces"] = hashlib.sha256(table.encode()).hexdigest()
    given = initial.fingerprints(member.recipe, member.appearance)
    return {"member": member.spec(), "store": checksums, "weights": given}


def save(run: Run) -> None:
    """Write a checkpoint. Raises `FloatingPointError`, and keeps the last good one, where a weight is not finite."""
    if not all(bool(tensor.isfinite().all()) for tensor in run.network.parameters()):
        _diverged(run, "a weight is not finite")
    tensors = {"network": run.network.state_dict(), "optimiser": run.optimiser.state_dict()}
    tensors |= {} if run.mean is None else {"mean": run.mean.state_dict()}
    state = {"identity": run.identity, "machine": _machine(run), "progress": asdict(run.progress), **tensors}
    checkpoints.save(run.folder, state)


def _claim(folder: Path, identity: dict) -> dict | None:
    """Make the folder this training's own, or raise `ValueError`; returns its result where it is finished."""
    claim = folder / "member.json"
    if claim.is_file():
        owner = files.read_json(claim)
        if owner != identity:
            raise ValueError(
                f"{folder} holds another training: {checkpoints.difference(owner, identity)}; "
                "choose another RUN_DIR or remove the folder"
            )
        if results.result_path(folder).is_file():
            return results.read_result(folder)
    elif results.result_path(folder).exists():
        raise ValueError(
            f"Expected member.json beside the result in {folder}; choose another RUN_DIR or remove the folder"
        )
    else:
        files.write_json(claim, identity)
    return None


def _resume(run: Run) -> None:
    saved, damaged = checkpoints.load(run.folder, run.identity)
    for note in damaged:
        warnings.warn(note, stacklevel=3)
    if saved is not None:
        run.network.load_state_dict(saved["network"])
        run.optimiser.load_state_dict(saved["optimiser"])
        if run.mean is not None:
            run.mean.load_state_dict(saved["mean"])
        run.progress = Progress(**saved["progress"])
        if saved["machine"] != _machine(run):
            change = checkpoints.difference(_machine(run), saved["machine"])
            run.progress.notes.append(f"Resumed at epoch {run.progress.epoch + 1}: {change}; the last bits can differ")
    run.progress.notes += damaged


def _class_weights(run: Run) -> torch.Tensor | None:
    recipe = run.member.recipe
    if recipe.class_weights == "none":
        return None
    counts = np.bincount(run.store.labels[run.rows], minlength=recipe.classes)
    return class_weights(torch.from_numpy(counts), recipe.class_weights).float().to(run.device)


def _machine(run: Run) -> dict:
    card = f" ({torch.cuda.get_device_name(run.device)})" if run.device.type == "cuda" else ""
    return {"device": f"{run.device}{card}", "threads": torch.get_num_threads()}


def _diverged(run: Run, what: str) -> None:
    progress = run.progress
    raise FloatingPointError(
        f"Epoch {progress.epoch + 1}, step {progress.step + 1}: {what}. The last good checkpoint stays in "
        f"{run.folder}; lower `learning_rate`, or use precision float32, in a new RUN_DIR"
    )


def _finish(run: Run) -> dict:
    """Write everything about the kept epoch, the result last; then the checkpoints go."""
    member, store, best = run.member, run.store, run.progress.best
    start = time.monotonic()
    run.network.load_state_dict(best["state"])
    predictions = evaluation.predict(run.network, store, member, run.device)
    error = evaluation.landmark_error(run.network, store, member, run.device)
    results.write_table(run.folder / "predictions.csv", predictions)
    bag = pd.DataFrame({"row": run.rows, "key": [store.keys[row] for row in run.rows]})
    results.write_table(run.folder / "bag.csv", bag)
    results.write_table(run.folder / "history.csv", pd.DataFrame(run.progress.history))
    checkpoints.save_weights(run.folder, {"format": results.FORMAT, "member": member.spec(), **best})
    trained_on = np.bincount(store.labels[run.rows], minlength=member.recipe.classes)
    counts = {"trained_on": named_counts(trained_on)} | {
        s: named_counts(store.counts(s)) for s in ("validation", "test")
    }
    packages = {name: version(name) for name in PACKAGES}
    result = {
        "name": member.name,
        "member": member.spec(),
        "spec_hash": member.spec_hash(),
        "kind": store.kind,
        "metrics": evaluation.scores(predictions) | ({} if error is None else {"landmark_nme": error}),
        "best_epoch": best["epoch"],
        "counts": counts,
        "seed": member.seed,
        **_machine(run),
        "seconds": run.progress.seconds + time.monotonic() - start,
        "versions": {"lsdkit": lsdkit.__version__, "python": platform.python_version(), **packages},
        "weights": run.started_from,
        "weights_sha256": results.weights_sha256(best["state"]),
        "store": {"path": str(project_path(store.path)), "checksums": run.identity["store"]},
        "notes": run.progress.notes,
    }
    results.write_result(run.folder, result)
    checkpoints.clear(run.folder)
    return results.read_result(run.folder)
