"""The table of a sweep: what is asked, and what a saved notebook keeps."""

import pandas as pd
import pytest

from lsdkit.common import files
from lsdkit.explore.status import SweepStatus


def test_the_table_and_what_stands_for_it(tmp_path):
    files.write_json(tmp_path / "one" / "member.json", {"member": {"epochs": 4}})
    files.write_table(
        tmp_path / "one" / "history.csv", pd.DataFrame({"epoch": [1, 2], "seconds": 3.0, "val_macro_f1": 0.5})
    )
    files.write_json(tmp_path / "<b>two" / "member.json", {"member": {"epochs": 4}})
    with files.hold_lock(tmp_path / "one" / ".lock"):
        explorer = SweepStatus(tmp_path)
        said, arrays = explorer.answer("status", {})
    assert arrays == []
    assert said["alive"]
    assert [row[:2] for row in said["rows"]] == [["running", "one"], ["waiting", "<b>two"]]
    assert [row[3] for row in said["rows"]] == [0.5, 0.0]
    assert "0 of 2 done, 1 running, 1 waiting" in said["text"]
    page = explorer._repr_mimebundle_()[0]["text/html"]
    assert "&lt;b&gt;two" in page
    assert "<img" not in page
    assert not explorer.answer("status", {})[0]["alive"]


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected a sweep or runs in"):
        SweepStatus(tmp_path)
