"""Members against ensembles: votes over the predictions that finished runs left, and their scores with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lsdkit.ensembles.rules import ENSEMBLES, MIX_NAMES, Selection, select_members
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.training.predictions import answers_of, labels_of, prediction_table, probabilities_of, select_labelled
from lsdkit.training.runs import Run

ALL_MEMBERS = "All members"  # not in the paper: every run votes


def name_run(run: Run) -> str:
    """A run in few words, such as "Mix-up, dino, bag 2"; the seed where it is not 0."""
    member = run.member
    words = [MIX_NAMES[member.mix], member.appearance, f"bag {member.bag}" if member.bag else "whole set"]
    words += [f"seed {member.seed}"] if member.seed else []
    return ", ".join(words if member.basic_aug else [*words, "no basic aug"])


def read_stack(runs: Sequence[Run], split: str = "") -> tuple[pd.DataFrame, np.ndarray]:
    """The faces that these runs predicted, each once, and the probabilities (M, B, K) that each run gave them.

    The faces are in the order of the first run and have the columns key, split and expression; with `split`, only its
    faces of known expression. Raises `ValueError` where the runs did not predict the same faces, or where their labels
    or stores differ.
    """
    if not runs:
        raise ValueError("Expected at least one run, but got none")
    stores = {tuple(sorted(run.checksums.items())): str(run.folder) for run in runs}
    if len(stores) > 1:
        raise ValueError(f"Expected runs on one store, but these saw different data: {', '.join(stores.values())}")
    first, stack = None, []
    for run in runs:
        table = run.read_predictions().set_index("key")
        if first is None:
            first = table[["split", "expression"]]
            wanted = select_labelled(first, split) if split else first
        if table.index.has_duplicates or set(table.index) != set(first.index):
            only = sorted(set(table.index) ^ set(first.index))[:3]
            raise ValueError(
                f"Expected {run.folder} to predict the same faces as {runs[0].folder}, each once, but got "
                f"{len(table)} and {len(first)} faces; not in both: {only}. Train both on the same data"
            )
        if not table.loc[first.index, ["split", "expression"]].equals(first):
            both = f"{run.folder} and {runs[0].folder}"
            raise ValueError(f"Expected {both} to agree on split and expression of each face")
        stack.append(probabilities_of(table.loc[wanted.index]))
    return wanted.reset_index(), np.stack(stack)


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


def score_ensembles(runs: Sequence[Run], split: str = "validation") -> pd.DataFrame:
    """The ensembles of Table 4 for each seed of `rules.group_by_seed`, and the vote of all runs, which stands last.

    Columns: name (it ends with ", seed N" where there are several), group ("ensemble", or "ensemble, incomplete" where
    cells of the rule were not run), members, missing, value, low, high, mean_of_members; the scores are NaN where a
    rule selects nothing, as it does where a cell has two runs. Raises `ValueError` as `vote_runs` does.
    """
    (faces, stack), way, selections = read_stack(runs, split), vote_way(runs), []
    labels, places = labels_of(faces), {run.folder: place for place, run in enumerate(runs)}
    single = [metrics.macro_f1(labels, one.argmax(1)) for one in stack]
    for ensemble in ENSEMBLES.values():
        try:
            selections += select_members(runs, ensemble.id).values()
        except ValueError as error:  # for example two recipes in one folder
            selections.append(Selection(ensemble.id, ensemble.name, 0, (), (str(error),)))
    rows = []
    for each in [*selections, Selection("all", ALL_MEMBERS, 0, tuple(runs))]:
        row = {"name": each.name, "group": "ensemble" if each.complete else "ensemble, incomplete"}
        row |= {"members": len(each.runs), "missing": each.missing}
        if each.runs:
            own = [places[run.folder] for run in each.runs]
            row |= _score(labels, soft_vote(stack[own], way).argmax(1))
            row["mean_of_members"] = sum(single[place] for place in own) / len(own)
        rows.append(row)
    return pd.DataFrame(rows)


def describe_score(row: pd.Series) -> str:
    """A row of `score_members` or `score_ensembles` as "0.712 [0.690, 0.734]", or that there was nothing to vote."""
    value, low, high = row[["value", "low", "high"]]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(value) else "nothing to vote"


def _score(labels: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Macro F1 of answers (B,), with its 95% interval: value, low, high."""
    return metrics.bootstrap_f1(labels, answers).loc["macro_f1"].to_dict()
