"""The sweep: its cells, what it skips, refuses and survives; one real one, killed in the middle and run again."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lsdkit.common import files
from lsdkit.notebook.grids import parse_grid
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.recipes import Member
from lsdkit.reproduce import headless, sweep
from lsdkit.reproduce.members import Plan, expand_plan
from lsdkit.reproduce.sweep import is_done, run_sweep
from lsdkit.training.ownership import CLAIM, identify
from lsdkit.training.runs import list_runs, write_run
from tests.fake_runs import make_run, store_of

ROOT = Path(__file__).parents[2]
TWO = Plan(members="extra", recipe="smoke")


@pytest.fixture
def fake(monkeypatch, tiny_store, tmp_path):
    """Notebooks that write what the real ones leave, in no time; `fake.failing` names fail, `fake.ran` is kept."""

    class Fake:
        data, out = str(tiny_store.path), tmp_path / "out"
        ran, environments, threads, lines, failing, tables = [], [], [], [], set(), []
        seconds, busy, most = 0.0, 0, 0

        def execute(self, job, threads=0, *, environment=None, timeout=0.0, stop=None, tell=None):
            self.busy += 1
            self.most = max(self.most, self.busy)
            time.sleep(self.seconds)
            self.ran.append(job.name)
            self.environments.append(environment)
            self.threads.append(threads)
            self.busy -= 1
            job.copy.parent.mkdir(parents=True, exist_ok=True)
            if job.name in self.failing:
                job.copy.with_name("03_train.failed.ipynb").write_text("{}")
                return "Traceback\nValueError: it went wrong"
            parameters = {k: v for k, v in job.parameters.items() if k not in ("RUN_DIR", "DATA_DIR")}
            member = member_from_parameters(**parameters)
            files.write_json(job.copy.parent / CLAIM, identify(member, tiny_store))
            write_run(make_run(job.copy.parent, member, store=store_of(tiny_store)))
            job.copy.write_text("{}")
            return ""

        def run(self, plan=TWO, **options):
            return run_sweep(self.out, plan, data=self.data, report=self.lines.append, **options)

    fake = Fake()
    monkeypatch.setattr(headless, "execute", fake.execute)
    monkeypatch.setattr(sweep, "write_tables", lambda runs, out: fake.tables.append((runs, out)) or "the tables")
    monkeypatch.setattr(sweep, "cores", lambda: 8)
    return fake


def list_members(plan: Plan) -> list[Member]:
    return [entry.member for entry in expand_plan(plan)]


def test_weights_of_another_architecture_end_a_sweep_before_anything_runs(fake, tmp_path):
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "another.pth")
    with pytest.raises(ValueError, match=r"belong to its backbone narrow_caffe, but dino_resnet50@.* to resnet50"):
        fake.run(replace(TWO, emotion_weights=f"dino_resnet50@{tmp_path / 'another.pth'}"))
    assert not fake.ran


def test_a_sweep_runs_everything_once(fake):
    plan = Plan(members="all", recipe="smoke", weak_seeds=(0, 1))
    said = fake.run(plan)
    assert "72 runs: 0 done before, 72 run now, 0 failed" in said
    assert "the tables" in said
    assert fake.tables == [(fake.out, fake.out / "tables")]
    assert sorted(fake.ran) == sorted({m.name for m in list_members(plan)})
    assert len(fake.ran) == 72
    assert all("mobilevitv2" in name and "bag0" in name for name in fake.ran[:4])  # the longest first
    assert fake.ran[0].startswith("smoke-mixaugment")
    assert "1/72" in fake.lines[1]
    assert "macro F1 0.500" in fake.lines[1]
    assert "left" in fake.lines[1]
    record = files.read_json(fake.out / "sweep.json")
    assert record["recipe"]["name"] == "smoke"
    assert record["settings"]["weak_seeds"] == [0, 1]
    assert len(record["members"]) == 72
    assert record["sessions"][0]["run"] == 72
    assert record["sessions"][0]["threads"] == 8
    assert "torch" in record["versions"]
    said = fake.run(plan)
    assert "72 done before, 0 run now" in said
    assert len(fake.ran) == 72
    assert len(files.read_json(fake.out / "sweep.json")["sessions"]) == 2


def test_a_failed_run_stops_no_other_and_is_run_again(fake):
    names = [member.name for member in list_members(Plan(members="extra", recipe="smoke"))]
    fake.failing = {names[1]}
    with pytest.raises(SystemExit, match="1"):
        fake.run()
    assert sorted(fake.ran) == sorted(names)
    text = fake.lines[-1]
    assert "0 done before, 3 run now, 1 failed" in text
    assert f"FAILED {names[1]}" in text
    assert "03_train.failed.ipynb" in text
    assert "ValueError: it went wrong" in text
    assert "the tables" in text
    fake.failing, fake.ran[:] = set(), []
    assert "3 done before, 1 run now, 0 failed" in fake.run()
    assert fake.ran == [names[1]]


def test_what_is_not_this_member_on_these_faces_is_not_done(fake, tiny_store):
    fake.run()
    member, other = list_members(TWO)[0], list_members(replace(TWO, epochs=1))[0]
    folder, identity = fake.out / member.name, identify(member, tiny_store)
    assert is_done(folder, identity)
    assert not is_done(folder, identify(other, tiny_store))
    for name in ("images.npy", "landmarks.npy", "faces"):
        files.write_json(folder / CLAIM, identity | {"store": {**identity["store"], name: "0"}})
        assert not is_done(folder, identity)
    files.write_json(folder / CLAIM, identity | {"weights": {"emotion": "0"}})
    assert not is_done(folder, identity)
    (folder / "result.json").unlink()
    files.write_json(folder / CLAIM, identify(other, tiny_store))
    fake.ran.clear()
    with pytest.raises(ValueError, match=r"holds another training: member.epochs is 1, not 2"):
        fake.run()
    (folder / CLAIM).unlink()
    fake.run()
    assert fake.ran == [member.name]


def test_another_recipe_or_store_is_refused(fake, tiny_store):
    fake.run()
    with pytest.raises(ValueError, match=r"holds another sweep: member.recipe.alpha is 0.1, not 0.2"):
        fake.run(Plan(members="extra", recipe="smoke", settings="alpha=0.2"))
    fake.run(Plan(members="extra", recipe="smoke", seeds=(0, 1)))  # more of the same is welcome
    record = files.read_json(fake.out / "sweep.json")
    assert len(record["members"]) == 8
    record["store"] = {"images.npy": "0"}
    files.write_json(fake.out / "sweep.json", record)
    with pytest.raises(ValueError, match=r"holds another sweep: store.images.npy has other content"):
        fake.run()


def test_mistakes_end_it_before_anything_runs(fake, monkeypatch):
    cases = [
        (Plan(members="table1", recipe="smoke"), {}, "but got 'table1'"),
        (Plan(recipe="smokey"), {}, "but got 'smokey'"),
        (Plan(recipe="smoke", epochs=-1), {}, "EPOCHS"),
        (Plan(recipe="smoke", emotion_weights="nowhere.pth"), {}, "nowhere"),
        (Plan(recipe="smoke"), {"device": "tpu"}, "but got 'tpu'"),
        (Plan(recipe="smoke"), {"gpus": ("7",)}, "--gpus"),
        (Plan(recipe="smoke"), {"jobs": -1}, "--jobs"),
    ]
    monkeypatch.setattr(sweep.torch.cuda, "device_count", lambda: 0)
    for plan, options, message in cases:
        with pytest.raises((ValueError, OSError), match=message):
            fake.run(plan, **options)
    with pytest.raises(FileNotFoundError, match="Expected a store"):
        run_sweep(fake.out, TWO, data="/nowhere", report=fake.lines.append)
    with pytest.raises(FileNotFoundError, match=r"resnet50_ft_weight\.pkl"):
        fake.run(Plan(members="table2", recipe="paper"))
    monkeypatch.setattr(sweep, "NOTEBOOK", "01_data_statistics")
    with pytest.raises(ValueError, match="APPEARANCE, "):
        fake.run()
    assert not fake.ran
    assert not fake.out.exists()


@pytest.mark.slow
def test_two_sweeps_in_one_folder_are_refused(fake):
    fake.seconds = 1.5
    first = threading.Thread(target=fake.run)
    first.start()
    while first.is_alive() and not fake.busy:
        time.sleep(0.02)
    with pytest.raises(ValueError, match="another sweep runs in it"):
        fake.run()
    fake.seconds = 0.0
    first.join()
    assert len(fake.ran) == 4


def test_places_get_gpus_in_turn_and_their_share_of_the_cores(fake, monkeypatch):
    monkeypatch.setattr(sweep.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.seconds = 0.05
    fake.run(Plan(members="table2", recipe="smoke"), device="auto")
    assert fake.most == 2  # a notebook for each GPU
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in fake.environments} == {"0", "1"}
    assert set(fake.threads) == {4}
    fake.environments.clear()
    fake.run(Plan(members="extra", recipe="smoke"), jobs=3, gpus=("1",))
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in fake.environments} == {"1"}
    assert fake.threads[-1] == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    assert sweep._list_places((), "auto") == ["4", "5"]
    assert sweep._list_places(("5",), "auto") == ["5"]
    assert sweep._list_places((), "cpu") == []
    with pytest.raises(ValueError, match="of 4, 5, but got 0"):
        sweep._list_places(("0",), "auto")


def test_tables_that_cannot_be_written_fail_the_sweep(fake, monkeypatch):
    def broken(runs, out):
        raise ValueError("no tables today")

    monkeypatch.setattr(sweep, "write_tables", broken)
    with pytest.raises(SystemExit):
        fake.run()
    assert "no tables today" in fake.lines[-1]


def test_a_plan_runs_nothing(fake):
    text = sweep.plan_sweep(fake.out, TWO, data=fake.data, on="2 x T4")
    assert "4 runs of the recipe smoke" in text
    assert not fake.out.exists()
    assert not fake.ran


SCRIPT = """
import sys
from lsdkit.reproduce import members
from lsdkit.reproduce import sweep
every = members.list_cells
members.list_cells = lambda which: [every(which)[number] for number in (0, 12)]
data, out = sys.argv[1:]
plan = members.Plan(recipe="smoke", epochs=1)
print(sweep.run_sweep(out, plan, data=data, jobs=1, device="cpu", report=lambda text: print(text, flush=True)))
"""


def children(root: int) -> set[int]:
    """Processes below one, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.notebooks
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc, on Linux")
def test_a_killed_sweep_leaves_nothing_behind_and_goes_on(tiny_store, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(tiny_store.path), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert "2 runs, 0 of them done" in process.stdout.readline()
    assert any("1/2" in line for line in iter(process.stdout.readline, ""))  # after the lines of its epochs
    end, below = time.monotonic() + 60, set()
    while len(below) < 2 and time.monotonic() < end:  # papermill and its kernel, of the second run
        below = children(process.pid)
        time.sleep(0.05)
    assert len(below) >= 2
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 2 * headless.ENDS_WITHIN
    while any(map(alive, below)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(alive, below))
    assert len(list_runs(out)) == 1
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/weights.pt")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 runs, 1 of them done" in done.stdout
    assert "1 done before, 1 run now, 0 failed" in done.stdout
    assert "Table 2" in done.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    runs = list_runs(out)
    assert len(runs) == 2
    assert all((run.folder / "03_train.ipynb").is_file() for run in runs)
    assert not list(out.rglob("*.running.ipynb"))
    assert len(files.read_json(out / "sweep.json")["sessions"]) == 2


def test_an_interrupted_sweep_says_in_its_own_words_how_far_it_came(fake, monkeypatch):
    execute = fake.execute

    def execute_two(job, *arguments, **options):
        if len(fake.ran) == 2:
            raise KeyboardInterrupt
        return execute(job, *arguments, **options)

    monkeypatch.setattr(headless, "execute", execute_two)
    with pytest.raises(KeyboardInterrupt, match=r"2 of 4 runs are done, .* run the same command again to go on"):
        fake.run()
    assert files.read_json(fake.out / "sweep.json")["sessions"][0]["run"] == 2


def test_a_run_whose_files_changed_is_not_done(fake):
    fake.run()
    folder = fake.out / fake.ran[0]
    files.write_json(folder / "result.json", files.read_json(folder / "result.json") | {"seconds": 2.0})
    with pytest.warns(UserWarning, match=r"is trained again: .*result\.json is damaged"):
        said = fake.run()
    assert "3 done before, 1 run now" in said


def test_members_beyond_the_papers_are_swept_into_a_folder_of_their_own(fake):
    own = Plan(
        recipe="smoke", rows=parse_grid("MIX=mixup APPEARANCE=none SETTINGS='alpha=0.2','alpha=0.3 vote=logits'")
    )
    assert "2 runs: 0 done before, 2 run now, 0 failed" in fake.run(own)
    assert sorted(fake.ran) == sorted(member.name for member in list_members(own))
    record = files.read_json(fake.out / "sweep.json")
    assert record["recipe"] == {}
    assert record["settings"]["rows"]["MIX=mixup APPEARANCE=none SETTINGS='alpha=0.2'"]["SETTINGS"] == "alpha=0.2"
    wider = replace(own, rows=parse_grid("MIX=mixup APPEARANCE=none SETTINGS='alpha=0.2','alpha=0.4'"))
    assert "1 done before, 1 run now" in fake.run(wider)  # of another recipe, and welcome
    record = files.read_json(fake.out / "sweep.json")
    assert len(record["members"]) == len(record["work"]) == 3
    with pytest.raises(ValueError, match="holds a sweep of members of one's own: choose another --out"):
        fake.run()
    fake.out = fake.out.with_name("paper")
    fake.run()
    with pytest.raises(ValueError, match="holds a sweep of the paper's members: choose another --out"):
        fake.run(own)


def test_recipes_with_different_open_sets_need_a_store(fake):
    own = Plan(rows=parse_grid("RECIPE=tiny,smoke EMOTION_WEIGHTS=random APPEARANCE_WEIGHTS=random"))
    for start in (sweep.plan_sweep, run_sweep):
        with pytest.raises(ValueError, match="the recipes tiny and smoke have different ones of their own: name one"):
            start(fake.out, own)
    assert not fake.ran
    text = sweep.plan_sweep(fake.out, own, data=fake.data, on="T4")
    assert "2 runs of the recipe tiny or smoke" in text


def test_the_first_failure_ends_a_sweep_that_is_to_fail_fast(fake):
    names = [member.name for member in list_members(TWO)]
    fake.failing = {*names}
    with pytest.raises(SystemExit):
        fake.run(fail_fast=True)
    assert len(fake.ran) == 1
    text = fake.lines[-1]
    assert "0 done before, 0 run now, 1 failed" in text
    assert "The first failure ended it: 3 are left" in text
    assert "ValueError: it went wrong" in text
    session = files.read_json(fake.out / "sweep.json")["sessions"][-1]
    assert session["failed"] == {fake.ran[0]: "ValueError: it went wrong"}
    assert session["ended"]
    fake.failing = set()
    assert "0 done before, 4 run now, 0 failed" in fake.run(fail_fast=True)
