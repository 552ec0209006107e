"""Tables of text as Markdown and as LaTeX (booktabs): cells are strings, markup in them is escaped."""

from collections.abc import Collection, Sequence

WIDE = 30  # characters: a column with a longer cell is broken into lines in LaTeX
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """A Markdown table, padded so that it reads well unrendered too; columns headed `left` are aligned to the left.

    >>> print(markdown(["name", "F1"], [["a|b", "70.1"]], left=["name"]))
    | name |   F1 |
    |:-----|-----:|
    | a\\|b | 70.1 |
    """
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (headings, *rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(headings))]
    lines = []
    for row in cells:
        padded = [c.ljust(w) if h in left else c.rjust(w) for h, c, w in zip(headings, row, widths, strict=True)]
        lines.append(f"| {' | '.join(padded)} |")
    rule = [f":{'-' * (w + 1)}" if h in left else f"{'-' * (w + 1)}:" for h, w in zip(headings, widths, strict=True)]
    lines.insert(1, f"|{'|'.join(rule)}|")
    return "\n".join(lines)


def escape(text: str) -> str:
    """Text with LaTeX's special characters escaped.

    >>> escape("50% of a_b & c")
    '50\\\\% of a\\\\_b \\\\& c'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def latex(
    caption: str,
    label: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    left: Collection[str] = (),
) -> str:
    """A LaTeX table with its caption above and notes below; needs the package booktabs. `label` gives `tab:LABEL`.

    Columns of long cells are broken into lines; a number that starts with a sign is set as mathematics.
    """
    wide = [max(len(row[i]) for row in (headings, *rows)) > WIDE for i in range(len(headings))]
    broad = f"p{{{min(0.25, 0.4 / max(1, sum(wide))):.2f}\\textwidth}}"
    columns = "".join(broad if w else "l" if h in left else "r" for h, w in zip(headings, wide, strict=True))
    body = [" & ".join(_cell(cell) for cell in row) + r" \\" for row in (headings, *rows)]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[htp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(caption)}}}\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        body[0],
        r"\midrule",
        *body[1:],
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\medskip",
        rf"\parbox{{0.95\textwidth}}{{\scriptsize {' '.join(escape(note) for note in notes)}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def document(names: Sequence[str]) -> str:
    """A LaTeX document that shows the tables in these files, one a page."""
    inputs = [rf"\input{{{name}}}\clearpage" for name in names]
    head = [r"\documentclass{article}", r"\usepackage{booktabs}"]
    head += [r"\usepackage[a4paper,landscape,margin=15mm]{geometry}", r"\pagestyle{empty}", r"\begin{document}"]
    return "\n".join([*head, *inputs, r"\end{document}", ""])


def _cell(text: str) -> str:
    signed = text[:1] in ("+", "-") and text[1:].replace(".", "", 1).isdigit()
    return f"${text}$" if signed else escape(text)
