"""What a workshop needs, checked and prepared: a machine, packages and weights, faces, trained members, notebooks."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil

from lsdkit.common.machine import cores, list_versions
from lsdkit.common.paths import project_root, resolve
from lsdkit.data.store import Store
from lsdkit.openset.preparing import OPEN_SETS
from lsdkit.recipes import Member
from lsdkit.reproduce.demo import list_entries
from lsdkit.reproduce.lessons import is_executed, list_lessons, list_missing_members, run_lessons
from lsdkit.training.starting import fingerprint_sources

CORES, MEMORY, DISK = 2, 4 * 2**30, 2 * 2**30  # the least; the demo holds 2.9 GiB at its peak and writes a third of one
LIVE = tuple(Member.of("workshop", appearance=name) for name in ("vggface2", "dino", "mobilevitv2"))  # trained in 03
PREPARE = "`lsdkit workshop` makes it"


@dataclass(frozen=True)
class Check:
    """One thing that a workshop needs: what was found, and what to do where that will not do ("" where it will)."""

    name: str
    found: str
    advice: str = ""


def prepare_workshop(check: bool = False) -> str:
    """Check the machine, make what is missing and run every notebook once; with `check` make and run nothing.

    Returns what was found as text. Where something is missing that is printed, with what to do, and `SystemExit` with
    code 1 is raised: at once where the machine will not do, so that no work is done in vain. What is there is not made
    again.
    """
    machine = check_machine()
    if not check and not list_advice(machine):
        run_lessons()
    checks = [*machine, *check_prepared()]
    advice = list_advice(checks)
    lines = [f"{each.name:12} {'no' if each.advice else 'ok'}  {each.found}" for each in checks]
    lines += ["", "missing:", *advice] if advice else ["", "ready: nothing of it needs a network"]
    if advice:
        print("\n".join(lines))
        raise SystemExit(1)
    return "\n".join(lines)


def list_advice(checks: Sequence[Check]) -> list[str]:
    """A line for each thing that will not do."""
    return [f"  {each.name}: {each.advice}" for each in checks if each.advice]


def check_machine() -> list[Check]:
    """What preparing cannot mend."""
    memory, free = psutil.virtual_memory().total, shutil.disk_usage(project_root()).free
    few = "notebooks run, one at a time and slowly: pair up, or read the executed copies"
    return [
        Check("python", f"{platform.python_version()} in {sys.prefix}"),
        _check_least("cores", cores(), CORES, few, str),
        _check_least("memory", memory, MEMORY, "close other programs, or read the executed copies", _tell_bytes),
        _check_least("disk", free, DISK, f"free some space where {project_root()} lies", _tell_bytes),
        _check_packages(),
        _check_kernel(),
        _check_weights(),
    ]


def check_prepared() -> list[Check]:
    """What preparing makes: the open set, the demo's members, the executed notebooks."""
    folder, missing = resolve(OPEN_SETS["open"][0]), list_missing_members()
    lessons = ", ".join(each.name for each in list_lessons() if not is_executed(each))
    members = f"{len(missing)} of {len(list_entries())} not trained"
    return [
        Check("open set", f"{len(Store.open(folder)):,} rendered faces")
        if (folder / "manifest.json").is_file()
        else Check("open set", "not rendered", PREPARE),
        Check("members", members, PREPARE) if missing else Check("members", "trained"),
        Check("notebooks", f"not run as they are now: {lessons}", PREPARE)
        if lessons
        else Check("notebooks", "each was run here once"),
    ]


def _check_least(name: str, found: int, least: int, advice: str, tell: Callable[[int], str]) -> Check:
    return Check(name, tell(found), "" if found >= least else f"at least {tell(least)} is needed; {advice}")


def _tell_bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"


def _check_packages() -> Check:
    """Whether every package is there in a version that fits, as pip sees it."""
    listed = ", ".join(f"{name} {number}" for name, number in list_versions("jupyterlab").items() if name != "python")
    done = _run("pip", "check")
    if "No module named pip" in done.stderr:  # uv makes environments without it
        return Check("packages", f"{listed} (pip is not here: the others were not checked)")
    told = "; ".join(done.stdout.strip().splitlines()[:3])
    return Check("packages", *((told, "`make env` installs what fits") if done.returncode else (listed,)))


def _check_kernel() -> Check:
    """Whether notebooks run in this very Python: another kernel of this name would not know the kit."""
    done = _run("jupyter", "kernelspec", "list", "--json")
    try:
        spec = json.loads(done.stdout)["kernelspecs"]["python3"]
    except (ValueError, KeyError):
        again = f"`{sys.executable} -m ipykernel install --sys-prefix` makes one"
        return Check("kernel", "JupyterLab knows no kernel python3", again)
    program = Path(spec["spec"]["argv"][0])
    if program.is_absolute() and program.parent != Path(sys.executable).parent:
        return Check("kernel", f"python3 is {program}, of another environment", f"remove {spec['resource_dir']}")
    return Check("kernel", f"python3, ipykernel {version('ipykernel')}, in this environment")


def _check_weights() -> Check:
    """Whether what the trainings start from is on this machine."""
    try:
        found = [
            fingerprint_sources(each.recipe, each.appearance) for each in (*(e.member for e in list_entries()), *LIVE)
        ]
    except (FileNotFoundError, ValueError) as error:
        return Check("weights", str(error), "`make env` installs those that the recipes name")
    return Check("weights", f"{len({digest for each in found for digest in each.values()})} sets, on this machine")


def _run(*module: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True, check=False)
