"""The paper's thesis in six trainings: does a member that learns landmarks too recognise expressions better?

Each seed is trained twice, with and without the appearance branch; all else is the same, so that the two are a pair.
`lsdkit.notebook.pairs` compares them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lsdkit.data.store import Store
from lsdkit.ensembles.votes import labelled_splits, read_stack
from lsdkit.notebook.describing import describe_difference
from lsdkit.notebook.pairs import Gain, compare_pairs
from lsdkit.recipes import NO_APPEARANCE, Member
from lsdkit.training.member import train_member
from lsdkit.training.runs import Run, is_finished

SEEDS = (0, 1, 2)
SINGLE, MULTI = "single-task", "multi-task"


def list_members(member: Member) -> dict[str, list[Member]]:
    """A member without and with its appearance branch, {task: one for each of `SEEDS`}.

    Of one that has no such branch, the other has the first appearance backbone of its recipe.

    >>> [each.name for each in list_members(Member.of("smoke"))["single-task"]][:2]
    ['smoke-mixaugment-none-basic-bag0-seed0', 'smoke-mixaugment-none-basic-bag0-seed1']
    """
    both = member.recipe.appearances[0][0] if member.appearance == NO_APPEARANCE else member.appearance
    return {
        task: [replace(member, appearance=appearance, seed=seed) for seed in SEEDS]
        for task, appearance in ((SINGLE, NO_APPEARANCE), (MULTI, both))
    }


def describe_work(folder: Path, member: Member, seconds: float) -> str:
    """How many trainings `train_pairs` has to make and how many minutes that is, where one takes so many seconds."""
    members = [each for own in list_members(member).values() for each in own]
    left = sum(not is_finished(folder / each.name) for each in members)
    return (
        f"{left} of {len(members)} trainings are to be made, of {seconds / 60:.1f} minutes each as the one above took: "
        f"about {left * seconds / 60:.0f} minutes. A stopped cell goes on where it was."
    )


def train_pairs(
    folder: Path, member: Member, store: Store, *, device: str = "auto", tell: Callable[[str], None] = print
) -> dict[str, list[Run]]:
    """Train `list_members`, each into `folder`/<its name>, seed by seed; finished ones are left as they are."""
    members, runs = list_members(member), {SINGLE: [], MULTI: []}
    for pair in zip(*members.values(), strict=True):
        for task, each in zip(members, pair, strict=True):
            tell(f"{task}, seed {each.seed}")
            runs[task].append(train_member(each, store, folder / each.name, device=device))
    return runs


def compare_tasks(
    runs: Mapping[str, Sequence[Run]], subjects: Mapping[str, str] | None = None
) -> dict[str, tuple[Gain, str]]:
    """What the multi-task runs are above the single-task ones, for each split with labels, and the same in a sentence.

    `subjects` as of `compare_pairs`. The sentence says as well on how many faces the two of a pair answer alike.
    """
    return {split: _compare_on(runs, split, subjects) for split in labelled_splits(runs[MULTI])}


def share_of_landmarks(runs: Sequence[Run]) -> float:
    """The landmark part as a share of the sum of losses, in the last epoch of training, mean over runs."""
    last = [run.read_history().iloc[-1] for run in runs]
    return float(np.mean([row["landmarks"] / row["loss"] for row in last]))


def _compare_on(runs: Mapping[str, Sequence[Run]], split: str, subjects: Mapping[str, str] | None) -> tuple[Gain, str]:
    gain = compare_pairs(runs[MULTI], runs[SINGLE], split, subjects, seeds=True)
    number, answers = len(gain.each), read_stack([*runs[SINGLE], *runs[MULTI]], split)[1].argmax(2)  # (2 S, B)
    told = describe_difference(gain, f"{number} {MULTI} members", f"the {SINGLE} ones of the same seeds")
    alike = (answers[:number] == answers[number:]).mean()
    return gain, (
        f"On {gain.faces:,} {split} faces {told} (95%, over {gain.unit}). The two of a pair give the same answer to "
        f"{alike:.1%} of the faces."
    )
