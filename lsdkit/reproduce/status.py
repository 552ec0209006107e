"""How a folder of runs stands: which are done, running, failed, waiting, by the files that they and their sweep leave.

Nothing is asked of the sweep's process, so that it can be looked at from another process, or from another machine that
shares the folder, whatever runs the notebooks. Who runs is told by locks, and where these do not reach by how fresh the
files are.
"""

import calendar
import json
import platform
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pandas as pd

from lsdkit.common.files import Damaged, is_held, read_json
from lsdkit.common.paths import project_path
from lsdkit.reproduce.record import LOCK, read_record
from lsdkit.training import runs
from lsdkit.training.lines import describe_time

STATES = ("running", "failed", "waiting", "done")
EVERY = 2.0  # seconds from look to look
SILENT = 900.0  # seconds without a new file after which a sweep on another machine is taken for ended
RECENT = 3  # epochs that tell how long one takes


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One run: its state, of `STATES`, how far it came, and why it failed."""

    name: str
    state: str
    epoch: int = 0  # epochs done
    epochs: int = 0  # of so many; 0 before it says so
    seconds: float = 0.0  # trained so far
    left: float | None = None  # seconds, of one that runs, once an epoch has shown how long it takes
    score: float | None = None  # macro F1 in [0, 1] on the validation faces: of the last epoch, of a done one the kept
    reason: str = ""  # why it failed

    def describe(self) -> str:
        """How far it came, in words."""
        score = "" if self.score is None else f"macro F1 {self.score:.3f}"
        if self.state == "done":
            return f"{score}, {describe_time(self.seconds)}"
        at = f"{self.epoch} of {self.epochs} epochs" if self.epochs else ""
        if self.state == "running":
            left = "" if self.left is None else f"about {describe_time(self.left)} left"
            return ", ".join(filter(None, (at or "starting", score, left)))
        saved = f"saved after {at}" if self.epoch else ""
        return self.reason if self.state == "failed" else saved


@dataclass(frozen=True, kw_only=True)
class Status:
    """All runs of a folder, those of a state together, in the order of `STATES`."""

    folder: Path
    runs: tuple[RunStatus, ...]
    alive: bool  # whether something runs in it
    swept: bool  # whether a sweep made it
    left: float | None  # seconds until all are done, where done ones tell

    def describe(self) -> str:
        """How many of each state, and the time left, in a sentence."""
        count = Counter(run.state for run in self.runs)
        words = [f"{count['done']} of {len(self.runs)} done"]
        words += [f"{count[state]} {state}" for state in STATES[:-1] if count[state]]
        rest = f"; about {describe_time(self.left)} left" if self.left is not None and self.alive else ""
        text = f"{project_path(self.folder)}: {', '.join(words)}{rest}"
        if self.swept and not self.alive and count["done"] < len(self.runs):
            text += "; no sweep runs in it now: the same command again runs what is missing"
        return text


def read_status(folder: Path | str) -> Status:
    """How the runs of a folder stand now.

    Raises `FileNotFoundError` where it holds neither a sweep nor runs, `Damaged` for a sweep.json that is none.
    """
    folder = Path(folder)
    record = read_record(folder)
    names = [*record.get("members", {}), *(path.parent.name for path in folder.glob(f"*/{runs.CLAIM}"))]
    names += [path.parent.name for path in folder.glob(f"*/{runs.RESULT}")]
    if not names:
        raise FileNotFoundError(
            f"Expected a sweep or runs in {folder}, but found none; start one with `lsdkit sweep --out {folder}`"
        )
    sessions = record.get("sessions", [])
    session = sessions[-1] if sessions else {}
    alive = _is_alive(folder, session)
    start = _read_start(session) if alive else float("inf")
    failed = _list_failed(sessions[-1:] if alive else sessions) if record else None
    found = [_read_run(folder / name, start, failed) for name in dict.fromkeys(names)]
    found.sort(key=lambda run: STATES.index(run.state))
    return Status(
        folder=folder,
        runs=tuple(found),
        alive=alive or any(run.state == "running" for run in found),
        swept=bool(record),
        left=_estimate_rest(found, record.get("work", {}), session.get("jobs", 1)),
    )


def _is_alive(folder: Path, session: Mapping) -> bool:
    """Whether the sweep of this session still runs."""
    if not session or session.get("ended"):
        return False
    if held := is_held(folder / LOCK):
        return True
    if held is False and session.get("host", platform.node()) == platform.node():
        return False
    newest = max(map(_last_sign, (folder, *folder.glob("*"))))  # a file that is renamed into a folder touches it
    return time.time() - newest < SILENT


def _list_failed(sessions: Sequence[Mapping]) -> dict[str, str]:
    """{name: reason} of what failed in these sessions, by the last one that says so."""
    failed = {}
    for session in sessions:
        given = session.get("failed", {})
        failed |= given if isinstance(given, dict) else dict.fromkeys(given, "")  # a list in earlier versions
    return failed


def _read_run(folder: Path, start: float, failed: Mapping[str, str] | None) -> RunStatus:
    """How one run stands.

    `start` is when the sweep began that is under way (infinity: none is), `failed` what a sweep says of failures (None:
    there was none, and a notebook that failed tells; one that a sweep has stopped looks the same).
    """
    run = RunStatus(name=folder.name, state="waiting")
    with suppress(FileNotFoundError):
        return _read_done(folder, (folder / runs.RESULT).stat().st_mtime_ns)
    run, notebook = _follow(run, folder), next(iter(folder.glob("*.failed.ipynb")), None)
    if is_held(folder / runs.LOCK):
        return replace(run, state="running")
    if run.name in failed if failed is not None else notebook:
        told = (failed or {}).get(run.name) or (_read_error(notebook) if notebook else "no reason is kept")
        return replace(run, state="failed", reason=told)
    signs = max(map(_last_sign, folder.glob("*")), default=0.0)
    return replace(run, state="running") if signs >= start else run


@lru_cache(4096)
def _read_done(folder: Path, _stamp: int) -> RunStatus:
    """A finished run, read once for each time that its result was written."""
    try:
        run = runs.read_run(folder)
    except ValueError as error:
        return RunStatus(name=folder.name, state="failed", reason=str(error))
    epochs = run.member.epochs
    about = {"epoch": epochs, "epochs": epochs, "seconds": run.seconds, "score": run.val_macro_f1}
    return RunStatus(name=folder.name, state="done", **about)


def _follow(run: RunStatus, folder: Path) -> RunStatus:
    """What a training under way, or broken off, has left: its length, its history."""
    with suppress(FileNotFoundError, Damaged):
        run = replace(run, epochs=int(read_json(folder / runs.CLAIM).get("member", {}).get("epochs", 0)))
    path = folder / "history.csv"
    try:
        history, since = pd.read_csv(path), time.time() - path.stat().st_mtime
        seconds, scores = history["seconds"], history["val_macro_f1"].dropna()
    except (OSError, ValueError, KeyError):  # not there yet, or none
        return run
    each, rest = float(seconds.tail(RECENT).mean()), max(0, run.epochs - len(history))
    left = max(each * rest - max(0.0, since), each * max(0, rest - 1)) if len(history) and run.epochs else None
    score = float(scores.iloc[-1]) if len(scores) else None
    return replace(run, epoch=len(history), seconds=float(seconds.sum()), left=left, score=score)


def _last_sign(path: Path) -> float:
    """When a file was written; 0 where it is gone by now."""
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _read_start(session: Mapping) -> float:
    """When a session began, in seconds since 1970."""
    return float(calendar.timegm(time.strptime(session["started"], "%Y-%m-%dT%H:%M:%SZ")))


def _read_error(notebook: Path) -> str:
    """The last error that a notebook shows, in a line."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        outputs = [each for cell in cells for each in cell.get("outputs", ()) if each["output_type"] == "error"]
        if outputs:
            return f"{outputs[-1]['ename']}: {outputs[-1]['evalue']}".splitlines()[0]
    return f"{notebook.name} shows where it stopped"


