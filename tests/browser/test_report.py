"""The report in a browser without a network, on a desk and on a phone."""

import pytest

from lsdkit.reproduce.report import write_report
from tests.browser import lab
from tests.reproduce.test_report import leave_three_runs

pytestmark = [pytest.mark.browser, pytest.mark.skipif(lab.CHROMIUM is None, reason="no Chromium here")]
BEYOND = """[...document.querySelectorAll("body *")].filter(each =>
    !each.closest(".wide") && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.tagName)"""
WIDE = """[...document.querySelectorAll(".wide")].map(each =>
    getComputedStyle(each).overflowX == "auto" && each.getBoundingClientRect().right <= innerWidth)"""


@pytest.fixture(scope="module")
def report(tiny_store, tmp_path_factory):
    return write_report(leave_three_runs(tiny_store, tmp_path_factory.mktemp("report") / "runs"))


@pytest.mark.parametrize("width", [1400, 390])
def test_the_report_fits_and_asks_for_nothing(report, width):
    with lab.open_browser(width, 900) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.context.set_offline(True)
        page.goto(report.as_uri())
        assert [url for url in asked if not url.startswith("data:image/png")] == [report.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(BEYOND) == []
        assert page.evaluate(lab.BROKEN) == 0
        assert page.evaluate("document.images.length") >= 9
        shown = page.evaluate(WIDE)
        assert len(shown) == 3
        assert all(shown)
        first = page.locator("details").first
        assert not first.locator("li").first.is_visible()
        first.locator("summary").press("Enter")
        assert first.locator("li").first.is_visible()
        assert page.errors == []
