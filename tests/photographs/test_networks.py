"""The model that ships: the networks of the protocol, trained on rendered faces, in one file."""

from dataclasses import replace

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
    with pytest.raises(FileExistsError, match="choose another --out"):
        networks.make_model(tmp_path / "out", jobs=1, protocol=SMALL, **QUIET)


@pytest.mark.slow
def test_a_training_that_fails_is_named(open_set, tmp_path):
    broken = replace(STRONG, settings="batch_size=100000")  # more faces than there are: no step can be made
    with pytest.raises(RuntimeError, match=r"of 1 training failed: .*smoke-"):
        networks.make_model(tmp_path / "out", jobs=1, protocol=Protocol(networks=((SHIPPED, (broken,)),)), **QUIET)


def test_what_ships_votes_in_the_ensemble():
    ships, all_of_them = members_of(SHIPPED, 0), members_of("ensemble", 0)
    assert [member for member in all_of_them if member in ships] == ships
    assert {member.bag for member in all_of_them} == {0, *BAGGED}
