"""A step of two processes is the step of one: loss, gradients and running statistics, in float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lsdkit.training.sharding import cut_shares

ROOT = Path(__file__).parents[2]

# Two processes, forked after the slow imports and told what torchrun tells. Each prints for every case how far its
# step lies from that of the same process alone.
SCRIPT = """
import copy, json, os, socket
from dataclasses import replace
import torch
from lsdkit.common.seeds import global_draws, torch_generator
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import loss_total
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.checkpoints import hash_weights
from lsdkit.training.memory import less_memory
from lsdkit.training.processes import ALONE, join
import lightning_fabric

with socket.create_server(("127.0.0.1", 0)) as server:
    port = server.getsockname()[1]
rank = 0 if os.fork() else 1
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
os.environ |= {"TORCHELASTIC_RUN_ID": "test", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

RECIPE = replace(SMOKE, image_size=16)
GRADIENTS = replace(RECIPE, image_size=24, emotion="gradients")
CASES = {
    "plain": (RECIPE, "vggface2", 7),
    "one face in each": (RECIPE, "vggface2", 2),
    "mixup, single-task, partner": (replace(RECIPE, affinity="partner"), "none", 7),
    "batch norm of timm's": (replace(RECIPE, image_size=32), "lcnet_035", 7),
    "dropout": (GRADIENTS, "none", 7),
    "frozen": (replace(RECIPE, frozen=(("narrow_caffe", 5),)), "vggface2", 7),
    "recompute": (replace(RECIPE, memory="recompute"), "vggface2", 7),
    "recompute dropout": (replace(GRADIENTS, memory="recompute"), "none", 7),
    "split": (replace(RECIPE, memory="split_2"), "vggface2", 7),
    "bf16": (replace(RECIPE, precision="bf16"), "vggface2", 7),
}


def step(network, member, faces, processes):
    network, generator = copy.deepcopy(network), torch_generator(0, "test")
    like = next(network.parameters())
    side = member.recipe.image_size
    views = torch.rand(2, faces, 3, side, side, generator=generator, dtype=torch.double).to(like)
    landmarks = torch.rand(faces, 68, 2, generator=generator).to(like) * 2 - 1
    landmarks[0], landmarks[1, :40] = torch.nan, torch.nan
    with processes.share_step(network):
        with less_memory(network, member.recipe.memory), global_draws(generator):
            loss, _ = loss_total(
                network, views[0], views[1] if network.multitask else None, torch.arange(faces) % 6, landmarks,
                lam=0.7, partner=torch.randperm(faces, generator=generator), member=member,
                class_weights=torch.arange(1, 7).to(like),
            )
        loss.backward()
    processes.average_gradients(network)
    gradients = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    return loss.item(), gradients, network.state_dict()


def distance(one, other):
    assert one.keys() == other.keys()
    largest = max(each.abs().max().item() for each in one.values())
    return max((one[name] - other[name]).abs().max().item() for name in one) / largest


processes = join("cpu")
for name, (recipe, appearance, faces) in CASES.items():
    mix = "mixup" if "mixup" in name else "mixaugment"
    member = Member.of(recipe, appearance=appearance, mix=mix)
    network = MultiTask.build(member, torch_generator(0, "init")).to(memory_format=torch.channels_last)
    network = network if name == "bf16" else network.double()
    alone, together = (step(network, member, faces, each) for each in (ALONE, processes))
    told = {"case": name, "loss": abs(alone[0] - together[0]), "gradients": distance(alone[1], together[1])}
    told |= {"state": distance(alone[2], together[2]), "hash": hash_weights(together[1])}
    assert not any("forward" in vars(module) for module in network.modules())
    os.write(1, (json.dumps(told) + "\\n").encode())  # a line at once, whole
if rank == 0:
    assert os.wait()[1] == 0
"""
CASES = (
    *("plain", "one face in each", "mixup, single-task, partner", "batch norm of timm's", "dropout"),
    *("frozen", "recompute", "recompute dropout", "split", "bf16"),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[str, list[dict]]:
    """What two processes tell of each case."""
    pytest.importorskip("lightning_fabric")
    script = tmp_path_factory.mktemp("script") / "steps.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {case: [each for each in found if each["case"] == case] for case in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_step_of_two_processes_is_that_of_one(told, case):
    found = told[case]
    assert len({each["hash"] for each in found}) == 1  # the gradients, to the bit
    assert len(found) == 2
    limits = (0.02, 0.2, 0.02) if case == "bf16" else (1e-10, 1e-8, 1e-10)
    for each in found:
        assert (each["loss"] <= limits[0], each["gradients"] <= limits[1], each["state"] <= limits[2]) == (True,) * 3


def test_shares_of_a_batch():
    """Each face once, in order; sizes that differ by one at most, the largest first."""
    for faces in range(1, 12):
        for processes in range(1, 6):
            shares = cut_shares(faces, processes)
            assert [face for share in shares for face in range(faces)[share]] == list(range(faces))
            sizes = [share.stop - share.start for share in shares]
            assert sizes == sorted(sizes, reverse=True)
            assert sizes[0] - sizes[-1] <= 1
