"""The runner of the benchmarks of speed: lines are read as they were printed, and a failure is a row of the page."""

import os
import platform
import re

import pytest

from tests.test_documents import ROOT


@pytest.fixture
def bench(load_benchmark):
    return load_benchmark("speed/bench")


@pytest.fixture
def measuring(load_benchmark, bench):
    return bench.sys.modules["measuring"]


def test_lines_are_read_as_they_were_printed(measuring):
    lines = [
        measuring.Line("step at 64 px", "another step", 1.25, 1.5),
        measuring.Line("a command", "-", 0.031, 0.5, "s"),
        measuring.Line("a command's memory", "-", 1.5, 1, "GiB"),
    ]
    printed = "words first\n" + "\n".join(f"{line}\nand words | between" for line in lines)
    assert measuring.read_lines(printed) == lines
    assert [line.met for line in lines] == [False, True, False]
    assert [str(line).rpartition(" | ")[2] for line in lines] == ["MISSED", "met", "MISSED"]
    with pytest.raises(ValueError, match="unpack"):
        measuring.read_lines("=> a step | another | 1.25 times")


def test_a_ratio_that_is_printed_as_its_target_has_met_it(measuring):
    exactly, nearly = measuring.Line("a", "b", 1.4996, 1.5), measuring.Line("a", "b", 1.4994, 1.5)
    assert (exactly.met, nearly.met) == (True, False)
    assert measuring.read_lines(f"{exactly}\n{nearly}")[0].met
    assert not measuring.read_lines(f"{exactly}\n{nearly}")[1].met


def test_sides_are_timed_in_turn(measuring):
    order, ticks = [], iter(range(100))
    seconds = measuring.time_in_turn(
        {name: lambda name=name: order.append(name) for name in "ab"}, 3, warming=1, clock=lambda: next(ticks) ** 2
    )
    assert "".join(order) == "abababab"
    starts = {  # in ticks, after two that begin the warming
        "a": [2, 6, 10],
        "b": [4, 8, 12],
    }
    assert seconds == {name: sorted((n + 1) ** 2 - n**2 for n in each)[1] for name, each in starts.items()}


def test_the_page_holds_every_figure_and_failure(bench, measuring):
    met, missed = measuring.Line("step", "other", 1.6, 1.5), measuring.Line("command", "-", 30.0, 20, "s")
    outcomes = [
        bench.Outcome("one", [met]),
        bench.Outcome("two", [missed], "OSError: no | in /home/someone/deep/file.txt"),
    ]
    page = bench.write_page(outcomes, {"machine": "two cores", "date": "today"})
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert table[2:] == [
        "| step | other | 1.60 times | at least 1.5 | met | `python benchmarks/speed/one.py` |",
        "| command | - | 30.00 s | under 20 | **MISSED** | `python benchmarks/speed/two.py` |",
        "| two |  | OSError: no / in file.txt |  | **FAILED** | `python benchmarks/speed/two.py` |",
    ]
    assert len({line.count("|") for line in table}) == 1
    assert "- machine: two cores\n- date: today\n" in page


def test_the_machine_is_told_without_its_name(bench):
    facts = bench.describe_machine()
    assert f"{bench.cores()} cores" in facts["machine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["date"])
    assert "torch " in facts["versions"]
    assert platform.node() not in " ".join(facts.values()).split()


def test_a_script_that_fails_or_lasts_is_a_row_and_the_next_is_run(bench, measuring, tmp_path, monkeypatch, capsys):
    line = measuring.Line("step", "other", 1.6, 1.5)
    threads = "import os; assert not {'OMP_NUM_THREADS', 'GOMP_SPINCOUNT'} & os.environ.keys()\n"
    scripts = {
        "good": f"{threads}print({str(line)!r})",
        "bad": f"print({str(line)!r}); raise OSError('no room')",
        "long": f"import time; print({str(line)!r}); time.sleep(60)",
        "silent": "",
    }
    for name, code in scripts.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "SECONDS", dict.fromkeys(scripts, 60) | {"long": 3})
    assert bench.main(["--out", str(tmp_path / "page.md")]) == 1
    page = (tmp_path / "page.md").read_text()
    assert page.count("| 1.60 times |") == 3
    for why in ("OSError: no room", "ran past 3 s", "it printed no figure"):
        assert f"| {why} |" in page
    assert bench.main(["good", "--out", str(tmp_path / "page.md")]) == 0
    assert "FAILED" not in (tmp_path / "page.md").read_text()
    with pytest.raises(SystemExit):
        bench.main(["other"])
    assert "expected scripts of good, bad, long, silent, but got other" in capsys.readouterr().err


def test_every_script_is_there_and_all_end_within_twelve_minutes(bench):
    assert {f"{name}.py" for name in bench.SECONDS} <= set(os.listdir(ROOT / "benchmarks" / "speed"))
    assert sum(bench.SECONDS.values()) <= 12 * 60
