"""SIGTERM and SIGINT: remembered, answered once, and the handlers put back."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
from PIL import Image

from lsdkit.common.signals import Interrupts, Stopped


def test_interrupts_wait_once_and_put_the_handlers_back():
    before = [signal.getsignal(number) for number in Interrupts.SIGNALS]
    with Interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped):
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):  # the second one is not waited for
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in Interrupts.SIGNALS] == before


def test_interrupts_do_nothing_in_another_thread():
    found = []

    def work():
        with Interrupts() as interrupts:
            interrupts.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


PARENT = """
import multiprocessing, os, time
from lsdkit.common.signals import end_with_parent

def work(pipe):
    end_with_parent()
    pipe.send(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=work, args=(theirs,)).start()
    print(ours.recv(), flush=True)
    time.sleep(600)
"""


def test_a_worker_ends_with_whoever_started_it(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    assert not psutil.wait_procs([child], 10)[1]


SCRIPT = """
import sys
from lsdkit.data.preparing import prepare_folder
from lsdkit.data.alignment import Crop
{guard}
    store = prepare_folder(sys.argv[1], sys.argv[2], crop=True, jobs=2, progress=False, split="train")
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    for number in range(5):
        (root / "fear").mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "fear" / f"{number}.png")
    return root


def test_a_script_without_a_guard_ends_and_says_what_to_write(photographs, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(guard="if True:"))
    command = [sys.executable, str(script), str(photographs), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-1].startswith("RuntimeError: Expected several processes to work")
    assert 'if __name__ == "__main__":' in done.stderr.rstrip().splitlines()[-1]
    assert "mine.py to stand under" in done.stderr
    assert not (tmp_path / "store").exists()


def test_a_script_from_standard_input_works_in_one_process(photographs, tmp_path):
    command = [sys.executable, "-", str(photographs), str(tmp_path / "store")]
    script = SCRIPT.format(guard="if True:")
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)
    assert "none of 5 images could be used" in done.stderr, done.stderr  # noise: without a face, as it should be
