"""Faces are filtered, sorted, opened, marked and saved by mouse and by keys, and drawn at once."""

import csv
import statistics

import numpy as np
import pandas as pd
import pytest

from lsdkit.data.store import Store
from lsdkit.data.writer import StoreWriter
from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser
IMPORTS = "from lsdkit.data.store import Store\nfrom lsdkit.explore.faces import Faces"


def shown(explorer) -> list[int]:
    cells = explorer.locator(".lsdkit-face:not([hidden])")
    return [int(row) for row in cells.evaluate_all("cells => cells.map(cell => cell.dataset.row)")]


def test_filter_open_mark_and_save(page, lab_address, lab_folder, tiny_store):
    code = f"Faces(Store.open({str(tiny_store.path)!r}))"
    explorer = open_explorer(page, lab_address, lab_folder / "faces.ipynb", IMPORTS, code)
    table, lists = tiny_store.faces, explorer.locator("select")
    lists.nth(0).focus()
    page.keyboard.press("f")  # fear, as in any list
    page.wait_for_timeout(300)
    fear = np.flatnonzero(table["expression"] == "FEAR").tolist()
    assert shown(explorer) == fear
    lists.nth(1).select_option(label="subject-1")
    page.wait_for_timeout(300)
    some = [row for row in fear if table["subject"][row] == "subject-1"]
    assert shown(explorer) == some
    lists.nth(4).select_option(label="missing")
    page.wait_for_timeout(300)
    assert shown(explorer) == []
    lists.nth(1).select_option(label="all")
    page.wait_for_timeout(300)
    assert [tiny_store.keys[row] for row in shown(explorer)] == ["train/FEAR/0"]
    for number, choice in ((0, "all"), (4, "all")):
        lists.nth(number).select_option(label=choice)
    page.wait_for_timeout(300)
    assert shown(explorer) == list(range(48))

    explorer.locator(".lsdkit-face").nth(1).click()
    pane = explorer.locator(".lsdkit-pane")
    pane.wait_for()
    assert "train/" in pane.text_content()
    before = pane.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert pane.get_attribute("data-row") == "2"
    assert pane.locator("canvas").evaluate("canvas => canvas.toDataURL()") != before
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")  # rows 3 and 4
    page.keyboard.press("PageDown")
    page.wait_for_timeout(300)
    assert shown(explorer) == list(range(48, 84))
    page.keyboard.press("x")  # cuts a cell in JupyterLab's command mode
    page.keyboard.press("PageUp")
    page.wait_for_timeout(300)
    assert page.locator(".jp-CodeCell").count() == 2
    explorer.locator("input[type=text]").fill("odd, very")
    with page.expect_download() as download:
        explorer.get_by_role("button", name="save a list of 3").click()
    saved = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    assert [line["path"] for line in saved] == table["path"][[2, 3, 4]].tolist()
    assert {line["reason"] for line in saved} == {"odd, very"}
    lists.nth(0).select_option(label="Anger")
    explorer.get_by_role("button", name="select all 14 shown").click()
    anger = set(np.flatnonzero(table["expression"] == "ANGER"))
    assert explorer.get_by_role("button", name=f"save a list of {len({2, 3, 4} | anger)}").count() == 1
    explorer.get_by_role("button", name="select none").click()
    assert explorer.get_by_role("button", name="save a list of 0").is_disabled()
    assert real_errors(page) == []


def make_store(out, count: int, size: int = 64) -> Store:
    """Noise, a face of each class in turn."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (64, size, size, 3), dtype=np.uint8)
    points = generator.uniform(-0.8, 0.8, (64, 68, 2))
    names = ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")
    rows = [(f"train/{row}", "train", names[row % 6], f"subject-{row % 50}", f"{row}.png") for row in range(count)]
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    with StoreWriter(out) as writer:
        for row, face in enumerate(table.itertuples(index=False)):
            writer.add(face, pictures[row % 64], points[row % 64], "given")
        return writer.finish(kind="rendered", source="noise", settings={})


def measure_filters(page, explorer) -> list[float]:
    """Milliseconds from each of ten filters to drawn thumbnails, of faces that were not looked at before."""
    lists, times = explorer.locator("select"), []
    for number in range(10):
        lists.nth(1).select_option(index=1 + 4 * number)
        page.wait_for_timeout(500)
        times.append(float(explorer.get_attribute("data-ms")))
    return times


def test_filters_are_drawn_at_once(page, lab_address, lab_folder):
    store = make_store(lab_folder / "store-4000", 4000)
    code = f"Faces(Store.open({str(store.path)!r}))"
    explorer = open_explorer(page, lab_address, lab_folder / "faces_4000.ipynb", IMPORTS, code)
    times = measure_filters(page, explorer)
    lists = explorer.locator("select")
    lists.nth(1).select_option(label="all")
    lists.last.select_option("distance")
    page.wait_for_timeout(500)
    assert explorer.get_attribute("data-shown") == "4000"
    print(f"faces: {statistics.median(times):.0f} ms from filter to thumbnails with 4,000 faces; {times}")
    assert statistics.median(times) > 0
    assert real_errors(page) == []
