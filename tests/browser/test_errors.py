"""Cells of the confusion matrix open their faces, by mouse and by keys; labels in doubt, and the map."""

import statistics
from dataclasses import replace

import numpy as np
import pytest

from lsdkit.method import metrics
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.member import train_member
from lsdkit.training.predictions import answers_of, probabilities_of, select_labelled
from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def runs(tiny_store, lab_folder):
    recipe, root = replace(SMOKE, epochs=1), lab_folder / "errors"
    members = [Member(recipe=recipe, bag=bag) for bag in (0, 1)]
    return [train_member(each, tiny_store, root / each.name, device="cpu", progress=False) for each in members]


def expect_matrix(explorer, counts) -> None:
    shown = explorer.locator(".lsdkit-count b").all_text_contents()
    assert [int(each) for each in shown] == counts.flatten().tolist()


def test_matrix_labels_and_map(page, lab_address, lab_folder, runs, tiny_store):
    code = f"Errors({str(runs[0].folder)!r})"
    imports = "from lsdkit.explore.errors import Errors"
    explorer = open_explorer(page, lab_address, lab_folder / "errors.ipynb", imports, code)
    table = runs[0].read_predictions()
    counts = metrics.confusion(*answers_of(table, "validation"))
    expect_matrix(explorer, counts)
    labels, answers = answers_of(table, "validation")
    assert f"macro F1 {metrics.macro_f1(labels, answers):.3f} over 24" in explorer.text_content()

    label, answer = np.unravel_index((counts - np.diag(np.diag(counts))).argmax(), counts.shape)
    explorer.locator(".lsdkit-count").first.focus()
    for key, times in (("ArrowDown", label), ("ArrowRight", answer)):
        for _ in range(times):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    part = select_labelled(table, "validation")
    own = probabilities_of(part)[:, answer]
    fits = np.flatnonzero((labels == label) & (answers == answer))
    keys = part["key"].to_numpy()[fits[np.argsort(-own[fits], kind="stable")]]
    cells = explorer.locator(".lsdkit-face:not([hidden])")
    rows = [int(row) for row in cells.evaluate_all("cells => cells.map(cell => cell.dataset.row)")]
    assert [tiny_store.keys[row] for row in rows] == keys.tolist()
    cells.first.click()
    explorer.locator(".lsdkit-pane").wait_for()
    assert keys[0] in explorer.locator(".lsdkit-pane").text_content()

    lists, times = explorer.locator("select"), []
    for number in range(10):
        lists.nth(0).select_option(str(number % 2))
        page.wait_for_timeout(200)
        times.append(float(explorer.get_attribute("data-ms")))
    expect_matrix(explorer, metrics.confusion(*answers_of(runs[1].read_predictions(), "validation")))
    lists.nth(1).select_option(label="test")
    page.wait_for_timeout(200)
    expect_matrix(explorer, metrics.confusion(*answers_of(runs[1].read_predictions(), "test")))
    lists.nth(2).select_option("labels")
    explorer.get_by_text("labels in doubt, likeliest wrong first").wait_for()

    lists.nth(2).select_option("map")
    page.locator(".lsdkit-explorer[data-mapped='36']").wait_for(timeout=60_000)
    canvas = explorer.locator(".lsdkit-map > canvas")
    painted = canvas.evaluate("canvas => canvas.toDataURL()")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(300)
    explorer.locator(".lsdkit-tip").wait_for()
    row = canvas.get_attribute("data-row")
    page.keyboard.press("Enter")
    page.wait_for_timeout(400)
    assert explorer.locator(".lsdkit-pane").get_attribute("data-row") == row
    lists.nth(3).select_option("correctness")
    page.wait_for_timeout(200)
    assert canvas.evaluate("canvas => canvas.toDataURL()") != painted
    assert page.locator(".jp-CodeCell").count() == 2
    assert real_errors(page) == []
    print(f"errors: {statistics.median(times):.0f} ms from another member to its matrix and faces")
    assert statistics.median(times) > 0
