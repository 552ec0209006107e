"""What torch's waiting threads cost on a quiet and on a busy machine, by how long they spin.

    python benchmarks/speed/threads.py [--seconds 8]

Makes both views of batches of 64 faces of 64 px on as many threads as there are cores, alone and beside as many busy
processes, with each setting in a process of its own (libgomp reads it when torch is loaded). Prints faces a second and,
as a ratio to libgomp's default in the same company, what the setting gains. `import lsdkit` sets GOMP_SPINCOUNT=10000.
"""

import argparse
import os
import subprocess
import sys

from lsdkit.common.machine import cores

SETTINGS = {
    "default": {"GOMP_SPINCOUNT": "300000"},  # libgomp's, where nothing is set; said, or lsdkit would set its own
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{f"GOMP_SPINCOUNT={count}": {"GOMP_SPINCOUNT": str(count)} for count in (1000, 10_000, 100_000)},
}
WORK = """
import sys, time, torch
from lsdkit.common.seeds import torch_generator
from lsdkit.method.views import views
from lsdkit.recipes import PAPER
torch.set_num_threads(int(sys.argv[1]))
x, end, count = torch.rand(64, 3, 64, 64), float(sys.argv[2]), 0
views(x, torch_generator(0, "warm"), basic=True, recipe=PAPER)
start = time.perf_counter()
while time.perf_counter() - start < end:
    views(x, torch_generator(0, "views", count), basic=True, recipe=PAPER)
    count += 1
print(64 * count / (time.perf_counter() - start))
"""


def measure(setting: dict[str, str], seconds: float) -> float:
    """Faces a second under a setting."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    command = [sys.executable, "-c", WORK, str(cores()), str(seconds)]
    return float(subprocess.run(command, env=clean | setting, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="for each figure (default %(default)s)")
    seconds = parser.parse_args().seconds
    for company in (0, cores()):
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(company)]
        try:
            rates = {name: measure(setting, seconds) for name, setting in SETTINGS.items()}
        finally:
            for process in busy:
                process.kill()
        print(f"beside {company} busy processes, {cores()} threads")
        for name, rate in rates.items():
            print(f"  {name:26} {rate:7.0f} faces a second, {rate / rates['default']:6.2f} of the default")


if __name__ == "__main__":
    main()
