"""Pages of executed notebooks: small pictures in files, nothing that a repository's site would drop, not stale."""

import base64
import io
import json

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.reproduce import lessons, pages
from lsdkit.reproduce.headless import Job

WIDGET = "application/vnd.jupyter.widget-view+json"


def picture(value: int, side: int = 40, kind: str = "PNG") -> str:
    """A picture of one colour, in base64."""
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(stream, kind)
    return base64.b64encode(stream.getvalue()).decode()


def source_cells() -> list:
    return [
        new_markdown_cell("# 09 What is shown?\n\nFor $x = 1$."),
        new_code_cell('RUN_DIR: str = ""  # a folder', metadata={"tags": ["parameters"]}),
        new_markdown_cell("## A [figure] of $x$"),
        new_code_cell("figure"),
        new_code_cell("explorer"),
        new_code_cell("table"),
        new_code_cell("1 + 1", metadata={"tags": ["solution"]}),
    ]


@pytest.fixture
def lesson(tmp_path) -> Job:
    """A notebook, and its executed copy with an output of each sort."""
    job = Job("09_shown", tmp_path / "09_shown.ipynb", tmp_path / "copies" / "09_shown.ipynb", {"RUN_DIR": "runs/demo"})
    nbformat.write(new_notebook(cells=source_cells()), job.notebook)
    cells = source_cells()
    drawn = {"image/png": picture(90), "text/plain": "<Figure>"}
    explorer = f'<div class="still"><style>p {{ x: y }}</style>\n\n<script>go()</script><button>Play</button>\
<img style="w" alt="Faces by class" src="data:image/jpeg;base64,{picture(200, 3000, "JPEG")}"></div>'
    table = "<div>\n<style scoped>\n.dataframe td {}\n</style>\n\n<table border=1><tr><td>0.5</td></tr></table></div>"
    cells[3].outputs = [
        new_output("stream", name="stderr", text="\rtraining: 0%\rtraining: 100%\n"),
        new_output("display_data", drawn, metadata={"image/png": {"alt": "Scores, best first"}}),
        new_output("execute_result", drawn, execution_count=1),
    ]
    cells[4].outputs = [
        new_output("display_data", {WIDGET: {"model_id": "1"}, "text/html": explorer, "text/plain": "Faces()"}),
        new_output("display_data", {WIDGET: {"model_id": "2"}, "text/plain": "VBox()"}),
        new_output("display_data", {"text/html": "<style>.a {}</style>", "text/plain": "<HTML object>"}),
    ]
    cells[5].outputs = [new_output("execute_result", {"text/html": table, "text/plain": "0.5"}, execution_count=2)]
    cells[6].outputs = [new_output("execute_result", {"text/plain": "2"}, execution_count=3)]
    cells.insert(2, new_code_cell('RUN_DIR = "/home/me/runs"', metadata={"tags": ["injected-parameters"]}))
    job.copy.parent.mkdir()
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": {"state": {}}}), job.copy)
    return job


def test_a_page_shows_what_a_site_can_show(lesson, tmp_path):
    page = pages.write_page(lesson, tmp_path / "out")
    text = page.read_text()
    assert page == tmp_path / "out" / "09_shown.md"
    assert text.index("# 09 What is shown?") < text.index("For $x = 1$.") < text.index("## A [figure]")
    assert "when it was run, with `RUN_DIR` runs/demo." in text.splitlines()[1]
    assert "![Scores, best first](09_shown/01.webp)" in text
    assert "![A figure of x](09_shown/01.webp)" in text  # the same picture, kept once; without words its heading's
    assert '<img alt="Faces by class" src="09_shown/02.webp"/>' in text
    assert "<table><tr><td>0.5</td></tr></table>" in text
    assert "training: 100%" in text
    for word in ("data:", "<style", "<script", "go()", "Play", "VBox", "Faces()", "<Figure>", "HTML object", "/home"):
        assert word not in text
    fold = text[text.index("<details><summary>Solution</summary>") : text.index("</details>")]
    assert "1 + 1" in fold
    assert fold.rstrip().endswith("2")
    assert "training: 0%" not in text


def test_pictures_are_small_files_and_old_ones_go(lesson, tmp_path):
    (tmp_path / "out" / "09_shown").mkdir(parents=True)
    (tmp_path / "out" / "09_shown" / "17.webp").write_bytes(b"old")
    page = pages.write_page(lesson, tmp_path / "out")
    kept = pages.list_pictures(page)
    assert [path.name for path in kept] == ["01.webp", "02.webp"]
    pixels = [np.asarray(Image.open(io.BytesIO(path.read_bytes()))) for path in kept]
    assert [each.shape for each in pixels] == [(40, 40, 3), (1000, 1000, 3)]
    assert abs(pixels[0].mean() - 90) <= 2
    assert sum(path.stat().st_size for path in kept) < 5000


def test_a_page_is_stale_when_its_notebook_changes(lesson, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "list_lessons", lambda: [lesson])
    out = tmp_path / "out"
    assert pages.find_stale(out) == ["09_shown"]
    pages.write_page(lesson, out)
    assert pages.find_stale(out) == []
    assert lessons.is_executed(lesson)
    notebook = json.loads(lesson.notebook.read_text())
    notebook["cells"][3]["source"] = "another_figure"
    lesson.notebook.write_text(json.dumps(notebook))
    assert pages.find_stale(out) == ["09_shown"]
    assert not lessons.is_executed(lesson)


def test_the_hash_is_of_sources_alone(lesson):
    assert lessons.hash_sources(lesson.copy) == lessons.hash_sources(lesson.notebook)


@pytest.mark.skipif(not [*(PACKAGE_PARENT / pages.PAGES).glob("0*.md")], reason="no pages yet: `make pages`")
def test_the_pages_of_this_repository_are_of_its_notebooks_and_small():
    out = PACKAGE_PARENT / pages.PAGES
    assert pages.find_stale(out) == [], "run `make pages`"
    for lesson in lessons.list_lessons():
        page = out / f"{lesson.notebook.stem}.md"
        assert sum(path.stat().st_size for path in (page, *pages.list_pictures(page))) < 700_000
        for place in pages.list_pictures(page):
            assert f"{page.stem}/{place.name}" in page.read_text(encoding="utf-8")
