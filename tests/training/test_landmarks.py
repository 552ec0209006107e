"""What a run notes of landmarks is what its network places, and begins where it began."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lsdkit.common.landmarks import mean_landmarks
from lsdkit.recipes import SMOKE, Member
from lsdkit.training.evaluation import load_faces, load_network
from lsdkit.training.landmarks import FACES, note_landmarks, read_points
from lsdkit.training.member import train_member

MEAN = replace(SMOKE, landmark_start="mean", steps_per_epoch=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny_store, tmp_path_factory):
    return train_member(Member.of(MEAN), tiny_store, tmp_path_factory.mktemp("run"), device="cpu", progress=False)


def test_the_kept_epoch_is_noted_as_its_network_places(run, tiny_store):
    keys, epochs, points = read_points(run)
    assert (len(set(keys)), epochs) == (FACES, [0, 1, 2])
    rows = np.array([tiny_store.keys.index(key) for key in keys])
    assert set(tiny_store.faces["split"][rows]) == {"validation"}
    with torch.no_grad():
        placed = load_network(run.folder).forward_landmarks(load_faces(tiny_store.images, rows, run.member, CPU))
    np.testing.assert_allclose(points[:, run.best_epoch], placed, atol=1e-4)
    assert np.abs(points[:, 2] - points[:, 0]).max() > 1e-3


def test_it_begins_with_the_mean_face(run, tiny_store):
    points = read_points(run)[2]
    mean = mean_landmarks(tiny_store.landmarks[run.read_bag()["row"]])
    np.testing.assert_allclose(points[:, 0], np.broadcast_to(mean, points[:, 0].shape), atol=1e-4)


def test_an_epoch_made_again_is_noted_once(run, tiny_store, tmp_path):
    given = tmp_path, load_network(run.folder), tiny_store, run.member, CPU
    for epoch, noted in ((0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (2, [0, 1, 2]), (1, [0, 1])):  # what came later goes
        note_landmarks(*given, epoch)
        table = pd.read_csv(tmp_path / "landmarks.csv")
        assert table["epoch"].value_counts().sort_index().to_dict() == dict.fromkeys(noted, FACES * 68)


def test_without_an_appearance_branch_nothing_is_noted(tiny_store, tmp_path):
    single = Member.of(MEAN, appearance="none", epochs=1)
    run = train_member(single, tiny_store, tmp_path, device="cpu", progress=False)
    keys, epochs, points = read_points(run)
    assert (keys, epochs, points.shape) == ([], [], (0, 0, 68, 2))
