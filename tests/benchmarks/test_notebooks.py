"""What is counted of a notebook: prose, lines that are neither imports nor for learners, exercises, solutions."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lsdkit.common.paths import PACKAGE_PARENT


@pytest.fixture(scope="module")
def notebooks(load_benchmark):
    return load_benchmark("notebooks")


def test_counts(notebooks, tmp_path):
    cells = [
        new_markdown_cell("# 09 What is counted?\n\nThree words here."),
        new_code_cell('RUN_DIR: str = ""  # a folder', metadata={"tags": ["parameters"]}),
        new_code_cell("import numpy as np\n\nx = 1"),
        new_code_cell("# a comment\nx = np.ones(3)\n\nprint(x)"),
        new_markdown_cell("### Exercise 1 (5 minutes): add"),
        new_code_cell("y = ...", metadata={"tags": ["exercise"]}),
        new_code_cell("z = 2\nprint(z)", metadata={"tags": ["solution"]}),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "09_counted.ipynb")
    found = notebooks.count(tmp_path / "09_counted.ipynb")
    assert found == notebooks.Counts("What is counted?", words=14, lines=2, exercises=1, solutions=1)


def test_the_table_has_a_row_for_each_notebook(notebooks, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["notebooks.py"])
    notebooks.main()
    table = capsys.readouterr().out
    for path in (PACKAGE_PARENT / "notebooks").glob("*.ipynb"):
        assert f"`{path.stem}`" in table
