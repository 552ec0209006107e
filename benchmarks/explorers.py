"""How long explorers take: milliseconds from a filter to drawn thumbnails, with 4,000 and with 50,000 faces.

    python benchmarks/explorers.py

A real JupyterLab in Chromium (Debian: apt install chromium), as in tests/browser, which this borrows its browser from.
Each figure is the median of ten filters by subject, whose faces were mostly not looked at before; beside it the range.
"""

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.lab import open_browser, open_explorer, serve_lab
from tests.browser.test_faces import IMPORTS, make_store, measure_filters

COUNTS = (4_000, 50_000)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores = {count: make_store(folder / f"store-{count}", count) for count in COUNTS}
        with serve_lab(folder, OMP_NUM_THREADS="1") as address:
            for count, store in stores.items():
                with open_browser() as page:
                    code = f"Faces(Store.open({str(store.path)!r}))"
                    explorer = open_explorer(page, address, folder / f"faces_{count}.ipynb", IMPORTS, code)
                    times = measure_filters(page, explorer)
                    spread = f"{min(times):.0f} to {max(times):.0f}"
                    print(f"{count:,} faces: {statistics.median(times):.0f} ms ({spread}) from a filter to thumbnails")


if __name__ == "__main__":
    main()
