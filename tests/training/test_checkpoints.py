import pickle

import pytest
import torch

from lsdkit.training import checkpoints
from lsdkit.training.checkpoints import DAMAGED, NEWEST, PREVIOUS, Damaged

OWN = {"member": {"bag": 1}}


def state(value):
    return {"identity": OWN, "tensor": torch.full((50,), float(value)), "progress": {"epoch": value, "sums": [0.1]}}


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_the_newest_comes_back(tmp_path):
    assert checkpoints.load(tmp_path, OWN) == (None, [])
    for value in (1, 2, 3):
        checkpoints.save(tmp_path, state(value))
    loaded, notes = checkpoints.load(tmp_path, OWN)
    assert loaded["progress"] == {"epoch": 3, "sums": [0.1]}
    assert loaded["tensor"].eq(3).all()
    assert notes == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [PREVIOUS, NEWEST]  # two are kept, nothing else
    assert checkpoints.read(tmp_path / PREVIOUS)["progress"]["epoch"] == 2
    checkpoints.clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", [0, 0.3, 0.6, 0.9, -1])
def test_one_flipped_bit_is_found_and_the_previous_is_used(tmp_path, where):
    checkpoints.save(tmp_path, state(1))
    checkpoints.save(tmp_path, state(2))
    size = (tmp_path / NEWEST).stat().st_size
    flip(tmp_path / NEWEST, -1 if where == -1 else int(where * size))
    loaded, notes = checkpoints.load(tmp_path, OWN)
    assert loaded["progress"]["epoch"] == 1
    assert len(notes) == 1
    assert str(tmp_path / NEWEST) in notes[0]
    checkpoints.save(tmp_path, state(3))  # the sound one before it is still there
    assert (tmp_path / DAMAGED).is_file()
    flip(tmp_path / NEWEST, 100)
    assert checkpoints.load(tmp_path, OWN)[0]["progress"]["epoch"] == 1


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    checkpoints.save(tmp_path, state(1))
    path = tmp_path / NEWEST
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Damaged, match=r"checkpoint\.pt is truncated"):
        checkpoints.read(path)
    assert checkpoints.load(tmp_path, OWN)[0] is None


def test_killed_between_the_two_renames(tmp_path):
    checkpoints.save(tmp_path, state(1))
    (tmp_path / NEWEST).rename(tmp_path / PREVIOUS)
    assert checkpoints.load(tmp_path, OWN)[0]["progress"]["epoch"] == 1


def test_a_failed_save_leaves_the_last_good_one(tmp_path, monkeypatch):
    checkpoints.save(tmp_path, state(1))

    def full_disk(content, path):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(tmp_path, state(2))
    assert [p.name for p in tmp_path.iterdir()] == [NEWEST]
    assert checkpoints.load(tmp_path, OWN)[0]["progress"]["epoch"] == 1


def test_another_trainings_checkpoint_is_refused(tmp_path):
    checkpoints.save(tmp_path, state(1))
    with pytest.raises(ValueError, match=r"another training: member\.bag is 1, not 2"):
        checkpoints.load(tmp_path, {"member": {"bag": 2}})
    assert (tmp_path / NEWEST).is_file()


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code in a file of weights was run",))


def test_nothing_is_unpickled(tmp_path):
    checkpoints.save(tmp_path, {**state(1), "harm": Harmful()})
    with pytest.raises(Damaged, match="no file of tensors that is safe to read"):
        checkpoints.read(tmp_path / NEWEST)
    checkpoints.save_weights(tmp_path, {"harm": Harmful()})
    with pytest.raises(Damaged, match="safe to read"):
        checkpoints.read_weights(tmp_path)
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(Damaged, match="checksum"):
        checkpoints.read_weights(tmp_path)


def test_weights_and_their_checksum(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights\.pt"):
        checkpoints.read_weights(tmp_path)
    checkpoints.save_weights(tmp_path, state(4))
    assert checkpoints.read_weights(tmp_path)["tensor"].eq(4).all()
    assert torch.load(tmp_path / "weights.pt", weights_only=True)["tensor"].eq(4).all()  # a plain file of torch
    flip(tmp_path / "weights.pt", 700)
    with pytest.raises(Damaged, match="checksum does not match"):
        checkpoints.read_weights(tmp_path)
    (tmp_path / "weights.pt.sha256").unlink()
    with pytest.raises(FileNotFoundError, match="sha256"):
        checkpoints.read_weights(tmp_path)


def test_weights_checksum_sees_every_change_but_not_the_order():
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(3)}
    base = checkpoints.hash_weights(state)
    assert base == checkpoints.hash_weights(dict(reversed(state.items())))
    assert base == checkpoints.hash_weights({**state, "b": state["b"].t().contiguous().t()})  # strides do not matter
    changed = state["b"].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    others = [
        {**state, "b": changed},
        {**state, "b": state["b"].reshape(3, 2)},
        {**state, "b": state["b"].view(torch.int32)},
        {"b": state["a"], "a": state["b"]},
        {"a": state["a"]},
    ]
    assert len({base, *map(checkpoints.hash_weights, others)}) == 6
