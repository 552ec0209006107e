"""Weight files in the formats they are published in, with random tensors, for tests of reading them."""

import io
import pickle
import struct
from pathlib import Path

import numpy as np
import torch


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
    arrays |= {"fc.weight": np.zeros((3, 2048), np.float32), "fc.bias": np.zeros(3, np.float32)}  # 8631 rows there
    path.write_bytes(python2_pickle(arrays))
    return path
