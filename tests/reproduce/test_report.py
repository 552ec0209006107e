"""The report: its notebook's parts hold every run and the numbers that the predictions give; the page stands alone."""

import ast
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest

from lsdkit.ensembles.votes import ALL_MEMBERS, find_missing, score_ensembles, score_members
from lsdkit.method import metrics
from lsdkit.recipes import Member
from lsdkit.reproduce import report_parts as parts
from lsdkit.reproduce.report import NOTEBOOK, render_page, write_report
from lsdkit.training.predictions import answers_of
from lsdkit.training.runs import list_runs, write_run
from tests.fake_runs import answers, leave, make_run, store_of

MEMBERS = (("mixaugment", "vggface2", 0), ("mixaugment", "vggface2", 1), ("mixup", "mobilevitv2", 1))
LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "object": "data", "source": "src"}


class Page(HTMLParser):
    """What a browser would load or run for a page, and the pictures without a description."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.loaded, self.bare = [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag in LOADING:
            self.loaded.append(given.get(LOADING[tag]) or "")
        if tag == "img" and not given.get("alt"):
            self.bare.append(given)


def leave_three_runs(store, folder):
    """Three made-up runs over a store's validation and test faces; returns their folder."""
    rows = np.concatenate([store.rows("validation"), store.rows("test")])
    keys, splits = [store.keys[row] for row in rows], store.faces["split"].iloc[rows].tolist()
    labels = store.labels[rows]
    for number, (mix, appearance, bag) in enumerate(MEMBERS):
        member = Member.of("smoke", mix=mix, appearance=appearance, bag=bag)
        told = {"device": "cpu", "threads": 1, "best_epoch": 2, "versions": {"torch": "2.14.1"}}
        run = make_run(folder / member.name, member, store=store_of(store), **told)
        leave(run, keys, splits, labels, answers(labels, 0.6, number))
        history = "epoch,lr,loss,expression,affinity,partition,landmarks,val_macro_f1,val_loss,seconds\n"
        history += "1,.001,9,5,2,1.5,.5,.2,1.7,3\n2,.0009,7,4,1.5,1.2,.3,.3,1.5,3\n"
        (run.folder / "history.csv").write_text(history)
    return folder


@pytest.fixture
def runs(tiny_store, tmp_path):
    return leave_three_runs(tiny_store, tmp_path / "runs <&>")


@pytest.mark.slow
def test_the_page_is_whole_and_alone(runs):
    page = write_report(runs)
    assert page == runs / "report.html"
    assert {path.name for path in runs.glob("report*")} == {"report.html", "report.ipynb"}
    text = page.read_text()
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=\s]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\$", bare)
    seen = Page(text)
    assert {"script", "link", "iframe", "object", "source", "form"}.isdisjoint(seen.tags)
    assert seen.bare == []
    assert all(place.startswith("data:image/png;base64,") for place in seen.loaded)
    assert seen.tags.count("figure") == len(seen.loaded) >= 9
    every = list_runs(runs)
    for name in [*(run.name for run in every), *score_ensembles(every)["name"]]:
        assert name.replace("&", "&amp;") in text
    for word in ("Macro F1", "bag", "weak", "strong", "vote", "rendered faces", "lsdkit report runs &lt;&amp;&gt;"):
        assert word in bare
    for split in ("validation", "test"):
        for why in score_ensembles(every, split)["why"]:
            assert f"On {split} faces: {why}" in text
    assert "Not built: MU MobileViTv2 Weak (4 cells were not run); " in text
    for code in ("RUN_DIR", "import ", "In [", "Out[", "widget"):
        assert code not in bare


@pytest.mark.slow
def test_a_single_run_and_a_lost_store_still_give_a_page(runs):
    for folder in sorted(runs.iterdir())[1:]:
        (folder / "result.json").unlink()
    (run,) = list_runs(runs)
    write_run(replace(run, store="/nowhere/open"))
    text = write_report(runs, runs / "one.html", command="make demo").read_text()
    assert "no longer there" in text
    assert "make demo" in text
    assert (runs / "one.ipynb").is_file()


def test_no_run_and_no_page_are_errors(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="found none"):
        write_report(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"ends in \.html, but got report\.pdf"):
        write_report(runs, tmp_path / "report.pdf")


@pytest.mark.slow
def test_a_notebook_that_stops_is_told_in_one_line(runs):
    (list_runs(runs)[0].folder / "history.csv").unlink()
    with pytest.raises(ChildProcessError, match=r"report\.failed\.ipynb shows where: .*history\.csv") as caught:
        write_report(runs)
    assert "\n" not in str(caught.value)
    assert not (runs / "report.html").exists()


def test_outputs_that_need_scripts_are_left_out_of_the_page(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "VBox()"}
    outputs = [
        nbformat.v4.new_output("display_data", widget),
        nbformat.v4.new_output("display_data", {"application/javascript": "alert(1)"}),
        nbformat.v4.new_output("display_data", {"text/html": "<p>shown</p>"}),
    ]
    state = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}}
    cell = nbformat.v4.new_code_cell("hidden", outputs=outputs)
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": state}), path)
    text = render_page(path, "<one>")
    assert "<p>shown</p>" in text
    assert "<title>&lt;one&gt;</title>" in text
    for word in ("<script", "widget", "alert", "hidden"):
        assert word not in text.partition("</style>")[2]


