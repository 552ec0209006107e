"""The demo: which notebooks it runs, and which it finds done."""

import re

import numpy as np
import pytest

from lsdkit.common.files import write_json
from lsdkit.reproduce import demo
from lsdkit.training.ownership import CLAIM, identify
from lsdkit.training.runs import list_runs, write_run
from tests.fake_runs import answers, leave, make_run

EARLY = {"01_data_statistics", "02_mixup_visualisation"}


@pytest.mark.slow
def test_the_demo_skips_what_is_finished(tiny_store, tmp_path):
    members = {entry.member.name: entry.member for entry in demo.list_entries()}
    assert sum(member.bag == 0 for member in members.values()) >= 1
    assert {member.bag for member in members.values()} >= {1, 2, 3, 4, 5}
    assert len(members) == 8
    assert not any("epochs" in name for name in members)  # the recipe's own, of strong and of weak members
    assert {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)} == {*members, *EARLY}
    name, member = next(iter(members.items()))
    folder, identity = tmp_path / name, identify(member, tiny_store)
    write_run(make_run(folder, member))
    (folder / "03_train.ipynb").write_text("{}")
    write_json(folder / CLAIM, identity)
    assert name not in {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)}
    for other in ({**identity, "store": {}}, {**identity, "member": {}}):
        write_json(folder / CLAIM, other)
        with pytest.raises(ValueError, match=f"{name} holds another training: .*; choose another --out, or remove it"):
            demo.list_training_jobs(tmp_path, tiny_store)
    write_json(folder / CLAIM, identity)
    (tmp_path / "01_data_statistics").mkdir()
    (tmp_path / "01_data_statistics" / "01_data_statistics.ipynb").write_text("{}")
    assert EARLY - {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)} == {"01_data_statistics"}


def test_the_comparison_follows_what_was_trained(tmp_path):
    members = [entry.member for entry in demo.list_entries()]
    assert demo.list_late_jobs(tmp_path) == []
    for member, names in (
        (members[0], ["04_per_class_f1"]),
        (members[1], ["04_per_class_f1", "05_ensemble_comparison"]),
    ):
        write_run(make_run(tmp_path / member.name, member))
        assert [job.name for job in demo.list_late_jobs(tmp_path)] == names


@pytest.mark.parametrize("known", [True, False])
def test_the_table_shows_votes_with_their_reasons_on_each_split(tmp_path, known):
    labels = np.arange(120) % 6
    given = labels if known else np.where(np.arange(120) < 60, labels, -1)
    for number, entry in enumerate(demo.list_entries()):
        told = {} if number == 0 else {"metrics": {"landmark_nme": 0.05, "mean_shape_nme": 0.09}}
        run = make_run(tmp_path / entry.member.name, entry.member, **told)
        keys, splits = [f"k{i}" for i in range(120)], ["validation"] * 60 + ["test"] * 60
        leave(run, keys, splits, given, answers(labels, 0.5, number))
    lines = demo._tabulate(list_runs(tmp_path), "rendered")
    table = [line for line in lines if line.startswith(("strong member", "weak member", "ensemble"))]
    assert [re.split(r"  +", line)[0] for line in table if line.startswith("ensemble")] == [
        "ensemble of 5: weak: Mix-aug, vggface2",
        "ensemble of 6: strong and weak: Mix-aug, vggface2",
        "ensemble of 2: weak: Mix-up, mobilevitv2",
        "ensemble of 8: All members",
    ]
    assert len(table) == 12
    assert all(len(re.findall(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", line)) == 1 + known for line in table)
    assert sum(line.endswith("0.050 (mean landmarks 0.090)") for line in table) == 7
    reasons = [line for line in lines if "The vote of" in line]
    assert len(reasons) == 4 * (1 + known)
    assert sum("Not built: MU MobileViTv2 Weak (3 cells were not run)" in line for line in lines) == 1
    assert max(map(len, table)) <= 140
