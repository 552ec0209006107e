"""Weights from a file into a network: every key accounted for, nothing unpickled but tensors and arrays.

Files of other projects wrap and prefix their keys (`state_dict`, `module.`, DINO's `teacher` and `backbone.`);
what is stripped is listed below, and only at the start of a key.
"""

import argparse
import pickle
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import nn

from lsdkit.weights.pickles import read_arrays

WRAPPERS = ("state_dict", "model_state_dict", "model")  # dictionaries around the tensors, in the order tried
PREFIXES = ("module.", "backbone.")
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".pkl")
LEAST = 0.9  # share of a network's tensors that a file has to fill
_COUNTER = "num_batches_tracked"  # no weight, and absent from older files


@dataclass
class Report:
    """What became of each key: `loaded`; `missing` in the file; `unexpected` in it; `reshaped`, of another shape."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{len(keys)} {name}" for name, keys in vars(self).items())

    def under(self, prefix: str) -> Self:
        """The same keys with `prefix` before them, unexpected ones aside: those are no keys of the network."""
        renamed = {name: [prefix + key for key in keys] for name, keys in vars(self).items()}
        return type(self)(**renamed | {"unexpected": self.unexpected})

    def __add__(self, other: Self) -> Self:
        return type(self)(**{name: keys + getattr(other, name) for name, keys in vars(self).items()})

    def random(self) -> list[str]:
        """Tensors that keep their random start: those missing or of another shape, counters aside."""
        return [key for key in (*self.missing, *self.reshaped) if not key.endswith(_COUNTER)]


def read_tensors(path: Path | str, dino_key: str = "teacher") -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pt, .pth, .bin or .pkl file under their stripped names.

    `dino_key`: which network of a DINO checkpoint, "teacher" or "student". Raises `FileNotFoundError`, and
    `ValueError` for a file that is damaged, holds no tensors, or would have to run code to be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a weight file, but there is none at {path}")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"Expected a weight file ending in one of {', '.join(SUFFIXES)}, but got {path.name}")
    content = _read(path)
    for wrapper in (dino_key, *WRAPPERS):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, torch.Tensor):
            for prefix in PREFIXES:
                key = key.removeprefix(prefix)
            tensors[key] = value
    if not tensors:
        raise ValueError(f"Expected {path} to hold a dictionary of tensors, but found none in it")
    return tensors


def _read(path: Path) -> object:
    if path.suffix == ".pkl":
        return {key: torch.tensor(value) for key, value in read_arrays(path).items()}
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # DINO's checkpoints keep their arguments so
            return torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"Expected {path} to hold tensors only, but {explain_refusal(path, error)}") from error
    except Exception as error:  # each format has exceptions of its own for a cut or damaged file
        what = recognise(path) or f"it cannot be read: {first_sentence(error)}"
        raise ValueError(f"Expected {path} to be a whole weight file, but {what}") from error


def explain_refusal(path: Path, error: pickle.UnpicklingError) -> str:
    """What a file holds that torch does not read, without its advice to read it all the same."""
    if what := recognise(path):
        return what
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named is None:
        return f"it is damaged or no file of torch's: {first_sentence(error)}"
    if named[1].split(".")[0] == "numpy":
        return (
            f"it holds {named[1]} as well: refused, since a pickle can run code. Whoever made it can save the tensors "
            "alone: torch.save(network.state_dict(), file)"
        )
    return f"reading it would run code, {named[1]}: refused; get a file of tensors alone, such as .safetensors"


def recognise(path: Path) -> str:
    """What a file is instead of weights, and what to do, or ""."""
    with path.open("rb") as stream:
        start = stream.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "it is empty: get it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer instead of the weights: fetch them with `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page instead of the weights: download them again"
    return "" if any(start) else "it begins with zeros, as a broken copy does: get it again"


def first_sentence(error: BaseException) -> str:
    """The first line of an error, without what it advises."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.split(r"\. |, or |; | In PyTorch| Please", line, maxsplit=1)[0][:200]


def fill(network: nn.Module, tensors: dict[str, torch.Tensor], origin: Path | str) -> Report:
    """Copy tensors into `network` by name and report every key; `origin` names them in errors.

    Raises `ValueError` where less than nine in ten of the network's tensors are found, because such weights belong to
    another architecture, and for numbers that are not finite. Keys beyond the network's, such as a classifier's, are
    reported and left.
    """
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(f"Expected finite numbers in {origin}, but {', '.join(broken[:3])} hold others; get it again")
    own, report = network.state_dict(), Report()
    for key, value in own.items():
        fits = key in tensors and tensors[key].shape == value.shape
        (report.loaded if fits else report.reshaped if key in tensors else report.missing).append(key)
    report.unexpected = [key for key in tensors if key not in own]
    needed = [key for key in own if not key.endswith(_COUNTER)]
    if len(set(needed) & set(report.loaded)) < LEAST * len(needed):
        examples = ", ".join([*report.missing, *report.reshaped][:3])
        raise ValueError(
            f"Expected {origin} to fit the network, but {report} (such as {examples}); is it another architecture's?"
        )
    network.load_state_dict({key: tensors[key] for key in report.loaded}, strict=False)
    return report


def name_by_position(tensors: dict[str, torch.Tensor], model: str, origin: Path | str) -> dict[str, torch.Tensor]:
    """Tensors of a port of a timm model under timm's names: the same ones in the same order, counters aside.

    Raises `ValueError` where number or shapes differ from the model's.
    """
    import timm  # takes longer to load than torch

    with torch.device("meta"):
        state = timm.create_model(model, pretrained=False).state_dict()
    ours = {key: value for key, value in state.items() if not key.endswith(_COUNTER)}
    theirs = {key: value for key, value in tensors.items() if not key.endswith(_COUNTER)}
    if [value.shape for value in ours.values()] != [value.shape for value in theirs.values()]:
        raise ValueError(
            f"Expected {len(ours)} tensors of {model}'s shapes in its order in {origin}, but got {len(theirs)} or "
            "other shapes: is it another model's?"
        )
    return dict(zip(ours, theirs.values(), strict=True))


def dag_name(key: str) -> str:
    """torchvision's name for a key of the ports from MatConvNet; a key that is none of theirs stays as it is.

    >>> dag_name("conv3_1_1x1_proj_bn.running_mean"), dag_name("conv1_7x7_s2.weight")
    ('layer2.0.downsample.1.running_mean', 'conv1.weight')
    """
    layer, _, tensor = key.rpartition(".")
    base = layer.removesuffix("_bn")
    norm = base != layer
    if base == "conv1_7x7_s2":
        return f"{'bn1' if norm else 'conv1'}.{tensor}"
    stage, _, rest = base.removeprefix("conv").partition("_")
    block, _, part = rest.partition("_")
    number = {"1x1_reduce": 1, "3x3": 2, "1x1_increase": 3}.get(part)
    if not (base.startswith("conv") and stage.isdigit() and block.isdigit() and (number or part == "1x1_proj")):
        return key
    inside = f"{'bn' if norm else 'conv'}{number}" if number else f"downsample.{int(norm)}"
    return f"layer{int(stage) - 1}.{int(block) - 1}.{inside}.{tensor}"
