"""The page holds every run, nothing from elsewhere, and the numbers that the predictions give."""

import re

import numpy as np
import pytest

from lsdkit import comparison, demo, files, metrics, results
from lsdkit.experiment import member_from_parameters
from lsdkit.expressions import EXPRESSIONS
from lsdkit.report import write_report
from lsdkit.training import identity_of

MEMBERS = (("mixaugment", "vggface2", 0), ("mixaugment", "vggface2", 1), ("mixup", "mobilevitv2", 1))


@pytest.fixture
def runs(tiny_store, tmp_path):
    """Three made-up runs over the tiny store's validation and test faces."""
    rows = np.concatenate([tiny_store.rows("validation"), tiny_store.rows("test")])
    labels = tiny_store.labels[rows]
    store = {"path": str(tiny_store.path), "checksums": tiny_store.manifest["checksums"]}
    for number, (mix, appearance, bag) in enumerate(MEMBERS):
        member = member_from_parameters("smoke", MIX=mix, APPEARANCE=appearance, BAG=bag)
        folder, generator = tmp_path / "runs <&>" / member.name, np.random.default_rng(number)
        probabilities = generator.dirichlet(np.ones(6), len(rows)) + 0.4 * np.eye(6)[labels]
        table = results.prediction_table(
            [tiny_store.keys[row] for row in rows],
            tiny_store.faces["split"].iloc[rows].tolist(),
            labels,
            probabilities / probabilities.sum(axis=1, keepdims=True),
        )
        results.write_table(folder / "predictions.csv", table)
        history = "epoch,lr,loss,expression,affinity,partition,landmarks,val_macro_f1,val_loss,seconds\n"
        (folder / "history.csv").write_text(history + "1,.001,9,5,2,1.5,.5,.2,1.7,3\n2,.0009,7,4,1.5,1.2,.3,.3,1.5,3\n")
        score = metrics.macro_f1(*results.labelled(table))
        result = {
            "name": member.name,
            "member": member.spec(),
            "spec_hash": member.spec_hash(),
            "kind": "rendered",
            "metrics": {"val_macro_f1": score, "val_f1": {}},
            "best_epoch": 2,
            "counts": {"trained_on": dict.fromkeys(EXPRESSIONS, 8)},
            "versions": {"torch": "2.14.1"},
            "seed": 0,
            "device": "cpu",
            "threads": 1,
            "seconds": 6.0,
            "weights_sha256": f"{number}" * 64,
            "store": store,
        }
        results.write_result(folder, result)
    return tmp_path / "runs <&>"


def test_the_page_is_whole_and_alone(runs):
    page = write_report(runs)
    assert page == runs / "report.html"
    text = page.read_text()
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", bare)
    assert text.count("<figure>") == text.count("data:image/png;base64,") >= 9
    for table in (results.list_runs(runs)["run"], comparison.score_ensembles(results.list_runs(runs))["name"]):
        for name in table:
            assert name.replace("&", "&amp;") in text
    assert "rendered faces" in bare
    assert "<&>" not in bare
    assert "lsdkit report runs" in bare


def test_numbers_on_the_page_are_those_of_the_predictions(runs):
    text = write_report(runs, command="make demo").read_text()
    table = results.list_runs(runs)
    for path in table["path"]:
        scores = metrics.bootstrap_f1(*results.labelled(results.read_predictions(path))).loc["macro_f1"]
        assert f"{scores['value']:.3f} [{scores['low']:.3f}, {scores['high']:.3f}]" in text
    everyone = comparison.score_ensembles(table).set_index("name").loc["All members"]
    assert f"{everyone['value']:.3f}" in text
    assert "make demo" in text


def test_a_single_run_and_a_lost_store_still_give_a_page(runs, tiny_store):
    for folder in sorted(runs.iterdir())[1:]:
        (folder / "result.json").unlink()
    path = results.list_runs(runs)["path"].iloc[0]
    result = results.read_result(path)
    result["store"]["path"] = "/nowhere/open"
    results.write_result(path, result)
    assert "no longer there" in write_report(runs, runs / "one.html").read_text()


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="found none"):
        write_report(tmp_path)


def test_two_seeds_in_one_folder_are_told_and_not_fatal(runs):
    first = results.read_result(results.list_runs(runs)["path"].iloc[0])
    copy = runs / "again"
    copy.mkdir()
    for name in ("predictions.csv", "history.csv"):
        (copy / name).write_bytes((runs / first["name"] / name).read_bytes())
    results.write_result(copy, first)
    table = comparison.score_ensembles(results.list_runs(runs)).set_index("name")
    assert "again" in table.loc["MA Strong & MA Best Weak", "missing"][0]
    assert table.loc["All members", "members"] == 4
    write_report(runs)


def test_score_members_orders_and_names(runs):
    table = comparison.score_members(results.list_runs(runs))
    assert table["group"].tolist() == ["strong member", "weak member", "weak member"]
    assert table["value"].iloc[1] >= table["value"].iloc[2]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_ensemble_scores_hold_what_was_not_run(runs):
    table = comparison.score_ensembles(results.list_runs(runs)).set_index("name")
    assert table.loc["MU MobileViTv2 Weak", "members"] == 1
    assert len(table.loc["MU MobileViTv2 Weak", "missing"]) == 4
    assert table.loc["All members", "group"] == "ensemble"
    assert table.loc["MU & MA Best Weak", "group"] == "ensemble, incomplete"


def test_the_demo_skips_what_is_finished(runs, tiny_store):
    members = {member.name: member for member in demo.members()}
    assert sum(member.bag == 0 for member in members.values()) >= 1
    assert {member.bag for member in members.values()} >= {1, 2, 3, 4, 5}
    jobs = demo.training_jobs(runs, tiny_store)
    assert {job.name for job in jobs} == {*members, "01_data_statistics", "02_mixup_visualisation"}
    name, member = next(iter(members.items()))
    results.write_result(runs / name, results.read_result(results.list_runs(runs)["path"].iloc[0]))
    (runs / name / "03_train.ipynb").write_text("{}")
    identity = identity_of(member, tiny_store)
    files.write_json(runs / name / "member.json", identity)
    assert name not in {job.name for job in demo.training_jobs(runs, tiny_store)}
    for other in ({**identity, "store": {}}, {**identity, "member": {}}):
        files.write_json(runs / name / "member.json", other)
        assert name in {job.name for job in demo.training_jobs(runs, tiny_store)}
