"""The paper's Tables 2 to 5 beside the same tables from a folder of runs, and its statements, as files to keep.

Each table is written as Markdown, as CSV (in percent; its note in lines that start with #) and as LaTeX (booktabs);
`tables.md` and `tables.tex` hold all of them. What was not run says so.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.ensembles.rules import ENSEMBLES, MIX_NAMES, STRONG_APPEARANCES, WEAK_APPEARANCES, strong_cells, weak_cells
from lsdkit.recipes import RANDOM, check_choice
from lsdkit.reproduce.claims import paper_score, read_paper, tabulate_claims
from lsdkit.reproduce.formats import Table, bullets, write_document
from lsdkit.reproduce.notes import list_common_notes, list_own_notes
from lsdkit.reproduce.own_table import make_own_table
from lsdkit.reproduce.record import is_own, read_record
from lsdkit.reproduce.scores import Estimate, Matrix, describe_seeds, list_finished, mean_of, read_matrix

SUBMITTED = "ma_strong_ma_best_weak"  # the ensemble of the paper in Table 5
NUMBERS = ("paper", "ours", "difference", "sd", "seeds", "low", "high", "low_subjects", "high_subjects")


def write_tables(runs_folder: Path | str, out: Path | str, split: str = "validation") -> str:
    """Write Tables 2 to 5 and the claims into the folder `out`; returns the Markdown of all.

    Scores are of the labelled faces of `split`, "validation" or "test". Of a sweep of members beyond the paper's it is
    one table instead, of both splits (`lsdkit.reproduce.own_table`). Raises `FileNotFoundError` where no run is
    finished and `ValueError` where the runs of the folder do not belong together (`scores.read_matrix`).
    """
    check_choice("--split", split, ("validation", "test"))
    if is_own(read_record(runs_folder)):
        tables = [make_own_table(list_finished(runs_folder))]
    else:
        tables = make_tables(read_matrix(runs_folder, split))
    together = [table.to_markdown(common=False) for table in tables]
    together += [f"### Notes to all tables\n\n{bullets(tables[0].common)}"] if tables[0].common else []
    texts = {"tables.md": "\n".join(together), "tables.tex": write_document([table.name for table in tables])}
    for table in tables:
        texts |= {f"{table.name}.md": table.to_markdown(), f"{table.name}.csv": table.to_csv()}
        texts[f"{table.name}.tex"] = table.to_latex()
    for name, text in texts.items():
        files.write_text(Path(out) / name, text)
    return texts["tables.md"]


def make_tables(matrix: Matrix) -> list[Table]:
    """Tables 2 to 5 over the runs of a matrix, and the paper's statements and what these runs say of them."""
    on, teams = f"on the {matrix.split} faces", "of the challenge's teams on the test faces"
    points, common = f"percentage points of macro F1, {matrix.split} faces", list_common_notes(matrix)
    made = {
        "table2": (f"The paper's Table 2: macro F1 (%) of strong members {on}", _fill(matrix, _list_strong(matrix))),
        "table3": (f"The paper's Table 3: macro F1 (%) of weak members {on}", _fill(matrix, _list_weak(matrix))),
        "table4": (f"The paper's Table 4: macro F1 (%) of the five ensembles {on}", _fill(matrix, _list_votes(matrix))),
        "table5": (f"The paper's Table 5: macro F1 (%) {teams}", _fill(matrix, _list_teams(matrix))),
        "claims": (f"What the paper states, held against these runs ({points})", tabulate_claims(matrix)),
    }
    return [Table(name, *parts, list_own_notes(matrix, name), common) for name, parts in made.items()]


# a line of a table: the columns that name it, the paper's number, ours, why there is none, the appearance backbones
_Line = tuple[dict, float, Estimate | None, str, Collection[str]]


def _list_strong(matrix: Matrix) -> Iterator[_Line]:
    """Strong members: the paper's eight cells, the two means, and below them the cells that the paper could not run."""
    extra = strong_cells(*MIX_NAMES, appearances=("mobilevitv2",))
    for mix, cells in (*((mix, strong_cells(mix)) for mix in MIX_NAMES), ("", extra)):
        scores = matrix.score_cells(cells)
        for cell, ours in zip(cells, scores, strict=True):
            row = {"mix": cell.mix, "appearance": cell.appearance, "basic_aug": cell.basic_aug}
            yield row, paper_score("table2", matrix.split, **row), ours, "not run", [cell.appearance]
        if mix:
            row, paper = {"mix": mix, "appearance": "mean"}, paper_score("table2", matrix.split, mix=mix)
            yield row, paper, mean_of(scores), _count(scores, "cells"), STRONG_APPEARANCES


