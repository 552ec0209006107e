import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.combining import view_store
from lsdkit.data.viewing import View
from lsdkit.recipes import RECIPES, SMOKE, Member
from lsdkit.training.predictions import answers_of, labels_of, prediction_table, probabilities_of, select_labelled
from lsdkit.training.runs import RESULT, Run, is_finished, list_runs, read_run, tabulate_runs, write_run


def make_run(folder, member, val_macro_f1=0.5, **changes) -> Run:
    same = {
        "kind": "synthetic",
        "store": "data/open",
        "checksums": {"images.npy": "1"},
        "spec_hash": member.spec_hash(),
    }
    counts = {"trained_on": {"ANGER": 3, "FEAR": 4}}
    same |= {"metrics": {"val_macro_f1": val_macro_f1}, "best_epoch": 1, "counts": counts, "seconds": 1.5}
    return Run(folder=folder, member=member, **same | changes)


def test_a_run_survives_its_file(tmp_path):
    member = Member(recipe=SMOKE, bag=2, mix="mixup", seed=3)
    sources = {"emotion": {"source": "vggface2_ft@/data/file.pkl"}, "appearance": {"source": "runs/mine/+dan_rafdb"}}
    run = make_run(
        tmp_path / "one", member, started_from=sources, notes=("a note",), versions={"torch": "2"}, threads=2
    )
    write_run(run)
    assert read_run(run.folder) == run
    assert run.weights_source("emotion") == "vggface2_ft"
    assert run.weights_source("appearance") == "run mine+dan_rafdb"
    assert make_run(tmp_path, member).weights_source("appearance") == "random"


def test_a_run_under_way_is_not_finished(tmp_path):
    member = Member(recipe=SMOKE)
    under_way = Run(folder=tmp_path, member=member, kind="rendered", store="data/open", checksums={})
    assert not under_way.finished
    assert not is_finished(tmp_path)
    write_run(make_run(tmp_path, member))
    assert is_finished(tmp_path)
    assert read_run(tmp_path).finished


def test_list_runs_finds_each_finished_run(tmp_path):
    assert list_runs(tmp_path / "absent") == []
    assert tabulate_runs([]).empty
    write_run(make_run(tmp_path / "b", Member(recipe=SMOKE, bag=2, mix="mixup"), 0.25))
    write_run(make_run(tmp_path / "a", Member(recipe=SMOKE, basic_aug=False)))
    (tmp_path / "unfinished").mkdir()
    runs = list_runs(tmp_path)
    assert [run.name for run in runs] == ["a", "b"]
    assert np.isnan(runs[1].test_macro_f1)
    row = tabulate_runs(runs).iloc[1]
    names = ["run", "recipe", "mix", "bag", "val_macro_f1", "trained_on"]
    assert row[names].tolist() == ["b", "smoke", "mixup", 2, 0.25, 7]
    assert not tabulate_runs(runs).iloc[0]["basic_aug"]


def test_a_damaged_or_foreign_result_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="finished run"):
        read_run(tmp_path)
    write_run(make_run(tmp_path, Member(recipe=SMOKE)))
    path = tmp_path / RESULT
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"result\.json is not readable"):
        read_run(tmp_path)
    path.write_text('{"format": 99}')
    with pytest.raises(ValueError, match="Expected format 1"):
        read_run(tmp_path)
    write_run(make_run(tmp_path, Member(recipe=SMOKE)))
    changed = json.loads(path.read_text().replace('"heads"', '"horns"'))
    path.write_text(json.dumps(changed))
    with pytest.raises(files.Damaged, match=r"result\.json is damaged: it is not what was written"):
        read_run(tmp_path)
    files.write_json(path, files.seal(changed))
    with pytest.raises(ValueError, match=r"settings of this version of lsdkit in .*result\.json.*horns"):
        read_run(tmp_path)


def test_a_result_without_a_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_run(make_run(tmp_path, Member(recipe=SMOKE), float("nan")))
    assert list(tmp_path.iterdir()) == []


def test_predictions_survive_the_file(tmp_path):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(6, 0.1), 40)
    labels = generator.integers(-1, 8, 40)
    keys = ["NA", "null", "007", *[f"k{i}" for i in range(37)]]  # keys that a careless reader takes for numbers or gaps
    table = prediction_table(keys, ["validation"] * 30 + ["test"] * 10, labels, probabilities)
    files.write_table(tmp_path / "predictions.csv", table)
    run = make_run(tmp_path, Member(recipe=SMOKE))
    read = run.read_predictions()
    assert list(read.columns) == ["key", "split", "expression", *EXPRESSIONS]
    assert list(read["key"]) == keys
    assert (read["expression"] == "").sum() == (labels == -1).sum()
    np.testing.assert_allclose(probabilities_of(read), probabilities, rtol=1e-8)
    np.testing.assert_array_equal(labels_of(read), np.where(labels > 5, -1, labels))
    true, predicted = answers_of(read, "test")
    known = (labels[30:] >= 0) & (labels[30:] <= 5)
    np.testing.assert_array_equal(true, labels[30:][known])
    np.testing.assert_array_equal(predicted, probabilities[30:].argmax(1)[known])
    assert list(select_labelled(read, "test")["key"]) == [
        key for key, keep in zip(keys[30:], known, strict=True) if keep
    ]
    with pytest.raises(FileNotFoundError, match="train the run first"):
        run.read_history()


