"""A sweep of eight small members of one size, two at a time with a thread each, against one at a time: wall seconds.

    python benchmarks/speed/sweep.py [--epochs 4]

Each is notebook 03 in a process of its own, as `lsdkit sweep` runs it: most of its time is Python's start.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from made import make_store
from measuring import Line

from lsdkit.common.machine import cores
from lsdkit.reproduce.headless import execute_all, make_job

MEMBERS, AT_ONCE = 8, 2


def sweep(folder: Path, store: Path, epochs: int, at_once: int) -> float:
    """Seconds of eight members that differ in their seed."""
    parameters = {"RECIPE": "smoke", "MIX": "mixup", "APPEARANCE": "none", "DATA_DIR": str(store), "EPOCHS": epochs}
    jobs = [
        make_job("03_train", folder / f"seed{seed}", {**parameters, "SEED": seed}, f"seed{seed}")
        for seed in range(MEMBERS)
    ]
    start = time.perf_counter()
    failed = execute_all(jobs, at_once, max(1, cores() // at_once), lambda *ended: None)
    if failed:
        sys.exit(f"Expected every member to be trained, but {failed}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = make_store(folder / "faces", {"train": 600, "validation": 120}, side=32)
        together, alone = (sweep(folder / f"by{number}", store.path, epochs, number) for number in (AT_ONCE, 1))
    print(f"{cores()} cores: {together:.1f} s two at a time, {alone:.1f} s one at a time")
    print(Line(f"sweep of {MEMBERS} equal members, {AT_ONCE} at a time", "one at a time", alone / together, 1.6))


if __name__ == "__main__":
    main()
