"""A table of numbers as it is read: words and rounded numbers under headings, as Markdown and as LaTeX; and as CSV."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lsdkit.ensembles.rules import MIX_NAMES

NAMES = {  # of the columns that name a row: their headings, and words for their values
    "mix": ("Method", MIX_NAMES),
    "appearance": ("Appearance", {"vggface2": "VGGFace2", "dino": "DINO", "mobilevitv2": "MobileViTv2"}),
    "basic_aug": ("Basic aug", {True: "on", False: "off"}),
    "ensemble": ("Ensemble", {}),
    "members": ("Members", {}),
    "team": ("Team", {}),
}
LEFT = (  # headings of columns that are aligned to the left
    *("Method", "Appearance", "Basic aug", "Ensemble", "Team", "Start", "Backbone", "Weights", "Member"),
    *("Notebook", "Question"),
    *("RECIPE", "MIX", "APPEARANCE", "EMOTION_WEIGHTS", "APPEARANCE_WEIGHTS"),
    *("Claim", "Statement", "Paper's numbers", "Appearance weights", "Verdict"),
)
OWN = "own"  # the name of the table of members beyond the paper's
TESTED = ("holds", "does not", "not decided")
WIDE = 30  # characters: a column with a longer cell is broken into lines in LaTeX


@dataclass(frozen=True)
class Table:
    """A table: its numbers in percent, and what stands above and below it."""

    name: str
    caption: str
    numbers: pd.DataFrame
    notes: tuple[str, ...]  # of this table
    common: tuple[str, ...]  # of every table of the runs

    @property
    def text(self) -> pd.DataFrame:
        """The table as it is read: strings under readable headings."""
        return {"claims": format_claims, OWN: format_own}.get(self.name, format_scores)(self.numbers)

    def to_markdown(self, common: bool = True) -> str:
        """Caption, table and notes as Markdown, without the common notes where `common` is off."""
        notes = (*self.notes, *(self.common if common else ()))
        return f"### {self.caption}\n\n{to_markdown(self.text)}\n\n{bullets(notes)}"

    def to_latex(self) -> str:
        """The table as LaTeX with its notes below; needs the package booktabs. Its label is `tab:NAME`.

        Columns of long cells are broken into lines; a number that starts with a sign is set as mathematics.
        """
        text, caption = self.text, self.caption.replace("%", r"\%")
        wide = {heading: max(map(len, (heading, *text[heading]))) > WIDE for heading in text}
        broad = f"p{{{min(0.25, 0.4 / max(1, sum(wide.values()))):.2f}\\textwidth}}"
        columns = "".join(broad if wide[name] else "l" if name in LEFT else "r" for name in text)
        signed = text.apply(lambda column: column.str.fullmatch(r"[+-][0-9.]+"))
        styled = text.mask(signed, "$" + text + "$").style.hide(axis="index").format_index(escape="latex", axis=1)
        notes = pd.DataFrame([" ".join((*self.notes, *self.common))]).style.hide(axis="index").hide(axis="columns")
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}[htp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{caption}}}\label{{tab:{self.name}}}",
            styled.format(escape="latex-math").to_latex(hrules=True, column_format=columns)
            + r"\par\medskip\scriptsize",
            notes.format(escape="latex").to_latex(column_format=r"p{0.95\textwidth}") + r"\end{table}",
        ]
        return "\n".join([*lines, ""])

    def to_csv(self) -> str:
        """The numbers as CSV; read them with `pandas.read_csv(path, comment="#")`."""
        notes = "".join(f"# {note}\n" for note in (*self.notes, *self.common))
        return self.numbers.to_csv(index=False, float_format="%.6g") + notes


def format_scores(numbers: pd.DataFrame) -> pd.DataFrame:
    """Tables 2 to 5 as text, from their numbers in percent."""
    text = {}
    for name, (heading, words) in NAMES.items():
        if name in numbers:
            text[heading] = ["" if pd.isna(value) else words.get(value, str(value)) for value in numbers[name]]
    text["Paper"] = _format(numbers["paper"], otherwise="none")
    if (numbers["status"] == "reference").all():  # nothing to run
        return pd.DataFrame(text)
    text["Ours"] = _format(numbers["ours"], otherwise=numbers["status"])
    text["Difference"] = _format(numbers["difference"], "{:+.2f}")
    text["SD over seeds"] = _format(numbers["sd"])
    text["Seeds"] = _format(numbers["seeds"], "{}")
    text["95%, faces"] = _format_interval(numbers["low"], numbers["high"])
    if numbers["low_subjects"].notna().any():
        text["95%, subjects"] = _format_interval(numbers["low_subjects"], numbers["high_subjects"])
    return pd.DataFrame({**text, "Appearance weights": numbers["weights"]})


def format_claims(numbers: pd.DataFrame) -> pd.DataFrame:
    """The claims as text, from `claims.tabulate_claims`. A verdict is marked where a network behind it has one seed."""
    seeds = _format(numbers["seeds"], "{}")
    marked = numbers["verdict"].isin(TESTED) & seeds.str.match(r"1\b")
    return pd.DataFrame(
        {
            "Claim": numbers["claim"],
            "Statement": numbers["statement"],
            "Paper's numbers": _format(numbers["paper"], "{}"),
            "Paper's difference": _format(numbers["paper_difference"], "{:+.2f}"),
            "By the paper's numbers": _format(numbers["paper_verdict"], "{}"),
            "Ours": _format(numbers["ours"], "{:+.2f}"),
            "95% interval": _format_interval(numbers["low"], numbers["high"], "+"),
            "Verdict": numbers["verdict"].where(~marked, numbers["verdict"] + " (one seed)"),
            "Seeds": seeds,
        }
    )


def format_own(numbers: pd.DataFrame) -> pd.DataFrame:
    """The table of members beyond the paper's as text (`lsdkit.reproduce.own_table`)."""
    scores = {
        "seeds": "Seeds",
        "validation": "Validation",
        "validation_sd": "SD",
        "test": "Test",
        "test_sd": "SD, test",
    }
    shown = {name: heading for name, heading in scores.items() if name == "seeds" or numbers[name].notna().any()}
    parameters = {name: numbers[name].map(str) for name in numbers if name not in scores}
    forms = {"seeds": "{}"}
    return pd.DataFrame(
        parameters | {heading: _format(numbers[name], forms.get(name, "{:.2f}")) for name, heading in shown.items()}
    )


