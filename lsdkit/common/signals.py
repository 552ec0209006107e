"""SIGTERM and SIGINT, answered between two steps instead of in the middle of one; the end of whoever started us."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from types import FrameType, TracebackType
from typing import Self


class Stopped(Exception):
    """A signal asked the work to stop; `reason` is what to raise once everything is saved."""

    def __init__(self, reason: BaseException):
        super().__init__(reason)
        self.reason = reason


class Interrupts:
    """A context in which SIGTERM and SIGINT are remembered, and raised as `Stopped` by the next `check()`.

    An exception raised in the middle of an optimiser's step would leave half of the weights new and half old; this
    keeps what is saved consistent. A second SIGINT is not waited for: it raises `KeyboardInterrupt` at once. Outside
    the main thread, where Python delivers no signals, it does nothing. The handlers from before are put back on exit.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.received: int | None = None
        self._before = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in self.SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            # None stands for a handler that was not set from Python, which cannot be put back as it was
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.received == signal.SIGINT == number:
            raise KeyboardInterrupt
        self.received = number

    def check(self) -> None:
        """Raise `Stopped` where a signal came: with `SystemExit` for SIGTERM, `KeyboardInterrupt` for SIGINT."""
        if self.received == signal.SIGTERM:
            raise Stopped(SystemExit(128 + signal.SIGTERM))
        if self.received == signal.SIGINT:
            raise Stopped(KeyboardInterrupt("stopped after the step under way; run again to go on from there"))


def refuse_while_starting() -> None:
    """Raise `RuntimeError` where this process of `multiprocessing` is only being started.

    Python imports the main script in it again; one without a guard begins its work anew there, and so on for ever.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(
            f"Expected the calls of {getattr(sys.modules.get('__mp_main__'), '__file__', 'the script')} to stand under "
            '`if __name__ == "__main__":`, because several processes are started, each of which reads it; add that '
            "line, or say jobs=1"
        )


def can_start_processes() -> bool:
    """Whether processes of `multiprocessing` can be started: they read the main script again, which has to be a file.

    It is none where Python reads it from standard input.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or file is None or os.path.isfile(file)


@contextmanager
def tell_broken_pool() -> Iterator[None]:
    """Say in words why processes of a pool have ended, where one does."""
    try:
        yield
    except BrokenProcessPool as error:
        raise RuntimeError(
            "Expected several processes to work, but one has ended at once. In a script of your own put what calls "
            'lsdkit under `if __name__ == "__main__":`, because each process reads it; or say jobs=1. Otherwise the '
            "system ended it: for want of memory, fewer jobs need less"
        ) from error


def end_with_parent() -> None:
    """In a process of `multiprocessing`: end it at once where the one that started it dies.

    Without this the workers of a pool go on with their task, and then wait for the next one for ever.
    """
    parent = multiprocessing.parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
