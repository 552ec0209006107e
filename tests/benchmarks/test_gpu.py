"""The benchmark of a CUDA device, in its tiny size on the CPU: every row is measured or says why not."""

import json

import pytest

OPTIONS = ["--small", "--device", "cpu", "--no-tests", "--steps", "2", "--warming", "1"]


@pytest.fixture
def benchmark(load_benchmark):
    return load_benchmark("speed/gpu")


@pytest.mark.slow
def test_every_row_is_measured_or_says_why_not(benchmark, tmp_path, monkeypatch):
    Case = benchmark.Case
    cases = [Case(), Case(step="published"), Case("bf16", memory="recompute"), Case("float32 strict", memory="split_4")]
    monkeypatch.setattr(benchmark, "CASES", [*cases, Case(appearance="no such network"), Case(views="ready")])
    benchmark.main([*OPTIONS, "--out", str(tmp_path)])
    results = json.loads((tmp_path / "gpu.json").read_text())
    *measured, failed, last = results["rows"]
    for row in (*measured, last):
        assert len(row["seconds"]) == 2, row
        assert row["images_per_second"] == pytest.approx(results["batch"] / row["median_seconds"])
        assert 0 < row["loss"] < 100
    assert "no such network" in failed["failed"]
    assert results["check"]["recompute"] == {"loss": 0, "gradient": 0, "buffers": 0}
    assert results["check"]["published"]["gradient"] < 1e-10 < results["check"]["split_4"]["gradient"]
    table = [line for line in (tmp_path / "gpu.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(results["rows"])
    assert len({line.count("|") for line in table}) == 1
    ratio = measured[1]["median_seconds"] / measured[0]["median_seconds"]
    assert f"| {ratio:.2f} |" in table[2]


def test_work_in_a_process_of_its_own_ends_as_a_row(benchmark):
    def end():
        raise SystemExit(3)

    assert benchmark.apart(lambda: {"a": 1}, 30) == {"a": 1}
    assert benchmark.apart(lambda: 1 / 0, 30) == {"failed": "ZeroDivisionError: division by zero"}
    assert benchmark.apart(end, 30) == {"failed": "ended with exit code 3"}
    assert benchmark.apart(lambda: benchmark.time.sleep(60), 1) == {"failed": "ran past 1 s"}


def test_the_answer_of_the_tests_is_kept(benchmark):
    assert benchmark.run_tests("no/such/file.py", 60)["rc"] == 4
    assert benchmark.run_tests("tests/test_gpu.py", 0.1)["last"] == "ran past 0 s"