def _format(values: pd.Series, form: str = "{:.2f}", otherwise: pd.Series | str = "") -> pd.Series:
    return values.map(form.format).where(values.notna(), otherwise)


def _format_interval(lows: pd.Series, highs: pd.Series, sign: str = "") -> list[str]:
    ends = zip(lows, highs, strict=True)
    return [f"[{low:{sign}.2f}, {high:{sign}.2f}]" if pd.notna(low) else "" for low, high in ends]


def to_markdown(text: pd.DataFrame) -> str:
    """A table of strings as Markdown, padded so that it reads well unrendered too; columns of `LEFT` to the left.

    >>> print(to_markdown(pd.DataFrame({"Team": ["a|b"], "F1": ["70.1"]})))
    | Team |   F1 |
    |:-----|-----:|
    | a\\|b | 70.1 |
    """
    columns = []
    for heading in text:
        cells = [cell.replace("|", "\\|") for cell in (heading, *text[heading])]
        width, left = max(3, *map(len, cells)), heading in LEFT
        head, *body = (f" {cell:{'<' if left else '>'}{width}} " for cell in cells)
        rule = f":{'-' * (width + 1)}"
        columns.append([head, rule if left else rule[::-1], *body])
    return "\n".join(f"|{'|'.join(row)}|" for row in zip(*columns, strict=True))


def bullets(notes: Sequence[str]) -> str:
    """Notes as a list in Markdown."""
    return "".join(f"- {note}\n" for note in notes)


def write_document(names: Sequence[str]) -> str:
    """A LaTeX document that shows the tables in these files, one a page."""
    inputs = [rf"\input{{{name}}}\clearpage" for name in names]
    head = [r"\documentclass{article}", r"\usepackage[T1]{fontenc}", r"\usepackage{booktabs}"]
    head += [r"\usepackage[a4paper,landscape,margin=15mm]{geometry}", r"\pagestyle{empty}", r"\begin{document}"]
    return "\n".join([*head, *inputs, r"\end{document}", ""])
