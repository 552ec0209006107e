"""The table and the sheet of photographs: every picture has its row, and a spreadsheet reads it."""

import csv
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.cli import main
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import detection
from lsdkit.reading import report
from lsdkit.reading.reading import read
from lsdkit.reading.report import COLUMNS, list_pictures, name_row, read_photographs


@pytest.fixture
def folder(photographs, tmp_path, monkeypatch):
    """Photographs at two depths, one of two people, one of nobody, and odd files; the search makes one attempt."""
    quick = detection.ATTEMPTS[:1]
    monkeypatch.setattr("lsdkit.reading.searching.find_faces", lambda image: detection.find_faces(image, quick))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "album"
    (place / "2026").mkdir(parents=True)
    shutil.copy(photographs / "1.png", place / "10.png")
    shutil.copy(photographs / "2.png", place / "2.png")
    shutil.copy(photographs / "3.png", place / "2026" / "=cmd.png")
    both = Image.new("RGB", (800, 400))
    for number in (0, 1):
        with Image.open(photographs / f"{number + 1}.png") as one:
            both.paste(one, (400 * number, 0))
    both.save(place / "two.png")
    Image.new("RGB", (90, 60), "grey").save(place / "wall.png")
    (place / "broken.jpg").write_text("none")
    (place / "notes.txt").write_text("no picture")
    return place


def test_the_table_has_a_row_for_every_face_and_every_other_picture(folder, model, photographs, tmp_path):
    said = read_photographs(["album", "album/2026/=cmd.png"], out=tmp_path / "out.csv", model=model, jobs=1)
    assert said.endswith("out.csv: 6 faces in 7 pictures, 1 unreadable, 1 without a face, read by both")
    content = (tmp_path / "out.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbffile,face,x,")  # by which spreadsheets know that it is UTF-8
    assert b"\r" not in content
    table = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    names = ["2.png", "10.png", "2026/=cmd.png", "broken.jpg", "two.png", "two.png", "wall.png", "2026/=cmd.png"]
    assert table["file"].tolist() == [f"album/{name}" for name in names]
    assert table["face"].tolist() == ["1", "1", "1", "", "1", "2", "", "1"]
    assert table["reason"][6] == "no face found"
    assert table["reason"][3].startswith("unreadable: no image format")
    assert (table.loc[[3, 6], "x":"expression"] == "").all(axis=None)
    found = table.drop([3, 6])
    face = read(photographs / "1.png", model=model).faces[0]
    row = table.iloc[1]
    assert tuple(map(int, row["x":"height"])) == face.box
    columns = [name.lower() for name in EXPRESSIONS]
    assert [f"{value:.4f}" for value in face.probabilities] == row[columns].tolist()
    chances = found[columns].astype(float)
    np.testing.assert_allclose(chances.sum(axis=1), 1, atol=3e-4)
    assert found["expression"].tolist() == chances.idxmax(axis=1).tolist()
    assert set(found["found"]) == {"dlib"}


def test_names_are_printed_and_are_no_formulas(folder, model, tmp_path):
    names = [b"=1+1.jpg", b"-a.jpg", b"@b.jpg", b"+c.jpg", b"caf\xe9.jpg", b"new\nline.jpg", b'quo"te, comma.jpg']
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"none")
    read_photographs([os.fsdecode(name) for name in names], out=tmp_path / "out.csv", model=model, jobs=1)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows[:4]] == ["./=1+1.jpg", "./-a.jpg", "./@b.jpg", "./+c.jpg"]
    assert [row["file"] for row in rows[4:]] == [r"'caf\udce9.jpg'", r"'new\nline.jpg'", 'quo"te, comma.jpg']
    assert all(row["reason"].startswith("unreadable") for row in rows)
    printed = read_photographs([os.fsdecode(names[4])], model=model, jobs=1)
    printed.encode()  # can be printed anywhere
    assert name_row("a.jpg") == "a.jpg"


def test_without_a_file_the_table_is_told(folder, model):
    lines = read_photographs(["album/two.png", "album/wall.png"], model=model, jobs=1).splitlines()
    assert lines[0].split() == ["file", "face", "expression", "probability"]
    chances = [(face.expression, f"{face.probability:.2f}") for face in read("album/two.png", model=model).faces]
    for number, (line, answer) in enumerate(zip(lines[1:3], chances, strict=True), start=1):
        assert line.split() == ["album/two.png", str(number), *answer]
    assert lines[3].split() == ["album/wall.png", "-", "no", "face", "found"]
    assert lines[4] == "2 faces in 2 pictures, 1 without a face, read by both"


