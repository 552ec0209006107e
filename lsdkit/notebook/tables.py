"""Tables of sentences for notebooks: text stands left and whole."""

import pandas as pd


class TextTable:
    """A table whose columns of text are aligned to the left, and whose sentences are not cut."""

    def __init__(self, table: pd.DataFrame):
        self.table = table

    def _repr_html_(self) -> str:
        texts = [name for name in self.table if not pd.api.types.is_numeric_dtype(self.table[name])]
        left = {"text-align": "left", "white-space": "normal", "vertical-align": "top"}
        heads = {name: [{"selector": "th.col_heading", "props": "text-align: left"}] for name in texts}
        style = self.table.style.format(escape="html").set_properties(subset=texts, **left).hide(axis="index")
        return style.set_table_styles(heads, overwrite=False).to_html()

    def __repr__(self) -> str:
        with pd.option_context("display.width", None, "display.max_colwidth", None):
            return self.table.to_string(index=False, justify="left")
