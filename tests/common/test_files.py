import hashlib

import pytest

from lsdkit.common import files


def test_atomic_replaces_only_on_success(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_text(path, "one")
    with pytest.raises(TypeError), files.atomic(path) as temporary:
        temporary.write_text(b"not text")  # opened, then failed
    assert path.read_text() == "one"
    assert list(path.parent.iterdir()) == [path]
    files.write_text(path, "twö")
    assert path.read_bytes() == "twö".encode()


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "x"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_file_keeps_the_suffix(tmp_path):
    with files.atomic(tmp_path / "x.npy") as temporary:  # numpy would add a missing one
        assert temporary.suffix == ".npy"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"")


def test_json(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": [1, 0.1, "é", None]})
    assert files.read_json(path) == {"a": [1, 0.1, "é", None]}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("inf")})
    assert files.read_json(path) == {"a": [1, 0.1, "é", None]}
    path.write_text("{")
    with pytest.raises(ValueError, match=r"x\.json is not readable"):
        files.read_json(path)


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 10**6)
    assert files.sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 10**6).hexdigest()


def test_a_lock_is_held_by_one_and_freed_after(tmp_path):
    lock = tmp_path / "new" / ".lock"
    busy = pytest.raises(ValueError, match=r"Expected .*new to be free, but somebody works in it")
    with files.hold_lock(lock), busy, files.hold_lock(lock, "somebody works in it", 0.1):
        pass
    with files.hold_lock(lock, "somebody works in it", 0.1):
        assert lock.exists()
