"""The sweep: the members of Tables 2 and 3, each trained by notebook 03 in a process of its own, then the tables.

Each member of a plan (`lsdkit.reproduce.members`) lies in OUT/<its name>/, and OUT/sweep.json says what the whole is.
What is finished is not run again, so a sweep that was killed goes on.
"""

import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

import torch

from lsdkit.common import files
from lsdkit.common.machine import cores, list_versions
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.store import Store
from lsdkit.method.network import MultiTask
from lsdkit.openset.preparing import open_or_render
from lsdkit.recipes import Member
from lsdkit.reproduce import estimate
from lsdkit.reproduce.cluster import Cluster
from lsdkit.reproduce.engines import Local
from lsdkit.reproduce.headless import Job, check_parameters, make_job
from lsdkit.reproduce.members import Entry, Plan, expand_plan
from lsdkit.reproduce.tables import write_tables
from lsdkit.training import cost as costs
from lsdkit.training.identity import describe_change
from lsdkit.training.lines import EPOCH, describe_time
from lsdkit.training.ownership import CLAIM, check_owner, identify, read_whole
from lsdkit.training.runs import is_finished, list_runs, read_run
from lsdkit.training.sampling import training_rows
from lsdkit.training.starting import fingerprint_sources, start_branches

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
    spent: list[tuple[float, float, float]] = field(default_factory=list)  # of each that ended well: `_estimate_rest`
    lock: Lock = field(default_factory=Lock)

    def write(self) -> None:
        """Write down how far it has come."""
        sessions = self.record["sessions"]
        sessions[-1]["wall_seconds"] = round(time.perf_counter() - self.start, 1)
        self.record["wall_seconds"] = round(sum(session["wall_seconds"] for session in sessions), 1)
        files.write_json(self.out / "sweep.json", self.record)

    def end_run(self, job: Job, error: str, seconds: float) -> None:
        """Tell how a run ended, and write it down."""
        with self.lock:
            session = self.record["sessions"][-1]
            if error:
                session["failed"].append(job.name)
                what = f"FAILED: {error.splitlines()[-1][:120]}"
            else:
                session["run"] += 1
                self.done.append(job.name)
                run = read_run(job.copy.parent)
                self.spent.append((self.work[job.name], run.seconds, max(0.0, seconds - run.seconds)))
                what = f"macro F1 {run.val_macro_f1:.3f}"
            self.write()
            ended = {*self.done, *session["failed"]}
            left = [work for name, work in self.work.items() if name not in ended]
            rest = describe_time(_estimate_rest(self.spent, left, self.jobs)) if left and self.spent else ""
            counted = f"{len(ended)}/{len(self.work)}"
            self.report(
                f"{counted:>7}  {job.name:60} {seconds:6.0f} s  {what}" + (f"  about {rest} left" if rest else "")
            )

    def tell(self, job: Job, line: str) -> None:
        """Tell of the epochs of a run under way."""
        if line.startswith(EPOCH):
            with self.lock:
                self.report(f"{'':7}  {job.name:60} {line}")

    def summarise(self, before: int, failed: dict[str, str]) -> str:
        """How many runs, what failed and where to look, and the time."""
        session, total = self.record["sessions"][-1], self.record["wall_seconds"]
        lines = [
            f"{len(self.work)} runs: {before} done before, {session['run']} run now, {len(failed)} failed; "
            f"{describe_time(session['wall_seconds'])} now, {describe_time(total)} in all ({project_path(self.out)})"
        ]
        for name, error in failed.items():
            copy = self.out / name / f"{NOTEBOOK}.failed.ipynb"
            where = str(project_path(copy)) if copy.is_file() else "it left no notebook"
            lines.append(f"\nFAILED {name}  ({where})\n" + "\n".join(f"    {line}" for line in error.splitlines()))
        if failed:
            lines.append("\nRun the same command again: it runs what is missing, and nothing else.")
        return "\n".join(lines)


