"""The whole method on the open set in ten minutes: five notebooks, a small ensemble, one page of results."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lsdkit import comparison, prepare, results
from lsdkit.experiment import member_from_parameters
from lsdkit.headless import Job, execute_all, notebook_path, peak_memory
from lsdkit.paths import project_path, resolve
from lsdkit.recipes import Member
from lsdkit.report import write_report
from lsdkit.store import Store
from lsdkit.sweep import finished

RECIPE = "demo"
AT_ONCE, THREADS = 2, 1  # on two cores two notebooks of one thread each get through more than one of two threads
WEAK_EPOCHS = 7  # over a bag of 20%, the recipe's number of epochs makes too few steps from random weights
MEMBERS = (  # mix, appearance, bag, epochs (0 = the recipe's); the longest first. Bag 0 is strong, 1 to 5 are weak
    ("mixaugment", "vggface2", 0, 4),
    *(("mixaugment", "vggface2", bag, WEAK_EPOCHS) for bag in range(1, 6)),
    ("mixup", "mobilevitv2", 1, WEAK_EPOCHS),
)


@dataclass(frozen=True)
class Stage:
    """A part of the demo and how long it took, in seconds."""

    name: str
    seconds: float


def run_demo(out: Path | str = "runs/demo", jobs: int | None = None) -> str:
    """Render the open set where it is missing, run all notebooks headless, write `out`/report.html.

    Returns the tables and the page's path as text. What is finished is not made again, so that a demo that was stopped
    goes on. `jobs` notebooks run at a time (default 2). A notebook that fails stops no other; the failures are named at
    the end and `SystemExit` with code 1 is raised after the text was printed.
    """
    out, stages = resolve(out), []
    with peak_memory() as peak:
        start = time.perf_counter()
        print("1/4 the open set", flush=True)
        store = prepare.open_or_render("", member_from_parameters(RECIPE).recipe)
        stages.append(Stage("open set", time.perf_counter() - start))
        failed, parts = {}, (("training", partial(training_jobs, store=store)), ("comparison", late_jobs))
        for number, (name, list_jobs) in enumerate(parts, 2):
            start = time.perf_counter()
            part = list_jobs(out)  # the comparison's depend on what training left
            print(f"{number}/4 {name}: {len(part)} notebooks", flush=True)
            failed |= execute_all(part, jobs or AT_ONCE, THREADS, _tell)
            stages.append(Stage(name, time.perf_counter() - start))
        start = time.perf_counter()
        print("4/4 the page", flush=True)
        runs = results.list_runs(out)
        page = None if runs.empty else write_report(out, command=f"lsdkit demo --out {project_path(out)}")
        stages.append(Stage("page", time.perf_counter() - start))
    text = summary(out, page, stages, peak["bytes"], failed, store.kind)
    if failed or page is None:
        print(text)
        raise SystemExit(1)
    return text


def members() -> list[Member]:
    """The demo's members, from `MEMBERS`."""
    return [
        member_from_parameters(RECIPE, MIX=mix, APPEARANCE=name, BAG=bag, EPOCHS=epochs)
        for mix, name, bag, epochs in MEMBERS
    ]


def training_jobs(out: Path, store: Store) -> list[Job]:
    """Notebook 03 for each member that is not finished, then 01 and 02."""
    found = []
    for member in members():
        folder = out / member.name
        if finished(folder, member, store):
            continue
        parameters = {"RUN_DIR": str(folder), "RECIPE": RECIPE, "MIX": member.mix, "APPEARANCE": member.appearance}
        parameters |= {"BASIC_AUG": member.basic_aug, "BAG": member.bag, "SEED": member.seed}
        parameters |= {"EPOCHS": member.epochs, "DEVICE": "auto"}
        found.append(Job(member.name, notebook_path("03_train"), folder / "03_train.ipynb", parameters))
    for stem in ("01_data_statistics", "02_mixup_visualisation"):
        if not (out / stem / f"{stem}.ipynb").is_file():
            parameters = {"RUN_DIR": str(out / stem), "RECIPE": RECIPE}
            found.append(Job(stem, notebook_path(stem), out / stem / f"{stem}.ipynb", parameters))
    return found


def late_jobs(out: Path) -> list[Job]:
    """Notebook 04 for the first strong member and 05 over all of them: both read what training left."""
    strong = out / next(member.name for member in members() if member.bag == 0)
    jobs = []
    if (strong / "result.json").is_file():
        parameters = {"RUN_DIR": str(strong), "RECIPE": RECIPE}
        jobs.append(
            Job("04_per_class_f1", notebook_path("04_per_class_f1"), strong / "04_per_class_f1.ipynb", parameters)
        )
    if len(results.list_runs(out)) > 1:
        parameters = {"RUN_DIR": str(out), "RECIPE": RECIPE}
        copy = out / "05_ensemble_comparison.ipynb"
        jobs.append(Job("05_ensemble_comparison", notebook_path("05_ensemble_comparison"), copy, parameters))
    return jobs


def summary(out: Path, page: Path | None, stages: list[Stage], peak: int, failed: dict[str, str], kind: str) -> str:
    """The tables of members and ensembles, times, memory and the page's path, as text."""
    lines = []
    runs = results.list_runs(out)
    if not runs.empty:
        rows = comparison.score_members(runs)
        table = comparison.score_ensembles(runs).dropna(subset=["value"])
        lines.append(
            f"\nmacro F1 on {kind} validation faces, with 95% bootstrap intervals over the faces (chance 0.167)\n"
        )
        for _, row in rows.iterrows():
            lines.append(
                f"{row['group'] + ': ' + row['name']:72} {row['value']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]"
            )
        for _, row in table.iterrows():
            name = f"{row['group']} of {row['members']}: {row['name']}"
            lines.append(f"{name:72} {row['value']:.3f}  [{row['low']:.3f}, {row['high']:.3f}]")
    spent = ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in stages)
    lines += [
        f"\ntime: {spent}; in all {sum(stage.seconds for stage in stages):.0f} s",
        f"peak memory: {peak / 2**30:.2f} GiB" if peak else "peak memory: not measured on this system",
    ]
    for name, error in failed.items():
        lines.append(f"\nFAILED {name}:\n{error}")
    return "\n".join([*lines, f"\n{project_path(page)}" if page else "\nno run finished: no page"])


def _tell(job: Job, error: str, seconds: float) -> None:
    print(f"    {job.name:50} {seconds:5.0f} s{'  FAILED' if error else ''}", flush=True)
