import numpy as np
import pandas as pd
import pytest
import torch

from lsdkit import results
from lsdkit.expressions import EXPRESSIONS
from lsdkit.recipes import SMOKE, Member


def finished(folder, member, val_macro_f1=0.5, **extra):
    results.write_result(
        folder,
        {
            "member": member.spec(),
            "spec_hash": member.spec_hash(),
            "name": member.name,
            "kind": "synthetic",
            "metrics": {"val_macro_f1": val_macro_f1},
            "best_epoch": 1,
            "counts": {"trained_on": {"ANGER": 3, "FEAR": 4}},
            "seconds": 1.5,
            "weights_sha256": "00",
            **extra,
        },
    )


def test_list_runs_has_one_row_a_finished_run(tmp_path):
    assert list(results.list_runs(tmp_path).columns) == list(results.RUN_COLUMNS)
    assert results.list_runs(tmp_path / "absent").empty
    finished(tmp_path / "b", Member(recipe=SMOKE, bag=2, mix="mixup"), 0.25)
    finished(tmp_path / "a", Member(recipe=SMOKE, basic_aug=False))
    (tmp_path / "unfinished").mkdir()
    runs = results.list_runs(tmp_path)
    assert list(runs["run"]) == ["a", "b"]
    row = runs.iloc[1]
    assert (row["mix"], row["bag"], row["recipe"], row["val_macro_f1"], row["trained_on"]) == (
        "mixup",
        2,
        "smoke",
        0.25,
        7,
    )
    assert not runs.iloc[0]["basic_aug"]
    assert np.isnan(row["test_macro_f1"])


def test_a_damaged_or_foreign_result_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="finished run"):
        results.read_result(tmp_path)
    finished(tmp_path, Member(recipe=SMOKE))
    path = results.result_path(tmp_path)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"result\.json is not readable"):
        results.read_result(tmp_path)
    path.write_text('{"format": 99}')
    with pytest.raises(ValueError, match="Expected format 1"):
        results.read_result(tmp_path)


def test_a_result_without_a_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        results.write_result(tmp_path, {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_predictions_survive_the_file(tmp_path):
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(6, 0.1), 40)
    labels = generator.integers(-1, 8, 40)
    keys = ["NA", "null", "007", *[f"k{i}" for i in range(37)]]  # keys that a careless reader takes for numbers or gaps
    table = results.prediction_table(keys, ["validation"] * 30 + ["test"] * 10, labels, probabilities)
    results.write_table(tmp_path / "predictions.csv", table)
    read = results.read_predictions(tmp_path)
    assert list(read.columns) == ["key", "split", "expression", *EXPRESSIONS]
    assert list(read["key"]) == keys
    assert (read["expression"] == "").sum() == (labels == -1).sum()
    np.testing.assert_allclose(results.probabilities_of(read), probabilities, rtol=1e-8)
    np.testing.assert_array_equal(results.labels_of(read), np.where(labels > 5, -1, labels))
    true, predicted = results.labelled(read, "test")
    known = (labels[30:] >= 0) & (labels[30:] <= 5)
    np.testing.assert_array_equal(true, labels[30:][known])
    np.testing.assert_array_equal(predicted, probabilities[30:].argmax(1)[known])
    with pytest.raises(FileNotFoundError, match="train the run first"):
        results.read_history(tmp_path)


def test_history_keeps_floats(tmp_path):
    results.write_table(tmp_path / "history.csv", pd.DataFrame({"epoch": [1], "loss": [np.float32(0.1)]}))
    assert np.float32(results.read_history(tmp_path)["loss"][0]) == np.float32(0.1)


def test_weights_checksum_sees_every_change_but_not_the_order():
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(3)}
    base = results.weights_sha256(state)
    assert base == results.weights_sha256(dict(reversed(state.items())))
    assert base == results.weights_sha256({**state, "b": state["b"].t().contiguous().t()})  # strides do not matter
    changed = state["b"].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    others = [
        {**state, "b": changed},
        {**state, "b": state["b"].reshape(3, 2)},
        {**state, "b": state["b"].view(torch.int32)},
        {"b": state["a"], "a": state["b"]},
        {"a": state["a"]},
    ]
    assert len({base, *map(results.weights_sha256, others)}) == 6
