"""Runs on a cluster: how it is divided, what a machine refuses; a real one that loses a worker, a machine, its head."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import psutil
import pytest

from lsdkit import cli
from lsdkit.common import files
from lsdkit.common.machine import list_versions
from lsdkit.recipes import Member
from lsdkit.reproduce import cluster, headless
from lsdkit.reproduce.cluster import Cluster, check_machine, count_room, divide, train_here
from lsdkit.reproduce.members import Plan
from lsdkit.reproduce.sweep import run_sweep
from lsdkit.training.member import train_member
from lsdkit.training.runs import list_runs

ROOT = Path(__file__).parents[2]
TWO = Plan(members="extra", recipe="smoke")


def test_machines_are_divided_among_the_runs_with_the_most_threads_that_let_all_go_at_once():
    generator = np.random.default_rng(0)
    for _ in range(200):
        machines = [(str(n), int(generator.integers(0, 9)), float(generator.integers(0, 3))) for n in range(3)]
        share, jobs = float(generator.choice([0.0, 0.5, 1.0, 2.0])), int(generator.integers(0, 6))
        at_once, threads = divide(machines, jobs, share)
        assert at_once <= count_room(machines, threads, share)
        assert at_once <= (jobs or at_once)
        assert not at_once or count_room(machines, threads + 1, share) < at_once
        assert bool(at_once) == any(cores and gpus >= share for _, cores, gpus in machines)


@pytest.fixture
def task(tiny_store, tmp_path):
    """What a machine is sent."""
    (tmp_path / "run").mkdir()
    own = {"name": "a", "notebook": "03_train", "folder": str(tmp_path / "run"), "parameters": {"SEED": 3}}
    own |= {"threads": 2, "timeout": 0.0, "versions": list_versions()}
    return {**own, "data": str(tiny_store.path), "checksums": tiny_store.checksums}


def test_a_machine_with_another_store_folder_or_kit_is_refused_by_name(task, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.socket, "gethostname", lambda: "gpu07")
    check_machine(task)
    images = task["checksums"]["images.npy"]
    cases = [
        ({"versions": {**task["versions"], "lsdkit": "9"}}, r"versions of the sweep on gpu07, but lsdkit is .*, not 9"),
        (
            {"folder": str(tmp_path / "elsewhere")},
            r"gpu07 to share the folder of runs, but it does not see .*elsewhere",
        ),
        ({"data": str(tmp_path / "none")}, r"sweep's store on gpu07, but .*none holds none"),
        (
            {"checksums": {**task["checksums"], "images.npy": "0a" * 32}},
            rf"store on gpu07, but {tiny_store.path} holds another: images.npy is {images[:12]}, not 0a0a0a0a0a0a;",
        ),
    ]
    for other, message in cases:
        with pytest.raises(ValueError, match=message):
            check_machine(task | other)
    monkeypatch.setattr(cluster, "execute", lambda *arguments, **options: pytest.fail("it was run"))
    error, _ = train_here(task | cases[0][0], print)
    assert error.startswith("on gpu07:\nExpected the versions")


def test_a_machine_runs_the_notebook_into_the_shared_folder(task, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(cluster, "execute", lambda job, threads, **options: ran.append((job, threads, options)) or "")
    assert train_here(task, print)[0] == ""
    (job, threads, options), folder = ran[0], tmp_path / "run"
    assert job == headless.Job("a", headless.find_notebook("03_train"), folder / "03_train.ipynb", {"SEED": 3})
    assert (threads, options["tell"]) == (2, print)


def test_what_cannot_run_on_a_cluster_ends_before_anything_runs(tiny_store, tmp_path, monkeypatch, capsys):
    def run(**options):
        return run_sweep(tmp_path / "out", TWO, data=str(tiny_store.path), device="cpu", report=print, **options)

    for share in (-1.0, 1.5):
        with pytest.raises(ValueError, match="--gpus-per-run to be a part of one or a whole number"):
            Cluster(gpus_per_run=share)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", SimpleNamespace())
        with pytest.raises(ValueError, match="--gpus without --engine ray"):
            run(gpus=("0",), cluster=Cluster())
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'lsdkit\[cluster\]'"):
        Cluster()
    assert not list((tmp_path / "out").glob("smoke*"))
    assert cli.main(["sweep", "--address", "auto"]) == 2
    assert "Expected --engine ray with --address" in capsys.readouterr().err


def test_ray_that_does_not_start_is_told_in_one_line():
    def init(address, **options):
        raise Exception("The current node timed out\n during startup.")

    with pytest.raises(
        ValueError, match=r"start at this machine, but it says: .* out during startup\.; a busy machine"
    ):
        cluster._start(SimpleNamespace(init=init), "")


class FakeRay:
    """What `Connected` asks of Ray, in this process: a task is a word that says how it ends."""

    class exceptions:
        class RayError(Exception): ...

        class RayTaskError(RayError): ...

    def __init__(self, ends, interrupt=False):
        self.ends, self.interrupt, self.sent, self.most, self.open, self.cancelled = ends, interrupt, [], 0, {}, []

    def define(self, ray, threads, share):
        train = SimpleNamespace(options=lambda name: SimpleNamespace(remote=self.send))
        return train, SimpleNamespace(take=SimpleNamespace(remote=lambda: "lines"))

    def send(self, task, lines):
        self.sent.append(task)
        self.open[task["name"]] = task
        self.most = max(self.most, len(self.open))
        return task["name"]

    def wait(self, sent, num_returns, timeout):
        if self.interrupt and not self.cancelled:
            raise KeyboardInterrupt
        return sent[:1], sent[1:]

    def cancel(self, name):
        self.cancelled.append(name)

    def get(self, name):
        if name == "lines":
            return [(next(iter(self.open)), "epoch 1 of 2")]
        self.open.pop(name, None)
        end = self.ends.get(name, "")
        if isinstance(end, Exception):
            raise end
        return end, 7.0


@pytest.fixture
def run_fake(monkeypatch, tiny_store, tmp_path):
    def run(ray, names, jobs=0):
        monkeypatch.setattr(cluster, "_define_tasks", ray.define)
        engine = cluster.Connected(ray, 2, 1, 0.0, [], tiny_store, "data", jobs, print)
        todo = [headless.make_job("03_train", tmp_path / name, {}, name) for name in names]
        ended, told = [], []
        failed = engine.execute_all(
            todo, lambda job, *end: ended.append((job.name, *end)), tell=lambda job, line: told.append((job.name, line))
        )
        return failed, ended, told

    return run


def test_a_failed_run_stops_no_other_and_a_lost_one_says_so(run_fake):
    errors = FakeRay.exceptions
    ray = FakeRay(
        {"b": "on gpu07:\nit went wrong", "c": errors.RayError("the worker\n died"), "d": errors.RayTaskError("x")}
    )
    failed, ended, told = run_fake(ray, "abcde", jobs=2)
    assert [name for name, *_ in ended] == list("abcde")
    assert failed["b"] == "on gpu07:\nit went wrong"
    assert "at most 5 new starts (RayError: the worker died)" in failed["c"]
    assert failed.keys() == set("bcd")
    assert ray.most == 2
    assert ("a", "epoch 1 of 2") in told
    assert all(Path(task["folder"]).is_dir() for task in ray.sent)


def test_an_interrupt_ends_the_runs_under_way(run_fake):
    ray = FakeRay({}, interrupt=True)
    with pytest.raises(KeyboardInterrupt):
        run_fake(ray, "abc")
    assert sorted(ray.cancelled) == list("abc")


SCRIPT = """
import sys
from lsdkit.reproduce import cluster, members, sweep
every = members.list_cells
members.list_cells = lambda which: [every(which)[number] for number in (10, 11, 12)]
sweep.write_tables = lambda runs, out: "the tables"
cluster.cores = lambda: 1
data, out, address = sys.argv[1:]
plan, where = members.Plan(recipe="smoke", epochs=3), cluster.Cluster(address=address)
print(sweep.run_sweep(out, plan, data=data, device="cpu", cluster=where, report=lambda text: print(text, flush=True)))
"""
TRAINING = """
import lsdkit
from lsdkit.notebook.parameters import member_from_parameters
member = member_from_parameters(
    RECIPE, MIX, APPEARANCE, BASIC_AUG, BAG, SEED, EPOCHS, DEVICE, EMOTION_WEIGHTS, APPEARANCE_WEIGHTS, SETTINGS
)
lsdkit.train(member, lsdkit.Store.open(DATA_DIR), RUN_DIR, device=DEVICE)
"""
MEMBERS = [Member.of("smoke", mix="mixaugment", bag=bag, epochs=3) for bag in (5, 4, 3)]


MACHINES = """
import sys
from ray.cluster_utils import Cluster
health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_timeout_ms": 5000}
about, cluster = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_log_monitor": False}, Cluster()
there = {"head": cluster.add_node(include_dashboard=False, _system_config=health, **about)}
there["other"] = cluster.add_node(**about)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(there[line.strip()], allow_graceful=False)
"""


class Machines:
    """A cluster of Ray on this machine, in a process of its own: two machines of a core each, "head" and "other"."""

    def __init__(self, environment: dict[str, str]):
        self.environment = {**os.environ, **environment}
        self.process = self._start(MACHINES)
        said = ""
        for line in self.process.stdout:
            said += line
            if line.startswith("address "):
                self.address = line.split()[1]
                return
        assert "timed out during startup" in said, said  # its agents have 15 s, its machines 30 s
        pytest.skip("Ray does not start on so busy a machine")

    def sweep(self, store, out: Path, when: dict[str, Callable]) -> tuple[int, str]:
        """Run a sweep to its end; `when` a text is first told, something is done. Returns its code and what it said."""
        said, left = "", dict(when)
        with self._start(SCRIPT, str(store.path), str(out), self.address) as sweep:
            for line in sweep.stdout:
                said += line
                for text in [text for text in left if text in line]:
                    left.pop(text)()
        return sweep.returncode, said

    def remove_other(self) -> None:
        self._remove("other")

    def remove_head(self) -> None:
        self._remove("head")

    def kill_worker(self) -> None:
        """Kill a worker of Ray that runs a notebook."""
        for process in psutil.process_iter(["cmdline"]):
            above = process.parent() if "run_leashed" in " ".join(process.info["cmdline"] or []) else None
            if above and above.name().startswith("ray::"):
                return above.kill()
        raise AssertionError("no worker runs a notebook")

    def _remove(self, name: str) -> None:
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()

    def _start(self, script: str, *arguments: str) -> subprocess.Popen:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, env=self.environment, **streams)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project whose notebook 03 trains, and draws nothing."""
    folder = tmp_path_factory.mktemp("project")
    notebook = nbformat.read(ROOT / "notebooks" / "03_train.ipynb", 4)
    notebook.cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells.append(nbformat.v4.new_code_cell(TRAINING))
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / "03_train.ipynb")
    return folder


