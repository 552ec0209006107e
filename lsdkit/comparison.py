"""Members against ensembles: scores with intervals, from the predictions that finished runs left in a folder."""

import pandas as pd

from lsdkit import ensemble, metrics, results

SHORT_MIX = {"mixup": "Mix-up", "mixaugment": "Mix-aug"}


def short_name(run: pd.Series) -> str:
    """A run in few words, from a row of `results.list_runs`.

    >>> short_name(pd.Series({"mix": "mixup", "appearance": "dino", "bag": 2, "basic_aug": True}))
    'Mix-up, dino, bag 2'
    """
    words = [SHORT_MIX[run["mix"]], run["appearance"], f"bag {run['bag']}" if run["bag"] else "whole set"]
    if run.get("seed", 0):
        words.append(f"seed {run['seed']}")
    return ", ".join(words if run["basic_aug"] else [*words, "no basic aug"])


def score_members(runs: pd.DataFrame, split: str = "validation") -> pd.DataFrame:
    """Macro F1 of each run with its 95% bootstrap interval over the faces of `split`.

    Columns: run, name, group ("strong member" or "weak member"), value, low, high; best first within a group.
    """
    rows = []
    for _, run in runs.iterrows():
        group = "weak member" if run["bag"] else "strong member"
        scores = score(results.read_predictions(run["path"]), split)
        rows.append({"run": run["run"], "name": short_name(run), "group": group, **scores})
    return pd.DataFrame(rows).sort_values(["group", "value"], ascending=[True, False], ignore_index=True)


def by_seed(runs: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """The runs that the rules of Table 4 choose from, for each seed of the weak runs (without any: of the strong ones).

    They are the weak runs of the seed and the strong runs of the same seed, or of the lowest where it has none: strong
    runs cost five times as much, and a folder often holds one seed of them.
    """
    strong, weak = runs[runs["bag"] == 0], runs[runs["bag"] > 0]
    found = {}
    for seed in sorted(set((strong if weak.empty else weak)["seed"])):
        own = seed if (strong["seed"] == seed).any() else strong["seed"].min()
        found[int(seed)] = pd.concat([strong[strong["seed"] == own], weak[weak["seed"] == seed]])
    return found


def selections(runs: pd.DataFrame) -> list[ensemble.Selection]:
    """What each rule of Table 4 selects, and the vote of all.

    Where there are several seeds the rules choose from the first of `by_seed`; `tables.write_tables` gives the mean
    over seeds. A rule for which a cell has two runs of one seed selects nothing.
    """
    first = next(iter(by_seed(runs).values()), runs)
    found = []
    for name, rule in ensemble.SELECTION_RULES.items():
        try:
            found.append(rule(runs if name == "All members" else first))
        except ValueError as error:  # for example two recipes in one folder
            found.append(ensemble.Selection(name, (), (str(error),)))
    return found


def score_ensembles(runs: pd.DataFrame, split: str = "validation") -> pd.DataFrame:
    """The rules of Table 4 over the runs of the first seed (`by_seed`), and the vote of all runs.

    Columns: name, group ("ensemble", or "ensemble, incomplete" where cells of the rule were not run), members,
    missing, value, low, high, mean_of_members; scores are NaN where a rule selects nothing. They vote as their recipe
    says. Raises `ValueError` where the runs' recipes vote in different ways.
    """
    vote = vote_of(runs)
    paths = dict(zip(runs["run"], runs["path"], strict=True))
    own = {run: score(results.read_predictions(path), split)["value"] for run, path in paths.items()}
    rows = []
    for chosen in selections(runs):
        row = {"name": chosen.name, "members": len(chosen.runs), "missing": chosen.missing}
        row["group"] = "ensemble" if chosen.complete else "ensemble, incomplete"
        if chosen.runs:
            row |= score(ensemble.vote_runs([paths[run] for run in chosen.runs], vote), split)
            row["mean_of_members"] = sum(own[run] for run in chosen.runs) / len(chosen.runs)
        rows.append(row)
    columns = ["name", "group", "members", "missing", "value", "low", "high", "mean_of_members"]
    return pd.DataFrame(rows).reindex(columns=columns)


def vote_of(runs: pd.DataFrame) -> str:
    """How the recipes of these runs vote, "probabilities" or "logits"; `ValueError` where they differ."""
    ways = sorted({results.read_result(path)["member"]["recipe"]["vote"] for path in runs["path"]})
    if len(ways) != 1:
        raise ValueError(f"Expected runs whose recipes vote in one way, but got {' and '.join(ways) or 'no runs'}")
    return ways[0]


def score(predictions: pd.DataFrame, split: str = "validation") -> dict[str, float]:
    """Macro F1 in [0, 1] of predictions on the labelled faces of a split: value, low and high (95%)."""
    return metrics.bootstrap_f1(*results.labelled(predictions, split)).loc["macro_f1"].to_dict()
