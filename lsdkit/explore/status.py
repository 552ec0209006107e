"""The explorer of a sweep: which of its runs are done, running, failed and waiting, drawn anew until all have ended."""

import html
from pathlib import Path

from lsdkit.common.paths import resolve
from lsdkit.explore.explorer import Answer, Explorer
from lsdkit.reproduce.status import EVERY, list_lines, read_status


class SweepStatus(Explorer):
    """How the runs of a folder stand, as `lsdkit status` tells it; a saved notebook keeps the table of the last run.

    Raises `FileNotFoundError` where the folder holds neither a sweep nor runs.
    """

    script = "status"
    title = "How the runs stand"

    def __init__(self, runs: Path | str):
        self.folder = resolve(runs)
        read_status(self.folder)
        super().__init__()

    def still(self) -> str:
        """The table as text."""
        return f"<pre>{html.escape(chr(10).join(list_lines(read_status(self.folder))))}</pre>"

    def answer_status(self) -> Answer:
        """A sentence over all; a row a run: state, name, what is to be said, share of its epochs that is done."""
        status = read_status(self.folder)
        rows = [[run.state, run.name, run.describe(), run.epoch / max(1, run.epochs)] for run in status.runs]
        return {"text": status.describe(), "rows": rows, "alive": status.alive, "every": EVERY}, []
