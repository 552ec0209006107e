"""The page holds every run, nothing from elsewhere, and the numbers that the predictions give."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from lsdkit.ensembles.votes import ALL_MEMBERS, find_missing, score_ensembles, score_members
from lsdkit.method import metrics
from lsdkit.recipes import Member
from lsdkit.reproduce.report import describe_landmarks, write_report
from lsdkit.training.predictions import answers_of
from lsdkit.training.runs import list_runs, write_run
from tests.fake_runs import answers, leave, make_run, store_of

MEMBERS = (("mixaugment", "vggface2", 0), ("mixaugment", "vggface2", 1), ("mixup", "mobilevitv2", 1))


@pytest.fixture
def runs(tiny_store, tmp_path):
    """Three made-up runs over the tiny store's validation and test faces."""
    rows = np.concatenate([tiny_store.rows("validation"), tiny_store.rows("test")])
    keys, splits = [tiny_store.keys[row] for row in rows], tiny_store.faces["split"].iloc[rows].tolist()
    labels, folder = tiny_store.labels[rows], tmp_path / "runs <&>"
    for number, (mix, appearance, bag) in enumerate(MEMBERS):
        member = Member.of("smoke", mix=mix, appearance=appearance, bag=bag)
        told = {"device": "cpu", "threads": 1, "best_epoch": 2, "versions": {"torch": "2.14.1"}}
        run = make_run(folder / member.name, member, store=store_of(tiny_store), **told)
        leave(run, keys, splits, labels, answers(labels, 0.6, number))
        history = "epoch,lr,loss,expression,affinity,partition,landmarks,val_macro_f1,val_loss,seconds\n"
        history += "1,.001,9,5,2,1.5,.5,.2,1.7,3\n2,.0009,7,4,1.5,1.2,.3,.3,1.5,3\n"
        (run.folder / "history.csv").write_text(history)
    return folder


@pytest.mark.slow
def test_the_page_is_whole_and_alone(runs):
    page = write_report(runs)
    assert page == runs / "report.html"
    text = page.read_text()
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", bare)
    assert text.count("<figure>") == text.count("data:image/png;base64,") >= 9
    every = list_runs(runs)
    for name in [*(run.name for run in every), *score_ensembles(every)["name"]]:
        assert name.replace("&", "&amp;") in text
    for split in ("validation", "test"):
        for name, why in score_ensembles(every, split)[["name", "why"]].to_numpy():
            assert f"<b>{name}</b>, {split}: {why}" in text
    assert "Not built: MU MobileViTv2 Weak (4 cells were not run); " in text
    assert "rendered faces" in bare
    assert "<&>" not in bare
    assert "lsdkit report runs" in bare


@pytest.mark.slow
def test_numbers_on_the_page_are_those_of_the_predictions(runs):
    text = write_report(runs, command="make demo").read_text()
    every = list_runs(runs)
    for run in every:
        scores = metrics.bootstrap_f1(*answers_of(run.read_predictions())).loc["macro_f1"]
        assert f"{scores['value']:.3f} [{scores['low']:.3f}, {scores['high']:.3f}]" in text
    everyone = score_ensembles(every).set_index("name").loc[ALL_MEMBERS]
    assert f"{everyone['value']:.3f}" in text
    assert "make demo" in text


def test_a_single_run_and_a_lost_store_still_give_a_page(runs, tiny_store):
    for folder in sorted(runs.iterdir())[1:]:
        (folder / "result.json").unlink()
    (run,) = list_runs(runs)
    write_run(replace(run, store="/nowhere/open"))
    assert "no longer there" in write_report(runs, runs / "one.html").read_text()


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="found none"):
        write_report(tmp_path)


@pytest.mark.slow
def test_two_runs_of_a_cell_are_told_and_not_fatal(runs):
    first, copy = list_runs(runs)[0], runs / "again"
    copy.mkdir()
    for name in ("predictions.csv", "history.csv"):
        (copy / name).write_bytes((first.folder / name).read_bytes())
    write_run(replace(first, folder=copy))
    assert "again" in find_missing(list_runs(runs))["MA Strong & MA Best Weak"][0]
    assert score_ensembles(list_runs(runs)).set_index("name").loc[ALL_MEMBERS, "members"] == 4
    assert "MA Strong &amp; MA Best Weak (Expected one run of" in write_report(runs).read_text()


def copy_run(run, runs, **changes):
    member = replace(run.member, **changes)
    shutil.copytree(run.folder, runs / member.name)
    write_run(replace(run, folder=runs / member.name, member=member))


@pytest.mark.slow
def test_several_seeds_have_a_vote_each(runs):
    weak = [run for run in list_runs(runs) if run.member.appearance == "vggface2" and run.member.bag]
    for run in weak:
        copy_run(run, runs, bag=2)
    for run in [each for each in list_runs(runs) if each.member.bag]:
        copy_run(run, runs, seed=1)
    text = write_report(runs).read_text()
    for seed in (0, 1):
        assert f"<td>weak: Mix-aug, vggface2, seed {seed}</td>" in text
        assert f"<td>strong and weak: Mix-aug, vggface2, seed {seed}</td>" in text


def test_score_members_orders_and_names(runs):
    table = score_members(list_runs(runs))
    assert table["group"].tolist() == ["strong member", "weak member", "weak member"]
    assert table["value"].iloc[1] >= table["value"].iloc[2]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


@pytest.mark.slow
def test_landmark_errors_are_told_where_a_run_has_them(runs):
    errors = ({"landmark_nme": 0.0512, "mean_shape_nme": 0.0977}, {"landmark_nme": 0.0634}, {})
    told = ["0.051 (mean landmarks 0.098)", "0.063", ""]
    for run, more in zip(list_runs(runs), errors, strict=True):
        write_run(replace(run, metrics=run.metrics | more))
    assert [describe_landmarks(run) for run in list_runs(runs)] == told
    text = write_report(runs).read_text()
    assert all(f"<td>{words}</td>" in text for words in told)