def _estimate_rest(found: Sequence[RunStatus], work: Mapping[str, float], jobs: int) -> float | None:
    """Seconds until all are done: those that run by their epochs, the others by what done ones took for their work."""
    done = [(run.seconds, work[run.name]) for run in found if run.state == "done" and run.name in work]
    seconds, operations = map(sum, zip(*done, strict=True)) if done else (0.0, 0.0)
    rests = []
    for run in found:
        if run.state == "running" and run.left is not None:
            rests.append(run.left)
        elif run.state in ("running", "waiting"):
            if not operations or run.name not in work:
                return None
            rests.append(seconds / operations * work[run.name])
    return max(sum(rests) / min(max(1, jobs), len(rests)), max(rests)) if rests else None


def list_lines(status: Status, width: int = 0, height: int = 0) -> list[str]:
    """A sentence over all, then a line a run; within `width` letters and `height` lines, where they are not 0."""
    long = max(len(run.name) for run in status.runs)
    lines = [f"{run.state:8} {run.name:{long}}  {run.describe()}".rstrip() for run in status.runs]
    if height and len(lines) > height - 1:
        kept = max(0, height - 2)
        lines = [*lines[:kept], f"... and {len(lines) - kept} more, the last of them {status.runs[-1].state}"]
    return [line[: width or None] for line in (status.describe(), *lines)]


def show_status(folder: Path | str, once: bool = False) -> str:
    """The status of a folder as text; in a terminal, unless `once`, it is drawn anew until nothing runs any more."""
    status, drawn = read_status(folder), 0
    while status.alive and not once and sys.stdout.isatty():
        width, height = shutil.get_terminal_size()
        lines = list_lines(status, width - 1, height - 1)
        print(f"\x1b[{drawn}A\x1b[J" * bool(drawn) + "\n".join(lines), flush=True)
        drawn = len(lines)
        time.sleep(EVERY)
        status = read_status(folder)
    if drawn:
        print(f"\x1b[{drawn}A\x1b[J", end="")
    return "\n".join(list_lines(status))
