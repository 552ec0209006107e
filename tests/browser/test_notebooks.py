"""Each notebook is opened in JupyterLab and run from top to bottom: no cell fails, and every explorer is drawn."""

import nbformat
import papermill
import pytest

from lsdkit.recipes import Member
from lsdkit.reproduce.headless import find_notebook
from lsdkit.training.member import train_member
from tests.browser.lab import real_errors, run_all

pytestmark = [pytest.mark.browser, pytest.mark.notebooks]
STORE, SMOKE = {"DATA_DIR": "STORE"}, {"RECIPE": "smoke", "DEVICE": "cpu"}
NOTEBOOKS = {  # its parameters, where words in capitals stand for folders, and its explorers
    "01_data_statistics": (STORE, 2),
    "02_mixup_visualisation": (STORE | {"RECIPE": "smoke"}, 2),
    "03_train": (STORE | SMOKE | {"EPOCHS": 1}, 1),
    "04_per_class_f1": ({"RUN_DIR": "MEMBER", "IMBALANCE_DIR": "OUT", "DEVICE": "cpu"}, 1),
    "05_ensemble_comparison": ({"RUN_DIR": "RUNS", "DEVICE": "cpu"}, 1),
    "06_pretraining": (STORE | SMOKE | {"STORES": "STORE", "EPOCHS": 1}, 0),
    "07_read_a_photograph": ({"DEVICE": "cpu"}, 1),
}


@pytest.fixture(scope="module")
def runs(tiny_store, tmp_path_factory):
    """A folder of two small members."""
    out = tmp_path_factory.mktemp("members")
    for bag in (1, 2):
        train_member(Member.of("smoke", bag=bag, epochs=1), tiny_store, out / f"bag{bag}", device="cpu", progress=False)
    return out


@pytest.mark.parametrize("stem", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(page, lab_address, lab_folder, tiny_store, runs, tmp_path, stem):
    parameters, explorers = NOTEBOOKS[stem]
    folders = {"STORE": tiny_store.path, "RUNS": runs, "MEMBER": runs / "bag1", "OUT": tmp_path / "out"}
    given = {name: str(folders[value]) if value in folders else value for name, value in parameters.items()}
    if "RUN_DIR" not in given:
        given["RUN_DIR"] = str(tmp_path / "out")
    book = papermill.iorw.load_notebook_node(str(find_notebook(stem)))
    nbformat.write(papermill.parameterize.parameterize_notebook(book, given), lab_folder / f"{stem}.ipynb")
    run_all(page, lab_address, f"{stem}.ipynb", seconds=240)
    told = page.locator(".jp-Notebook [data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert told == []
    drawn = page.locator(".lsdkit-explorer[data-ready=yes]")
    if explorers:
        drawn.nth(explorers - 1).wait_for(timeout=60_000)
    assert drawn.count() == page.locator(".lsdkit-explorer").count() == explorers
    assert page.locator(".jp-Notebook img").count() > 2
    assert real_errors(page) == []
