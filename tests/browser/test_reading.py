"""Photographs are uploaded, their faces, members and heads chosen, by mouse and by keys, in a real browser."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.browser.lab import open_explorer, real_errors

pytestmark = pytest.mark.browser


def test_a_photograph_is_uploaded_and_followed(page, lab_address, lab_folder, tmp_path):
    two = np.concatenate([data.astronaut(), np.roll(data.astronaut(), 40, axis=0)[:, ::-1]], axis=1)
    Image.fromarray(two).save(tmp_path / "two.png")
    Image.fromarray(two).resize((2800, 1400)).save(tmp_path / "large.bmp")  # 12 MB: more than one message holds
    (tmp_path / "odd.jpg").write_bytes(b"no picture")
    imports = "from lsdkit.explore.reading import Reading\nfrom skimage.data import astronaut"
    code = "Reading('open-1', astronaut(), 'portrait')"
    explorer = open_explorer(page, lab_address, lab_folder / "reading.ipynb", imports, code)
    file = explorer.locator("input[type=file]")
    explorer.get_by_text("portrait: face 1 of 1").wait_for()
    times = []
    for _ in range(10):
        explorer.evaluate("root => delete root.dataset.ms")
        file.set_input_files([])
        file.set_input_files(tmp_path / "two.png")
        page.wait_for_function("() => document.querySelector('.lsdkit-explorer').dataset.ms")
        times.append(float(explorer.get_attribute("data-ms")))
    explorer.get_by_text("two.png: face 1 of 2").wait_for()
    crop = explorer.locator("canvas").nth(1)
    first = crop.evaluate("canvas => canvas.toDataURL()")
    explorer.locator("canvas").first.click(position={"x": 325, "y": 70})  # the second face
    explorer.get_by_text("two.png: face 2 of 2").wait_for()
    assert crop.evaluate("canvas => canvas.toDataURL()") != first
    face, member, head = (explorer.locator("select").nth(number) for number in range(3))
    face.focus()
    page.keyboard.press("ArrowUp")
    explorer.get_by_text("two.png: face 1 of 2").wait_for()
    mapped = explorer.locator("canvas").nth(4).evaluate("canvas => canvas.toDataURL()")
    member.focus()
    page.keyboard.press("ArrowDown")
    explorer.get_by_text("3  member 2 is shown").wait_for()
    assert explorer.locator("canvas").nth(4).evaluate("canvas => canvas.toDataURL()") != mapped
    assert explorer.locator("canvas").count() == 8
    head.select_option("3")
    assert explorer.locator("canvas").count() == 5
    file.set_input_files(tmp_path / "odd.jpg")
    explorer.get_by_text("odd.jpg: unreadable: no image format").wait_for()
    assert explorer.locator("canvas").first.is_hidden()
    file.set_input_files(tmp_path / "large.bmp")
    explorer.get_by_text("large.bmp: face 1 of 2").wait_for()
    assert explorer.locator("canvas").first.is_visible()
    assert real_errors(page) == []
    print(f"reading: {np.median(times):.0f} ms from upload to picture")
