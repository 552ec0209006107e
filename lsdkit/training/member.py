"""Training of one member: the two-branch network as a task of the loop, and all that a run leaves.

Every draw is a function of (seed, bag, epoch, step), so a run that is killed at any step and started again makes the
same steps: it ends with the same weights, bit for bit, as one that was not (same device and number of threads; on a
GPU, kernels that add in no fixed order can still differ in the last bits).

The optimiser is Adam with the learning rate multiplied by `lr_decay` after each epoch (paper section 3.1 names an
exponential decay and not its rate); the centres of the affinity loss are parameters like all others. The kept epoch is
the one of the best macro F1 on the validation faces, the earlier one of two equal ones. Where the recipe asks for a
running mean of weights (`lsdkit.training.averaging`), that mean is what is scored and kept.
"""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lsdkit.common.files import describe_difference, write_table
from lsdkit.common.landmarks import mean_landmarks
from lsdkit.common.machine import list_versions
from lsdkit.common.paths import project_path
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import Store
from lsdkit.method.backbones import mark_aligned
from lsdkit.method.losses import class_weights
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import step_loss
from lsdkit.recipes import Member, check_number
from lsdkit.training import checkpoints, evaluation
from lsdkit.training.averaging import measure_statistics, running_mean
from lsdkit.training.directions import fit_directions
from lsdkit.training.landmarks import note_landmarks
from lsdkit.training.launching import train_on_several
from lsdkit.training.lines import Lines
from lsdkit.training.loop import fit
from lsdkit.training.memory import less_memory
from lsdkit.training.ownership import claim_folder, find_finished, hold_run_folder, identify
from lsdkit.training.processes import ALONE, Alone, join, started
from lsdkit.training.progress import Progress
from lsdkit.training.runs import FORMAT, Run, read_run, sum_files, write_run
from lsdkit.training.sampling import batches, count_by_name, training_rows
from lsdkit.training.starting import start_branches

MEASURED = 4  # batches that batch norm's statistics are measured over
PARTS = ("expression", "affinity", "partition", "landmarks")


def train_member(
    member: Member,
    store: Store,
    folder: Path | str,
    *,
    device: str = "auto",
    devices: int = 1,
    progress: bool = True,
    checkpoint_every: float = 300.0,
    on_epoch: Callable[[dict], None] | None = None,
) -> Run:
    """Train one member on a store and leave its files in `folder` (see `lsdkit.training.runs`).

    A finished run of the same member on the same data is returned untouched; one that was interrupted goes on where it
    stood; one whose files are not what its result tells of is trained again, with a warning. `device` is "auto" (a CUDA
    device where there is one), "cpu", "cuda" or "cuda:N". `devices`: how many of them make the run together, each in a
    process of its own (`lsdkit.training.processes`); the same training as on one, up to rounding. A script that
    torchrun has started takes the processes there are. A checkpoint is written after each epoch and, inside one,
    every `checkpoint_every` seconds. `on_epoch` is called with each new row of the
    history. SIGTERM and an interrupt (Ctrl-C, Jupyter's stop button) are answered after the step under way: the
    checkpoint is written, then `SystemExit` or `KeyboardInterrupt` is raised.

    Raises `ValueError`, before any work, where the folder holds the run of another member or data, where another
    process trains in it, where the store lacks faces to train on or to validate with, for an unknown device, or fewer
    devices than asked for;
    `FloatingPointError`, naming epoch and step, where the loss is not finite (the last good checkpoint stays).
    """
    check_number("DEVICES", devices, int)
    if devices < 1:
        raise ValueError(f"Expected `DEVICES` of at least 1, but got {devices}")
    folder, options = Path(folder), {"device": device, "progress": progress, "checkpoint_every": checkpoint_every}
    if devices > 1 and started() == 1:
        return train_on_several(member, store, folder, devices, on_epoch, **options)
    processes = join(device, devices)
    with ExitStack() as held:

        def begin() -> tuple[dict, Run | None]:
            held.enter_context(hold_run_folder(folder))
            identity = identify(member, store)
            return identity, find_finished(folder, identity)

        identity, finished = processes.on_first(begin)
        if finished is not None:
            return finished
        task = MemberTask(member, store, processes.device, processes)  # a wrong member ends here, and claims nothing
        processes.on_first(lambda: claim_folder(folder, identity))
        run = Run(
            folder=folder,
            member=member,
            kind=store.kind,
            store=str(project_path(store.path)),
            checksums=identity["store"],
            view=store.view,
            started_from=task.started_from,
            **_describe_machine(processes),
        )
        reached = _resume(task, run, identity)
        noted = folder, task.scored, store, member, task.device
        if processes.first and not reached.epoch + reached.step:
            note_landmarks(*noted, 0)
        scored = (task.criterion, "validation macro F1")
        silent = not (progress and processes.first)
        lines = Lines(reached, member.epochs, len(task.batches(0)), *scored, silent=silent)

        def end_epoch(row: dict) -> None:
            if not processes.first:
                return
            write_table(folder / "history.csv", pd.DataFrame(reached.history))
            note_landmarks(*noted, row["epoch"])
            lines.end_epoch(row)
            if on_epoch is not None:
                on_epoch(row)

        def save() -> None:
            if processes.first:
                _save(task, run, reached, identity)

        told = {"on_step": lines.end_step, "on_epoch": end_epoch}
        try:
            fit(task, reached, save, checkpoint_every=checkpoint_every, processes=processes, **told)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"Epoch {reached.epoch + 1}, step {reached.step + 1}: {error}. The last good checkpoint stays in "
                f"{folder}; lower `learning_rate`, or use precision float32, in a new RUN_DIR"
            ) from error
        return processes.on_first(lambda: _finish(task, run, reached))


