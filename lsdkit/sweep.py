"""The sweep: the members of Tables 2 and 3, each trained by notebook 03 in a process of its own, then the tables.

Each member of a plan (`lsdkit.members`) lies in OUT/<its name>/, and OUT/sweep.json says what the whole is. What is
finished is not run again, so a sweep that was killed goes on.
"""

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from threading import Lock

import torch
from filelock import FileLock, Timeout

import lsdkit
from lsdkit import checkpoints, costs, estimate, files, initial, prepare, results
from lsdkit.cores import cores
from lsdkit.experiment import member_from_parameters
from lsdkit.headless import Job, check_parameters, execute_all, notebook_path
from lsdkit.members import Plan, drawn
from lsdkit.multitask import MultiTask
from lsdkit.paths import project_path, resolve
from lsdkit.recipes import Member, Recipe
from lsdkit.sampling import training_rows
from lsdkit.store import Store
from lsdkit.tables import write_tables
from lsdkit.training import PACKAGES, identity_of

NOTEBOOK = "03_train"


@dataclass
class _Sweep:
    """A sweep under way."""

    out: Path
    record: dict  # what sweep.json holds
    work: dict[str, float]  # name -> how much a run is to do, in operations
    done: list[str]
    jobs: int
    report: Callable[[str], None]
    start: float = field(default_factory=time.perf_counter)
    spent: list[tuple[float, float, float]] = field(default_factory=list)  # of each run that ended well: `_time_left`
    lock: Lock = field(default_factory=Lock)


