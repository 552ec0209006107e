"""Weights from a file into a network: every key accounted for, nothing unpickled but tensors.

Files of other projects wrap and prefix their keys (`state_dict`, `module.`, DINO's `teacher` and `backbone.`);
what is stripped is listed below, and only at the start of a key.
"""

import pickle
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

WRAPPERS = ("state_dict", "model_state_dict", "model")  # dictionaries around the tensors, in the order tried
PREFIXES = ("module.", "backbone.")


@dataclass
class Report:
    """What became of each key: `loaded`; `missing` in the file; `unexpected` in it; `reshaped`, of another shape."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{len(keys)} {name}" for name, keys in vars(self).items())


def read_tensors(path: Path | str, dino_key: str = "teacher") -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors, .pt or .pth file under their stripped names.

    `dino_key`: which network of a DINO checkpoint, "teacher" or "student". Raises `FileNotFoundError`, and
    `ValueError` for a file that is damaged, holds no tensors, or would have to run code to be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a weight file, but there is none at {path}")
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ValueError(f"Expected a .safetensors, .pt or .pth file, but got {path.name}")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"Expected {path} to hold tensors only, but reading it would run code: refused ({error})"
        ) from error
    except Exception as error:  # each format has exceptions of its own for a cut or damaged file
        raise ValueError(f"Expected {path} to be a whole weight file, but it cannot be read: {error}") from error
    for wrapper in (dino_key, *WRAPPERS):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = {}
    for key, value in content.items() if isinstance(content, dict) else ():
        for prefix in PREFIXES:
            key = key.removeprefix(prefix)
        if isinstance(value, torch.Tensor):
            tensors[key] = value
    if not tensors:
        raise ValueError(f"Expected {path} to hold a dictionary of tensors, but found none in it")
    return tensors


def load_weights(network: nn.Module, path: Path | str, dino_key: str = "teacher") -> Report:
    """Copy a file's tensors into `network` by name and report every key.

    Raises `ValueError` where less than nine in ten of the network's tensors are found: such a file belongs to
    another architecture. Keys beyond the network's, such as a classifier's, are reported and left.
    """
    tensors, own, report = read_tensors(path, dino_key), network.state_dict(), Report()
    for key, value in own.items():
        fits = key in tensors and tensors[key].shape == value.shape
        (report.loaded if fits else report.reshaped if key in tensors else report.missing).append(key)
    report.unexpected = [key for key in tensors if key not in own]
    needed = [key for key in own if not key.endswith("num_batches_tracked")]  # a counter, absent from older files
    if len(set(needed) & set(report.loaded)) < 0.9 * len(needed):
        examples = ", ".join([*report.missing, *report.reshaped][:3])
        raise ValueError(
            f"Expected {path} to fit the network, but {report} (such as {examples}); is it another architecture's?"
        )
    network.load_state_dict({key: tensors[key] for key in report.loaded}, strict=False)
    return report
