"""How far work on many faces has come: a bar in a terminal, lines of text in a notebook, which stay true when saved."""

import sys
from typing import TextIO

from tqdm import tqdm as Bar

EVERY = 10.0  # seconds from line to line in a notebook
FORMAT = "{desc}: {n_fmt} of {total_fmt}, {elapsed} so far, {remaining} left"


class Lines(Bar):
    """A bar of tqdm that prints a line where a bar would be drawn anew."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        print(msg or str(self), file=self.fp, flush=True)

    def close(self) -> None:
        """Say once more how far it came."""
        if not self.disable:
            self.bar_format = "{desc}: {n_fmt} of {total_fmt}, {elapsed}"
            self.display()
            self.disable = True
            self._decr_instances(self)


def open_bar(*iterable, **options) -> Bar:
    """A `tqdm.tqdm` of these options, which a notebook's kernel shows as lines, and a terminal as a bar."""
    if not in_kernel():
        return Bar(*iterable, **options)
    return Lines(*iterable, file=sys.stdout, mininterval=EVERY, delay=EVERY, bar_format=FORMAT, **options)


def choose_stream() -> TextIO:
    """Where lines of progress go: a notebook's output, and elsewhere standard error, which leaves results alone."""
    return sys.stdout if in_kernel() else sys.stderr


def in_kernel() -> bool:
    """Whether this is a notebook's process."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None
