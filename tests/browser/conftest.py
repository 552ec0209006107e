"""One JupyterLab for all browser tests, and a fresh page each; all of them skip where there is no Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import lab


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def lab_address(lab_folder) -> Iterator[str]:
    if lab.CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt install chromium)")
    with lab.serve_lab(lab_folder, OMP_NUM_THREADS="1", PYDEVD_DISABLE_FILE_VALIDATION="1") as address:
        yield address


@pytest.fixture
def page(lab_address) -> Iterator[lab.Page]:
    with lab.open_browser() as page:
        yield page
