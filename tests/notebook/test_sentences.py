"""A table of sentences is left-aligned and whole, as HTML and as text."""

import pandas as pd

from lsdkit.notebook.tables import TextTable


def test_text_is_left_and_whole():
    sentence = "a <b> " + "long " * 60 + "end"
    table = TextTable(pd.DataFrame({"faces": [7], "found": [sentence]}))
    page = table._repr_html_()
    assert "a &lt;b&gt; long" in page
    assert "end</td>" in page
    (rule,) = [part for part in page.split("}") if "white-space: normal" in part]
    assert "text-align: left" in rule
    assert "_row0_col1" in rule
    assert "_row0_col0" not in rule
    assert sentence in repr(table)


def test_its_text_is_left_too():
    lines = repr(TextTable(pd.DataFrame({"found": ["a", "much longer"], "faces": [7, 123]}))).splitlines()
    assert lines[1].strip().startswith("a ")
    assert lines[1].index("a") == lines[2].index("much")


def test_a_table_without_rows_is_one():
    table = TextTable(pd.DataFrame(columns=["found", "advice"]))
    assert "found" in table._repr_html_()
    assert "Empty" in repr(table)
