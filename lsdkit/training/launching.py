"""One training on several devices, started from any script, notebook or command: torchrun in a process of its own.

Neither a fork nor a spawn: a notebook's kernel holds threads and perhaps a CUDA context, which no fork survives, and a
spawned process reads the script again. torchrun starts this module once for each device, and ends all of them where one
dies. What the first tells comes back through a pipe, line by line: rows of the history, warnings, an error, as JSON;
and what is to be printed, as it is. Another pipe says that the training is wanted: where it closes, because whoever
started the training stops it or has died, the step under way is finished, the checkpoint is written, and all end.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import IO

from lsdkit.common.bars import choose_stream
from lsdkit.common.machine import cores
from lsdkit.common.signals import Interrupts, Stopped
from lsdkit.data.store import Store
from lsdkit.recipes import Member
from lsdkit.training.processes import ERRORS, check_devices, simplify
from lsdkit.training.runs import Run, read_member, read_run

MARK = "\x1e"  # begins a line of JSON
LAST_LINES = 80  # of what the processes wrote, where they end without a word


def train_on_several(
    member: Member,
    store: Store,
    folder: Path,
    devices: int,
    on_epoch: Callable[[dict], None] | None = None,
    *,
    device: str = "auto",
    **options: object,
) -> Run:
    """`member.train_member` in `devices` processes, with the `options` of it; raises what it raises.

    `RuntimeError`, with what they wrote last, where a process ends without a word: the last checkpoint stays.
    """
    check_devices(device, devices)
    task = {"member": member.spec(), "store": str(store.path.resolve()), "folder": str(folder.resolve())}
    task |= {"options": {**options, "device": device}}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    command += ["-m", __name__, json.dumps(task)]
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // devices))} | os.environ  # cards need no more either
    with tempfile.TemporaryFile() as errors:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        process = subprocess.Popen(command, **pipes, env=environment, text=True, start_new_session=True)
        lines = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reader.start()
        try:
            error = _follow(process, lines, on_epoch)
        finally:
            process.stdin.close()  # stops it, where it is still under way
            process.wait()
            reader.join()
        if error is not None:
            raise error
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode(errors="replace").splitlines()[-LAST_LINES:]
            raise RuntimeError(
                f"A process of the training in {folder} has ended; the last checkpoint stays, the same call goes on "
                "from there. What was written last:\n" + "\n".join(last)
            )
    return read_run(folder)


def _follow(
    process: subprocess.Popen, lines: queue.SimpleQueue, on_epoch: Callable[[dict], None] | None
) -> BaseException | None:
    """Pass on what the first process tells until all have ended; the error that it tells of, or a signal's to us."""
    reason, error = None, None
    with Interrupts() as interrupts:
        while True:
            try:
                interrupts.check()
            except Stopped as stopped:
                if reason is None:
                    reason = stopped.reason
                    process.stdin.close()
            with suppress(queue.Empty):
                line = lines.get(timeout=0.2)
                if line is None:
                    return reason or error
                if not line.startswith(MARK):
                    print(line, end="", file=choose_stream(), flush=True)
                    continue
                kind, value = json.loads(line.removeprefix(MARK))
                if kind == "row" and on_epoch is not None:
                    on_epoch(value)
                elif kind == "warning":
                    warnings.warn(value, stacklevel=4)
                elif kind == "error":
                    error = _read_error(*value)


def _read(stream: IO[str], lines: queue.SimpleQueue) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _read_error(name: str, text: str) -> BaseException:
    kinds = {each.__name__: each for each in (*ERRORS, KeyboardInterrupt)}
    return SystemExit(int(text)) if name == "SystemExit" else kinds[name](text)


def _work(task: dict) -> None:
    """What each of the processes does."""
    from lsdkit.training.member import train_member  # which starts this module

    first = os.environ["RANK"] == "0"
    warnings.showwarning = lambda message, *_: _tell("warning", str(message)) if first else None
    if first:
        threading.Thread(target=_end_when_unwanted, daemon=True).start()
    folder = Path(task["folder"])
    try:
        member, store = read_member(task["member"], folder), Store.open(task["store"])
        with redirect_stderr(sys.stdout):  # where lines of progress go
            train_member(member, store, folder, **task["options"], on_epoch=lambda row: _tell("row", row))
    except (KeyboardInterrupt, SystemExit) as stop:
        if first:
            _tell("error", [type(stop).__name__, str(stop)])
        raise SystemExit(1) from None
    except ERRORS as error:  # any other is a defect, whose traceback tells most
        if first:
            plain = simplify(error)
            _tell("error", [type(plain).__name__, str(plain)])
        raise


def _tell(kind: str, value: object) -> None:
    if isinstance(value, dict):
        value = {name: float(each) if isinstance(each, float) else each for name, each in value.items()}
    print(MARK + json.dumps([kind, value]), flush=True)


def _end_when_unwanted() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
