"""dlib's file of face-recognition weights, read from its format: 29 convolutions, their affine layers, a linear one.

A packed integer is a byte whose low four bits count the little-endian bytes that follow (0x80: negative); a string its
packed length and its bytes; a tensor a packed 2, four packed sizes and float32 numbers. What lies between the layers is
skipped by looking for their names.
"""

import math
from pathlib import Path

import numpy as np
import torch

from lsdkit.method.recognition import BLOCKS, make_graph

DESCRIPTOR = 128  # numbers that dlib describes a face with
BETWEEN = 64  # bytes at most between a layer's name and its numbers


def read_dlib(path: Path | str) -> dict[str, torch.Tensor]:
    """The tensors of the whole network under the names of `recognition.make_graph`, and `fc.weight` (128, 256).

    Raises `FileNotFoundError`, and `ValueError`, naming the layer, where the file is cut, damaged or another's.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected dlib's face-recognition weights, but there is no file at {path}")
    with torch.device("meta"):
        state = make_graph(len(BLOCKS))[0].state_dict()
    keys, content, at, tensors = list(state), path.read_bytes(), 0, {}
    for first, second in zip(keys[::2], keys[1::2], strict=True):  # weight and bias, or gain and offset
        layer, shapes = first.rpartition(".")[0], (state[first].shape, state[second].shape)
        name = "affine_" if "affine" in layer else "con_4"
        numbers, at = _read_layer(content, at, name, sum(map(math.prod, shapes)), f"{layer} of {path}")
        for key, part, shape in zip((first, second), np.split(numbers, [math.prod(shapes[0])]), shapes, strict=True):
            tensors[key] = torch.from_numpy(part.reshape(shape))
    numbers, _ = _read_layer(content, at, "fc_2", abs(BLOCKS[-1]) * DESCRIPTOR, f"fc of {path}")
    tensors["fc.weight"] = torch.from_numpy(numbers.reshape(-1, DESCRIPTOR).T.copy())
    return tensors


def _read_layer(content: bytes, at: int, name: str, count: int, what: str) -> tuple[np.ndarray, int]:
    """float32 (count,): the numbers of the next layer of this name from `at` on, and where they end."""
    marker = bytes([1, len(name)]) + name.encode()
    place = content.find(marker, at)
    for start in range(place + len(marker), place + len(marker) + BETWEEN) if place >= 0 else ():
        version, here = _unpack(content, start)
        sizes = []
        for _ in range(4):
            size, here = _unpack(content, here)
            sizes.append(size)
        if version == 2 and math.prod(sizes) == count and here + 4 * count <= len(content):
            return np.frombuffer(content, "<f4", count, here).astype(np.float32), here + 4 * count
    raise ValueError(
        f"Expected {count} numbers of a layer {name} for {what}, but they are not there: the file is cut, damaged or "
        "another's; install face_recognition_models again, or name the right file"
    )


def _unpack(content: bytes, at: int) -> tuple[int, int]:
    """A packed integer and where it ends; 0 beyond the end of the file."""
    head = content[at] if at < len(content) else 0
    end = at + 1 + (head & 15)
    value = int.from_bytes(content[at + 1 : end], "little")
    return -value if head & 0x80 else value, end
