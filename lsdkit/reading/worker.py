"""A worker process: takes pictures on its standard input, answers what `search` finds on its standard output.

It is a program of its own (`python -m lsdkit.reading.worker`) and no fork of the caller: a script without
`if __name__ == "__main__"`, a notebook or code from standard input can start it, and torch is never loaded. What is
exchanged are pickles between it and the process that started it, one for each picture and one for each answer.
"""

import os
import pickle
import signal
import sys
from typing import BinaryIO

READY = "ready"


def main() -> None:
    """Answer until the input ends; what libraries print goes to the standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the caller decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        from lsdkit.data.detection import dlib_models
        from lsdkit.reading.searching import search

        dlib_models()
    except Exception as error:  # what is not installed or damaged: the caller raises it
        _send(answers, f"{error}")
        return
    _send(answers, READY)
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        _send(answers, search(*task))


def _send(stream: BinaryIO, value: object) -> None:
    pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


if __name__ == "__main__":
    main()
