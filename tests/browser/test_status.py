"""The table of a sweep follows its files."""

import pandas as pd
import pytest

from lsdkit.common import files
from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def test_the_table_follows_the_files(page, lab_address, lab_folder, tmp_path):
    history = pd.DataFrame({"epoch": [1, 2], "seconds": 3.0, "val_macro_f1": 0.5})
    files.write_json(tmp_path / "one" / "member.json", {"member": {"epochs": 4}})
    files.write_table(tmp_path / "one" / "history.csv", history[:1])
    imports = "from lsdkit.explore.status import SweepStatus"
    with files.hold_lock(tmp_path / "one" / ".lock"):
        explorer = open_explorer(
            page, lab_address, lab_folder / "status.ipynb", imports, f"SweepStatus({str(tmp_path)!r})"
        )
        assert "1 of 4 epochs" in explorer.text_content()
        files.write_table(tmp_path / "one" / "history.csv", history)
        explorer.get_by_text("2 of 4 epochs").wait_for(timeout=20_000)
    explorer.get_by_text("Nothing runs any more.").wait_for(timeout=20_000)
    assert explorer.get_attribute("data-alive") == "no"
    assert "waiting" in explorer.text_content()
    assert real_errors(page) == []