def run_sweep(
    out: Path | str,
    plan: Plan,
    *,
    data: str = "",
    jobs: int = 0,
    gpus: Sequence[str] = (),
    device: str = "auto",
    timeout: float = 0.0,
    cluster: Cluster | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """Run the members of `plan` that `out` does not hold yet, then write `out`/tables; returns a summary.

    `data` is the folder of a store ("" = the open set). `jobs` notebooks run at once (0 = as many as there are GPUs, or
    one), each with its share of the cores and, where there are GPUs, one of `gpus` (default: all that are visible). A
    run that takes longer than `timeout` seconds (0 = never) is ended. With `cluster` the runs go to its machines. A
    failed run stops no other; `report` gets a line as each epoch and each run ends. `SystemExit` with code 1 is raised,
    after the summary was reported, where one failed.

    Raises `ValueError` or `OSError`, before anything runs, for a wrong member, store, weight file or notebook, where
    `out` holds a sweep of another recipe or store, and where another sweep runs in `out`.
    """
    out, members, todo = resolve(out), {}, {}
    for entry in expand_plan(plan, device):
        members[entry.member.name] = entry.member
        todo[entry.member.name] = make_training_job(out / entry.member.name, entry, str(data))
    check_parameters(next(iter(todo.values())))
    if jobs < 0 or timeout < 0:
        raise ValueError(f"Expected --jobs and --timeout of at least 0, but got {jobs} and {timeout:g}")
    if cluster and gpus:
        raise ValueError(
            "Expected --gpus without --engine ray, which hands them out itself; --gpus-per-run says how many"
        )
    places = _list_places(gpus, device)
    for member in {member.appearance: member for member in members.values()}.values():
        check_weights(member)
    at_once = jobs or max(1, len(places))
    engine = Local(at_once, max(1, cores() // at_once), tuple(places))
    store = open_or_render(data, next(iter(members.values())).recipe)
    work = {name: _count_operations(member, store) for name, member in members.items()}
    identities = {name: identify(member, store) for name, member in members.items()}
    with (
        files.hold_lock(out / ".sweep.lock", "another sweep runs in it; wait, or choose another --out", 1.0),
        ExitStack() as stack,
    ):
        record = _claim(out, plan, members, store)
        done = [name for name, identity in identities.items() if is_done(out / name, identity)]
        left = sorted((name for name in members if name not in done), key=lambda name: -work[name])
        for name in left:
            check_owner(out / name, identities[name], "choose another --out, or remove it")
        if cluster and left:
            place = data or str(project_path(store.path))
            engine = stack.enter_context(cluster.connect(store, place, jobs=jobs, device=device, say=report))
        session = {**engine.describe(), "device": device}
        session["started"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        record["sessions"].append({**session, "done_before": len(done), "run": 0, "failed": [], "wall_seconds": 0.0})
        sweep = _Sweep(out, record, work, list(done), engine.at_once, report)
        sweep.write()
        counted = f"{len(members)} runs, {len(done)} of them done"
        report(f"{counted}; {engine.at_once} at a time, {engine.threads} threads each")
        try:
            jobs_left = [todo[name] for name in left]
            failed = engine.execute_all(jobs_left, sweep.end_run, timeout=timeout, tell=sweep.tell)
        except KeyboardInterrupt:
            sweep.write()
            raise KeyboardInterrupt(
                f"the sweep was stopped: {len(sweep.done)} of {len(members)} runs are done, those under way have saved "
                "their work; run the same command again to go on"
            ) from None
        sweep.write()
        text, broken = sweep.summarise(len(done), failed), bool(failed)
        if sweep.done:
            try:
                tables = write_tables(out, out / "tables")
            except (ValueError, OSError) as error:
                tables, broken = f"The tables were not written: {error}", True
            text = f"{text}\n{tables}"
    if broken:
        report(text)
        raise SystemExit(1)
    return text


def plan_sweep(out: Path | str, plan: Plan, *, data: str = "", on: str = "") -> str:
    """What a sweep would run and cost, as text (`lsdkit.reproduce.estimate`); nothing is run, no weight file is needed.

    `on` is such as "6 x RTX 3090". Finished runs of the same recipe in `out` supply measured times. Without `data`, a
    recipe for the release is planned on its number of faces.
    """
    entries = expand_plan(plan)
    faces = estimate.count_faces(entries[0].member.recipe, data)
    return estimate.describe_plan(entries, faces, on=on, runs=list_runs(resolve(out)))


def make_training_job(folder: Path, entry: Entry, data: str = "") -> Job:
    """Notebook 03 for one member, into its folder."""
    return make_job(NOTEBOOK, folder, {**entry.parameters, "DATA_DIR": data}, entry.member.name)


def is_done(folder: Path, identity: dict) -> bool:
    """Whether the folder holds the run of this identity (`ownership.identify`), whole, and its notebook."""
    claim, notebook = folder / CLAIM, folder / f"{NOTEBOOK}.ipynb"
    there = is_finished(folder) and claim.is_file() and notebook.is_file()
    return there and not describe_change(files.read_json(claim), identity) and read_whole(folder) is not None


def check_weights(member: Member) -> None:
    """Load what the branches start from once, so that a missing or unfit file ends a command before anything runs."""
    recipe, appearance = member.recipe, member.appearance
    if fingerprint_sources(recipe, appearance):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each run tells of its own
            start_branches(MultiTask(recipe, appearance), recipe, appearance)


def _list_places(gpus: Sequence[str], device: str) -> list[str]:
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


def _count_operations(member: Member, store: Store) -> float:
    """Operations of a run's training. Checks, too, that the store has the faces for it."""
    training_rows(member, store)
    *_, seen = costs.count_steps(member, store.labels[store.rows("train")])
    return seen * costs.measure_cost(member).training


def _claim(out: Path, plan: Plan, members: dict[str, Member], store: Store) -> dict:
    """The content of sweep.json for this sweep; `ValueError` where the folder is another's."""
    first = next(iter(members.values()))
    own = {"recipe": first.spec()["recipe"], "store": {"images.npy": store.manifest["checksums"]["images.npy"]}}
    path = out / "sweep.json"
    earlier = files.read_json(path) if path.is_file() else {}
    kinds = [
        {"member": {"recipe": each["recipe"], "appearance": first.appearance}, "store": each["store"]}
        for each in (earlier or own, own)
    ]
    if other := describe_change(*kinds):
        raise ValueError(f"{out} holds another sweep: {other}; choose another --out, or remove the folder")
    hashes = {name: member.spec_hash() for name, member in members.items()}
    own |= {"settings": asdict(plan), "data": str(project_path(store.path)), "kind": store.kind}
    own |= {"members": {**earlier.get("members", {}), **hashes}, "sessions": earlier.get("sessions", [])}
    return {**own, "versions": list_versions()}


def _estimate_rest(spent: list[tuple[float, float, float]], left: list[float], jobs: int) -> float:
    """Seconds that runs of this much work still take, by those that ended: (work, seconds trained, seconds beside it).

    >>> _estimate_rest([(100.0, 50.0, 10.0)], [200.0, 100.0], jobs=2)
    85.0
    """
    works, trained, beside = map(sum, zip(*spent, strict=True))
    return (trained / works * sum(left) + beside / len(spent) * len(left)) / min(jobs, len(left))