def test_the_sheet_shows_the_first_faces(folder, model, tmp_path, monkeypatch):
    said = read_photographs(["album"], sheet=tmp_path / "all.png", model=model, jobs=1)
    assert said.splitlines()[-1].endswith("all.png: 5 faces")
    monkeypatch.setattr(report, "ON_A_SHEET", 2)
    drawn = []
    monkeypatch.setattr(
        report, "reading_sheet", lambda *given, **named: drawn.append((given, named)) or Image.new("RGB", (9, 9))
    )
    monkeypatch.setattr(report, "png", lambda *_: b"png")
    said = read_photographs(["album"], sheet=tmp_path / "some.png", model=model, jobs=1)
    assert said.splitlines()[-1].endswith("some.png: the first 2 of 5 faces")
    ((crops, chances, names), named) = drawn[0]
    assert (len(crops), chances.shape, names) == (2, (2, 6), ["2.png", "10.png"])
    assert named["heading"].endswith("read by both: the first 2 of 5 faces")
    said = read_photographs(["album/wall.png"], sheet=tmp_path / "none.png", model=model, jobs=1)
    assert said.endswith("no sheet is drawn without a face")
    assert not (tmp_path / "none.png").exists()


def test_what_is_asked_for_wrongly_is_said_before_any_work(folder, model, tmp_path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "old.csv").write_text("kept")
    for places, options, error, words in (
        (["albun"], {}, FileNotFoundError, "nothing at albun; did you mean album"),
        (["album/2.pn"], {}, FileNotFoundError, "did you mean album/2.png"),
        (["nowhere/a.jpg"], {}, FileNotFoundError, "nothing at nowhere/a.jpg$"),
        (["nothing"], {}, ValueError, "the folder nothing, but found no picture file"),
        (["album"], {"out": tmp_path / "old.csv"}, FileExistsError, "old.csv to be new"),
        (["album"], {"sheet": tmp_path / "sheet.jpg"}, ValueError, "ends in .png"),
        (["album"], {"model": tmp_path / "absent"}, FileNotFoundError, "Expected a model"),
    ):
        with pytest.raises(error, match=words):
            read_photographs(places, **{"model": model, "jobs": 1} | options)
    assert (tmp_path / "old.csv").read_text() == "kept"
    assert list_pictures(["album/notes.txt", "album/2026"]) == ["album/notes.txt", "album/2026/=cmd.png"]


def test_the_command(folder, model, tmp_path, capsys):
    given = f"read album --model {model} --jobs 1 --out out.csv --sheet sheet.png"
    assert main(given.split()) == 0
    assert "5 faces in 6 pictures" in capsys.readouterr().out
    assert {"out.csv", "sheet.png"} <= {path.name for path in tmp_path.iterdir()}  # beside what is read
    assert main(given.split()) == 2
    assert "to be new" in capsys.readouterr().err
    assert main(["read", "album/wall.png", "album/broken.jpg", "--model", str(model), "--jobs", "1"]) == 0
    assert main(["read", "nowhere", "--model", str(model)]) == 2
    assert "nothing at nowhere" in capsys.readouterr().err
    assert main(["read"]) == 2


def test_an_interrupt_leaves_no_half_table(folder, model, tmp_path, monkeypatch, capsys):
    def stop(image):
        raise KeyboardInterrupt

    monkeypatch.setattr("lsdkit.reading.searching.find_faces", stop)
    assert main(["read", "album", "--model", str(model), "--jobs", "1", "--out", "out.csv"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "lsdkit: stopped"
    assert [path.name for path in tmp_path.iterdir()] == ["album"]


def test_where_nothing_can_be_written_is_said_before_any_work(folder, model, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "read_many", lambda *_, **options: pytest.fail("a picture was read"))
    with pytest.raises(ValueError, match=r"in different files, but got .*both.png for both"):
        read_photographs(["album"], out=tmp_path / "both.png", sheet=tmp_path / "both.png", model=model)
    with pytest.raises(OSError, match=r"a folder to write sheet.png to, but .*notes.txt is none"):
        read_photographs(["album"], sheet=folder / "notes.txt" / "sheet.png", model=model)
    assert [path.name for path in tmp_path.iterdir()] == ["album"]
