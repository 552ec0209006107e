"""The memory that a tree of processes holds."""

import os
import subprocess
import sys

from lsdkit.common.machine import cores, peak_memory, resident_memory


def test_peak_memory_counts_processes_below():
    code = "import time; block = bytearray(80 * 2**20); print('ready', flush=True); time.sleep(60)"
    with peak_memory(every=0.05) as peak:
        before = peak["bytes"]
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        assert resident_memory(os.getpid()) - before > 70 * 2**20
        child.kill()
        child.communicate()
    assert peak["bytes"] >= before > 0


def test_a_process_that_ended_holds_nothing():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert resident_memory(child.pid) == 0


def test_there_is_a_core():
    assert 1 <= cores() <= os.cpu_count()
