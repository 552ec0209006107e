"""Members against ensembles: votes over the predictions that finished runs left, and their scores with intervals."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.ensembles.rules import ENSEMBLES, MIX_NAMES, Cell, Selection, find_runs, group_by_seed, select_members
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.recipes import BAGS
from lsdkit.training.predictions import answers_of, labels_of, prediction_table, probabilities_of, select_labelled
from lsdkit.training.runs import Run

ALL_MEMBERS = "All members"  # not in the paper: every run votes
COLUMNS = ["name", "group", "members", "value", "low", "high", "mean_of_members", "why"]


def name_run(run: Run) -> str:
    """A run in few words, such as "Mix-up, dino, bag 2", with a seed other than 0 and what differs from its recipe."""
    member = run.member
    words = [MIX_NAMES[member.mix], member.appearance, f"bag {member.bag}" if member.bag else "whole set"]
    words += [f"seed {member.seed}"] if member.seed else []
    words += [] if member.basic_aug else ["no basic aug"]
    words += [f"epochs {member.epochs}"] if member.epochs != member.usual_epochs() else []
    return ", ".join([*words, *(f"{name} {value}" for name, value in member.changes)])


def read_stack(runs: Sequence[Run], *splits: str) -> tuple[pd.DataFrame, np.ndarray]:
    """The faces that these runs predicted, each once, and the probabilities (M, B, K) that each run gave them.

    The faces are in the order of the first run and have the columns key, split and expression; with `splits`, only
    their faces of known expression. Raises `ValueError` where the runs did not predict the same faces, or where their
    labels or stores differ.
    """
    if not runs:
        raise ValueError("Expected at least one run, but got none")
    stores = {tuple(sorted(run.checksums.items())): str(run.folder) for run in runs}
    if len(stores) > 1:
        raise ValueError(f"Expected runs on one store, but these saw different data: {', '.join(stores.values())}")
    for place, run in enumerate(runs):
        table = run.read_predictions().set_index("key")
        if place == 0:
            first = table[["split", "expression"]]
            wanted = select_labelled(first, *splits) if splits else first
            rows = np.flatnonzero(first.index.isin(wanted.index))
            stack = np.empty((len(runs), len(wanted), len(EXPRESSIONS)))  # filled run by run: one copy is held
        if place == 0 or not table.index.equals(first.index):
            only = table.index.symmetric_difference(first.index)
            if table.index.has_duplicates or len(only):
                raise ValueError(
                    f"Expected {run.folder} to predict the same faces as {runs[0].folder}, each once, but got "
                    f"{len(table)} and {len(first)} faces; not in both: {sorted(only)[:3]}. Train both on the same data"
                )
            table = table.loc[first.index]
        if not table[["split", "expression"]].equals(first):
            both = f"{run.folder} and {runs[0].folder}"
            raise ValueError(f"Expected {both} to agree on split and expression of each face")
        stack[place] = probabilities_of(table)[rows]
    return wanted.reset_index(), stack


def vote_way(runs: Sequence[Run]) -> str:
    """How the recipes of these runs vote, "probabilities" or "logits"; `ValueError` where they differ."""
    ways = sorted({run.member.recipe.vote for run in runs})
    if len(ways) != 1:
        raise ValueError(f"Expected runs whose recipes vote in one way, but got {' and '.join(ways) or 'no runs'}")
    return ways[0]


def vote_runs(runs: Sequence[Run]) -> pd.DataFrame:
    """The predictions of these runs' vote, in the format of `Run.read_predictions`; they vote as their recipe says.

    Raises `ValueError` as `read_stack` and `vote_way` do.
    """
    faces, stack = read_stack(runs)
    voted = soft_vote(stack, vote_way(runs))
    table = prediction_table(faces["key"].tolist(), faces["split"].tolist(), labels_of(faces), voted)
    return table.assign(expression=faces["expression"])


def score_members(runs: Sequence[Run], split: str = "validation") -> pd.DataFrame:
    """Macro F1 in [0, 1] of each run with its 95% bootstrap interval over the faces of `split`.

    Columns: run, name, group ("strong member" or "weak member"), value, low, high; best first within a group.
    """
    rows = []
    for run in runs:
        group = "weak member" if run.member.bag else "strong member"
        scores = _score(*answers_of(run.read_predictions(), split))
        rows.append({"run": run.name, "name": name_run(run), "group": group, **scores})
    return pd.DataFrame(rows).sort_values(["group", "value"], ascending=[True, False], ignore_index=True)


def list_ensembles(runs: Sequence[Run]) -> list[Selection]:
    """The votes that these runs can build, none of a single run and no two of the same runs (the first name stays).

    They are, for each seed of `rules.group_by_seed`, the rules of Table 4 all of whose cells were run; the bags of one
    configuration ("weak: MIX, APPEARANCE", at least two) and those with its strong run; and last the vote of all.
    """
    built = {}
    for each in _select_all(runs):
        if each.complete and len(each.runs) > 1:
            built.setdefault(frozenset(run.folder for run in each.runs), each)
    return list(built.values())


def find_missing(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """For each vote that cannot be built, by its name, the cells that were not run, or why it chooses nothing."""
    return {each.name: each.missing for each in _select_all(runs) if each.missing}


def describe_missing(missing: dict[str, tuple[str, ...]]) -> str:
    """What `find_missing` gives in one line; "" for nothing.

    >>> describe_missing({"MU MobileViTv2 Weak": ("bag 2", "bag 3")})
    'Not built: MU MobileViTv2 Weak (2 cells were not run)'
    """
    told = [
        f"{name} ({cells[0] if len(cells) == 1 else f'{len(cells)} cells were not run'})"
        for name, cells in missing.items()
    ]
    return f"Not built: {'; '.join(told)}" if told else ""


def score_ensembles(runs: Sequence[Run], split: str = "validation") -> pd.DataFrame:
    """The votes of `list_ensembles` on the faces of `split`, in that order whatever the split.

    Columns: `COLUMNS`, where group is "ensemble", value, low and high are macro F1 with its 95% bootstrap interval, and
    why is what `explain_vote` says. Raises `ValueError` as `vote_runs` does.
    """
    (faces, stack), way, rows = read_stack(runs, split), vote_way(runs), []
    labels, places = labels_of(faces), {run.folder: place for place, run in enumerate(runs)}
    for each in list_ensembles(runs):
        own, bags = stack[[places[run.folder] for run in each.runs]], [run.member.bag for run in each.runs]
        row = {"name": each.name, "group": "ensemble", "members": len(own)}
        row |= _score(labels, soft_vote(own, way).argmax(1))
        row["mean_of_members"] = float(metrics.score_answers(labels, own.argmax(2)).mean())
        rows.append(row | {"why": explain_vote(labels, own, way, "weak members" if all(bags) else "members")})
    return pd.DataFrame(rows, columns=COLUMNS)


def labelled_splits(runs: Sequence[Run]) -> list[str]:
    """Which of "validation" and "test" have faces of known expression among what the first run predicted."""
    table = runs[0].read_predictions()
    return [split for split in ("validation", "test") if len(select_labelled(table, split))]


def explain_vote(labels: np.ndarray, stack: np.ndarray, way: str = "probabilities", what: str = "members") -> str:
    """A sentence on a vote from labels (B,) and its members' probabilities (M, B, K): whether it is better, and why.

    It is compared with the mean of the members' macro F1 and with the member that is best on these very faces, there
    with a paired 95% bootstrap interval over the faces. Why: the share of faces on which two members answer alike, mean
    over the pairs (a vote changes little where they agree), and the lowest and highest macro F1 of a member.

    >>> stack = np.eye(6)[[[0, 1, 2, 3, 4, 4], [1, 1, 2, 3, 4, 5], [0, 1, 2, 3, 3, 5]]]  # each wrong once
    >>> explain_vote(np.arange(6), stack).partition(" the mean")[0]
    'The vote of 3 members reads 1.00: .22 above'
    """
    answers, voted = stack.argmax(2), soft_vote(stack, way).argmax(1)  # (M, B), (B,)
    single, value = metrics.score_answers(labels, answers), metrics.macro_f1(labels, voted)
    paired = metrics.bootstrap_difference(labels, voted, answers[single.argmax()])
    alike = metrics.agreement(answers)[np.triu_indices(len(answers), 1)].mean()
    unclear = " (no clear difference)" if paired["low"] <= 0 <= paired["high"] else ""
    return (
        f"The vote of {len(stack)} {what} reads {_shorten(value)}: {_compare(value - single.mean())} the mean of its "
        f"members, {_compare(**paired)} its best one{unclear}; they agree on {alike:.0%} of the faces and score "
        f"{_shorten(single.min())} to {_shorten(single.max())}."
    )


def describe_score(row: pd.Series | dict) -> str:
    """A row of `score_members` or `score_ensembles` as "0.712 [0.690, 0.734]"."""
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def _score(labels: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Macro F1 of answers (B,), with its 95% interval: value, low, high."""
    return metrics.bootstrap_f1(labels, answers).loc["macro_f1"].to_dict()


