"""SIGTERM and SIGINT: remembered, answered once, and the handlers put back."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

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
