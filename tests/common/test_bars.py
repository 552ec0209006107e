"""Progress is a bar in a terminal and lines in a notebook's kernel."""

from types import SimpleNamespace

import pytest

from lsdkit.common import bars


@pytest.fixture
def kernel(monkeypatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(bars.sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_a_notebook_shows_lines_and_ends_with_what_was_done(kernel, capsys, monkeypatch):
    monkeypatch.setattr(bars, "EVERY", 0.0)
    with bars.open_bar(total=4, desc="rendering", unit="face") as bar:
        for _ in range(2):
            bar.update(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "rendering: 4 of 4, 00:00"
    assert "rendering: 2 of 4, 00:00 so far, 00:00 left" in lines
    assert not any("%" in line or "\r" in line for line in lines)


def test_what_is_short_says_only_its_end(kernel, capsys):
    assert list(bars.open_bar(range(3), desc="annotating", unit="face")) == [0, 1, 2]
    assert capsys.readouterr().out == "annotating: 3 of 3, 00:00\n"


def test_a_notebook_is_silent_when_asked(kernel, capsys):
    with bars.open_bar(total=4, desc="rendering", disable=True) as bar:
        bar.update(4)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_a_bar(capsys):
    assert not bars.in_kernel()
    assert list(bars.open_bar(range(3), desc="annotating")) == [0, 1, 2]
    said = capsys.readouterr()
    assert said.out == ""
    assert "annotating: 100%" in said.err
