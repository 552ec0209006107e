"""What the renderer keeps: made again where it is damaged, and told where it cannot be kept."""

import numpy as np
import pytest

from lsdkit.openset.head import keep


def make():
    return {"points": np.arange(3000.0), "names": np.array(["a", "b"])}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_named_and_made_again(tmp_path, damage):
    file = tmp_path / "cache" / "head.npz"
    keep(file, make)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    others = {"cut": content[:-200], "flipped": content, "empty": b"", "other": b"no archive"}
    file.write_bytes(others[damage])
    with pytest.warns(UserWarning, match=r"head\.npz is damaged \(.*\); it is made again"):
        found = keep(file, make)
    np.testing.assert_array_equal(found["points"], np.arange(3000.0))
    again = keep(file, dict)
    assert again["names"].tolist() == ["a", "b"]


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="LSDKIT_CACHE"):
        keep(tmp_path / "file" / "cache" / "head.npz", make)
