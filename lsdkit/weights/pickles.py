"""Arrays from a pickle, and nothing else: a reader that admits what numpy arrays need and refuses every other name.

The VGGFace2 weights are published as a Python-2 pickle of a dictionary of arrays. A pickle can name any function and
have it called while it is read; here a name outside the list below ends the reading before anything is called.
"""

import pickle
from pathlib import Path

import numpy as np
from numpy._core.multiarray import _reconstruct


class _Refused(pickle.UnpicklingError):
    pass


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How a pickle of protocol 2 spells bytes; no other codec than latin-1 is admitted."""
    if encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise _Refused(f"it names the codec {encoding!r}")
    return text.encode("latin1")


ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ADMITTED:
            raise _Refused(f"it names {module}.{name}")
        return ADMITTED[module, name]


def read_arrays(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary, written by Python 2 or 3, by name.

    Raises `ValueError` for a file that names anything but numpy arrays (nothing of it is run), that is cut or
    damaged, or that holds something else than a dictionary of arrays of numbers.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
    except _Refused as error:
        raise ValueError(
            f"Expected {path} to hold numpy arrays only, but {error}: refused, since a pickle can run code; "
            "get the file from its origin again"
        ) from error
    except OSError:
        raise
    except Exception as error:  # a cut pickle raises EOFError, ValueError, IndexError, KeyError, MemoryError, ...
        what = f"{type(error).__name__}: {str(error)[:200]}"
        raise ValueError(f"Expected {path} to be a whole pickle of arrays, but it cannot be read: {what}") from error
    if not isinstance(content, dict):
        raise ValueError(f"Expected {path} to hold a dictionary of arrays, but got {type(content).__name__}")
    for key, value in content.items():
        if not (isinstance(key, str) and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"):
            raise ValueError(f"Expected {path} to hold names and arrays of numbers, but got {key!r}: {type(value)}")
    return content
