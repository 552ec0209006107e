"""Members as a person writes them: grids and CSV files, and what is wrong with them."""

from itertools import product

import pytest

from lsdkit.notebook.grids import parse_grid, read_rows


def test_a_grid_is_every_combination_in_order():
    rows = parse_grid("MIX=mixup,mixaugment SEED=0:3 SETTINGS='alpha=0.2 averaging=0.9','' BASIC_AUG=false")
    expected = product(("mixup", "mixaugment"), range(3), ("alpha=0.2 averaging=0.9", ""), (False,))
    assert [tuple(row.values()) for row in rows.values()] == list(expected)
    assert list(rows)[1] == "MIX=mixup SEED=0 SETTINGS='' BASIC_AUG=False"
    assert all(type(row["SEED"]) is int and type(row["BASIC_AUG"]) is bool for row in rows.values())


def test_what_a_row_is_called_is_a_grid_of_that_row():
    for where, row in parse_grid("MIX=mixup SETTINGS='alpha=0.2','a b, c' EMOTION_WEIGHTS='C:\\x,y',random").items():
        assert list(parse_grid(where).values()) == [row]


def test_numbers_may_be_listed_and_ranged_and_spaces_may_follow_commas():
    assert [row["BAG"] for row in parse_grid("BAG=0, 2:4,5").values()] == [0, 2, 3, 5]
    assert list(parse_grid("EMOTION_WEIGHTS=runs/a:b").values()) == [{"EMOTION_WEIGHTS": "runs/a:b"}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r'such as "MIX=mixup,mixaugment SEED=0:5'),
        ("MIXX=mixup", "but got MIXX: did you mean MIX"),
        ("THESIS=True", "but got THESIS$"),
        ("alpha=0.2", "alpha is a setting of the recipe: write SETTINGS='alpha=...'"),
        ("DATA_DIR=data/open", "give it as --data"),
        ("RUN_DIR=x", "give it as --out"),
        ("DEVICE=cpu", "give it as --device"),
        ("DEVICES=2", "but got DEVICES"),
        ("SEED=0:x", "SEED in --grid to be a whole number, but got '0:x'"),
        ("SEED=5:5", r"0:5 is 0 to 4\), but got '5:5'"),
        ("BAG=one", "BAG in --grid to be a whole number, but got 'one'"),
        ("BASIC_AUG=yes", "BASIC_AUG in --grid to be True or False, but got 'yes'"),
        ("MIX=mixup,mixup", "each value of MIX in --grid once, but got 'mixup' twice"),
        ("SEED=0:3,2", "each value of SEED in --grid once, but got 2 twice"),
        ("MIX=mixup MIX=mixaugment", "but got MIX twice"),
        ("MIX", r"\(commas between values\), but got 'MIX'"),
        ("MIX=mixup mixaugment", r"\(commas between values\), but got 'mixaugment'"),
        ("MIX=mixup,", "after each comma"),
        (",MIX=mixup", "before each comma"),
        ("MIX=mixup,,mixaugment", "before each comma"),
        ("SETTINGS='alpha=0.2", "each quotation mark closed"),
    ],
)
def test_a_wrong_grid_is_told_as_what_it_is(text, words):
    with pytest.raises(ValueError, match=words):
        parse_grid(text)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_has_a_row_a_run_and_empty_cells_say_nothing(tmp_path):
    file = write(tmp_path / "own.csv", "MIX, BAG ,SETTINGS", "mixup,1,", "mixaugment,,alpha=0.2 vote=logits")
    assert read_rows(file) == {
        "row 1 of own.csv": {"MIX": "mixup", "BAG": 1},
        "row 2 of own.csv": {"MIX": "mixaugment", "SETTINGS": "alpha=0.2 vote=logits"},
    }


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["MIX,SEEDS", "mixup,0"], r"in .*own\.csv \(.*\), but got SEEDS: did you mean SEED"),
        (["MIX,alpha", "mixup,0"], r"alpha is a setting of the recipe"),
        (["MIX,SEED", "mixup,0", "mixup,zero"], "SEED in row 2 of own.csv to be a whole number, but got 'zero'"),
        (["MIX,SEED", "mixup,0", "mixaugment,0", "mixup,0"], r"row 3 of own\.csv is row 1 of own\.csv again"),
        (["MIX,SEED", "mixup,0", ","], "row 2 has none: take it away"),
        (["MIX,SEED"], "a line of names alone"),
        (["MIX;SEED", "mixup;0"], "has semicolons"),
        (["MIX,SEED", "mixup,0,1"], "line 2 has 3"),
        (["MIX,MIX", "mixup,mixup"], "'MIX' repeats"),
    ],
)
def test_a_wrong_file_is_told_by_row(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_rows(write(tmp_path / "own.csv", *lines))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"own\.csv"):
        read_rows(tmp_path / "own.csv")
