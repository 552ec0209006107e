"""The directions that are fitted before a training: to the member's own faces, and to nothing else."""

from dataclasses import replace

import numpy as np
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.method.network import MultiTask
from lsdkit.recipes import SMOKE, Member, find_recipe
from lsdkit.training.checkpoints import read_weights
from lsdkit.training.directions import fit_directions
from lsdkit.training.evaluation import load_faces
from lsdkit.training.member import train_member


def test_directions_are_fitted_to_the_rows_given(tiny_store):
    member = Member.of("face_gradients", appearance="none")
    network, rows = MultiTask.build(member, torch_generator(1)).train(), tiny_store.rows("train")[::2]
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fit_directions(network, tiny_store, rows, member, "cpu")
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["emotion.backbone.graph.projection.narrow.weight"]
    assert network.emotion.backbone.training
    graph = network.emotion.backbone.eval().graph
    with torch.no_grad():
        maps = graph.measure(load_faces(tiny_store.images, rows, member, torch.device("cpu")))
    found = graph.projection.narrow.weight.clone()
    graph.projection.fit(*maps, labels=torch.from_numpy(tiny_store.labels[rows]))
    np.testing.assert_allclose(found, graph.projection.narrow.weight, atol=1e-4)


def test_training_keeps_the_directions(tiny_store, tmp_path):
    recipe = replace(find_recipe("face_gradients"), steps_per_epoch=2, batch_size=8)
    member = Member(recipe=recipe, appearance="none", basic_aug=False, epochs=1)
    train_member(member, tiny_store, tmp_path / "run", device="cpu", progress=False)
    network = MultiTask.build(member, torch_generator(2))
    network.load_state_dict(read_weights(tmp_path / "run")["state"])
    kept = network.emotion.backbone.graph.projection.narrow.weight.detach().clone()
    np.testing.assert_allclose(kept.norm(dim=1), 1, atol=1e-5)


def test_other_networks_have_none(tiny_store):
    member = Member(recipe=SMOKE)
    network = MultiTask.build(member, torch_generator(3))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fit_directions(network, tiny_store, tiny_store.rows("train"), member, "cpu")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
