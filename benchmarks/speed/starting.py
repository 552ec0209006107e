"""How long it takes until Python has loaded the library, and until `lsdkit --help` has answered: medians of several."""

import subprocess
import sys
from functools import partial

from measuring import Line, time_in_turn

IMPORT, HELP = "import lsdkit", "import sys; from lsdkit.cli import main; sys.exit(main(['--help']))"


def ask(code: str) -> None:
    """Run this in a Python of its own."""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    seconds = time_in_turn({code: partial(ask, code) for code in ("", IMPORT, HELP)}, repeats=7)
    print(f"Python alone {seconds['']:.3f} s")
    print(Line("`import lsdkit`, Python's own start with it", "-", seconds[IMPORT], 0.5, "s"))
    print(Line("`lsdkit --help`", "-", seconds[HELP], 1.0, "s"))


if __name__ == "__main__":
    main()
