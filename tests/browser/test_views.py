"""Views are drawn anew, weaker and of other faces, by mouse and by keys."""

import statistics
import time

import pytest

from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def test_strength_draws_and_faces(page, lab_address, lab_folder, tiny_store):
    code = f"Views(Store.open({str(tiny_store.path)!r}), find_recipe('demo'))"
    imports = "from lsdkit.data.store import Store\nfrom lsdkit.explore.views import Views\n"
    imports += "from lsdkit.recipes import find_recipe"
    explorer = open_explorer(page, lab_address, lab_folder / "views.ipynb", imports, code)
    canvases, times = explorer.locator("canvas"), []

    def shown(number: int) -> str:
        return canvases.nth(number).evaluate("canvas => canvas.toDataURL()")

    def until(holds) -> None:
        """Wait for the kernel's answer to be drawn: at once on a free machine."""
        end = time.monotonic() + 20
        while not holds() and time.monotonic() < end:
            page.wait_for_timeout(50)
        assert holds()

    own, emotion, appearance = (shown(number) for number in (0, 1, 7))
    slider = explorer.locator("input[type=range]")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(200)
        times.append(float(explorer.get_attribute("data-answered")))
    page.keyboard.press("Home")
    until(lambda: "strength 0.00" in explorer.text_content())
    assert shown(0) == own
    assert shown(1) != emotion
    assert shown(7) != appearance
    page.keyboard.press("End")
    until(lambda: "strength 1.00" in explorer.text_content())
    strong = shown(1)
    again = explorer.get_by_role("button", name="draw again")
    again.focus()
    page.keyboard.press("Enter")
    until(lambda: shown(1) != strong)
    box = explorer.get_by_label("draw landmarks")
    marked = shown(0)
    box.focus()
    page.keyboard.press("Space")
    until(lambda: shown(0) != marked)
    explorer.locator("select").select_option(label="Sadness")
    until(lambda: "Sadness, row" in explorer.text_content())
    before = shown(0)
    explorer.get_by_role("button", name="another face").click()
    until(lambda: shown(0) != before)
    explorer.get_by_label("basic augmentation").uncheck()
    until(lambda: shown(1) == shown(0))
    assert page.locator(".jp-CodeCell").count() == 2
    assert real_errors(page) == []
    print(f"views: {statistics.median(times):.0f} ms from the slider to drawn views")
    assert statistics.median(times) > 0
