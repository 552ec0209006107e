"""Every notebook, found by glob and read without a kernel: its shape, its parameters, and nothing left in it."""

import ast
import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import papermill
import pytest

from lsdkit.common.paths import PACKAGE_PARENT
from lsdkit.reproduce import demo, report

NOTEBOOKS = sorted((PACKAGE_PARENT / "notebooks").glob("*.ipynb"))
KNOWN = {"DATA_DIR", "RUN_DIR", "RECIPE", "MIX", "APPEARANCE", "BASIC_AUG", "BAG", "SEED", "EPOCHS", "DEVICE"}
KNOWN |= {"DEVICES"}
KNOWN |= {"EMOTION_WEIGHTS", "APPEARANCE_WEIGHTS", "SETTINGS", "COMPARE", "THESIS"}  # of 03_train, as all above
OTHERS = {
    "IMBALANCE_DIR",
    "STORES",
    "STARTS",
    "ORDER",
    "CLASSES",
    "MIRRORED",
}  # of notebooks that go beyond the paper's members
OTHERS |= {"PATH", "MODEL", "FACE"}  # of 07_read_a_photograph
OTHERS |= {"COMMAND"}  # of the report's, which is no lesson: the tests that take `lesson` leave it out


@pytest.fixture(params=[*NOTEBOOKS, report.NOTEBOOK], ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def notebook(path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def lesson_path(request) -> Path:
    return request.param


@pytest.fixture
def lesson(lesson_path) -> nbformat.NotebookNode:
    return nbformat.read(lesson_path, as_version=4)


def tags_of(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def is_for_learners(cell: nbformat.NotebookNode) -> bool:
    return "exercise" in tags_of(cell) or "solution" in tags_of(cell)


def code_of(notebook: nbformat.NotebookNode, learners: bool = False) -> list[str]:
    """The code cells that are ours; with `learners` those of exercises and their solutions."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and is_for_learners(cell) == learners]


def parameters_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags_of(cell)]
    return cell


def test_there_are_five():
    assert [path.stem[:3] for path in NOTEBOOKS][:5] == ["01_", "02_", "03_", "04_", "05_"]


def test_valid_and_stripped(path, notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert "papermill" not in notebook.metadata
    assert json.loads(path.read_text()) == json.loads(nbformat.writes(notebook))


def test_verified_by_nbstripout():
    done = subprocess.run(
        [sys.executable, "-m", "nbstripout", "--verify", *map(str, [*NOTEBOOKS, report.NOTEBOOK])], check=False
    )
    assert done.returncode == 0


def test_parameters_are_typed_upper_case_literals_with_a_comment(notebook):
    cell = parameters_cell(notebook)
    body = ast.parse(cell.source).body
    assert body
    for node in body:
        assert isinstance(node, ast.AnnAssign), ast.unparse(node)
        assert node.target.id in KNOWN | OTHERS
        value = ast.literal_eval(node.value)
        assert type(value).__name__ == node.annotation.id in ("str", "int", "bool")
        line = cell.source.splitlines()[node.lineno - 1]
        code, comment = line.split("#", 1)
        assert code.count("=") == 1
        assert "=" not in comment
        assert len(comment.strip()) > 5


def test_papermill_sees_every_parameter(path, notebook):
    names = [node.target.id for node in ast.parse(parameters_cell(notebook).source).body]
    assert list(papermill.inspect_notebook(str(path))) == names


def test_shape(lesson):
    cells = lesson.cells
    ours = [cell for cell in cells if not is_for_learners(cell)]
    assert 18 <= len(ours) <= 40
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    assert re.match(r"# \d\d .+\?|# \d\d ", cells[0].source)
    for word in ("Needs", "Writes", "Takes", "Paper section", "After it you can say"):
        assert word in cells[0].source, word
    assert "## Next" in cells[-1].source
    assert "References" in cells[-1].source or "doi" in cells[-1].source
    assert any("## Limits" in cell.source for cell in cells)
    kinds = [cell.cell_type for cell in cells if "solution" not in tags_of(cell)]  # each follows its exercise
    body = kinds[kinds.index("code") + 3 :]  # after parameters, check and imports
    assert all(first != second for first, second in itertools.pairwise(body)), "prose and code alternate"


def test_code_is_short_and_defines_nothing(notebook):
    for source in code_of(notebook):
        assert len(source.splitlines()) < 25, source
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda), source


def test_three_exercises_each_with_a_hint_and_a_solution(lesson):
    cells = lesson.cells
    places = [number for number, cell in enumerate(cells) if is_for_learners(cell)]
    kinds = [[tag for tag in tags_of(cells[number]) if tag in ("exercise", "solution")] for number in places]
    assert kinds == [["exercise"], ["solution"]] * 3
    for exercise, solution in zip(places[::2], places[1::2], strict=True):
        task = cells[exercise - 1]
        assert solution == exercise + 1
        assert task.cell_type == "markdown"
        assert re.search(r"^#+ Exercise \d.*minutes", task.source, re.M), task.source
        assert task.source.count("<details><summary>Hint</summary>") == task.source.count("</details>") == 1
        assert "open" not in re.findall(r"<details([^>]*)>", task.source)[0]
        assert cells[solution].metadata.get("jupyter") == {"source_hidden": True, "outputs_hidden": True}
        assert len(cells[solution].source.splitlines()) < 25


def test_exercises_leave_the_names_of_other_cells_alone(lesson):
    """Whoever skips an exercise, or solves it wrongly, finds all else as it was."""
    ours = [find_names(ast.parse(source).body) for source in code_of(lesson)]
    taken = set().union(*(bound | needed for bound, needed in ours))
    for source in code_of(lesson, learners=True):
        bound, _ = find_names(ast.parse(source).body)
        assert not bound & taken, source


def test_exercises_need_no_other_exercise(lesson):
    """Each runs after the notebook's own cells alone: none reads what another exercise or a solution made."""
    learners = [find_names(ast.parse(source).body) for source in code_of(lesson, learners=True)]
    made = set().union(*(bound for bound, _ in learners))
    assert [needed & made for _, needed in learners if needed & made] == []


def test_parameters_are_checked_before_anything_is_imported(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    check = cells[cells.index(parameters_cell(notebook)) + 1]
    assert check.source.splitlines()[0] == "from lsdkit.notebook.parameters import check_parameters"
    assert check.source.splitlines()[2].startswith("check_parameters(globals())")


def test_all_other_imports_in_the_cell_after_the_check(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_for_learners(cell)]
    place = cells.index(parameters_cell(notebook)) + 1
    for number, cell in enumerate(cells):
        imports = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        assert bool(imports) == (number in (place, place + 1))


def test_no_cell_reads_a_name_that_two_cells_bind(notebook):
    """Such a name means one thing or the other, by which of the two cells was run last: cells could not be rerun."""
    cells = [find_names(ast.parse(source).body) for source in code_of(notebook)]
    counted = Counter(name for bound, _ in cells for name in bound)
    twice = {name for name, count in counted.items() if count > 1}
    assert [needed & twice for _, needed in cells if needed & twice] == []


def find_names(body: list[ast.stmt], known: set[str] = frozenset()) -> tuple[set[str], set[str]]:
    """Names that statements bind, and those that they read before they have bound them."""
    bound, needed = set(known), set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            given = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
            needed |= find_names(node.body, bound | given | {node.name})[1]
            bound.add(node.name)
            continue
        parts = [
            part for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt) for part in ast.walk(child)
        ]
        own = {name for part in parts if isinstance(part, ast.comprehension) for name in list_names(part.target)}
        own |= {part.arg for part in parts if isinstance(part, ast.arg)}  # of a lambda
        loop = list_names(node.target) if isinstance(node, ast.For) else set()
        read = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
        read |= list_names(node.target) if isinstance(node, ast.AugAssign) else set()
        needed |= read - bound - own - loop
        bound |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)} - own
        bound |= {part.asname or part.name for part in parts if isinstance(part, ast.alias)}
        for block in (getattr(node, "body", []), getattr(node, "orelse", [])):
            inner_bound, inner_needed = find_names(block, bound)
            bound, needed = bound | inner_bound, needed | inner_needed
    return bound - set(known), needed


def list_names(target: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}


def test_training_tells_its_deviations():
    (train,) = [path for path in NOTEBOOKS if path.stem == "03_train"]
    notebook = nbformat.read(train, as_version=4)
    assert any("## Deviations from the paper" in cell.source for cell in notebook.cells)
    assert {node.target.id for node in ast.parse(parameters_cell(notebook).source).body} == KNOWN


def test_the_demo_passes_only_parameters_that_exist(tmp_path, tiny_store):
    jobs = [*demo.list_training_jobs(tmp_path, tiny_store), *demo.list_late_jobs(tmp_path)]
    assert {job.notebook.stem for job in jobs} >= {"01_data_statistics", "03_train"}
    valid = {path: set(papermill.inspect_notebook(str(path))) for path in NOTEBOOKS}
    for job in jobs:
        assert set(job.parameters) <= valid[job.notebook]
