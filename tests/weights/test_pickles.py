"""The reader of pickled arrays: Python 2's and 3's files, and everything else refused by name before it runs."""

import os
import pickle
import zlib

import numpy as np
import pytest

from lsdkit.weights.pickles import read_arrays
from tests.weightfiles import python2_pickle

ARRAYS = {
    "conv1.weight": np.random.default_rng(0).normal(size=(4, 3, 7, 7)).astype(np.float32),
    "bn1.running_var": np.linspace(0, 1, 5),
    "count": np.array(7),
    "bytes": np.arange(256, dtype=np.uint8),
}


def write(folder, content):
    (folder / "w.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=2))
    return folder / "w.pkl"


def same(found):
    assert list(found) == list(ARRAYS)
    for key, value in ARRAYS.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


def test_python_2_files(tmp_path):
    content = python2_pickle(ARRAYS)
    assert b"numpy.core.multiarray\n_reconstruct" in content
    same(read_arrays(write(tmp_path, content)))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_python_3_files(tmp_path, protocol):
    same(read_arrays(write(tmp_path, pickle.dumps(ARRAYS, protocol=protocol))))


class Calls:
    """A pickle of it calls `function` with `arguments` when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Calls(os.system, "touch ran"), r"(posix|nt)\.system"),
        (Calls(eval, "open('ran', 'w')"), r"(builtins|__builtin__)\.eval"),
        (Calls(zlib.decompress, b""), r"zlib\.decompress"),
        (Calls(np.load, "ran.npy"), r"numpy\.load"),  # an admitted module's other name
        (Calls(np.fromfile, "ran"), r"numpy.*\.fromfile"),
        (np.float64(1), r"numpy.*\.scalar"),
        (np.array([{}], dtype=object), "names and arrays of numbers"),
    ],
)
def test_anything_but_arrays_is_refused_by_name_and_not_run(tmp_path, monkeypatch, value, name):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, {**ARRAYS, "more": value})
    with pytest.raises(ValueError, match=name):
        read_arrays(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(S'touch ran'\ntR.",  # written by hand, protocol 0
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\ttouch ran\x85R.",  # names from the stack, protocol 4
        b"c_codecs\nencode\n(S'touch ran'\nS'zip'\ntR.",  # an admitted name, another codec
        b"(ios\nsystem\nS'touch ran'\n.",
    ],
)
def test_malicious_opcodes_are_refused(tmp_path, monkeypatch, opcodes):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Expected"):
        read_arrays(write(tmp_path, opcodes))
    assert not (tmp_path / "ran").exists()


def test_other_contents_and_cut_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="dictionary of arrays, but got list"):
        read_arrays(write(tmp_path, [1, 2]))
    with pytest.raises(ValueError, match="names and arrays of numbers, but got 'a'"):
        read_arrays(write(tmp_path, {"a": 1}))
    content = python2_pickle(ARRAYS)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(ValueError, match="whole pickle"):
            read_arrays(write(tmp_path, content[:length]))
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.pkl")
