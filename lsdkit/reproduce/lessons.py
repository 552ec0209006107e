"""Every notebook executed once, as one who works through them finds it: for a workshop, and for docs/notebooks."""

import hashlib
import json
from pathlib import Path

from lsdkit.common import files
from lsdkit.common.paths import project_root, resolve
from lsdkit.reproduce.demo import list_entries, run_demo
from lsdkit.reproduce.headless import Job, execute_all
from lsdkit.training.runs import is_finished

DEMO, COPIES = "runs/demo", "runs/lessons"  # the ensemble that 04 and 05 read; where the executed copies go
GIVEN = {  # parameters where a notebook's own would not do: the folder that 03 trains into stays free for the day
    "03_train": {"RUN_DIR": f"{COPIES}/03_train"},
    "04_per_class_f1": {"RUN_DIR": DEMO},
    "05_ensemble_comparison": {"RUN_DIR": DEMO},
}
AT_ONCE, THREADS = 2, 1


def list_lessons() -> list[Job]:
    """A job for each notebook of `notebooks/`; its copy goes to `COPIES`."""
    notebooks = sorted((project_root() / "notebooks").glob("*.ipynb"))
    return [Job(path.stem, path, resolve(COPIES) / path.name, GIVEN.get(path.stem, {})) for path in notebooks]


def hash_sources(notebook: Path) -> str:
    """SHA-256 of a notebook's cells without their outputs; of an executed copy it is that of what was executed."""
    cells = [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in files.read_json(notebook)["cells"]
        if "injected-parameters" not in cell["metadata"].get("tags", ())
    ]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def is_executed(lesson: Job) -> bool:
    """Whether the copy is there, and of the notebook as it is now."""
    return lesson.copy.is_file() and hash_sources(lesson.copy) == hash_sources(lesson.notebook)


def list_missing_members() -> list[str]:
    """The demo's members that are not trained."""
    return [each.member.name for each in list_entries() if not is_finished(resolve(DEMO) / each.member.name)]


def run_lessons() -> list[Job]:
    """Train the demo's members where they are missing, then execute the notebooks whose copy is not there or of others.

    Returns all lessons. Prints a line for each notebook that it runs. Raises `ChildProcessError`, naming those that
    stopped, after the others have run; and what `run_demo` does.
    """
    if list_missing_members():
        print(run_demo(DEMO), flush=True)
    lessons = list_lessons()
    failed = execute_all([each for each in lessons if not is_executed(each)], AT_ONCE, THREADS, _report)
    if failed:
        told = "; ".join(f"{name}: {error.splitlines()[-1]}" for name, error in failed.items())
        raise ChildProcessError(f"Expected every notebook to run, but {COPIES}/NAME.failed.ipynb shows where: {told}")
    return lessons


def _report(lesson: Job, error: str, seconds: float) -> None:
    print(f"    {lesson.name:30} {seconds:5.0f} s{'  FAILED' if error else ''}", flush=True)
