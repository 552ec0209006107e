"""The demo: which notebooks it runs, and which it finds done."""

from lsdkit.common.files import write_json
from lsdkit.reproduce import demo
from lsdkit.training.ownership import CLAIM, identify
from lsdkit.training.runs import write_run
from tests.fake_runs import make_run

EARLY = {"01_data_statistics", "02_mixup_visualisation"}


def test_the_demo_skips_what_is_finished(tiny_store, tmp_path):
    members = {entry.member.name: entry.member for entry in demo.list_entries()}
    assert sum(member.bag == 0 for member in members.values()) >= 1
    assert {member.bag for member in members.values()} >= {1, 2, 3, 4, 5}
    assert {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)} == {*members, *EARLY}
    name, member = next(iter(members.items()))
    folder, identity = tmp_path / name, identify(member, tiny_store)
    write_run(make_run(folder, member))
    (folder / "03_train.ipynb").write_text("{}")
    write_json(folder / CLAIM, identity)
    assert name not in {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)}
    for other in ({**identity, "store": {}}, {**identity, "member": {}}):
        write_json(folder / CLAIM, other)
        assert name in {job.name for job in demo.list_training_jobs(tmp_path, tiny_store)}
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
