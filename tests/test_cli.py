"""The command line: what it prints, where it writes, and how it fails."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lsdkit import __version__
from lsdkit.cli import main
from lsdkit.data.store import Store
from lsdkit.recipes import PAPER
from lsdkit.selfsupervision.settings import DinoSettings

HEAVY = {"torch", "pandas", "numba", "matplotlib", "numpy"}


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
        (["prepare", "folder", "faces", "--landmarks", "mediapipe"], "dlib, face-alignment, deca:DIR or table:FILE"),
        (["prepare", "folder", "faces", "--kind", "real"], "photographs"),
        (["report", "nowhere"], "nowhere"),
        (["tables", "nowhere"], "nowhere"),
        (["predict", "nowhere", "--out", "x.csv"], "nowhere"),
        (["predict"], "--check FILE --list FILE"),
        (["audit", "nowhere"], "nowhere"),
        (["read", "nowhere"], "nowhere"),
        (["read", "faces", "--model", "nowhere"], "Expected a model"),
        (["landmarks", "nowhere"], "nowhere"),
        (["pretrain", "nowhere", "--recipe", "smoke"], "nowhere"),
        (["pretrain", "dino", "nowhere"], "nowhere"),
        (["prepare", "join", "one", "two", "--out", "both"], "one"),
        (["sweep", "--members", "table1", "--plan"], "'table1'"),
        (["sweep", "--recipe", "smoke", "--set", "alfa=1"], "alfa=1"),
        (["sweep", "--recipe", "smoke", "--plan", "--on", "P100"], "RTX 3090"),
        (["starts", "--recipe", "demos"], "'demo'"),
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
        ["sweep", "--help"],
        ["predict", "--help"],
        ["pretrain", "--help"],
        ["pretrain", "dino", "--help"],
        ["prepare", "folder", "--help"],
    ):
        assert main(arguments) == 0
    assert "--iscrop-false" in capsys.readouterr().out


@pytest.fixture
def calls(project, monkeypatch):
    """What the commands call, in order: (function, positional arguments, others); each returns its own name."""
    made = []

    def stub(place):
        name = place.rpartition(".")[2]
        monkeypatch.setattr(f"lsdkit.{place}", lambda *given, **named: made.append((name, given, named)) or name)

    for place in (
        "data.audit.quality_report.write_quality",
        "data.audit.report.write_audit",
        "data.combining.join_stores",
        "openset.preparing.prepare_open",
        "photographs.benchmark.run_benchmark",
        "prediction.write_probabilities",
        "reading.report.read_photographs",
        "reproduce.demo.run_demo",
        "reproduce.pages.write_pages",
        "reproduce.report.write_report",
        "reproduce.start_runs.run_starts",
        "reproduce.submission.check_submission",
        "reproduce.submission.write_submission",
        "reproduce.sweep.plan_sweep",
        "reproduce.sweep.run_sweep",
        "reproduce.tables.write_tables",
        "reproduce.workshop.prepare_workshop",
        "selfsupervision.pretraining.pretrain_dino",
        "training.pretraining.pretrain",
        "weights.published.listing",
    ):
        stub(place)
    monkeypatch.setattr("lsdkit.reproduce.sweep.Plan", dict)
    monkeypatch.setattr("lsdkit.data.preparing.summarise", str)
    (project / "runs").mkdir()
    return made


def test_open_demo_and_report_reach_their_functions(project, calls, capsys):
    assert main(["prepare", "open", "--fraction", "0.002", "--size", "64", "--seed", "5"]) == 0
    assert main(["demo"]) == 0
    assert main(["report", "runs"]) == 0
    options = {"fraction": 0.002, "validation": 600, "test": 600, "pixels": 64, "seed": 5}
    options |= {"design": "release", "jobs": None, "device": "auto"}
    assert calls[0] == ("prepare_open", (project / "data" / "open",), options)
    assert calls[1][1] == (project / "runs" / "demo",)
    assert [path.name for path in calls[2][1]] == ["runs", "report.html"]
    assert capsys.readouterr().out.split() == ["prepare_open", "run_demo", "write_report"]


def test_workshop_and_pages_reach_their_functions(project, calls, capsys):
    assert main(["workshop", "--check"]) == main(["workshop"]) == main(["pages"]) == 0
    assert calls[:2] == [("prepare_workshop", (True,), {}), ("prepare_workshop", (False,), {})]
    assert calls[2][1] == (project / "docs" / "notebooks",)
    assert capsys.readouterr().out.split() == ["prepare_workshop", "prepare_workshop", "write_pages"]


def test_the_experiments_commands_reach_their_functions(project, calls, capsys):
    for command in (
        "sweep --members table3 --recipe tiny --data d --weak-seeds 0,1,2 --jobs 2 --gpus 0,1 --set alpha=0.2",
        "sweep --plan",
        "tables runs --split test",
        "weights",
        "pretrain one two --order joined --classes 7 --set alpha=0.2",
        "prepare join one two --out both",
        "audit data/open",
        "predict --check file --list list",
        "predict runs --out s.csv --submission --list list --missing fear --ensemble all",
        "predict runs --out p.csv --split validation --seed 1",
        "landmarks data/open --against dlib --faces 50",
        "benchmark --photographs faces --out bench --seeds 0,1 --models hog,two-branch --plan",
        "predict dan_rafdb@file.pth --out d.csv --data data/open",
        "starts --seeds 1,2 --dino-face runs/mine --jobs 1",
        "read a.jpg faces --out t.csv --model runs --jobs 2",
    ):
        assert main(command.split()) == 0
    sweep = {"members": "table3", "recipe": "tiny", "seeds": (0,), "weak_seeds": (0, 1, 2), "settings": "alpha=0.2"}
    sweep |= {"emotion_weights": "", "appearance_weights": "", "epochs": 0}
    running = {"data": "d", "jobs": 2, "gpus": ("0", "1"), "device": "auto", "timeout": 0.0, "cluster": None}
    assert calls[0] == ("run_sweep", ("runs/sweep-tiny", sweep), running)
    assert calls[1][0] == "plan_sweep"
    assert calls[1][2] == {"data": "", "on": "6 x RTX 3090"}
    assert calls[2][1:] == ((project / "runs", project / "runs" / "tables"), {"split": "test"})
    assert calls[4][1] == (["one", "two"], "runs/pretrain")
    assert calls[4][2].items() >= {"order": "joined", "classes": 7, "recipe": replace(PAPER, alpha=0.2)}.items()
    assert calls[5] == ("join_stores", (["one", "two"], "both"), {"kind": ""})
    assert calls[6][1] == (project / "data" / "open", project / "runs" / "audit-open")
    chosen = {"ensemble": "all", "seed": None, "allow_incomplete": False, "data": ""}
    assert calls[7:9] == [
        ("check_submission", (project / "file", str(project / "list")), {}),
        (
            "write_submission",
            (project / "runs", "s.csv"),
            {"listed": str(project / "list"), "missing": "fear"} | chosen,
        ),
    ]
    assert calls[9][2] == chosen | {"split": "validation", "ensemble": "", "seed": 1}
    assert calls[10][1:] == (
        (project / "data" / "open", project / "runs" / "landmarks-open"),
        {"against": "dlib", "faces": 50},
    )
    options = {"seeds": (0, 1), "models": ("hog", "two-branch"), "fraction": 0.0, "jobs": 0, "device": "auto"}
    assert calls[11][1:] == (({"faces": "faces"}, project / "bench"), options | {"plan": True})
    assert calls[12][1] == ("dan_rafdb@file.pth", "d.csv")
    options = {"recipe": "demo", "seeds": (1, 2), "data": "", "dino": "", "dino_face": "runs/mine", "jobs": 1}
    assert calls[13] == ("run_starts", (project / "runs" / "starts",), options)
    options = {"out": project / "t.csv", "sheet": "", "model": "runs", "jobs": 2, "device": "auto"}
    assert calls[14] == ("read_photographs", (["a.jpg", "faces"],), options)
    printed = capsys.readouterr().out.split()
    assert printed == [name for name, *_ in calls]


def test_the_word_dino_chooses_self_supervision(calls, capsys):
    for command in ("dino one two --epochs 3", "./dino", "one dino", "--out o dino", "dino dino --out o"):
        assert main(["pretrain", *command.split()]) == 0
    assert [(name, *given[:2]) for name, given, _ in calls] == [
        ("pretrain_dino", ["one", "two"], "runs/dino"),
        ("pretrain", ["./dino"], "runs/pretrain"),
        ("pretrain", ["one", "dino"], "runs/pretrain"),
        ("pretrain", ["dino"], "o"),
        ("pretrain_dino", ["dino"], "o"),
    ]
    assert calls[0][1][2] == DinoSettings(epochs=3)
    capsys.readouterr()
    assert main(["pretrain", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "`lsdkit pretrain dino STORE ...`" in printed
    assert "./dino" in printed
    assert main(["pretrain", "dino"]) == 2
    assert "lsdkit pretrain dino: error: the following arguments are required: STORE" in capsys.readouterr().err
    assert main(["pretrain-dino", "one"]) == 2


@pytest.mark.parametrize("command", ["--help", "benchmark --help", "read --help"])
def test_help_needs_nothing_heavy(command):
    script = (
        f"import sys; from lsdkit.cli import main; main({command.split()}); sys.exit(bool({HEAVY} & {{*sys.modules}}))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0


@pytest.mark.parametrize("flag", ["--seeds 0,one", "--fraction half", "--colour"])
def test_wrong_values_are_usage_errors(flag, capsys):
    assert main(["benchmark", "--photographs", "faces", "--out", "bench", *flag.split()]) == 2
    assert flag.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--submission --split validation", "answer the test faces"),
        ("--missing FEAR", "Expected --submission with"),
        ("--list names.txt", "Expected --submission with"),
    ],
)
def test_predict_refuses_options_that_would_be_ignored(options, words, tmp_path, capsys):
    assert main(f"predict {tmp_path} --out {tmp_path / 'out.csv'} {options}".split()) == 2
    assert words in capsys.readouterr().err


def test_an_answer_is_printed_in_any_encoding_and_for_as_long_as_someone_reads():
    command = [sys.executable, "-c", "from lsdkit.cli import _print; _print('a\\u6f22\\udce9 ' * 100_000)"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr, done.stdout[:14]) == (0, b"", b"a\\u6f22\\udce9 ")
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("jobs", ["-3", "0", "many"])
def test_a_number_of_workers_that_is_none_is_a_wrong_argument(project, capsys, jobs):
    assert main(["prepare", "folder", "faces", f"--jobs={jobs}"]) == 2
    assert f"expected a whole number of at least 1, but got '{jobs}'" in capsys.readouterr().err


def test_the_home_of_nobody_is_told_as_such(project, capsys):
    assert main(["audit", "~nosuchuser/store"]) == 2
    assert "~nosuchuser in ~nosuchuser/store is no home folder" in capsys.readouterr().err