def _list_weak(matrix: Matrix) -> Iterator[_Line]:
    """Weak members: each cell the mean of its five bags, and the two means."""
    for mix in MIX_NAMES:
        means = []
        for name in WEAK_APPEARANCES:
            bags, row = matrix.score_cells(weak_cells(mix, name)), {"mix": mix, "appearance": name}
            means.append(mean_of(bags))
            paper = paper_score("table3", matrix.split, **row, basic_aug=True)
            yield row, paper, means[-1], _count(bags, "bags"), [name]
        row, paper = {"mix": mix, "appearance": "mean"}, paper_score("table3", matrix.split, mix=mix, basic_aug=True)
        yield row, paper, mean_of(means), _count(means, "cells"), WEAK_APPEARANCES


def _list_votes(matrix: Matrix) -> Iterator[_Line]:
    """The five ensembles, and the challenge's baseline for reference."""
    for ensemble in ENSEMBLES.values():
        chosen = matrix.chosen[ensemble.id].values()
        complete = [each.runs for each in chosen if each.complete]
        missing = min((len(each.missing) for each in chosen), default=0)
        row = {"ensemble": ensemble.name, "members": str(len(complete[0])) if complete else ""}
        paper, ours = paper_score("table4", matrix.split, name=ensemble.name), matrix.score_ensemble(ensemble.id)
        voters = {run.member.appearance for runs in complete for run in runs}
        yield row, paper, ours, f"not run ({missing} cells missing)", voters
    for split in ("validation", "test"):
        row = {"ensemble": f"Baseline of the challenge, {split}"}
        yield row, paper_score("table4", split, name="Baseline"), None, "reference", ()


def _list_teams(matrix: Matrix) -> Iterator[_Line]:
    """The challenge's leader board; ours beside the paper's only where the runs are scored on test faces."""
    for name in read_paper().query("table == 'table5'")["name"]:
        ours, status, appearances = None, "reference", ()
        if name.startswith("Ours") and matrix.split == "test":
            ours, status, appearances = matrix.score_ensemble(SUBMITTED), "not run", WEAK_APPEARANCES
        yield {"team": name}, paper_score("table5", "test", name=name), ours, status, appearances


def _fill(matrix: Matrix, lines: Iterable[_Line]) -> pd.DataFrame:
    """The table of these lines, in percent: the columns that name them, `NUMBERS`, weights and status ("" = run)."""
    rows, names = [], {}
    for row, paper, ours, status, appearances in lines:
        names |= row
        row |= {"paper": paper, "status": status if ours is None else "", "weights": _weights(matrix, appearances)}
        if ours is not None:
            (low, high), (low_subjects, high_subjects) = ours.interval("faces"), ours.interval("subjects")
            ends = {"low": low, "high": high, "low_subjects": low_subjects, "high_subjects": high_subjects}
            ends = {name: np.clip(end, 0, 1) for name, end in ends.items()}  # of few seeds it reaches beyond
            row |= {name: 100 * value for name, value in {"ours": ours.value, "sd": ours.spread, **ends}.items()}
            row |= {"difference": row["ours"] - paper, "seeds": describe_seeds([ours])}
        rows.append(row)
    return pd.DataFrame(rows, columns=[*names, *NUMBERS, "weights", "status"])


def _count(parts: Sequence[Estimate | None], what: str) -> str:
    """How many of the parts of a mean were run, in words."""
    ran = sum(part is not None for part in parts)
    return f"not run ({ran} of {len(parts)} {what})" if ran else "not run"


def _weights(matrix: Matrix, appearances: Collection[str]) -> str:
    """What the appearance branches of these backbones started from; "architecture only" for random weights."""
    names = {run.weights_source("appearance") for run in matrix.runs if run.member.appearance in appearances}
    return ", ".join(sorted("architecture only" if name == RANDOM else name for name in names))