@pytest.fixture(scope="module")
def machines(project) -> Iterator[Machines]:
    pytest.importorskip("ray")
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
    own |= {"LSDKIT_ROOT": str(project), "PYTHONPATH": str(ROOT)}
    there = Machines(own)
    yield there
    there.process.kill()
    there.process.communicate()


@pytest.fixture(scope="module")
def serial(tiny_store, tmp_path_factory) -> dict[str, tuple[str, str]]:
    """What a serial training leaves of each member: weights and predictions, by their checksums."""
    folder = tmp_path_factory.mktemp("serial")
    return {each.name: sum_up(train_member(each, tiny_store, folder / each.name, device="cpu")) for each in MEMBERS}


def sum_up(run) -> tuple[str, str]:
    return run.weights_sha256, files.sha256(run.folder / "predictions.csv")


@pytest.mark.slow
@pytest.mark.notebooks
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers by their names, on Linux")
def test_a_killed_worker_a_lost_machine_and_a_lost_head_change_no_bit(machines, serial, tiny_store, tmp_path):
    out = tmp_path / "out"
    code, said = machines.sweep(tiny_store, out, {"epoch 1": machines.kill_worker, "1/3": machines.remove_other})
    assert code == 0, said
    assert "3 runs, 0 of them done; 2 at a time, 1 threads each" in said
    assert "3 runs: 0 done before, 3 run now, 0 failed" in said
    assert [said.count(f"{number}/3") for number in (1, 2, 3)] == [1, 1, 1]
    assert {run.name: sum_up(run) for run in list_runs(out)} == serial
    assert not list(out.rglob("*.running.ipynb"))

    out = tmp_path / "again"
    code, said = machines.sweep(tiny_store, out, {"1/3": machines.remove_head})
    assert code, said
    before = {run.name: (run.folder / "weights.pt").stat().st_mtime_ns for run in list_runs(out)}
    assert before
    machines.address = ""  # Ray is started anew, by the sweep
    code, said = machines.sweep(tiny_store, out, {})
    assert code == 0, said
    assert "0 failed" in said
    assert {run.name: sum_up(run) for run in list_runs(out)} == serial
    assert all((out / name / "weights.pt").stat().st_mtime_ns == when for name, when in before.items())
