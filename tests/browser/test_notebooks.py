"""Each notebook is opened in JupyterLab and run from top to bottom: no cell fails, and every explorer is drawn."""

import nbformat
import papermill
import pytest
from nbconvert import HTMLExporter

from lsdkit.recipes import Member
from lsdkit.reproduce.headless import Job, execute, find_notebook
from lsdkit.training.member import train_member
from tests.browser.lab import BROKEN, CHROMIUM, open_browser, real_errors, run_all

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


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_an_exported_notebook_is_read_without_a_network(tmp_path):
    """On a desk and on a phone; a still figure stands where the explorer was."""
    stem, copy = "07_read_a_photograph", tmp_path / "07.ipynb"
    options = {"RUN_DIR": str(tmp_path), "DEVICE": "cpu"}
    assert execute(Job(stem, find_notebook(stem), copy, options), threads=1) == ""
    exported = copy.with_suffix(".html")
    exported.write_text(HTMLExporter().from_filename(str(copy))[0], encoding="utf-8")
    for width in (1400, 390):
        with open_browser(width, 900) as page:
            page.context.set_offline(True)
            page.goto(exported.as_uri(), wait_until="domcontentloaded")
            page.get_by_text("A still figure. With a running kernel").wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate(BROKEN) == 0
            assert page.evaluate("document.images.length") >= 8
            assert real_errors(page) == []
