"""The memory that a tree of processes holds."""

import os
import subprocess
import sys

import psutil
import pytest

from lsdkit.common.machine import (
    cores,
    count_memory_kills,
    peak_memory,
    read_memory_limit,
    read_quota,
    resident_memory,
)


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


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/job/step", {"job/step/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/step", {"job/step/cpu.max": "max 100000", "job/cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/../other", {"cpu.max": "30000 100000"}, 0.3),
        ("3:cpu,cpuacct:/slurm/1", {"cpu,cpuacct/slurm/1/cpu.cfs_quota_us": "25000"}, 0.25),
        ("3:cpu,cpuacct:/docker/x", {"cpu,cpuacct/cpu.cfs_quota_us": "70000"}, 0.7),  # as a container sees it
        ("3:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1"}, None),
        ("2:memory:/a", {}, None),
    ],
)
def test_a_quota_of_a_container_counts_as_cores(tmp_path, groups, files, cores):
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
        if "cfs" in name:
            file.with_name("cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{groups}\n")
    assert read_quota(tmp_path) == pytest.approx(cores or os.cpu_count())


def test_without_groups_every_core_counts(tmp_path):
    assert read_quota(tmp_path) == os.cpu_count()


@pytest.mark.parametrize(
    ("groups", "file", "limit"),
    [
        ("0::/job/step", "job/memory.max", 2**20),
        ("4:memory:/docker/x", "memory/memory.limit_in_bytes", 2**20),
        ("4:cpu:/x", "memory/memory.limit_in_bytes", None),
        ("0::/", "nothing", None),
    ],
)
def test_the_memory_of_a_container_is_its_limit(tmp_path, groups, file, limit):
    path = tmp_path / "sys/fs/cgroup" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"{2**20}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{groups}\n")
    assert read_memory_limit(tmp_path) == (limit or psutil.virtual_memory().total)


def test_kills_for_want_of_memory_are_counted(tmp_path):
    assert count_memory_kills(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    assert count_memory_kills(tmp_path) == 3
