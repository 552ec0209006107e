"""Pictures searched by several processes, in their order, whatever becomes of one of them.

dlib holds the interpreter's lock, so that threads do not help. Each thread here has a process of its own
(`lsdkit.reading.worker`) and gives it one picture at a time: where the process dies, it is known on which.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from lsdkit.reading.searching import Picture, Searched, fail
from lsdkit.reading.worker import READY

AHEAD = 16  # pictures for each process that are searched or wait, before the first of them is taken


def search_all(pictures: Iterable[Picture], sizes: Sequence[int], jobs: int) -> Iterator[tuple[Picture, Searched]]:
    """Each picture and what `search` finds in it, in order, by so many processes.

    A picture on which a process dies is told as a failed search, and a new process goes on. Whatever ends the
    iteration, an interrupt too, ends the processes. Raises `ChildProcessError`, with what they say, where they cannot
    start.
    """
    idle, waiting = queue.SimpleQueue(), deque()

    def search_one(picture: Picture) -> Searched:
        worker = idle.get()
        try:
            return worker.search(picture, sizes)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        workers = [stack.enter_context(_Worker()) for _ in range(jobs)]  # they load while the first pictures are listed
        for worker in workers:
            idle.put(worker)
        threads = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(threads.shutdown, wait=False, cancel_futures=True)
        for worker in workers:
            stack.callback(worker.end)  # before the threads, which wait for its answers
        for picture in pictures:
            waiting.append((picture, threads.submit(search_one, picture)))
            if len(waiting) >= AHEAD * jobs:
                given, future = waiting.popleft()
                yield given, future.result()
        for given, future in waiting:
            yield given, future.result()


class _Worker:
    """A process that searches, and another one where it has died."""

    def __enter__(self) -> Self:
        self.changing, self.ended = threading.Lock(), False
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._close()

    def end(self) -> None:
        """End the process, at once and for good."""
        with self.changing:
            self.ended = True
            self.process.kill()

    def search(self, picture: Picture, sizes: Sequence[int]) -> Searched:
        try:
            task = pickle.dumps((picture, sizes), protocol=pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # a PIL image whose file is cut is read here
            return Searched(reason=fail(f"{type(error).__name__}: {error}"))
        if not self.ready:
            self._greet()
        try:
            self.process.stdin.write(task)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):  # it has died, perhaps in the middle of its answer
            code = self._close()
            with self.changing:
                if not self.ended:
                    self._start()
        return Searched(reason=fail(f"the process ended {f'by signal {-code}' if code < 0 else f'with code {code}'}"))

    def _start(self) -> None:
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]  # of this very lsdkit
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "lsdkit.reading.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.ready = False

    def _greet(self) -> None:
        """Wait until it has loaded what it needs; raises `ChildProcessError` where it cannot."""
        try:
            said = pickle.load(self.process.stdout)
        except EOFError:
            said = f"it ended with code {self.process.wait()}"
        if said != READY and not self.ended:
            raise ChildProcessError(f"The processes that search for faces cannot start: {said}")
        self.ready = True

    def _close(self) -> int:
        """The exit code of a process that has ended or is about to, and its pipes closed."""
        code = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # what it had not read is lost
                stream.close()
        return code
