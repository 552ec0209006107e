"""Pictures searched by several processes: in order, whatever becomes of one, and nothing left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from lsdkit.reading import workers
from lsdkit.reading.searching import search
from lsdkit.reading.workers import search_all


class Ends:
    """A picture that ends the process which takes it."""

    def __init__(self, how, *given):
        self.how = how, given

    def __reduce__(self):
        return self.how


def children():
    """The workers below this process."""
    return [each for each in psutil.Process().children(recursive=True) if "lsdkit.reading.worker" in each.cmdline()]


def test_several_processes_find_what_one_finds_in_order(photographs):
    files = [photographs / f"{number}.png" for number in (3, 1, 4, 2)] * 2
    found = list(search_all(files, (40, 20), 2))
    assert [file for file, _ in found] == files
    for file, one in found:
        other = search(file, (40, 20))
        assert (one.size, one.reason, len(one.faces)) == (other.size, "", 1)
        np.testing.assert_array_equal(one.faces[0].points, other.faces[0].points)
        assert one.faces[0].box == other.faces[0].box
        for side in (40, 20):
            np.testing.assert_array_equal(one.faces[0].crops[side], other.faces[0].crops[side])
    assert not children()


def test_a_picture_on_which_a_process_dies_is_named_and_the_rest_goes_on(photographs):
    sound = photographs / "1.png"
    cut = Image.open(photographs / "2.png")
    cut.fp.close()  # cannot be sent
    pictures = [sound, Ends(os._exit, 3), sound, Ends(os.abort), cut, sound, sound]
    reasons = [searched.reason for _, searched in search_all(pictures, (20,), 2)]
    assert reasons[1] == "not searched: the process ended with code 3"
    assert reasons[3] == f"not searched: the process ended by signal {signal.SIGABRT.value}"
    assert reasons[4].startswith("not searched: ")
    assert [reasons[number] for number in (0, 2, 5, 6)] == [""] * 4
    assert not children()


def test_whoever_stops_early_leaves_no_process(photographs):
    searched = search_all((photographs / "1.png" for _ in range(10**6)), (20,), 2)
    assert next(searched)[1].reason == ""
    assert len(children()) == 2
    searched.close()
    assert not children()


def test_few_pictures_are_taken_ahead(monkeypatch):
    monkeypatch.setattr(workers, "AHEAD", 2)
    taken = []

    def pictures():
        for number in range(9):
            taken.append(number)
            yield b"no picture"

    searched = search_all(pictures(), (20,), 1)
    assert next(searched)[1].reason.startswith("unreadable")
    assert taken == [0, 1]
    assert len(list(searched)) == 8


HIDDEN = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "dlib" else find(name, *more)
from lsdkit.reading.worker import main
main()
"""


def test_processes_that_cannot_start_say_why(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(ChildProcessError, match="cannot start: it ended with code 1"):
        list(search_all([b""], (20,), 2))
    monkeypatch.delenv("PYTHONHOME")
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: start([command[0], "-c", HIDDEN], **options))
    with pytest.raises(ChildProcessError, match="pip install dlib-bin"):
        list(search_all([b""], (20,), 1))


def test_workers_load_nothing_heavy():
    code = "import sys, lsdkit.reading.worker, lsdkit.reading.searching; print({'torch', 'timm'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


READ = """
from lsdkit.reading.reading import read_many
for reading in read_many([{file!r}] * 30, model={model!r}, jobs=2, progress=False):
    pass
print(reading)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["standard input", "script"])
def test_code_without_a_guard_can_ask_for_several_processes(way, photographs, model, tmp_path):
    code = READ.format(file=str(photographs / "1.png"), model=str(model))
    (tmp_path / "script.py").write_text(code)
    command = [sys.executable, *([] if way == "standard input" else [tmp_path / "script.py"])]
    done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Reading({photographs / '1.png'}, 400 x 400, 1 face: ")


def press_ctrl_c(process: subprocess.Popen) -> str:
    """What a process says that is told to stop, once more where Python lost the first: in a callback it is ignored."""
    try:
        for _ in range(3):
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.communicate(timeout=30)[1]
        raise AssertionError("three times Ctrl-C did not end it")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.slow
def test_ctrl_c_ends_the_command_in_one_line(photographs, model, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number}.png").symlink_to(photographs / "1.png")
    code = "import sys; from lsdkit.cli import main; sys.exit(main(sys.argv[1:]))"
    given = ["read", folder, "--model", model, "--out", tmp_path / "out.csv", "--jobs", "2"]
    command = [sys.executable, "-c", code, *map(str, given)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    group = psutil.Process(process.pid)
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(tmp_path.glob(".out*")):
        time.sleep(0.2)
    time.sleep(3)
    below = group.children(recursive=True)
    said = press_ctrl_c(process)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "lsdkit: stopped"
    assert not [each for each in below if each.is_running()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many"]
