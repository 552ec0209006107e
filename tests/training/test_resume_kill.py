"""A run that is killed by SIGKILL, and run again ends with the same weights, bit for bit, as one that was not."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.writer import write_store
from lsdkit.recipes import SMOKE, Member
from lsdkit.training import checkpoints
from lsdkit.training import member as training

ROOT = Path(__file__).parents[2]
SIZES = {"image_size": 16, "batch_size": 6, "features": 16, "head_features": 8, "epochs": 2}

# One training in a process of its own. `step` N: killed inside the N-th step. `save` N: killed while the N-th file of
# tensors is half written. `move` N: killed once the N-th checkpoint was moved aside, with the new one not yet in place.
SCRIPT = """
import json, os, signal, sys
from dataclasses import replace
import torch
from lsdkit.training import checkpoints
from lsdkit.training import member as training
from lsdkit.recipes import SMOKE, Member
from lsdkit.data.store import Store

store, run, what, number = sys.argv[1:4] + [int(sys.argv[4])]
torch.set_num_threads(1)
calls = []

def killed():
    calls.append(1)
    return len(calls) == number

def die():
    os.kill(os.getpid(), signal.SIGKILL)

step_loss, save, move = training.step_loss, torch.save, os.replace

def killing_step(*arguments, **options):
    if killed():
        die()
    return step_loss(*arguments, **options)

def killing_save(state, path):
    save(state, path)
    if killed():
        with open(path, "r+b") as stream:
            stream.truncate(os.path.getsize(path) // 2)
        die()

def killing_move(source, target):
    move(source, target)
    if str(target).endswith(checkpoints.PREVIOUS) and killed():
        die()

if what == "step":
    training.step_loss = killing_step
if what == "save":
    torch.save = killing_save
if what == "move":
    os.replace = killing_move
recipe = replace(SMOKE, **json.loads(sys.argv[5]))
training.train_member(Member(recipe=recipe), Store.open(store), run, device="cpu", progress=False, checkpoint_every=0.0)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    rows = []
    for split, count in (("train", 3), ("validation", 2), ("test", 1)):
        for name in EXPRESSIONS:
            for number in range(count):
                path = folder / f"{split}-{name}-{number}.png"
                Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
                rows.append((f"{split}/{name}/{number}", split, name, "", str(path)))
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    points = {key: generator.uniform(-1, 1, (68, 2)) for key in table["key"]}
    about = {"size": 16, "kind": "synthetic", "source": "test", "settings": {}}
    return write_store(folder / "store", table, points, **about, progress=False)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_and_die(store, folder, what, number):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        SCRIPT,
        str(store.path),
        str(folder),
        what,
        str(number),
        json.dumps(SIZES),
    ]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_killed_at_three_places_and_run_again(store, tmp_path):
    member, broken = Member(recipe=replace(SMOKE, **SIZES)), tmp_path / "broken"
    second = training.train_member(member, store, tmp_path / "whole", device="cpu", progress=False)
    reached = []
    for what, number in (("step", 3), ("save", 2), ("move", 1)):
        killed = run_and_die(store, broken, what, number)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert not (broken / "result.json").exists()
        state, damaged = checkpoints.load(broken, json.loads((broken / "member.json").read_text()))
        assert damaged == []  # a kill leaves whole files only
        reached.append((state["progress"]["epoch"], state["progress"]["step"]))
    assert reached == [(0, 2), (0, 3), (0, 3)]
    first = training.train_member(member, store, broken, device="cpu", progress=False)
    assert first.weights_sha256 == second.weights_sha256
    assert first.metrics == second.metrics
    assert (broken / "predictions.csv").read_bytes() == (tmp_path / "whole" / "predictions.csv").read_bytes()
    histories = [run.read_history().drop(columns="seconds") for run in (first, second)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert {path.name for path in broken.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