def run_sweep(
    out: Path | str,
    plan: Plan,
    *,
    data: str = "",
    jobs: int = 0,
    gpus: Sequence[str] = (),
    device: str = "auto",
    timeout: float = 0.0,
    report: Callable[[str], None] = print,
) -> str:
    """Run the members of `plan` that `out` does not hold yet, then write `out`/tables; returns a summary.

    `data` is the folder of a store ("" = the open set). `jobs` notebooks run at once (0 = as many as there are GPUs, or
    one), each with its share of the cores and, where there are GPUs, one of `gpus` (default: all that are visible). A
    run that takes longer than `timeout` seconds (0 = never) is ended. A failed run stops no other; `report` gets a line
    as each ends. `SystemExit` with code 1 is raised, after the summary was reported, where one failed.

    Raises `ValueError` or `OSError`, before anything runs, for a wrong member, store, weight file or notebook, where
    `out` holds a sweep of another recipe or store, and where another sweep runs in `out`.
    """
    out = resolve(out)
    members, given = {}, {}
    for _, parameters in drawn(plan):
        member = member_from_parameters(**parameters, DEVICE=device)
        members[member.name], given[member.name] = member, {**parameters, "DATA_DIR": str(data), "DEVICE": device}
    notebook = notebook_path(NOTEBOOK)
    check_parameters(notebook, {"RUN_DIR": "", **{name: "" for p in given.values() for name in p}})
    if jobs < 0 or timeout < 0:
        raise ValueError(f"Expected --jobs and --timeout of at least 0, but got {jobs} and {timeout:g}")
    places = _places(gpus, device)
    recipe = next(iter(members.values())).recipe
    for appearance in dict.fromkeys(member.appearance for member in members.values()):
        _check_weights(recipe, appearance)
    jobs = jobs or max(1, len(places))
    threads = max(1, cores() // jobs)
    store = prepare.open_or_render(data, recipe)
    work = {name: _work(member, store) for name, member in members.items()}
    with _alone(out):
        record = _claim(out, plan, members, store)
        done = [name for name, member in members.items() if finished(out / name, member, store)]
        left = sorted((name for name in members if name not in done), key=lambda name: -work[name])
        for name in left:
            _check_folder(out / name, members[name], store)
        session = {"jobs": jobs, "threads": threads, "gpus": list(places), "device": device, "started": _now()}
        record["sessions"].append({**session, "done_before": len(done), "run": 0, "failed": [], "wall_seconds": 0.0})
        sweep = _Sweep(out, record, work, list(done), jobs, report)
        _write(sweep)
        report(f"{len(members)} runs, {len(done)} of them done; {jobs} at a time, {threads} threads each")
        todo = [_job(notebook, out / name, {**given[name], "RUN_DIR": str(out / name)}) for name in left]
        environments = [{"CUDA_VISIBLE_DEVICES": place} for place in places] or [{}]
        failed = execute_all(
            todo,
            jobs,
            threads,
            lambda job, error, seconds: _ended(sweep, job, error, seconds),
            environments=environments,
            timeout=timeout,
        )
        _write(sweep)
        text, broken = _summary(sweep, len(done), failed), bool(failed)
        if len(sweep.done):
            tables, ok = _tables(out)
            text, broken = f"{text}\n{tables}", broken or not ok
    if broken:
        report(text)
        raise SystemExit(1)
    return text


def plan_sweep(out: Path | str, plan: Plan, *, data: str = "", on: str = "") -> str:
    """What a sweep would run and cost, as text; nothing is run and no weight file is needed. See `lsdkit.estimate`.

    `on` is such as "6 x RTX 3090". Finished runs of the same recipe in `out` supply measured times. Without `data`, the
    recipes `paper` and `authors` are planned on the release's number of faces.
    """
    tables, parameters = zip(*drawn(plan), strict=True)
    members = [member_from_parameters(**each) for each in parameters]
    runs = results.list_runs(resolve(out))
    return estimate.plan(members, tables, estimate.faces_of(members[0].recipe, data), on=on, runs=runs)


def finished(folder: Path, member: Member, store: Store) -> bool:
    """Whether the folder holds this member's result, on this store and from these weights, and its notebook."""
    claim = folder / "member.json"
    left = (claim, folder / f"{NOTEBOOK}.ipynb", results.result_path(folder))
    return all(path.is_file() for path in left) and files.read_json(claim) == identity_of(member, store)


def _places(gpus: Sequence[str], device: str) -> list[str]:
    """Which GPUs the places get, as CUDA_VISIBLE_DEVICES names them; none on a machine without, or for "cpu"."""
    count = 0 if device == "cpu" else torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = given.split(",") if given and count else [str(number) for number in range(count)]
    unknown = [name for name in gpus if name not in visible]
    if unknown:
        raise ValueError(
            f"Expected --gpus to be of {', '.join(visible) or 'none (no CUDA device is visible)'}, "
            f"but got {', '.join(unknown)}; leave --gpus out to use what there is"
        )
    return list(gpus) or visible


def _check_weights(recipe: Recipe, appearance: str) -> None:
    """Load what the branches start from once, so that a missing or unfit file ends the sweep before anything runs."""
    if initial.fingerprints(recipe, appearance):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each run tells of its own
            initial.start(MultiTask(recipe, appearance), recipe, appearance)


def _work(member: Member, store: Store) -> float:
    """Operations of a run's training. Checks, too, that the store has the faces for it."""
    training_rows(member, store)
    *_, seen = costs.steps(member, store.labels[store.rows("train")])
    return seen * costs.cost(member).training


def _job(notebook: Path, folder: Path, parameters: dict) -> Job:
    return Job(folder.name, notebook, folder / f"{NOTEBOOK}.ipynb", parameters)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the sweep's folder against another sweep; the system frees it when this process dies."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".sweep.lock", timeout=1.0):
            yield
    except Timeout:
        raise ValueError(
            f"Expected {out} to be free, but another sweep runs in it; wait, or choose another --out"
        ) from None


def _claim(out: Path, plan: Plan, members: dict[str, Member], store: Store) -> dict:
    """The content of sweep.json for this sweep; `ValueError` where the folder is another's."""
    recipe = next(iter(members.values())).spec()["recipe"]
    own = {"recipe": recipe, "store": {"images.npy": store.manifest["checksums"]["images.npy"]}}
    path = out / "sweep.json"
    earlier = files.read_json(path) if path.is_file() else {}
    if earlier:
        other = checkpoints.difference({name: earlier[name] for name in own}, own)
        if other:
            raise ValueError(f"{out} holds another sweep: {other}; choose another --out, or remove the folder")
    hashes = {name: member.spec_hash() for name, member in members.items()}
    packages = {name: version(name) for name in PACKAGES}
    own |= {"settings": asdict(plan), "data": str(project_path(store.path)), "kind": store.kind}
    own |= {"members": {**earlier.get("members", {}), **hashes}, "sessions": earlier.get("sessions", [])}
    own |= {"versions": {"lsdkit": lsdkit.__version__, "python": platform.python_version(), **packages}}
    return own


def _check_folder(folder: Path, member: Member, store: Store) -> None:
    """Raise `ValueError` where the folder of a run to come holds another training (notebook 03 would refuse it)."""
    claim = folder / "member.json"
    if claim.is_file() and (owner := files.read_json(claim)) != (own := identity_of(member, store)):
        raise ValueError(
            f"{folder} holds another training: {checkpoints.difference(owner, own)}; choose another --out, or remove it"
        )


def _ended(sweep: _Sweep, job: Job, error: str, seconds: float) -> None:
    """Tell how a run ended, and write down how far the sweep has come."""
    with sweep.lock:
        session = sweep.record["sessions"][-1]
        if error:
            session["failed"].append(job.name)
            what = f"FAILED: {error.splitlines()[-1][:120]}"
        else:
            session["run"] += 1
            sweep.done.append(job.name)
            result = results.read_result(job.copy.parent)
            sweep.spent.append((sweep.work[job.name], result["seconds"], max(0.0, seconds - result["seconds"])))
            what = f"macro F1 {result['metrics']['val_macro_f1']:.3f}"
        _write(sweep)
        ended = {*sweep.done, *session["failed"]}
        left = [work for name, work in sweep.work.items() if name not in ended]
        about = f"  about {_words(_time_left(sweep.spent, left, sweep.jobs))} left" if left and sweep.spent else ""
        counted = f"{len(ended)}/{len(sweep.work)}"
        sweep.report(f"{counted:>7}  {job.name:60} {seconds:6.0f} s  {what}{about}")


def _time_left(spent: list[tuple[float, float, float]], left: list[float], jobs: int) -> float:
    """Seconds that runs of this much work still take, by those that ended: (work, seconds trained, seconds beside it).

    >>> _time_left([(100.0, 50.0, 10.0)], [200.0, 100.0], jobs=2)
    85.0
    """
    works, trained, beside = map(sum, zip(*spent, strict=True))
    return (trained / works * sum(left) + beside / len(spent) * len(left)) / min(jobs, len(left))


def _words(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds > 5400
        else f"{seconds / 60:.0f} min"
        if seconds > 90
        else f"{seconds:.0f} s"
    )


def _write(sweep: _Sweep) -> None:
    sweep.record["sessions"][-1]["wall_seconds"] = round(time.perf_counter() - sweep.start, 1)
    sweep.record["wall_seconds"] = round(sum(session["wall_seconds"] for session in sweep.record["sessions"]), 1)
    files.write_json(sweep.out / "sweep.json", sweep.record)


def _summary(sweep: _Sweep, before: int, failed: dict[str, str]) -> str:
    """How many runs, what failed and where to look, and the time."""
    session, total = sweep.record["sessions"][-1], sweep.record["wall_seconds"]
    lines = [
        f"{len(sweep.work)} runs: {before} done before, {session['run']} run now, {len(failed)} failed; "
        f"{_words(session['wall_seconds'])} now, {_words(total)} in all ({project_path(sweep.out)})"
    ]
    for name, error in failed.items():
        copy = sweep.out / name / f"{NOTEBOOK}.failed.ipynb"
        where = str(project_path(copy)) if copy.is_file() else "it left no notebook"
        lines.append(f"\nFAILED {name}  ({where})\n" + "\n".join(f"    {line}" for line in error.splitlines()))
    if failed:
        lines.append("\nRun the same command again: it runs what is missing, and nothing else.")
    return "\n".join(lines)


def _tables(out: Path) -> tuple[str, bool]:
    """Tables 2 to 4 from the runs: their text, and whether they could be written."""
    try:
        return write_tables(out, out / "tables"), True
    except (ValueError, OSError) as error:
        return f"The tables were not written: {error}", False


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
