"""Training from the starts: notebook 03 for each start, strong and weak, and seed, in a process of its own.

Each run lies in OUT/<start>-<strong or weak>-seed<seed>/. What is finished is not run again, so a comparison that was
killed goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from lsdkit.common import files
from lsdkit.common.paths import resolve
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.notebook.runs import train_members
from lsdkit.openset.preparing import open_or_render
from lsdkit.recipes import DEMO, RECIPES, Member, find_recipe
from lsdkit.reproduce.demo import AT_ONCE, THREADS
from lsdkit.reproduce.headless import Job, check_parameters, execute_all
from lsdkit.reproduce.members import Entry
from lsdkit.reproduce.starts import MEMBERS, Start, choose_starts, group_runs, list_absent, write_comparison
from lsdkit.reproduce.sweep import check_weights, is_done, make_training_job
from lsdkit.training.ownership import check_owner, identify
from lsdkit.training.runs import Run
from lsdkit.training.starting import fingerprint_sources


def run_starts(
    out: Path | str,
    *,
    recipe: str = "demo",
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 0,
    data: str = "",
    dino: str = "",
    dino_face: str = "",
) -> str:
    """Train from every start what `out` does not hold yet, then write the comparison; returns its table as Markdown.

    `data` is the folder of a store ("" = the open set); `jobs` notebooks run at a time (0 = 2), one thread each; `dino`
    and `dino_face` are other sources for these starts. A failed run stops no other; the failures are named at the end
    and `SystemExit` with code 1 is raised after the text was printed. Raises as `plan_runs` does.
    """
    out, starts = resolve(out), choose_starts(dino, dino_face)
    if jobs < 0:
        raise ValueError(f"Expected --jobs of at least 0, but got {jobs}")
    if (out / "manifest.json").is_file():
        raise ValueError(f"Expected --out to be a folder for runs, but {out} holds a store; choose another")
    fit = [each.name for each in RECIPES.values() if each.emotion in dict(each.frozen) and each.emotion == "dlib_face"]
    if find_recipe(recipe).name not in fit:
        raise ValueError(
            f"Expected --recipe to be one that leaves dlib's network as it is ({', '.join(fit)}), since that has no "
            f"batch norm and blows up when it is trained, but got {recipe}"
        )
    planned = plan_runs(out, starts, tuple(MEMBERS), seeds, {"RECIPE": recipe})
    check_parameters(make_training_job(*next(iter(planned.items()))))
    store = open_or_render(data, find_recipe(recipe))
    with files.hold_lock(out / ".starts.lock", "another comparison runs in it; wait, or choose another --out", 1.0):
        identities = {folder: identify(entry.member, store) for folder, entry in planned.items()}
        left = [folder for folder, identity in identities.items() if not is_done(folder, identity)]
        for folder in left:
            check_owner(folder, identities[folder], "choose another --out, or remove it")
        done = f"{len(planned)} runs, {len(planned) - len(left)} of them done"
        print("\n".join([done, *list_absent(starts)]), flush=True)
        todo = [make_training_job(folder, planned[folder], str(data)) for folder in left]
        failed = execute_all(todo, jobs or AT_ONCE, THREADS, _report)
        text = write_comparison(out) if group_runs(out) else "no run finished: no table"
    if failed:
        print("\n".join([text, *(f"\nFAILED {name}:\n{error}" for name, error in failed.items())]))
        raise SystemExit(1)
    return text


def train_starts(
    out: Path | str, recipe: str = "smoke", *, seed: int = 0, epochs: int = 0, data_dir: str = "", device: str = "auto"
) -> Path:
    """Train one weak member from each start here, in this process, one after the other; returns their folder.

    What `demo` does not train of a backbone is not trained here either, whatever the recipe: dlib's network, which has
    no batch norm, would blow up (docs/weights.md). Raises as `plan_runs` does.
    """
    out, parameters = resolve(out), {"RECIPE": recipe, "EPOCHS": epochs, "DEVICE": device}
    planned = plan_runs(out, choose_starts(), ("weak",), (seed,), parameters, DEMO.frozen)
    train_members([(folder, entry.member) for folder, entry in planned.items()], data_dir=data_dir, device=device)
    return out


def plan_runs(
    out: Path,
    starts: Mapping[str, Start],
    members: Sequence[str],
    seeds: Sequence[int],
    parameters: Mapping,
    frozen: Sequence[tuple[str, int]] = (),
) -> dict[Path, Entry]:
    """The folder of each run and what trains it, seed by seed; `parameters` of notebook 03 are the same for all.

    `frozen` is that of the backbones of which the recipe says nothing. Raises, before anything runs,
    `FileNotFoundError` for weights that are not there and `ValueError` for a wrong value, for weights of another
    backbone, and where `out` holds runs from a start of another recipe or from other weights.
    """
    if not seeds:
        raise ValueError("Expected at least one seed, but got none")
    planned, kept = {}, group_runs(out)
    for seed, member, name in product(dict.fromkeys(seeds), members, starts):
        start = starts[name]
        own = {**parameters, "APPEARANCE": start.backbone, "SETTINGS": f"emotion={start.backbone}", "SEED": seed}
        own |= {"EMOTION_WEIGHTS": start.source, "APPEARANCE_WEIGHTS": start.source, "BAG": MEMBERS[member]}
        made = member_from_parameters(**own)
        recipe = replace(made.recipe, frozen=tuple((dict(frozen) | dict(made.recipe.frozen)).items()))
        planned[out / f"{name}-{member}-seed{seed}"] = Entry(replace(made, recipe=recipe), own, "starts")
    for name, entry in zip(starts, planned.values(), strict=False):  # the first of each start
        check_weights(entry.member)
        _check_alike(entry.member, kept.get((name, members[0]), []))
    return planned


def _check_alike(member: Member, runs: Sequence[Run]) -> None:
    """Raise `ValueError` where runs from the member's start have another recipe, other epochs or other weights."""
    wanted = {"recipe": member.spec()["recipe"], "weights": fingerprint_sources(member.recipe, member.appearance)}
    wanted["epochs"] = member.epochs
    for run in runs:
        digests = {role: start["sha256"] for role, start in run.started_from.items() if "sha256" in start}
        kept = {"recipe": run.member.spec()["recipe"], "weights": digests, "epochs": run.member.epochs}
        if other := files.describe_difference(kept, wanted):
            raise ValueError(f"{run.folder} holds another training: {other}; choose another --out, or remove it")


def _report(job: Job, error: str, seconds: float) -> None:
    print(f"    {job.copy.parent.name:30} {seconds:5.0f} s{'  FAILED' if error else ''}", flush=True)
