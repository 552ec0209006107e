"""How much each notebook explains, asks and takes: words of prose per line of code, exercises, minutes.

    python benchmarks/notebooks.py               # counts alone
    python benchmarks/notebooks.py --run         # and the minutes of each, executed one after the other

Prints a Markdown table. A word is what stands between blanks in a cell of prose; a line of code is one that is neither
empty nor a comment, in a cell that is no exercise, solution, import or parameter. With `--run` papermill executes each
notebook, alone, on `--threads` threads (2), into `--out`; what is there already (the open set, trained runs) is not
made again, as whoever opens a notebook after `make workshop` finds it. `--only 01 06` takes some, `--recipe` gives all
that declare RECIPE another recipe than their own.
"""

import argparse
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pandas as pd
import papermill

from lsdkit.common.paths import project_root
from lsdkit.notebook.parameters import INJECTED
from lsdkit.reproduce.formats import to_markdown
from lsdkit.reproduce.headless import Job, execute
from lsdkit.reproduce.lessons import list_lessons

NO_CODE = {"parameters", "exercise", "solution"}  # tags of cells whose lines are not counted


@dataclass(frozen=True)
class Counts:
    """What a notebook holds."""

    question: str
    words: int
    lines: int
    exercises: int
    solutions: int


def count(notebook: Path) -> Counts:
    """Count a notebook's prose, code, exercises and solutions; hints belong to the prose."""
    cells = nbformat.read(notebook, as_version=4).cells
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    code = [cell.source for cell in cells if cell.cell_type == "code" and not NO_CODE & set(tags_of(cell))]
    lines = [line.strip() for source in code if not is_import(source) for line in source.splitlines()]
    return Counts(
        question=re.sub(r"^# \d\d ", "", prose[0].splitlines()[0]),
        words=sum(len(text.split()) for text in prose),
        lines=sum(bool(line) and not line.startswith("#") for line in lines),
        exercises=sum("exercise" in tags_of(cell) for cell in cells),
        solutions=sum("solution" in tags_of(cell) for cell in cells),
    )


def tags_of(cell: nbformat.NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def is_import(source: str) -> bool:
    """Whether a cell begins with an import, as those before the work do."""
    return source.startswith(("from ", "import ", INJECTED))


def time_lesson(lesson: Job, out: Path, recipe: str, threads: int) -> float:
    """Minutes that a notebook takes, alone; raises `ChildProcessError` with the end of its error where it fails."""
    declared = papermill.inspect_notebook(str(lesson.notebook))
    parameters = {**lesson.parameters, **({"RECIPE": recipe} if recipe and "RECIPE" in declared else {})}
    start = time.perf_counter()
    if error := execute(Job(lesson.name, lesson.notebook, out / lesson.notebook.name, parameters), threads):
        raise ChildProcessError(f"Expected {lesson.name} to run, but it stopped: {error}")
    return (time.perf_counter() - start) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="execute each, and tell its minutes")
    parser.add_argument("--only", nargs="+", default=[], metavar="NUMBER", help="such as 01 06")
    parser.add_argument("--recipe", default="", help="instead of each notebook's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default="", help="folder of the executed copies; a temporary one by default")
    given = parser.parse_args()
    lessons = [each for each in list_lessons() if not given.only or each.notebook.stem[:2] in given.only]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for lesson in lessons:
            found = count(lesson.notebook)
            row = {"Notebook": f"`{lesson.notebook.stem}`", "Question": found.question}
            row |= {"words of prose": f"{found.words:,}", "lines of code": str(found.lines)}
            row |= {"words per line": f"{found.words / max(found.lines, 1):.1f}"}
            row |= {"exercises": str(found.exercises), "solutions": str(found.solutions)}
            if given.run:
                minutes = time_lesson(lesson, Path(given.out or temporary), given.recipe, given.threads)
                row["minutes"] = f"{minutes:.1f}"
                print(f"{lesson.notebook.stem} in {project_root()}: {minutes:.1f} minutes", flush=True)
            rows.append(row)
    print(to_markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
