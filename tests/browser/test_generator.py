"""A rendered face is drawn anew by mouse and by keys, in a real browser."""

import statistics

import pytest

from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def test_sliders_draw_the_face_anew(page, lab_address, lab_folder):
    imports = "from lsdkit.explore.generator import Generator"
    explorer = open_explorer(page, lab_address, lab_folder / "generator.ipynb", imports, "Generator()")
    face, line = explorer.locator("canvas"), explorer.locator(".lsdkit-line")
    explorer.get_by_text("drawn in").wait_for(timeout=120_000)  # warmed up
    seen, times = [face.evaluate("canvas => canvas.toDataURL()")], []
    turned = explorer.get_by_label("turned")
    turned.focus()
    for _ in range(10):
        explorer.evaluate("root => delete root.dataset.ms")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => document.querySelector('.lsdkit-explorer').dataset.ms")
        times.append(float(explorer.get_attribute("data-ms")))
        seen.append(face.evaluate("canvas => canvas.toDataURL()"))
    assert len(set(seen)) == 11
    assert turned.input_value() == "10"
    explorer.get_by_role("button", name="random person").click()
    explorer.locator("select").first.select_option("ANGER")
    explorer.get_by_text("anger (pressed)").wait_for()
    before = face.evaluate("canvas => canvas.toDataURL()")
    explorer.get_by_label("landmarks").check()
    assert face.evaluate("canvas => canvas.toDataURL()") != before
    assert "a drawing of nobody" in face.get_attribute("aria-label")
    assert "real" not in line.text_content()
    assert real_errors(page) == []
    print(f"generator: {statistics.median(times):.0f} ms a face")
