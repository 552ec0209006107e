"""DINO as a task of the training loop (`lsdkit.training.loop`): student, teacher, centre, optimiser, schedules.

Every draw is a function of (seed, purpose, epoch, step), so that a training that is killed at any step and started
again ends with the same bits (same device and number of threads).
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import nn

from lsdkit.common.seeds import global_draws, torch_generator
from lsdkit.data.store import Store
from lsdkit.method import backbones
from lsdkit.method.views import to_float
from lsdkit.selfsupervision import dino, probes
from lsdkit.selfsupervision.crops import draw_crops
from lsdkit.selfsupervision.settings import DinoSettings
from lsdkit.weights import published
from lsdkit.weights.loading import fill

LEAST_RATE = 1e-6  # where the learning rate ends
PROBED = 2000  # faces of a split that the probes see, at most


class DinoTask:
    """Student, teacher, centre and optimiser, and the faces: a task of `lsdkit.training.loop`."""

    measures = ("loss",)
    criterion = "epoch"  # the last one is kept

    def __init__(self, settings: DinoSettings, store: Store, device: torch.device):
        self.settings, self.store, self.device, self.epochs = settings, store, device, settings.epochs
        self.rows = np.concatenate([store.rows("train"), store.rows("extra")])
        if len(self.rows) < 2:
            raise ValueError(
                f"Expected at least two faces in the splits train and extra of {store.path}, but got {len(self.rows)}; "
                "prepare it with --split train"
            )
        with global_draws(torch_generator(settings.seed, "dino", "init")):
            self.student, self.teacher = build_network(settings), build_network(settings)
        start_backbone(self.student.backbone, settings)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.centre = torch.zeros(settings.prototypes, device=device)  # (K,)
        for network in (self.student, self.teacher):
            network.to(device, memory_format=torch.channels_last)
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        groups = [[p for p in trained if p.ndim > 1], [p for p in trained if p.ndim < 2]]  # the second: no decay
        self.optimiser = torch.optim.AdamW([{"params": group} for group in groups], lr=0.0, weight_decay=0.0)
        self.epoch = 0

    @property
    def per_epoch(self) -> int:
        return max(1, len(self.rows) // self.settings.batch_size)  # a smaller last batch is left out

    @property
    def steps(self) -> int:
        return self.epochs * self.per_epoch

    def start_epoch(self, epoch: int) -> dict[str, float]:
        self.epoch = epoch
        for network in (self.student, self.teacher):
            backbones.mark_aligned(network.train(), False)  # a crop is no aligned face
        return self.schedule(epoch, 0)

    def schedule(self, epoch: int, step: int) -> dict[str, float]:
        """Learning rate, weight decay, teacher's momentum and temperature of a step (section 3.2)."""
        s, done = self.settings, epoch * self.per_epoch + step
        share, warm = done / self.steps, s.warmup_epochs * self.per_epoch
        rate = dino.follow_cosine(s.learning_rate, LEAST_RATE, max(0, done - warm) / max(1, self.steps - warm))
        return {
            "lr": rate * dino.follow_line(0, 1, done + 1, warm),
            "weight_decay": dino.follow_cosine(s.weight_decay, s.weight_decay_end, share),
            "momentum": dino.follow_cosine(s.momentum, 1.0, share),
            "temperature": dino.follow_line(
                s.teacher_temperature_start, s.teacher_temperature, epoch, s.temperature_epochs
            ),
        }

    def batches(self, epoch: int) -> Sequence[np.ndarray]:
        order = torch.randperm(len(self.rows), generator=torch_generator(self.settings.seed, "dino", "order", epoch))
        order, size = self.rows[order.numpy()], self.settings.batch_size
        return [order[size * number : size * (number + 1)] for number in range(self.per_epoch)]

    def step(self, batch: np.ndarray, epoch: int, step: int) -> Sequence[float]:
        s, now = self.settings, self.schedule(epoch, step)
        for group, decay in zip(self.optimiser.param_groups, (now["weight_decay"], 0.0), strict=True):
            group |= {"lr": now["lr"], "weight_decay": decay}
        generator = torch_generator(s.seed, "dino", "step", epoch, step)
        images = torch.from_numpy(np.ascontiguousarray(self.store.images[np.sort(batch)]))
        crops = [crop.to(self.device) for crop in draw_crops(images, s, generator)]
        with global_draws(generator, self.device):  # dropout, where a backbone has it
            with torch.no_grad():
                teacher = self.teacher(crops[:2])  # (2, B, K)
            student = self.student(crops)  # (V, B, K)
        temperatures = {"student_temperature": s.student_temperature, "teacher_temperature": now["temperature"]}
        loss = dino.dino_loss(student, teacher, self.centre, **temperatures)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"Epoch {epoch + 1}, step {step + 1}: the loss is {loss.item()}; lower the rate, in a new folder"
            )
        self.centre = dino.move_centre(self.centre, teacher, s.centre_momentum)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), s.clip)
        if epoch < s.frozen_epochs:
            self.student.head.prototypes.grad = None
        self.optimiser.step()
        dino.move_teacher(self.teacher, self.student, now["momentum"])
        return [loss.item()]

    def score(self, check: Callable[[], None]) -> dict[str, float]:
        last = self.epoch + 1 == self.epochs
        return self.measure(probe=last or (self.epoch + 1) % self.settings.probe_every == 0, check=check)

    @torch.no_grad()
    def measure(self, probe: bool, check: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Measures of collapse of the teacher on the training faces and, where asked for, what the probes find."""
        backbones.mark_aligned(self.teacher.eval(), self.store.aligned)
        parts, (train, validation), settings = [], self.probed, self.settings
        rows = np.concatenate([train, validation])
        for start in range(0, len(rows), settings.batch_size):
            images = np.ascontiguousarray(self.store.images[rows[start : start + settings.batch_size]])
            faces = to_float(torch.from_numpy(images), settings.image_size, self.device)
            parts.append(self.teacher.features(faces.contiguous(memory_format=torch.channels_last)))
            check()
        features = torch.cat(parts)  # (N, C)
        temperature = self.schedule(self.epoch, 0)["temperature"]
        targets = dino.aim(self.teacher.head(features[: len(train)]), self.centre, temperature)
        x = features.double().cpu().numpy()
        found = probes.measure_collapse(x[: len(train)], targets.double().cpu().numpy())
        if not probe:
            return found | dict.fromkeys(probes.PROBES, math.nan)
        first = np.arange(len(rows)) < len(train)
        return found | probes.probe(x, self.store.labels[rows], self.store.landmarks[rows], first)

    @cached_property
    def probed(self) -> list[np.ndarray]:
        """Row numbers of the training and the validation faces that are measured."""
        generator = torch_generator(self.settings.seed, "dino", "probes")
        splits = self.rows, self.store.rows("validation")
        return [np.sort(rows[torch.randperm(len(rows), generator=generator)[:PROBED].numpy()]) for rows in splits]

    def scored_state(self) -> dict[str, torch.Tensor]:
        state = named_part(self.teacher.backbone).state_dict()
        return {name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}

    def state(self) -> dict:
        """Everything that a checkpoint holds of it."""
        parts = {"student": self.student, "teacher": self.teacher, "optimiser": self.optimiser}
        return {name: part.state_dict() for name, part in parts.items()} | {"centre": self.centre}

    def load(self, state: dict) -> None:
        """Take up the state of a checkpoint."""
        for part in ("student", "teacher", "optimiser"):
            getattr(self, part).load_state_dict(state[part])
        self.centre = state["centre"].to(self.device)


def build_network(settings: DinoSettings) -> dino.Network:
    """A network with random weights; `ValueError` where its backbone does not take crops of these sizes."""
    backbone = backbones.create(settings.backbone)
    for size in (settings.image_size, settings.local_size):
        try:
            with torch.no_grad():
                backbone.eval()(torch.zeros(1, 3, size, size))
        except Exception as error:  # each architecture has its own
            raise ValueError(
                f"Expected a backbone that takes crops of {settings.image_size} and {settings.local_size} pixels, but "
                f"{settings.backbone} fails at {size} ({error}); choose other sizes or another backbone"
            ) from error
    head = dino.Head(backbone.channels, settings.hidden, settings.bottleneck, settings.prototypes)
    return dino.Network(backbone, head)


def start_backbone(backbone: backbones.Backbone, settings: DinoSettings) -> None:
    """Put a named set of weights into the backbone; `ValueError` for one of another graph or preprocessing."""
    for part in published.parse(settings.weights):
        if part.run or part.heads:
            raise ValueError(
                f"Expected a named set of weights to start from, but got {part.text!r}: see docs/weights.md"
            )
        theirs, ours = part.published.backbone, settings.backbone
        same = [backbones.preprocessing(name) for name in (theirs, ours)]
        if theirs.partition(".")[0] != ours.partition(".")[0] or same[0] != same[1]:
            raise ValueError(
                f"Expected weights of the backbone {ours}, but {part.text} belongs to {theirs}, another graph or "
                f"preprocessing; choose `backbone` {theirs} or other weights"
            )
        fill(named_part(backbone), published.tensors(part), part.text)


def named_part(backbone: backbones.Backbone) -> nn.Module:
    """The part of a backbone whose keys weight files have."""
    return getattr(backbone.graph, "model", backbone.graph)
