"""Faces, classes and heads of a network are looked at by mouse and by keys, in a real browser."""

import statistics

import pytest

from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def test_faces_and_classes_by_keys_and_mouse(page, lab_address, lab_folder, tiny_store):
    code = f"Inside('open-1', Store.open({str(tiny_store.path)!r}))"
    imports = "from lsdkit.data.store import Store\nfrom lsdkit.explore.inside import Inside"
    explorer = open_explorer(page, lab_address, lab_folder / "inside.ipynb", imports, code)
    face, line = explorer.locator("canvas").first, explorer.locator(".lsdkit-line")
    assert explorer.locator("canvas").count() == 6  # face, evidence, four heads
    seen, times = {face.evaluate("canvas => canvas.toDataURL()")}, []
    explorer.get_by_role("button", name="next").focus()
    for _ in range(10):
        before = line.text_content()
        page.keyboard.press("Enter")
        page.wait_for_function("before => document.querySelector('.lsdkit-line').textContent !== before", arg=before)
        seen.add(face.evaluate("canvas => canvas.toDataURL()"))
        times.append(float(explorer.get_attribute("data-ms")))
    assert len(seen) == 11
    assert explorer.locator("input[type=number]").input_value() == "11"
    evidence = explorer.locator("canvas").nth(1)
    maps = set()
    for expression in range(6):
        explorer.locator("select").nth(3).select_option(str(expression))
        page.wait_for_timeout(500)
        maps.add(evidence.evaluate("canvas => canvas.toDataURL()"))
    assert len(maps) > 2
    explorer.locator("select").nth(2).select_option("Fear")
    explorer.get_by_text("of 4", exact=True).wait_for()
    assert "FEAR" in line.text_content()
    assert face.get_attribute("aria-label").startswith("face validation/FEAR/")
    assert real_errors(page) == []
    print(f"inside: {statistics.median(times):.0f} ms a face")
