"""Members beyond the paper's in one table: the parameters that vary among them, and macro F1 over their seeds."""

from collections.abc import Sequence

import pandas as pd

from lsdkit.data.store import describe_kind
from lsdkit.recipes import RECIPES, SETTABLE
from lsdkit.reproduce.formats import OWN, Table
from lsdkit.training.runs import Run

SCORES = {"validation": "val_macro_f1", "test": "test_macro_f1"}  # column -> attribute of a `Run`
NOTES = (
    "A row is the mean over its seeds, SD their standard deviation (n - 1 in its divisor; none of one seed). The faces "
    "were not resampled: a difference of a point or two may be chance.",
    "The kept epoch was chosen on the validation faces, so their scores lean upwards, the best row's most of all.",
)


def make_own_table(runs: Sequence[Run]) -> Table:
    """The table of these runs, as it is written."""
    kinds, recipes = {run.kind for run in runs}, {run.member.recipe.name for run in runs}
    about = f"{len(runs)} runs of the recipe {' or '.join(sorted(recipes))} on "
    about += f"{' and '.join(describe_kind(kind) for kind in sorted(kinds))}."
    return Table(OWN, "Macro F1 (%) of members beyond the paper's", tabulate_own(runs), (about, *NOTES), ())


def tabulate_own(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each set of parameters, the best on the validation faces first; scores in percent, NaN where unknown.

    Columns: the parameters in which the runs differ, but for the seed (RECIPE where they differ in nothing else);
    seeds (how many); validation, validation_sd, test, test_sd.
    """
    given = pd.DataFrame([_list_parameters(run) for run in runs])
    for name in dict.fromkeys(name for run in runs for name in _list_changed(run)):
        given[name] = [getattr(run.member.recipe, name) for run in runs]
    names = [name for name in given if given[name].nunique() > 1] or ["RECIPE"]
    scores = pd.DataFrame({name: [100 * getattr(run, score) for run in runs] for name, score in SCORES.items()})
    groups = pd.concat([given[names], scores], axis=1).groupby(names, sort=False)
    columns = {"seeds": groups.size()}
    for name in SCORES:
        columns |= {name: groups[name].mean(), f"{name}_sd": groups[name].std()}
    table = pd.DataFrame(columns).reset_index()
    return table.sort_values("validation", ascending=False, kind="stable", ignore_index=True)


def _list_parameters(run: Run) -> dict[str, object]:
    """Parameters of notebook 03, but for the seed and the settings."""
    member = run.member
    names = ("mix", "appearance", "basic_aug", "bag", "epochs")
    given = {"RECIPE": member.recipe.name} | {name.upper(): getattr(member, name) for name in names}
    return given | {f"{role.upper()}_WEIGHTS": run.weights_source(role) for role in ("emotion", "appearance")}


def _list_changed(run: Run) -> list[str]:
    """The settings in which a run's recipe is not the one of its name, but for the epochs."""
    recipe = run.member.recipe
    named = RECIPES.get(recipe.name, recipe)
    return [
        name for name in SETTABLE if "epochs" not in name.split("_") and getattr(recipe, name) != getattr(named, name)
    ]