class MemberTask:
    """A member's training as a task of `lsdkit.training.loop`: the two-branch network, its optimiser, its faces."""

    measures = ("loss", *PARTS)
    criterion = "val_macro_f1"

    def __init__(self, member: Member, store: Store, device: torch.device, processes: Alone = ALONE):
        recipe, self.processes = member.recipe, processes
        self.member, self.store, self.device, self.epochs = member, store, device, member.epochs
        if recipe.statistics == "measured" and not recipe.averaging:
            raise ValueError(
                "Expected `averaging` above 0 with `statistics` measured, but got 0: add statistics=averaged to it"
            )
        self.rows, self.notes = training_rows(member, store)  # the faces trained on
        self.network = MultiTask.build(member, torch_generator(member.seed, "init", member.bag))
        self.started_from = start_branches(self.network, recipe, member.appearance)
        for role, start in self.started_from.items():
            if start["kind"] == "random" and getattr(self.network, role).backbone.frozen:
                self.notes = [*self.notes, f"The {role} branch's frozen parts are random: they learn nothing"]
        if self.network.multitask and recipe.landmark_start == "mean":
            self.network.start_landmarks(torch.from_numpy(mean_landmarks(store.landmarks[self.rows])))
        mark_aligned(self.network, store.aligned)
        self.network.to(device, memory_format=torch.channels_last)
        rates = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
        self.optimiser = torch.optim.Adam(self.network.parameters(), **rates)
        self.mean = running_mean(self.network, recipe.averaging)  # of the weights, where the recipe asks for one

    @property
    def counts(self) -> np.ndarray:
        """int64 (K,): the faces trained on, by class."""
        return np.bincount(self.store.labels[self.rows], minlength=self.member.recipe.classes)

    @cached_property
    def class_weights(self) -> torch.Tensor | None:
        form = self.member.recipe.class_weights
        weights = None if form == "none" else class_weights(torch.from_numpy(self.counts), form)
        return weights if weights is None else weights.float().to(self.device)

    @property
    def scored(self) -> MultiTask:
        """The network that is scored and kept."""
        return self.network if self.mean is None else self.mean.module

    def start_epoch(self, epoch: int) -> dict[str, float]:
        rate = self.member.recipe.learning_rate * self.member.recipe.lr_decay**epoch
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        return {"lr": rate}

    def batches(self, epoch: int) -> Sequence[np.ndarray]:
        return batches(self.member, self.rows, self.store.labels[self.rows], epoch)

    def step(self, batch: np.ndarray, epoch: int, step: int) -> Sequence[float]:
        with self.processes.share_step(self.network):
            with less_memory(self.network, self.member.recipe.memory):
                loss, parts = self._loss(self.network, batch, "step", epoch, step)
            values = torch.stack([loss.detach(), *(parts[name] for name in PARTS)]).tolist()
            if not all(map(math.isfinite, values)):
                each = ", ".join(f"{name} {value}" for name, value in zip(PARTS, values[1:], strict=True))
                raise FloatingPointError(f"the loss is {values[0]} ({each})")
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
        self.processes.average_gradients(self.network)
        self.optimiser.step()
        if self.mean is not None:
            self.mean.update_parameters(self.network)
        return values

    def _loss(self, network: MultiTask, batch: np.ndarray, *draw: object) -> tuple[torch.Tensor, dict]:
        """L_Total of a batch of rows and its parts, with the draws of this name."""
        store, member, (purpose, *place) = self.store, self.member, draw
        return step_loss(
            network,
            torch.from_numpy(np.ascontiguousarray(store.images[batch])),
            torch.from_numpy(store.labels[batch]),
            torch.from_numpy(np.ascontiguousarray(store.landmarks[batch])),
            member=member,
            generator=torch_generator(member.seed, purpose, member.bag, *place),
            device=self.device,
            class_weights=self.class_weights,
        )

    def score(self, check: Callable[[], None]) -> dict[str, float]:
        return self.processes.on_first(partial(self._score, check))

    def _score(self, check: Callable[[], None]) -> dict[str, float]:
        if self.mean is not None and self.member.recipe.statistics == "measured":
            some = enumerate(self.batches(0)[:MEASURED])
            passes = (partial(self._loss, self.scored, batch, "statistics", number) for number, batch in some)
            measure_statistics(self.scored, passes)
        return evaluation.validate(self.scored, self.store, self.member, self.device, check)

    def scored_state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.scored.state_dict().items()}

    def state(self) -> dict[str, dict]:
        """Everything that a checkpoint holds of it; `FloatingPointError` where a weight is not finite."""
        if not all(bool(tensor.isfinite().all()) for tensor in self.network.parameters()):
            raise FloatingPointError("a weight is not finite")
        parts = {"network": self.network, "optimiser": self.optimiser, "mean": self.mean}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load(self, state: dict[str, dict]) -> None:
        """Take up the state of a checkpoint."""
        for part in ("network", "optimiser", "mean"):
            if getattr(self, part) is not None:
                getattr(self, part).load_state_dict(state[part])


