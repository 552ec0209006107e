"""Members are ticked by mouse and by keys; what the browser counts is what Python counts."""

import statistics

import numpy as np
import pytest
from sklearn.metrics import f1_score

from lsdkit.ensembles.calibration import bin_confidence, calibration_error
from tests.browser.lab import open_explorer, real_errors
from tests.fake_runs import EXTRA, STRONG, WEAK, answers, faces, leave_run

pytestmark = pytest.mark.browser
MEMBERS, FACES = 38, 4670  # of the paper's ensemble, and of the release's validation set


@pytest.fixture(scope="module")
def left(lab_folder):
    """Probabilities (M, B, 6) of made-up members, in the order in which their folders are read."""
    keys, labels = faces(FACES)
    stacks = {}
    for number, cell in enumerate((STRONG + EXTRA + WEAK)[:MEMBERS]):
        stack = answers(labels, 0.2 + 0.01 * number, number)
        stacks[leave_run(lab_folder / "ensemble", cell, 0, keys, labels, stack).name] = stack
    return labels, np.array([stacks[name] for name in sorted(stacks)])


def expect(explorer, labels, stack) -> None:
    voted = stack.mean(0)
    macro = f1_score(labels, voted.argmax(1), labels=range(6), average="macro")
    assert float(explorer.get_attribute("data-macro")) == pytest.approx(macro, abs=6e-5)
    error = calibration_error(bin_confidence(labels, voted))
    assert float(explorer.get_attribute("data-calibration")) == pytest.approx(error, abs=6e-5)
    one, two = np.triu_indices(len(stack), 1)
    apart = (stack.argmax(2)[one] != stack.argmax(2)[two]).mean()
    assert float(explorer.get_attribute("data-apart")) == pytest.approx(apart, abs=6e-5)


def test_members_are_ticked(page, lab_address, lab_folder, left):
    labels, stack = left
    code = f"Ensemble({str(lab_folder / 'ensemble')!r})"
    imports = "from lsdkit.explore.ensemble import Ensemble"
    explorer = open_explorer(page, lab_address, lab_folder / "ensemble.ipynb", imports, code)
    expect(explorer, labels, stack)
    boxes, times, answered = explorer.locator("input[type=checkbox]"), [], []
    assert boxes.count() == MEMBERS
    for number in range(10):
        boxes.nth(number).focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(400)
        times.append(float(explorer.get_attribute("data-ms")))
        answered.append(float(explorer.get_attribute("data-answered")))
    expect(explorer, labels, stack[10:])
    low, high = map(float, explorer.get_attribute("data-interval").split())
    assert low < float(explorer.get_attribute("data-macro")) < high
    before = explorer.locator("svg").nth(2).inner_html()
    boxes.nth(37).click()
    assert explorer.locator("svg").nth(2).inner_html() != before
    expect(explorer, labels, stack[10:37])
    explorer.get_by_role("button", name="none").click()
    assert explorer.get_by_text("Tick at least one member.").is_visible()
    explorer.get_by_role("button", name="all").click()
    expect(explorer, labels, stack)
    assert real_errors(page) == []
    print(f"ensemble: {statistics.median(times):.0f} ms a tick, intervals in {statistics.median(answered):.0f} ms")
