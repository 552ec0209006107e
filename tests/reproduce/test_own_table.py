"""Members beyond the paper's in one table, and in the files of `lsdkit tables`."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lsdkit.common import files
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.reproduce.own_table import tabulate_own
from lsdkit.reproduce.tables import write_tables
from lsdkit.training.runs import write_run
from tests.fake_runs import make_run


def run(folder, validation: float, test: float | None = None, **parameters):
    member = member_from_parameters("smoke", **parameters)
    scores = {"val_macro_f1": validation} | ({} if test is None else {"test_macro_f1": test})
    return make_run(folder / member.name, member, metrics=scores)


def test_rows_are_what_varies_and_scores_are_over_seeds(tmp_path):
    runs = [run(tmp_path, 0.3 + seed / 10, 0.2, MIX="mixup", SEED=seed, SETTINGS="alpha=0.1") for seed in range(3)]
    runs += [run(tmp_path, 0.5, MIX="mixup", SETTINGS="alpha=0.3 vote=logits epochs=3", SEED=7)]
    table = tabulate_own(runs)
    assert list(table)[:3] == ["EPOCHS", "alpha", "vote"]
    assert table["alpha"].tolist() == [0.3, 0.1]  # the best first
    assert table["EPOCHS"].tolist() == [3, 2]
    assert table["seeds"].tolist() == [1, 3]
    assert table["validation"].tolist() == pytest.approx([50, 40])
    assert table["validation_sd"].tolist() == pytest.approx([np.nan, 10], nan_ok=True)
    assert table["test"].tolist() == pytest.approx([np.nan, 20], nan_ok=True)


def test_runs_that_differ_in_the_seed_alone_are_one_row(tmp_path):
    table = tabulate_own([run(tmp_path, 0.5, SEED=seed) for seed in range(2)])
    assert table.iloc[0].to_dict().items() >= {"RECIPE": "smoke", "seeds": 2, "validation": 50.0}.items()
    assert len(table) == 1


def test_weights_that_vary_are_a_column(tmp_path):
    runs = [run(tmp_path, 0.5), run(tmp_path, 0.6, EMOTION_WEIGHTS="runs/pre")]
    runs[1] = replace(runs[1], started_from={"emotion": {"source": "runs/pre"}})
    assert tabulate_own(runs)["EMOTION_WEIGHTS"].tolist() == ["run pre", "random"]


def test_the_tables_of_such_a_sweep_are_this_one(tmp_path):
    for given in (run(tmp_path, 0.4, 0.3, SETTINGS="alpha=0.2"), run(tmp_path, 0.6, 0.5, APPEARANCE="none")):
        write_run(given)
    files.write_json(tmp_path / "sweep.json", {"settings": {"rows": {"one": {}}}})
    text = write_tables(tmp_path, tmp_path / "tables")
    assert "2 runs of the recipe smoke on rendered faces" in text
    assert "| APPEARANCE" in text
    assert "Table 2" not in text
    assert (tmp_path / "tables" / "tables.md").read_text() == text
    table = pd.read_csv(tmp_path / "tables" / "own.csv", comment="#")
    assert table["validation"].tolist() == [60, 40]
    latex = (tmp_path / "tables" / "own.tex").read_text()
    assert r"\begin{tabular}" in latex
    assert r"APPEARANCE" in latex
    assert r"\input{own}" in (tmp_path / "tables" / "tables.tex").read_text()
    files.write_json(tmp_path / "empty" / "sweep.json", {"settings": {"rows": {"one": {}}}})
    with pytest.raises(FileNotFoundError, match="finished runs"):
        write_tables(tmp_path / "empty", tmp_path / "empty" / "tables")
