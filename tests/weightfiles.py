"""Weight files in the formats they are published in, with random tensors, for tests of reading them."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import torch

from lsdkit.common.seeds import torch_generator


class _Python2(pickle._Pickler):
    """Writes a dictionary of arrays the way Python 2 with numpy did: protocol 2, byte strings without a type of
    their own, and numpy's functions under the names of that time."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_string(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin1")
        short = len(data) < 256
        self.write(
            (pickle.SHORT_BINSTRING + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data
        )
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string

    def save_global(self, value, name=None):
        names = {"_reconstruct": "numpy.core.multiarray", "ndarray": "numpy", "dtype": "numpy"}
        self.write(b"c" + f"{names[value.__name__]}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[type] = dispatch[type(len)] = dispatch[type(save_global)] = save_global

    def reducer_override(self, value):
        if isinstance(value, np.ndarray):
            function, _, state = value.__reduce__()
            return function, (np.ndarray, (0,), b"b"), state
        return NotImplemented


def python2_pickle(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes that Python 2's `pickle.dump(arrays, file, protocol=2)` gives."""
    stream = io.BytesIO()
    _Python2(stream, protocol=2).dump(arrays)
    return stream.getvalue()


def write_vggface2(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """A VGGFace2 file of a ResNet50's state: as published, with the classifier and without batch norm's counters."""
    arrays = {key: value.numpy() for key, value in state.items() if not key.endswith("num_batches_tracked")}
    arrays |= {"fc.weight": np.zeros((8631, 1), np.float32), "fc.bias": np.zeros(8631, np.float32)}  # 2048 wide there
    path.write_bytes(python2_pickle(arrays))
    return path


def dan_state(classes, heads=4):
    """Random tensors under the names and shapes of an official checkpoint, running statistics far from 0 and 1."""
    generator = torch_generator(0, "official", classes)

    def norm(name, width):
        state[f"{name}.weight"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        state[f"{name}.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def layer(name, *shape, bias=True):
        fan_in = torch.Size(shape[1:]).numel()
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1

    state = {}
    layer("features.0", 64, 3, 7, 7, bias=False)
    norm("features.1", 64)
    inputs = 64
    for stage, outputs in zip(range(4, 8), (64, 128, 256, 512), strict=True):
        for block in range(2):
            at = f"features.{stage}.{block}"
            layer(f"{at}.conv1", outputs, inputs if block == 0 else outputs, 3, 3, bias=False)
            norm(f"{at}.bn1", outputs)
            layer(f"{at}.conv2", outputs, outputs, 3, 3, bias=False)
            norm(f"{at}.bn2", outputs)
            if block == 0 and stage > 4:
                layer(f"{at}.downsample.0", outputs, inputs, 1, 1, bias=False)
                norm(f"{at}.downsample.1", outputs)
        inputs = outputs
    for head in range(heads):
        at = f"cat_head{head}"
        for name, shape in (
            *(("sa.conv1x1", (256, 512, 1, 1)), ("sa.conv_3x3", (512, 256, 3, 3))),
            *(("sa.conv_1x3", (512, 256, 1, 3)), ("sa.conv_3x1", (512, 256, 3, 1))),
        ):
            layer(f"{at}.{name}.0", *shape)
            norm(f"{at}.{name}.1", shape[0])
        layer(f"{at}.ca.attention.0", 32, 512)
        norm(f"{at}.ca.attention.1", 32)
        layer(f"{at}.ca.attention.3", 512, 32)
    layer("fc", classes, 512)
    norm("bn", classes)
    return state


def write_dan(path: Path, classes: int) -> Path:
    """An official DAN checkpoint: the state, and beside it what training left."""
    torch.save({"iter": 5, "model_state_dict": dan_state(classes), "optimizer_state_dict": {"state": {}}}, path)
    return path
