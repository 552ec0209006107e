"""The command line: what it prints, where it writes, and how it fails."""

import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from lsdkit import __version__
from lsdkit.cli import main
from lsdkit.store import Store


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with ten photographs in `faces/`, and one file that is none."""
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("fear", "surprised"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / name / f"{i}.jpg")
    (tmp_path / "faces" / "fear" / "broken.jpg").write_bytes(b"?")
    return tmp_path


def test_prepare_folder_writes_to_data_and_prints_counts(project, capsys):
    assert main(["prepare", "folder", "faces", "--size", "16", "--validation", "0.4", "--jobs", "1"]) == 0
    store = Store.open(project / "data" / "faces")
    assert store.images.shape == (10, 16, 16, 3)
    assert store.counts("validation").tolist() == [0, 0, 2, 0, 0, 2]
    printed = capsys.readouterr().out
    assert "SURPRISE" in printed
    assert "unreadable: 1, such as fear/broken.jpg" in printed


def test_prepare_csv_and_out(project):
    (project / "list.csv").write_text("path,expression\nfaces/fear/0.jpg,fear\n")
    assert main(["prepare", "csv", "list.csv", "--out", "kept/here", "--split", "test", "--jobs", "1"]) == 0
    assert Store.open(project / "kept" / "here").keys == ["test/FEAR/0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "folder", "face"], "did you mean faces?"),
        (["prepare", "release", "faces"], "training_set_synthetic_images"),
        (["prepare", "csv", "absent.csv"], "absent.csv"),
        (["prepare", "folder", "faces", "--landmarks", "deca:nowhere"], "nowhere"),
        (["prepare", "folder", "faces", "--landmarks", "mediapipe"], "dlib, deca:DIR or table:FILE"),
        (["prepare", "folder", "faces", "--kind", "real"], "photographs"),
        (["report", "nowhere"], "nowhere"),
    ],
)
def test_errors_are_one_line_and_code_2(project, capsys, arguments, message):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("lsdkit: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_usage_errors_and_help(capsys):
    assert main([]) == 2
    assert main(["prepare", "video"]) == 2
    assert "release" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    for arguments in (
        ["--help"],
        ["prepare", "--help"],
        ["prepare", "open", "--help"],
        ["prepare", "folder", "--help"],
    ):
        assert main(arguments) == 0
    assert "--iscrop-false" in capsys.readouterr().out


def test_open_demo_and_report_reach_their_modules(project, monkeypatch, capsys):
    calls = []

    def stub(name):
        def run(*positional, **named):
            calls.append((name, positional, named))
            return name

        return run

    monkeypatch.setattr("lsdkit.prepare.prepare_open", stub("open"))
    monkeypatch.setattr("lsdkit.prepare.summary", str)
    monkeypatch.setitem(sys.modules, "lsdkit.demo", types.SimpleNamespace(run_demo=stub("demo")))
    monkeypatch.setitem(sys.modules, "lsdkit.report", types.SimpleNamespace(write_report=stub("report")))
    assert main(["prepare", "open", "--fraction", "0.002", "--size", "64", "--seed", "5"]) == 0
    assert main(["demo"]) == 0
    (project / "runs").mkdir()
    assert main(["report", "runs"]) == 0
    options = {"fraction": 0.002, "validation": 600, "test": 600, "pixels": 64, "seed": 5, "jobs": None}
    assert calls[0] == ("open", (project / "data" / "open",), options)
    assert calls[1][1] == (project / "runs" / "demo",)
    assert [path.name for path in calls[2][1]] == ["runs", "report.html"]
    assert capsys.readouterr().out.split() == ["open", "demo", "report"]


def test_help_needs_no_torch():
    script = "import sys; from lsdkit.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