def _save(task: MemberTask, run: Run, progress: Progress, identity: dict) -> None:
    machine = {"device": run.device, "threads": run.threads}
    checkpoints.save(
        run.folder, {"identity": identity, "machine": machine, "progress": asdict(progress), **task.state()}
    )


def _resume(task: MemberTask, run: Run, identity: dict) -> Progress:
    """Where the folder's newest sound checkpoint stands, which the task takes up; the beginning where there is none."""
    processes = task.processes
    saved, damaged = processes.on_first(lambda: checkpoints.load(run.folder, identity))
    for note in damaged if processes.first else ():
        warnings.warn(note, stacklevel=3)
    progress = Progress(notes=task.notes)
    if saved is None:
        fit_directions(task.network, task.store, task.rows, task.member, task.device)
        processes.align(task.network)
    else:
        task.load(saved)
        progress = Progress(**saved["progress"])
        machine = _describe_machine(processes)
        if saved["machine"] != machine:
            change = describe_difference(machine, saved["machine"])
            progress.notes.append(f"Resumed at epoch {progress.epoch + 1}: {change}; the last bits can differ")
    progress.notes += damaged
    return progress


def _finish(task: MemberTask, run: Run, progress: Progress) -> Run:
    """Write everything about the kept epoch, the result last; then the checkpoints go."""
    member, store, best, folder = task.member, task.store, progress.best, run.folder
    start = time.monotonic()
    task.network.load_state_dict(best["state"])
    predictions = evaluation.predict_store(task.network, store, member, task.device)
    errors = {
        "landmark_nme": evaluation.measure_landmarks(task.network, store, member, task.device),
        "mean_shape_nme": evaluation.measure_mean_shape(store, task.rows),
    }
    write_table(folder / "predictions.csv", predictions)
    write_table(folder / "bag.csv", pd.DataFrame({"row": task.rows, "key": [store.keys[row] for row in task.rows]}))
    write_table(folder / "history.csv", pd.DataFrame(progress.history))
    checkpoints.save_weights(folder, {"format": FORMAT, "member": member.spec(), **best})
    counts = {"trained_on": task.counts} | {split: store.counts(split) for split in ("validation", "test")}
    finished = replace(
        run,
        metrics=evaluation.score_predictions(predictions)
        | {name: error for name, error in errors.items() if None not in (error, errors["landmark_nme"])},
        best_epoch=best["epoch"],
        counts={name: count_by_name(values) for name, values in counts.items()},
        seconds=progress.seconds + time.monotonic() - start,
        spec_hash=member.spec_hash(),
        weights_sha256=checkpoints.hash_weights(best["state"]),
        files=sum_files(folder),
        versions=list_versions(),
        notes=tuple(progress.notes),
    )
    write_run(finished)
    checkpoints.clear(folder)
    return read_run(folder)


def _describe_machine(processes: Alone) -> dict:
    device = processes.device
    card = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    name = f"{processes.size} x {device.type}" if processes.size > 1 else device
    return {"device": f"{name}{card}", "threads": torch.get_num_threads()}
