"""The paper's thesis in six trainings: does a member that learns landmarks too recognise expressions better?

Each seed is trained twice, with and without the appearance branch; all else is the same, so that the two are a pair.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lsdkit.data.store import Store
from lsdkit.ensembles.votes import labelled_splits, read_stack
from lsdkit.method import metrics
from lsdkit.recipes import NO_APPEARANCE, Member
from lsdkit.training.member import train_member
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run, is_finished

SEEDS = (0, 1, 2)
TASKS = {"single-task": NO_APPEARANCE, "multi-task": ""}  # and the appearance of each; "" is the member's


@dataclass(frozen=True)
class Thesis:
    """Multi-task against single-task members on the faces of one split.

    value, low, high: macro F1 that the multi-task members are above the others, the mean over the seeds with its 95%
    interval over faces and seeds. seeds: the same of each seed. scores: macro F1 of each run by task. alike: the share
    of the faces to which the two of a pair give the same answer, the mean over the pairs.
    """

    split: str
    faces: int
    unit: str  # what the interval resamples: "subjects", where they are known, or "faces"
    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    scores: Mapping[str, tuple[float, ...]]
    alike: float

    def __str__(self) -> str:
        means = {task: np.mean(scores) for task, scores in self.scores.items()}
        decided = "more than chance makes" if self.low > 0 or self.high < 0 else "no difference that can be told"
        each = ", ".join(f"{value:+.3f}" for value in self.seeds)
        return (
            f"On {self.faces:,} {self.split} faces multi-task members read {means['multi-task']:.3f} and single-task "
            f"ones {means['single-task']:.3f}, over {len(self.seeds)} seeds: {self.value:+.3f} "
            f"[{self.low:+.3f}, {self.high:+.3f}] (95%, over {self.unit} and seeds; by seed {each}), {decided}. "
            f"The two of a pair give the same answer to {self.alike:.1%} of the faces."
        )


def list_members(member: Member, seeds: Sequence[int] = SEEDS) -> dict[str, list[Member]]:
    """A member's pairs, {task of `TASKS`: one for each seed}; a single-task member's other has the first appearance.

    >>> [each.name for each in list_members(Member.of("smoke"))["single-task"]][:2]
    ['smoke-mixaugment-none-basic-bag0-seed0', 'smoke-mixaugment-none-basic-bag0-seed1']
    """
    both = member.recipe.appearances[0][0] if member.appearance == NO_APPEARANCE else member.appearance
    return {
        task: [replace(member, appearance=appearance or both, seed=seed) for seed in seeds]
        for task, appearance in TASKS.items()
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
    members, runs = list_members(member), {task: [] for task in TASKS}
    for pair in zip(*members.values(), strict=True):
        for task, each in zip(members, pair, strict=True):
            tell(f"{task}, seed {each.seed}")
            runs[task].append(train_member(each, store, folder / each.name, device=device))
    return runs


def compare_tasks(
    runs: Mapping[str, Sequence[Run]], split: str = "", subjects: Mapping[str, str] | None = None
) -> Thesis:
    """What came out of `train_pairs` on a split, "" being the test faces or, without labels, the validation faces.

    The interval holds the faces (whole subjects, where `subjects` tells all of the faces') and the seeds, see
    `metrics.interval_over_seeds`.
    """
    every = [run for task in TASKS for run in runs[task]]
    split = split or labelled_splits(every)[-1]
    faces, stack = read_stack(every, split)
    labels, answers, number = labels_of(faces), stack.argmax(2), len(runs["single-task"])
    people = np.array([(subjects or {}).get(key, "") for key in faces["key"]])
    known = bool((people != "").all() and len(set(people)) > 1)
    points = np.array([metrics.macro_f1(labels, one) for one in answers])  # (2 S,)
    draws = metrics.bootstrap_scores(labels, answers, groups=people if known else None)  # (R, 2 S)
    gains, drawn = points[number:] - points[:number], draws[:, number:] - draws[:, :number]
    seeds = [(*(part / number for part in metrics.seed_variance(gains, drawn)), number - 1)] if number > 1 else []
    low, high = metrics.interval_over_seeds(float(gains.mean()), drawn.mean(1), seeds)
    scores = dict(zip(TASKS, (tuple(points[:number].tolist()), tuple(points[number:].tolist())), strict=True))
    return Thesis(
        split=split,
        faces=len(labels),
        unit="subjects" if known else "faces",
        value=float(gains.mean()),
        low=low,
        high=high,
        seeds=tuple(gains.tolist()),
        scores=scores,
        alike=float((answers[:number] == answers[number:]).mean()),
    )


def share_of_landmarks(run: Run) -> float:
    """The landmark part of a run's training loss as a share of the sum, in its last epoch; 0 for a single-task run."""
    last = run.read_history().iloc[-1]
    return float(last["landmarks"] / last["loss"])
