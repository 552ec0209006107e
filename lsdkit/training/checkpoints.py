"""Checkpoints that a killed run can trust: written whole, with their checksum inside, two kept, nothing unpickled.

One flipped bit loads silently from a plain file of tensors, and a truncated one fails with an error that does not say
so. Here a file is its tensors followed by the SHA-256 of them; a file that does not match is put aside under the name
`checkpoint.damaged.pt`, and the one before it is used.
"""

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

import torch

from lsdkit.common import files
from lsdkit.common.files import Damaged
from lsdkit.training.identity import describe_change
from lsdkit.weights.loading import first_sentence, recognise

NEWEST, PREVIOUS, DAMAGED = "checkpoint.pt", "checkpoint.previous.pt", "checkpoint.damaged.pt"
_MARK = b"lsdkit-sha256:"  # the last bytes of a checkpoint: this mark and 64 hexadecimal digits
_TAIL = len(_MARK) + 64


def save(run_dir: Path | str, state: dict) -> None:
    """Write `state` (tensors and plain values) as the newest checkpoint; the one until now becomes the previous."""
    run_dir = Path(run_dir)
    with files.atomic(run_dir / NEWEST) as temporary:
        torch.save(state, temporary)
        digest = files.sha256(temporary)
        with temporary.open("ab") as stream:
            stream.write(_MARK + digest.encode())
        if (run_dir / NEWEST).is_file():
            os.replace(run_dir / NEWEST, run_dir / PREVIOUS)


def load(run_dir: Path | str, identity: dict) -> tuple[dict | None, list[str]]:
    """The newest sound checkpoint of a run (on the CPU; None where there is none), and a note on each damaged one.

    A damaged file is renamed to `checkpoint.damaged.pt`, so that the next save does not put it in a sound one's place.
    Raises `ValueError` where the checkpoint's `identity` is another: it belongs to another training.
    """
    run_dir, notes = Path(run_dir), []
    for name in (NEWEST, PREVIOUS):
        path = run_dir / name
        if not path.is_file():
            continue
        try:
            state = read(path)
        except Damaged as error:
            os.replace(path, run_dir / DAMAGED)
            notes.append(f"{error}; put aside as {DAMAGED}")
            continue
        if other := describe_change(state["identity"], identity):
            raise ValueError(
                f"The checkpoint {path} belongs to another training: {other}; "
                "choose another RUN_DIR or remove the folder"
            )
        return state, notes
    return None, notes


def read(path: Path | str) -> dict:
    """Read one checkpoint. Raises `Damaged`, naming the file, where its bytes are not those that were written."""
    content = Path(path).read_bytes()
    body, tail = content[:-_TAIL], content[-_TAIL:]
    if tail != _MARK + hashlib.sha256(body).hexdigest().encode():
        raise Damaged(f"The checkpoint {path} is truncated or damaged (its checksum does not match)")
    return _load(io.BytesIO(body), path)


def clear(run_dir: Path | str) -> None:
    """Remove a finished run's checkpoints, and the half files that a kill in the middle of a write has left."""
    run_dir = Path(run_dir)
    for path in (run_dir / NEWEST, run_dir / PREVIOUS, run_dir / DAMAGED, *run_dir.glob(".*.tmp.*")):
        path.unlink(missing_ok=True)


def save_weights(run_dir: Path | str, state: dict) -> None:
    """Write the final tensors to weights.pt, a plain torch file, and its checksum to weights.pt.sha256."""
    path = Path(run_dir) / "weights.pt"
    with files.atomic(path) as temporary:
        torch.save(state, temporary)
    files.write_text(_name_checksum(path), f"{files.sha256(path)}  weights.pt\n")


def read_weights(run_dir: Path | str) -> dict:
    """The content of a run's weights.pt, on the CPU.

    Raises `FileNotFoundError` where a file is missing, `Damaged` where weights.pt does not match its checksum.
    """
    path = Path(run_dir) / "weights.pt"
    for needed in (path, _name_checksum(path)):
        if not needed.is_file():
            raise FileNotFoundError(f"Expected {needed.name} in {path.parent}, but there is none; train the run first")
    check_weights(run_dir)
    return _load(path, path)


def check_weights(run_dir: Path | str) -> None:
    """Raise `Damaged` where weights.pt and its checksum are there and do not match."""
    path = Path(run_dir) / "weights.pt"
    checksum = _name_checksum(path)
    there = path.is_file() and checksum.is_file()
    if there and checksum.read_bytes().split()[:1] != [files.sha256(path).encode()]:
        raise Damaged(
            f"The weights {path} are truncated or damaged (their checksum does not match); train the run again"
        )


def _name_checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _load(source: BinaryIO | Path, path: Path | str) -> dict:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises OSError, RuntimeError or UnpicklingError, none of which names the file
        what = recognise(Path(path)) or first_sentence(error)
        raise Damaged(f"{path} is no file of tensors that is safe to read ({type(error).__name__}: {what})") from error


def hash_weights(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over tensors: names in sorted order, each with its type, shape and bytes; the same on CPU and GPU.

    >>> hash_weights({"a": torch.zeros(2)}) == hash_weights({"a": torch.zeros(1, 2)})
    False
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
