"""What all data sets share: classes, refusals that help, faces that are written first, commands."""

import pandas as pd
import pytest

from lsdkit.cli import main
from lsdkit.data.datasets import DATA_SETS
from lsdkit.data.preparing import prepare_folder
from lsdkit.data.readers import read_folder
from lsdkit.data.store import Store
from tests.data_sets import QUIET, affectnet, expw, fer2013, prepare, rafdb, read
from tests.small_release import photo


@pytest.mark.parametrize(("classes", "extra"), [(6, []), (7, ["NEUTRAL"]), (8, ["NEUTRAL", "CONTEMPT"])])
def test_classes(tmp_path, classes, extra):
    listing = read("affectnet", affectnet(tmp_path / "in"), classes=classes)
    table = listing.table
    assert table[table["split"] == "extra"]["expression"].tolist() == extra
    assert [row["reason"] for row in listing.left_out].count("other_class") == 2 * (8 - classes)


@pytest.mark.parametrize("name", DATA_SETS)
def test_another_layout_is_refused_with_advice_that_works(tmp_path, name):
    root, codes = tmp_path / "in", DATA_SETS[name].codes
    for code in codes:
        for number in range(2):
            photo(root / code / f"{number}.jpg", 10 * int(code) + number)
    with pytest.raises(
        ValueError, match=rf"code '{min(codes)}'.*prepare affectnet`, `expw`, `rafdb` and `fer2013`.*--map"
    ):
        read_folder(root)
    with pytest.raises(FileNotFoundError, match=r"Found: .*prepare folder.*--map") as refused:
        read(name, root)
    pairs = str(refused.value).partition("--map ")[2].partition(" ")[0].split(",")
    store = prepare_folder(root, tmp_path / "store", names=dict(pair.split("=") for pair in pairs), **QUIET)
    for path, expression in zip(store.faces["path"], store.faces["expression"], strict=True):
        assert codes[path.split("/")[0]] == expression


def test_pictures_elsewhere_classes_it_lacks_and_no_face(tmp_path):
    root = affectnet(tmp_path / "a")
    (root / "0").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"pictures such as 0/0.jpg in .*put the pictures there"):
        read("affectnet", root)
    with pytest.raises(ValueError, match=r"--classes of ExpW to be one of 6, 7, but got 8"):
        read("expw", expw(tmp_path / "b"), classes=8)
    with pytest.raises(FileNotFoundError, match="did you mean"):
        read("expw", tmp_path / "bb")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "fer2013.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(ValueError, match=r"none of 1 could be used: fer2013.csv, line 2: malformed"):
        read("fer2013", tmp_path / "c")
    (tmp_path / "c" / "fer2013.csv").write_text("emotion,Usage\n0,Training\n")
    with pytest.raises(ValueError, match="lacks pixels"):
        read("fer2013", tmp_path / "c")


def test_a_folder_of_someone_elses_faces_is_not_written_into(tmp_path):
    root = expw(tmp_path / "in")
    photo(tmp_path / "store-faces" / "b_3.png", 1)
    with pytest.raises(ValueError, match=r"store-faces.*choose another --out"):
        prepare("expw", root)


def test_what_would_be_refused_at_the_end_is_refused_first(tmp_path):
    root = expw(tmp_path / "in")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    for options in ({}, {"size": 5000}):
        with pytest.raises(ValueError, match=r"other things|16\.\.1024"):
            prepare("expw", root, **options)
    assert not (tmp_path / "store-faces").exists()


def test_numbered_folders_by_hand(tmp_path):
    root = tmp_path / "in"
    for code in ("1", "2", "9"):
        for number in range(3):
            photo(root / code / f"{number}.jpg", 10 * int(code) + number)
    names = {"1": "surprise", "2": "Fear", "9": "none"}
    store = prepare_folder(root, tmp_path / "store", names=names, **QUIET)
    assert pd.Series(store.faces["expression"]).value_counts().to_dict() == {"SURPRISE": 3, "FEAR": 3}
    assert store.manifest["left_out"] == {"no_expression": 3}
    with pytest.raises(ValueError, match="'suprise' is no known expression; did you mean 'surprise'"):
        read_folder(root, names=names | {"1": "suprise"})
    with pytest.raises(ValueError, match=r"Expected folders 5 in"):
        read_folder(root, names=names | {"5": "anger"})
    with pytest.raises(ValueError, match="code '9'"):
        read_folder(root, names={"1": "surprise", "2": "fear"})


def test_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSDKIT_ROOT", str(tmp_path))
    makers = {"affectnet": affectnet, "expw": expw, "rafdb": rafdb, "fer2013": fer2013}
    for name, make in makers.items():
        make(tmp_path / name)
        assert main(["prepare", name, str(tmp_path / name), "--jobs", "1", "--classes", "6"]) == 0
        assert "left out" in capsys.readouterr().out
        counts = Store.open(tmp_path / "data" / name).manifest["counts"]
        assert "extra" not in counts
    assert main(["prepare", "expw", str(tmp_path / "expw"), "--out", str(tmp_path / "x"), "--classes", "8"]) == 2
    assert "one of 6, 7, but got 8" in capsys.readouterr().err
    photo(tmp_path / "numbered" / "1" / "1.jpg", 1)
    command = ["prepare", "folder", str(tmp_path / "numbered"), "--jobs", "1", "--out", str(tmp_path / "y")]
    assert main(command) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*command, "--map", "1=surprise"]) == 0
    assert Store.open(tmp_path / "y").keys == ["train/SURPRISE/1"]
    for wrong in ("1", "1=surprise,1=fear"):
        assert main([*command, "--map", wrong]) == 2
        assert "each name once" in capsys.readouterr().err
