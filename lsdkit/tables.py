"""The paper's Tables 2 to 5 beside the same tables from a folder of runs, and its statements, as files to keep.

Each table is written as Markdown, as CSV (in percent; its note in lines that start with #) and as LaTeX (booktabs);
`tables.md` and `tables.tex` hold all of them. What was not run says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit import files, markup
from lsdkit.claims import ENSEMBLES, claim_table, paper_score, paper_scores
from lsdkit.ensemble import STRONG_APPEARANCES, WEAK_APPEARANCES
from lsdkit.matrix import Estimate, Matrix, mean_of, read_matrix, seeds_text, weights_of
from lsdkit.recipes import check_choice
from lsdkit.tabletext import WORDS, claims_text, common_notes, notes, scores_text

MIXES = ("mixaugment", "mixup")  # the paper's order
ARCHITECTURE = "architecture only"
NUMBERS = ("paper", "ours", "difference", "sd", "seeds", "low", "high", "low_subjects", "high_subjects")


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
        return claims_text(self.numbers) if self.name == "claims" else scores_text(self.numbers)

    def markdown(self, common: bool = True) -> str:
        """Caption, table and notes as Markdown, without the common notes where `common` is off."""
        text = self.text
        table = markup.markdown(list(text.columns), text.to_numpy().tolist(), WORDS)
        return f"### {self.caption}\n\n{table}\n\n{_list([*self.notes, *(self.common if common else ())])}"

    def latex(self) -> str:
        """The table as LaTeX."""
        text, notes = self.text, [*self.notes, *self.common]
        return markup.latex(self.caption, self.name, list(text.columns), text.to_numpy().tolist(), notes, WORDS)

    def csv(self) -> str:
        """The numbers as CSV; read them with `pandas.read_csv(path, comment="#")`."""
        notes = "".join(f"# {note}\n" for note in (*self.notes, *self.common))
        return self.numbers.to_csv(index=False, float_format="%.6g") + notes


def _list(notes: Iterable[str]) -> str:
    return "".join(f"- {note}\n" for note in notes)


def write_tables(runs_folder: Path | str, out: Path | str, split: str = "validation") -> str:
    """Write Tables 2 to 5 and the claims into the folder `out`; returns the Markdown of all.

    Scores are of the labelled faces of `split`, "validation" or "test". Raises `FileNotFoundError` where no run is
    finished and `ValueError` where the runs of the folder do not belong together (`matrix.read_matrix`).
    """
    check_choice("--split", split, ("validation", "test"))
    matrix = read_matrix(runs_folder, split)
    made = [*tables(matrix), claims(matrix)]
    for table in made:
        for ending, content in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
            files.write_text(Path(out) / f"{table.name}.{ending}", content)
    parts = [table.markdown(common=False) for table in made]
    text = "\n".join([*parts, f"### Notes to all tables\n\n{_list(common_notes(matrix))}"])
    files.write_text(Path(out) / "tables.md", text)
    files.write_text(Path(out) / "tables.tex", markup.document([table.name for table in made]))
    return text


def tables(matrix: Matrix) -> list[Table]:
    """Tables 2 to 5 over the runs of a matrix."""
    on = f"on the {matrix.split} faces"
    made = (
        ("table2", f"The paper's Table 2: macro F1 (%) of strong members {on}", table2),
        ("table3", f"The paper's Table 3: macro F1 (%) of weak members {on}", table3),
        ("table4", f"The paper's Table 4: macro F1 (%) of the five ensembles {on}", table4),
        ("table5", "The paper's Table 5: macro F1 (%) of the challenge's teams on the test faces", table5),
    )
    common = common_notes(matrix)
    return [Table(name, caption, numbers(matrix), notes(matrix, name), common) for name, caption, numbers in made]


def claims(matrix: Matrix) -> Table:
    """The paper's statements and what these runs say of them."""
    caption = f"What the paper states, held against these runs (percentage points of macro F1, {matrix.split} faces)"
    return Table("claims", caption, claim_table(matrix), notes(matrix, "claims"), common_notes(matrix))


def table2(matrix: Matrix) -> pd.DataFrame:
    """Strong members: the paper's eight cells, the two means, and below them the cells that the paper could not run."""
    rows = []
    for mix in MIXES:
        for appearance in STRONG_APPEARANCES:
            for basic in (True, False):
                rows.append(_strong_row(matrix, mix, appearance, basic))
        parts, weights = matrix.strong(mix), _weights(matrix, STRONG_APPEARANCES)
        score = paper_score("table2", matrix.split, mix=mix)
        rows.append(
            {"mix": mix, "appearance": "mean", **_numbers(score, mean_of(parts), _missing(parts, "cells"), weights)}
        )
    extra = [_strong_row(matrix, mix, "mobilevitv2", basic) for mix in MIXES for basic in (True, False)]
    return _frame([*rows, *extra], "mix", "appearance", "basic_aug")