def _select_all(runs: Sequence[Run]) -> list[Selection]:
    """Every vote that is looked for, built or not; one that cannot choose, such as between two runs, says why."""
    every, grouped = [], group_by_seed(runs)
    for rule in ENSEMBLES.values():
        try:
            every += select_members(runs, rule.id).values()
        except ValueError as error:  # for example two recipes in one folder
            every.append(Selection(rule.id, rule.name, 0, (), (str(error),)))
    for seed, part in grouped.items():
        weak = {Cell.of(run) for run in part if run.member.bag}
        for mix, appearance, basic in sorted({(cell.mix, cell.appearance, not cell.basic_aug) for cell in weak}):
            bags = [cell for bag in range(1, BAGS + 1) if (cell := Cell(mix, appearance, not basic, bag)) in weak]
            words = [MIX_NAMES[mix], appearance, *(["no basic aug"] if basic else [])]
            words += [f"seed {seed}"] if len(grouped) > 1 else []
            for name, cells in {"weak": bags, "strong and weak": [replace(bags[0], bag=0), *bags]}.items():
                if len(bags) > 1:
                    every.append(_select_cells(f"{name}: {', '.join(words)}", seed, part, cells))
    return [*every, Selection("all", ALL_MEMBERS, 0, tuple(runs))]


def _select_cells(name: str, seed: int, runs: Sequence[Run], cells: Sequence[Cell]) -> Selection:
    """The runs of these cells, as many as there are."""
    try:
        return Selection("configuration", name, seed, tuple(find_runs(runs, cells)))
    except ValueError as error:
        return Selection("configuration", name, seed, (), (str(error),))


def _shorten(value: float) -> str:
    """A score in two digits, such as .84 or -.02."""
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)


def _compare(value: float, **ends: float) -> str:
    """A difference in words, with the `ends` of its interval: ".05 above", ".03 [.01, .06] below"."""
    sign = 1 if value >= 0 else -1
    told = f" [{', '.join(_shorten(end) for end in sorted(sign * end for end in ends.values()))}]" if ends else ""
    return f"{_shorten(abs(value))}{told} {'above' if sign > 0 else 'below'}"
