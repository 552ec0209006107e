"""The whole method on the open set in ten minutes: five notebooks, a small ensemble, one page of results."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lsdkit.common.machine import peak_memory
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.store import Store
from lsdkit.ensembles import votes
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.openset.preparing import open_or_render
from lsdkit.recipes import find_recipe
from lsdkit.reproduce.headless import Job, execute_all, make_job
from lsdkit.reproduce.members import Entry
from lsdkit.reproduce.report import write_report
from lsdkit.reproduce.report_parts import describe_landmarks
from lsdkit.reproduce.sweep import is_done, make_training_job
from lsdkit.training.ownership import check_owner, identify
from lsdkit.training.runs import Run, is_finished, list_runs
from lsdkit.training.starting import fingerprint_sources

RECIPE = "demo"
AT_ONCE, THREADS = 2, 1  # on two cores two notebooks of one thread each get through more than one of two threads
MEMBERS = (  # mix, appearance, bag; the longest first. Bag 0 is strong, 1 to 5 are weak
    ("mixaugment", "vggface2", 0),
    *(("mixaugment", "vggface2", bag) for bag in range(1, 6)),
    *(("mixup", "mobilevitv2", bag) for bag in (1, 2)),
)


def run_demo(out: Path | str = "runs/demo", jobs: int | None = None) -> str:
    """Render the open set where it is missing, run all notebooks headless, write `out`/report.html.

    Returns the tables and the page's path as text. What is finished is not made again, so that a demo that was stopped
    goes on. `jobs` notebooks run at a time (default 2). A notebook that fails stops no other; the failures are named at
    the end and `SystemExit` with code 1 is raised after the text was printed.
    """
    out, seconds, page = resolve(out), {}, None
    for entry in list_entries():  # weights that are not there end it here
        fingerprint_sources(entry.member.recipe, entry.member.appearance)
    with peak_memory() as peak:
        with _timed(seconds, "open set"):
            print("1/4 the open set", flush=True)
            store = open_or_render("", find_recipe(RECIPE))
        with _timed(seconds, "training"):
            failed = _execute("2/4 training", list_training_jobs(out, store), jobs)
        with _timed(seconds, "comparison"):
            failed |= _execute("3/4 comparison", list_late_jobs(out), jobs)
        with _timed(seconds, "page"):
            print("4/4 the page", flush=True)
            if runs := list_runs(out):
                page = write_report(out, command=f"lsdkit demo --out {project_path(out)}")
    lines = _tabulate(runs, store.kind) if runs else []
    spent = ", ".join(f"{name} {took:.0f} s" for name, took in seconds.items())
    memory = f"{peak['bytes'] / 2**30:.2f} GiB" if peak["bytes"] else "not measured on this system"
    lines += [f"\ntime: {spent}; in all {sum(seconds.values()):.0f} s", f"peak memory: {memory}"]
    lines += [f"\nFAILED {name}:\n{error}" for name, error in failed.items()]
    text = "\n".join([*lines, f"\n{project_path(page)}" if page else "\nno run finished: no page"])
    if failed or page is None:
        print(text)
        raise SystemExit(1)
    return text


def list_entries() -> list[Entry]:
    """The demo's members, from `MEMBERS`."""
    names = ("MIX", "APPEARANCE", "BAG")
    every = [{"RECIPE": RECIPE, **dict(zip(names, values, strict=True))} for values in MEMBERS]
    return [Entry(member_from_parameters(**parameters), parameters, "demo") for parameters in every]


def list_training_jobs(out: Path, store: Store) -> list[Job]:
    """Notebook 03 for each member that is not finished, then 01 and 02."""
    folders = {out / entry.member.name: entry for entry in list_entries()}
    left = {folder: entry for folder, entry in folders.items() if not is_done(folder, identify(entry.member, store))}
    for folder, entry in left.items():
        check_owner(folder, identify(entry.member, store), "choose another --out, or remove it")
    jobs = [make_training_job(folder, entry) for folder, entry in left.items()]
    early = (
        make_job(stem, out / stem, {"RECIPE": RECIPE}) for stem in ("01_data_statistics", "02_mixup_visualisation")
    )
    return [*jobs, *(job for job in early if not job.copy.is_file())]


def list_late_jobs(out: Path) -> list[Job]:
    """Notebook 04 for the first strong member and 05 over all of them: both read what training left."""
    strong = out / next(entry.member.name for entry in list_entries() if entry.member.bag == 0)
    jobs = [make_job("04_per_class_f1", strong, {"RECIPE": RECIPE})] if is_finished(strong) else []
    several = len(list_runs(out)) > 1
    return [*jobs, *([make_job("05_ensemble_comparison", out, {"RECIPE": RECIPE})] if several else [])]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long a part of the demo takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _execute(what: str, jobs: list[Job], at_once: int | None) -> dict[str, str]:
    def report(job: Job, error: str, seconds: float) -> None:
        print(f"    {job.name:50} {seconds:5.0f} s{'  FAILED' if error else ''}", flush=True)

    print(f"{what}: {len(jobs)} notebooks", flush=True)
    return execute_all(jobs, at_once or AT_ONCE, THREADS, report)


def _tabulate(runs: list[Run], kind: str) -> list[str]:
    """Members and ensembles, a line each, with a column for each split; then what was not built, and why votes win."""
    splits, by_name = votes.labelled_splits(runs), {run.name: run for run in runs}
    members = {split: votes.score_members(runs, split).set_index("run") for split in splits}
    ensembles = {split: votes.score_ensembles(runs, split).set_index("name") for split in splits}
    lines = [f"\nmacro F1 on {kind} faces, with 95% bootstrap intervals over the faces (chance 0.167)"]
    lines += ["validation: other faces of the people trained on; test: people that no other face shows"]
    lines += ["landmark error: over the validation faces, in distances between the outer eye corners\n"]
    lines += [_align("", splits, "landmark error")]
    for name, row in members[splits[0]].iterrows():
        scores = [votes.describe_score(members[split].loc[name]) for split in splits]
        lines.append(_align(f"{row['group']}: {row['name']}", scores, describe_landmarks(by_name[name])))
    for name, row in ensembles[splits[0]].iterrows():
        scores = [votes.describe_score(ensembles[split].loc[name]) for split in splits]
        lines.append(_align(f"ensemble of {row['members']}: {name}", scores))
    if missing := votes.describe_missing(votes.find_missing(runs)):
        lines.append(f"\n{missing}")
    for name in ensembles[splits[0]].index:
        lines += [f"\n{name}", *(f"  {split}: {ensembles[split].loc[name, 'why']}" for split in splits)]
    return lines


def _align(name: str, scores: list[str], last: str = "") -> str:
    return " ".join([f"{name:60}", *(f"{score:21}" for score in scores), last]).rstrip()