def test_history_keeps_floats(tmp_path):
    files.write_table(tmp_path / "history.csv", pd.DataFrame({"epoch": [1], "loss": [np.float32(0.1)]}))
    run = make_run(tmp_path, Member(recipe=SMOKE))
    assert np.float32(run.read_history()["loss"][0]) == np.float32(0.1)


def test_the_faces_of_a_run_are_its_own(tiny_store, tmp_path):
    own = {"store": str(tiny_store.path), "checksums": tiny_store.manifest["checksums"]}
    run = make_run(tmp_path, Member(recipe=SMOKE), **own)
    assert run.open_store().keys == tiny_store.keys
    other = make_run(tmp_path, Member(recipe=SMOKE), store="nowhere", checksums={"images.npy": "another"})
    with pytest.raises(ValueError, match=r"smoke-mixaugment-.* was trained on"):
        other.open_store(tiny_store.path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        other.open_store()


def test_a_result_tells_what_the_network_is_shown_and_an_older_one_is_asked_of_its_store(tiny_store, tmp_path):
    member, view = Member(recipe=SMOKE), View(40, (4, 6, 20), grey=True)
    write_run(make_run(tmp_path / "told", member, view=view))
    assert read_run(tmp_path / "told").view == view
    assert read_run(tmp_path / "told").find_view() == view
    assert files.read_json(tmp_path / "told" / RESULT)["store"]["view"]["window"] == [4, 6, 20]
    inner = view_store(tiny_store, tmp_path / "inner", window=(0.1, 0.2, 0.5))
    own = {"store": str(inner.path), "checksums": inner.manifest["checksums"]}
    older = make_run(tmp_path / "older", member, **own)
    write_run(older)
    assert "view" not in files.read_json(older.folder / RESULT)["store"]
    assert read_run(older.folder).view is None
    assert read_run(older.folder).find_view() == inner.view == View(40, (4, 8, 20), grey=True)
    assert make_run(tmp_path, member, store=str(inner.path)).find_view() == View()  # another store by now
    assert make_run(tmp_path, member, store="nowhere").find_view() == View()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_member_comes_back_from_its_run(recipe, tmp_path):
    member = Member(recipe=replace(recipe, weights=(("emotion", "x.pt"),)), mix="mixup", bag=2, seed=7)
    write_run(make_run(tmp_path, member))
    back = read_run(tmp_path).member
    assert back == member
    assert back.spec_hash() == member.spec_hash()


@pytest.mark.parametrize("name", ["metrics", "member", "store", "counts", "kind", "best_epoch", "seconds"])
@pytest.mark.parametrize("value", [None, "text", [1], "absent"])
def test_a_result_that_lacks_something_is_named(tmp_path, name, value):
    if isinstance(value, str) and name == "kind" and value == "text":
        pytest.skip("a text is what it is")
    write_run(make_run(tmp_path, Member(recipe=SMOKE)))
    result = files.read_json(tmp_path / RESULT)
    if value == "absent":
        del result[name]
    else:
        result[name] = value
    files.write_json(tmp_path / RESULT, files.seal(result))
    with pytest.raises(ValueError, match=rf"'{name}' in .*result\.json.*train the run again"):
        read_run(tmp_path)


GOOD = "key,split,expression,ANGER,DISGUST,FEAR,HAPPINESS,SADNESS,SURPRISE"


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD + "\n",
        GOOD + "\na,validation,FEAR,nan,0,0,0,0,1\n",
        GOOD + "\na,validation,FEAR,,0,0,0,0,1\n",
        GOOD + "\na,validation,FEAR,0,0,0,0,0,0\n",
        GOOD + "\na,validation,FEAR,-1,0,0,0,1,1\n",
        GOOD + "\na,validation,FEAR,x,0,0,0,0,1\n",
        GOOD + "\na,validation,FEAR,0,0,0,0,1\n",
        GOOD.replace(",", ";") + "\na;validation;FEAR;0;0;0;0;0;1\n",
        "key,split\na,b\n",
        GOOD + "\né,validation,FEAR,0,0,0,0,0,1\n",
    ],
)
def test_predictions_that_can_be_none_are_named(tmp_path, text):
    (tmp_path / "predictions.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(files.Damaged, match=r"predictions\.csv.*train the run again"):
        make_run(tmp_path, Member(recipe=SMOKE)).read_predictions()
