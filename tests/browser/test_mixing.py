"""Two faces are mixed by mouse and by keys, in a real browser."""

import statistics

import pytest

from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def picture_of(explorer) -> str:
    return explorer.locator("canvas").nth(1).evaluate("canvas => canvas.toDataURL()")


def test_lambda_by_keys_and_mouse(page, lab_address, lab_folder, tiny_store):
    code = f"Mixing(Store.open({str(tiny_store.path)!r}), model='open-1')"
    imports = "from lsdkit.data.store import Store\nfrom lsdkit.explore.mixing import Mixing"
    explorer = open_explorer(page, lab_address, lab_folder / "mixing.ipynb", imports, code)
    slider, value = explorer.locator("input[type=range]").first, explorer.locator("output").first
    before = picture_of(explorer)
    slider.focus()
    times = []
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(100)
        times.append(float(explorer.get_attribute("data-ms")))
    page.keyboard.press("x")  # cuts a cell in JupyterLab's command mode
    assert page.locator(".jp-CodeCell").count() == 2
    assert value.text_content() == "0.60"
    assert picture_of(explorer) != before
    after = picture_of(explorer)
    explorer.get_by_role("button", name="another second").click()
    page.wait_for_timeout(500)
    assert picture_of(explorer) != after
    sums = explorer.locator(".lsdkit-bars").nth(1).get_attribute("aria-label")
    assert sum(map(float, sums.replace(",", "").split()[1::2])) == pytest.approx(1, abs=0.04)
    assert real_errors(page) == []
    print(
        f"mixing: {statistics.median(times):.0f} ms a redraw, answered in {explorer.get_attribute('data-answered')} ms"
    )
    assert statistics.median(times) > 0


def test_a_restarted_kernel_is_said(page, lab_address, lab_folder, tiny_store):
    code = f"Mixing(Store.open({str(tiny_store.path)!r}))"
    imports = "from lsdkit.data.store import Store\nfrom lsdkit.explore.mixing import Mixing"
    explorer = open_explorer(page, lab_address, lab_folder / "restarted.ipynb", imports, code)
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.locator("[data-command='kernelmenu:restart']").click()
    page.locator(".jp-Dialog button", has_text="Restart").click()
    explorer.get_by_text("run this cell again").wait_for(timeout=30_000)
    assert page.get_by_text("model not found").count() == 0
    assert page.locator(".jupyter-widgets-disconnected").count() == 0
