"""The model that ships: the networks of the protocol, trained on rendered faces, in one file."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from lsdkit.photographs import networks
from lsdkit.photographs.protocol import BAGGED, PROTOCOL, SHIPPED, Group, Protocol, members_of
from lsdkit.photographs.views import INNER, WHOLE, Faces
from lsdkit.prediction import SHIPPED as FILES
from lsdkit.prediction import find_voters

STRONG = Group(recipe="smoke", settings="steps_per_epoch=2 batch_size=12", epochs=1, view=WHOLE)
WEAK = replace(STRONG, mix="mixup", bags=(1, 2), view=INNER)
SMALL = Protocol(networks=((SHIPPED, (STRONG, WEAK)),))
QUIET = {"progress": False, "report": lambda line: None}


@pytest.fixture
def open_set(tiny_store, tmp_path, monkeypatch):
    faces = Faces(tiny_store, tmp_path / "views", PROTOCOL.windows)
    monkeypatch.setattr(networks, "open_set", lambda out, seed, protocol, **options: faces)


@pytest.mark.slow
def test_a_model_is_trained_and_packed_and_never_written_over(open_set, tmp_path):
    said = networks.make_model(tmp_path / "out", jobs=1, protocol=SMALL, **QUIET)
    file = tmp_path / "out" / FILES[SHIPPED]
    assert said.startswith(str(file))
    name, voters = find_voters(file)
    assert name == SHIPPED
    assert [voter.member for voter in voters] == members_of(SHIPPED, 0, SMALL)
    assert [voter.find_view().whole for voter in voters] == [True, False, False]
    with pytest.raises(ValueError, match="--jobs of at least 0, but got -3"):
        networks.make_model(tmp_path / "other", jobs=-3, protocol=SMALL, **QUIET)
    with pytest.raises(FileExistsError, match="choose another --out"):
        networks.make_model(tmp_path / "out", jobs=1, protocol=SMALL, **QUIET)


def test_a_training_that_fails_is_named(open_set, tmp_path, monkeypatch):
    def fail(member, *_):
        raise FloatingPointError("the network has diverged")

    monkeypatch.setattr(networks, "train_one", fail)
    reason = r"of 3 training failed \(smoke-\S+: FloatingPointError: the network has diverged; smoke-.*\); run it again"
    with pytest.raises(ValueError, match=reason):
        networks.make_model(tmp_path / "out", jobs=1, protocol=SMALL, **QUIET)


def test_what_ships_votes_in_the_ensemble():
    ships, all_of_them = members_of(SHIPPED, 0), members_of("ensemble", 0)
    assert [member for member in all_of_them if member in ships] == ships
    assert {member.bag for member in all_of_them} == {0, *BAGGED}


TRAIN = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from lsdkit.photographs.networks import train_networks
from lsdkit.recipes import SMOKE, Member

if __name__ == "__main__":
    store, out = map(Path, sys.argv[1:])
    members = [(Member(recipe=replace(SMOKE, epochs=200), appearance="none", seed=seed), store) for seed in range(8)]
    options = {"at_once": 2, "device": torch.device("cpu"), "progress": False, "report": print}
    train_networks(members, out, 72, **options)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_training_goes_on_or_begins_when_the_caller_is_ended(tiny_store, tmp_path, number):
    (tmp_path / "train.py").write_text(TRAIN)
    command = [sys.executable, tmp_path / "train.py", tiny_store.path, tmp_path / "runs"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(tmp_path.glob("runs/*/member.json"))) < 2:
        time.sleep(0.2)
    below = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as Ctrl-C does
    else:
        process.kill()
    process.wait(60)
    assert not psutil.wait_procs(below, 10)[1]
    assert len(list((tmp_path / "runs").iterdir())) == 2