def test_the_notebook_reads_a_folder_and_nothing_else():
    """What tests/notebooks/test_hygiene.py asks of the others and does not fit here is their beginning and end."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any("$" in cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    assert [node.target.id for node in ast.parse(cell.source).body] == ["RUN_DIR", "COMMAND"]


def test_two_runs_of_a_cell_are_told_and_not_fatal(runs):
    first, copy = list_runs(runs)[0], runs / "again"
    copy.mkdir()
    for name in ("predictions.csv", "history.csv"):
        (copy / name).write_bytes((first.folder / name).read_bytes())
    write_run(replace(first, folder=copy))
    every = list_runs(runs)
    assert "again" in find_missing(every)["MA Strong & MA Best Weak"][0]
    members, ensembles = parts.score_all(every)
    assert len(parts.tabulate_members(every, members)) == 4
    assert ensembles["validation"].set_index("name").loc[ALL_MEMBERS, "members"] == 4
    assert parts.tabulate_fingerprints(every)["folder"].tolist() == [run.name for run in every]


def copy_run(run, runs, **changes):
    member = replace(run.member, **changes)
    shutil.copytree(run.folder, runs / member.name)
    write_run(replace(run, folder=runs / member.name, member=member))


def test_several_seeds_have_a_vote_each(runs):
    weak = [run for run in list_runs(runs) if run.member.appearance == "vggface2" and run.member.bag]
    for run in weak:
        copy_run(run, runs, bag=2)
    for run in [each for each in list_runs(runs) if each.member.bag]:
        copy_run(run, runs, seed=1)
    names = parts.tabulate_ensembles(parts.score_all(list_runs(runs))[1])["ensemble"].tolist()
    for seed in (0, 1):
        assert f"weak: Mix-aug, vggface2, seed {seed}" in names
        assert f"strong and weak: Mix-aug, vggface2, seed {seed}" in names


def test_score_members_orders_and_names(runs):
    table = score_members(list_runs(runs))
    assert table["group"].tolist() == ["strong member", "weak member", "weak member"]
    assert table["value"].iloc[1] >= table["value"].iloc[2]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()


def test_the_best_is_first_and_numbers_are_those_of_the_predictions(runs):
    every = list_runs(runs)
    members, ensembles = parts.score_all(every)
    assert members["value"].is_monotonic_decreasing
    assert ensembles["validation"]["value"].is_monotonic_decreasing
    assert ensembles["test"]["name"].tolist() == ensembles["validation"]["name"].tolist()
    rows = parts.tabulate_members(every, members)
    for name, told in zip(members["run"], rows["validation [95%]"], strict=True):
        run = next(run for run in every if run.name == name)
        scores = metrics.bootstrap_f1(*answers_of(run.read_predictions())).loc["macro_f1"]
        assert told == f"{scores['value']:.3f} [{scores['low']:.3f}, {scores['high']:.3f}]"
    everyone = ensembles["validation"].set_index("name").loc[ALL_MEMBERS]
    tiles = parts.count_tiles(members, ensembles["validation"])
    assert tiles["vote of all 3 members"] == f"{everyone['value']:.3f}"
    assert tiles["chance"] == "0.167"
    assert parts.tabulate_ensembles(ensembles).columns.tolist()[2:4] == ["validation [95%]", "test [95%]"]
    told = parts.tell_findings(every, members, ensembles)
    assert told["Best ensemble"].startswith(ensembles["validation"]["name"].iloc[0])
    assert members["name"].iloc[0] in told["Best single member"]
    labels, voted = answers_of(parts.pick_predictions(every, members)["Vote of all 3 members"])
    assert f"F1 {metrics.f1_per_class(labels, voted).max():.2f}" in told["Classes"]


def test_landmark_errors_are_told_where_a_run_has_them(runs):
    errors = ({"landmark_nme": 0.0512, "mean_shape_nme": 0.0977}, {"landmark_nme": 0.0634}, {})
    for run, more in zip(list_runs(runs), errors, strict=True):
        write_run(replace(run, metrics=run.metrics | more))
    every = list_runs(runs)
    assert [parts.describe_landmarks(run) for run in every] == ["0.051 (mean landmarks 0.098)", "0.063", ""]
    rows = parts.tabulate_members(every, parts.score_all(every)[0])
    assert set(zip(rows["landmark error"], rows["of the mean landmarks"], strict=True)) == {
        ("0.051", "0.098"),
        ("0.063", ""),
        ("", ""),
    }


def test_what_is_shown_cannot_break_out_of_the_page(runs):
    assert parts.show_list({"<b>": "a & b"}).data == "<ul><li><b>&lt;b&gt;</b>: a &amp; b</li></ul>"
    assert parts.show_list({"a": "b"}, folded="<more>").data.startswith("<details><summary>&lt;more&gt;</summary>")
    assert parts.show_list({}).data == parts.show_note("").data == ""
    assert "&lt;i&gt;" in parts.show_table(parts.tabulate_fingerprints(list_runs(runs)).assign(member="<i>")).data
