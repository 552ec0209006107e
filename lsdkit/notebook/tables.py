"""Tables of sentences for notebooks: text stands left and whole."""

import pandas as pd


class TextTable:
    """A table whose columns of text are aligned to the left, and whose sentences are not cut."""

    def __init__(self, table: pd.DataFrame):
        self.table = table
        self.texts = [name for name in table if len(table) and not pd.api.types.is_numeric_dtype(table[name])]

    def _repr_html_(self) -> str:
        left = {"text-align": "left", "white-space": "normal", "vertical-align": "top"}
        heads = {name: [{"selector": "th.col_heading", "props": "text-align: left"}] for name in self.texts}
        style = self.table.style.format(escape="html").set_properties(subset=self.texts, **left).hide(axis="index")
        return style.set_table_styles(heads, overwrite=False).to_html()

    def __repr__(self) -> str:
        padded = {name: self.table[name].str.ljust(self.table[name].str.len().max()) for name in self.texts}
        with pd.option_context("display.width", None, "display.max_colwidth", None):
            return self.table.assign(**padded).to_string(index=False, justify="left")
