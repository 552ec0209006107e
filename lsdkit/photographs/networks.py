"""Networks trained on rendered faces, several at a time, and the packed model that ships with the kit."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch

from lsdkit.common.devices import choose_device
from lsdkit.common.machine import cores
from lsdkit.common.paths import project_path, resolve
from lsdkit.common.signals import end_with_parent
from lsdkit.data.store import Store
from lsdkit.openset.preparing import prepare_open
from lsdkit.photographs import report as words
from lsdkit.photographs.protocol import PROTOCOL, SHIPPED, Protocol, networks_of
from lsdkit.photographs.views import Faces
from lsdkit.recipes import Member
from lsdkit.training.bundles import pack
from lsdkit.training.member import train_member
from lsdkit.training.runs import Run

AT_ONCE = 8  # trainings at most, which bounds the memory


def make_model(
    out: Path | str,
    *,
    seed: int = 0,
    jobs: int = 0,
    device: str = "auto",
    progress: bool = True,
    report: Callable[[str], None] = print,
    protocol: Protocol = PROTOCOL,
) -> str:
    """Render the benchmark's training faces, train the networks of the model that ships, and pack them into one file.

    `out` gets the faces, the runs and `open_1.safetensors`; what is finished is not made again. `seed` draws
    everything; `jobs` trainings run at a time (0 = one for each core, or one on a GPU). No photograph is needed.
    Returns what was made, in words. Raises `FileExistsError` where the file exists already, `ValueError` for negative
    `jobs`, and, naming them, where trainings failed.
    """
    if jobs < 0:
        raise ValueError(f"Expected --jobs of at least 0, but got {jobs}")
    out, where = resolve(out), choose_device(device)
    file = out / f"{SHIPPED.replace('-', '_')}.safetensors"
    if file.exists():
        raise FileExistsError(f"Expected {file} to be new, but it exists; choose another --out, or move it away")
    faces = open_set(out, seed, protocol, jobs=jobs or None, progress=progress)
    networks = networks_of(protocol, (SHIPPED,), seed)
    members = [(member, faces.seen(view).path) for member, view in networks.values()]
    options = {"at_once": choose_number(jobs, where), "device": where, "progress": progress, "report": report}
    runs, failed = train_networks(members, out / "runs", protocol.faces, **options)
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ValueError(
            f"Expected {len(members)} trained networks, but of {len(failed)} training failed ({reasons}); run it again "
            "to train these alone"
        )
    pack([runs[name] for name in networks], file, name=SHIPPED)
    return f"{project_path(file)}: {SHIPPED}, {len(members)} networks, {file.stat().st_size / 1e6:.1f} MB"


def open_set(
    out: Path, seed: int, protocol: Protocol, *, without: tuple[str, ...] = (), jobs: int | None, progress: bool
) -> Faces:
    """The rendered faces of a seed as the protocol sees them, in `out`; `without` as in `render_release`."""
    names = ("fraction", "validation", "test", "pixels", "design")
    settings = {name: getattr(protocol, name) for name in names} | {"seed": seed, "without": without}
    settings |= {"device": "cpu"}  # the same pixels with and without a GPU
    store = prepare_open(out / f"open-seed{seed}", **settings, jobs=jobs, progress=progress)
    return view_faces(store, out, protocol)


def view_faces(store: Store, out: Path, protocol: Protocol) -> Faces:
    """What the protocol's models see of the faces of a store; views are put into `out`."""
    return Faces(store, out, protocol.windows, grey=protocol.grey)


def choose_number(jobs: int, device: torch.device) -> int:
    """How many networks are trained at a time: `jobs`, or where that is 0 one for each core, or one on a GPU."""
    return jobs or (min(cores(), AT_ONCE) if device.type == "cpu" else 1)


def train_networks(
    members: Sequence[tuple[Member, Path]],
    folder: Path,
    faces: int,
    *,
    at_once: int,
    device: torch.device,
    progress: bool,
    report: Callable[[str], None],
) -> tuple[dict[str, Run], dict[str, str]]:
    """Train members, each on the store in its folder, into `folder`/NAME, the longest first; finished ones are kept.

    `faces`: how many there are to train on, which the order comes from. Returns the runs by name, and of trainings that
    failed why; `report` gets a line as each ends.
    """
    runs, failed = {}, {}
    members = sorted(members, key=lambda pair: -words.estimate_training(pair[0], faces))
    machine = str(device), max(1, cores() // at_once)

    def end(name: str, get: Callable[[], Run]) -> None:
        try:
            runs[name] = run = get()
            report(f"{name}: trained in {run.seconds:.0f} s")
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
            report(f"{name}: FAILED, {failed[name]}")

    tasks = {member.name: (member, store, folder / member.name, *machine) for member, store in members}
    if at_once == 1 or len(tasks) <= 1:
        for name, task in tasks.items():
            end(name, lambda task=task: train_one(*task, progress))
        return runs, failed
    _train_in_processes(tasks, at_once, end)
    return runs, failed


def _train_in_processes(
    tasks: Mapping[str, tuple], at_once: int, end: Callable[[str, Callable[[], Run]], None]
) -> None:
    """Train `at_once` at a time, and `end` each. One is handed out when another has ended: Ctrl-C, which ends those
    that are under way, leaves none that would begin after it."""
    left, waiting, context = deque(tasks), {}, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=context, initializer=end_with_parent) as pool:
        try:
            while left or waiting:
                while left and len(waiting) < at_once:
                    future = pool.submit(train_one, *tasks[left[0]], False)
                    waiting[future] = left.popleft()
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    end(waiting.pop(future), future.result)
        except BrokenProcessPool as error:  # a process was killed; those that were under way have been told of
            broken = Future()
            broken.set_exception(error)
            for name in left:
                end(name, broken.result)


def train_one(member: Member, store: Path, folder: Path, device: str, threads: int, progress: bool) -> Run:
    """Train one network, in this process, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return train_member(member, Store.open(store), folder, device=device, progress=progress)
    finally:
        torch.set_num_threads(before)