def _strong_row(matrix: Matrix, mix: str, appearance: str, basic: bool) -> dict:
    score = paper_score("table2", matrix.split, mix=mix, appearance=appearance, basic_aug=basic)
    numbers = _numbers(score, matrix.cell(mix, appearance, basic, 0), "not run", _weights(matrix, [appearance]))
    return {"mix": mix, "appearance": appearance, "basic_aug": basic, **numbers}


def table3(matrix: Matrix) -> pd.DataFrame:
    """Weak members: each cell the mean of its five bags, and the two means."""
    rows = []
    for mix in MIXES:
        for appearance in WEAK_APPEARANCES:
            score = paper_score("table3", matrix.split, mix=mix, appearance=appearance, basic_aug=True)
            bags = matrix.bags(mix, appearance)
            numbers = _numbers(score, mean_of(bags), _missing(bags, "bags"), _weights(matrix, [appearance]))
            rows.append({"mix": mix, "appearance": appearance, **numbers})
        parts, score = matrix.weak(mix), paper_score("table3", matrix.split, mix=mix, basic_aug=True)
        numbers = _numbers(score, mean_of(parts), _missing(parts, "cells"), _weights(matrix, WEAK_APPEARANCES))
        rows.append({"mix": mix, "appearance": "mean", **numbers})
    return _frame(rows, "mix", "appearance")


def table4(matrix: Matrix) -> pd.DataFrame:
    """The five ensembles, and the challenge's baseline for reference."""
    rows, appearances = [], dict(zip(matrix.runs["run"], matrix.runs["appearance"], strict=True))
    for name in ENSEMBLES:
        chosen = list(matrix.chosen[name].values())
        complete = [selection for selection in chosen if selection.complete]
        missing = min((len(selection.missing) for selection in chosen), default=0)
        weights = _weights(matrix, {appearances[run] for selection in complete for run in selection.runs})
        numbers = _numbers(
            paper_score("table4", matrix.split, name=name),
            matrix.ensemble(name),
            f"not run ({missing} cells missing)",
            weights,
        )
        rows.append({"ensemble": name, "members": len(complete[0].runs) if complete else None, **numbers})
    for split in ("validation", "test"):
        level = paper_score("table4", split, name="Baseline")
        rows.append({"ensemble": f"Baseline of the challenge, {split}", **_numbers(level, None, "reference", "")})
    frame = _frame(rows, "ensemble", "members")
    return frame.assign(members=frame["members"].astype("Int64"))


def table5(matrix: Matrix) -> pd.DataFrame:
    """The challenge's leader board; ours beside the paper's only where the runs are scored on test faces."""
    printed, rows = paper_scores(), []
    for name in printed.loc[printed["table"] == "table5", "name"]:
        own = name.startswith("Ours") and matrix.split == "test"
        ours, weights = (matrix.ensemble(ENSEMBLES[2]), _weights(matrix, WEAK_APPEARANCES)) if own else (None, "")
        numbers = _numbers(paper_score("table5", "test", name=name), ours, "not run" if own else "reference", weights)
        rows.append({"team": name, **numbers})
    return _frame(rows, "team")


def _numbers(paper: float, ours: Estimate | None, status: str, weights: str) -> dict:
    """The columns `NUMBERS`, in percent, and status ("" = run) and weights."""
    row = {"paper": paper, "status": status if ours is None else "", "weights": weights}
    if ours is not None:
        (low, high), (low_subjects, high_subjects) = ours.interval("faces"), ours.interval("subjects")
        ends = {"low": low, "high": high, "low_subjects": low_subjects, "high_subjects": high_subjects}
        ends = {name: np.clip(value, 0, 1) for name, value in ends.items()}  # stretched draws can leave a score's range
        found = {"ours": ours.value, "sd": ours.spread, **ends}
        row |= {name: 100 * value for name, value in found.items()}
        row |= {"difference": row["ours"] - paper, "seeds": seeds_text([ours])}
    return row


def _frame(rows: list[dict], *names: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*names, *NUMBERS, "weights", "status"])


def _missing(parts: Sequence[Estimate | None], what: str) -> str:
    ran = sum(part is not None for part in parts)
    return f"not run ({ran} of {len(parts)} {what})" if ran else "not run"


def _weights(matrix: Matrix, appearances: Iterable[str]) -> str:
    """What the appearance branches of these backbones started from; "architecture only" for random weights."""
    runs = matrix.runs[matrix.runs["appearance"].isin(list(appearances))]
    found = {weights_of(run, "appearance") for _, run in runs.iterrows()}
    return ", ".join(sorted(ARCHITECTURE if name == "random" else name for name in found))
