import errno
import hashlib
import os

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


def test_a_link_under_the_temporary_or_the_own_name_is_replaced_and_not_followed(tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("theirs")
    path = tmp_path / "deep.txt"
    for link in (path, tmp_path / f".deep.{os.getpid()}.tmp.txt"):
        link.symlink_to(other)
    files.write_text(path, "ours")
    assert (path.read_text(), other.read_text(), path.is_symlink()) == ("ours", "theirs", False)


def test_a_full_disk_is_told_with_its_folder(tmp_path, monkeypatch):
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota")):
        with pytest.raises(files.DiskFull, match=rf"The disk of {tmp_path} is full"), files.atomic(tmp_path / "x"):
            raise error
    with pytest.raises(RuntimeError, match="of torch"), files.atomic(tmp_path / "x"):
        raise RuntimeError("of torch")
    monkeypatch.setattr(files, "_free", lambda folder: 4096)
    with pytest.raises(files.DiskFull, match="is full: 0 MB are free"), files.atomic(tmp_path / "x"):
        raise RuntimeError("PytorchStreamWriter failed writing file data/2: file write failed")
    with pytest.raises(files.DiskFull, match="2 MB are missing"):
        files.check_room(tmp_path, 2 * 10**6 + 4096)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_nothing_is_held(tmp_path, monkeypatch, number):
    def refuse(*_: object, **__: object):
        raise OSError(number, "not here")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with files.hold_lock(tmp_path / ".lock"):
        assert not (tmp_path / ".lock").exists()


def test_a_sealed_file_tells_of_a_change(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, files.seal({"a": [1, 0.1, "é"]}))
    assert files.read_json(path)["a"] == [1, 0.1, "é"]
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(files.Damaged, match=r"x\.json is damaged: .*; do this"):
        files.read_json(path, "do this")


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell")
def test_a_held_lock_is_told_without_waiting_or_writing(tmp_path):
    path = tmp_path / "folder" / ".lock"
    assert files.is_held(path) is False
    assert not path.parent.exists()
    with files.hold_lock(path):
        assert files.is_held(path)
        assert files.is_held(path)
    assert files.is_held(path) is False
