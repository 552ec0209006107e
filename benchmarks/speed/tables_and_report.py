"""The tables and the report over the 38 members of Tables 2 and 3: seconds, and peak memory of the tables.

    python benchmarks/speed/tables_and_report.py

The tables are Tables 2 to 5 and the claims, with 1,000 resamples of 106,120 labelled test faces, as many as the
release has, beside 4,670 validation faces; the report shows 4,670 validation and 600 test faces. Both are commands of
their own, with all that they load; the runs are made up.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from made import make_runs
from measuring import Line

TABLES = """
import sys
from lsdkit.reproduce.scores import read_matrix
from lsdkit.reproduce.tables import make_tables
matrix = read_matrix(sys.argv[1], "test", resamples=1000)
assert len(make_tables(matrix)) == 5
print(len(matrix.runs), "runs,", matrix.units["faces"], "faces,", matrix.scores["faces"].shape, "scores")
"""
REPORT = "import sys; from lsdkit.reproduce.report import write_report; print(write_report(sys.argv[1]).stat().st_size)"
VALIDATION, TEST = 4670, 106_120  # faces of the release


def time_command(code: str, runs: Path) -> tuple[float, float]:
    """Seconds on the clock and of the processor that Python takes for this."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, str(runs)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, spent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large", Path(folder) / "small"
        make_runs(large, {"validation": VALIDATION, "test": TEST})
        seconds, spent = time_command(TABLES, large)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of the largest process so far, from KiB
        print(f"tables: {seconds:.1f} s, {spent:.1f} s of the processor")
        what = f"tables of 38 members x {TEST:,} faces, 1,000 resamples"
        print(Line(what, "-", seconds, 20, "s"))
        print(Line(f"{what}: peak memory", "-", peak, 1, "GiB"), flush=True)
        make_runs(small, {"validation": VALIDATION, "test": 600})
        seconds, spent = time_command(REPORT, small)
        print(f"report: {seconds:.1f} s, {spent:.1f} s of the processor")
        print(Line(f"report on 38 members x {VALIDATION + 600:,} faces", "-", seconds, 20, "s"))


if __name__ == "__main__":
    main()
