"""The members of an ensemble as data: the cells of the paper's Tables 2 and 3, and the seeds and settings of a sweep.

`lsdkit/data/members.csv` holds 42 cells: `table2` the 8 strong ones of Table 2, `table3` the 30 weak ones of Table 3,
`extra` the 4 strong MobileViTv2 cells that the paper could not train.
"""

from dataclasses import dataclass
from importlib import resources

import pandas as pd

from lsdkit.experiment import member_from_parameters
from lsdkit.recipes import Member, check_choice, recipe_named, with_settings

TABLES = ("table2", "table3", "extra")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is to run: which cells, under which recipe and settings, with which seeds.

    `weak_seeds` are those of the weak members (Table 3); none means `seeds`. `settings` is "name=value name=value" over
    the recipe's, `emotion_weights` a source of weights for every emotion branch, `appearance_weights` sources of some
    appearances as "dino=SOURCE vggface2=SOURCE", `epochs` 0 the recipe's.
    """

    members: str = "all"  # table2, table3, extra or all; several with commas
    recipe: str = "paper"
    seeds: tuple[int, ...] = (0,)
    weak_seeds: tuple[int, ...] = ()
    settings: str = ""
    emotion_weights: str = ""
    appearance_weights: str = ""
    epochs: int = 0


def cells(which: str = "all") -> pd.DataFrame:
    """The cells of these tables: columns table, mix, appearance, basic_aug, bag; one row a member.

    `which` is table2, table3, extra or all, or several of them with commas. Raises `ValueError` for another name.

    >>> len(cells("all")), len(cells("table2,table3"))
    (42, 38)
    """
    with resources.files("lsdkit").joinpath("data/members.csv").open(encoding="utf-8") as stream:
        table = pd.read_csv(stream)
    wanted = [name.strip() for name in which.split(",")]
    for name in wanted:
        check_choice("--members", name, (*TABLES, "all"))
    return table if "all" in wanted else table[table["table"].isin(wanted)].reset_index(drop=True)


def members_of(plan: Plan) -> list[Member]:
    """The members of a sweep, in the order of the table. Raises `ValueError`, with the valid values, for a wrong one.

    >>> [member.name for member in members_of(Plan(members="table2", recipe="smoke"))][-1]
    'smoke-mixup-dino-nobasic-bag0-seed0'
    """
    return [member_from_parameters(**parameters) for _, parameters in drawn(plan)]


def drawn(plan: Plan) -> list[tuple[str, dict]]:
    """(table, parameters of notebook 03) of each member: a cell of the table with each of its seeds.

    Raises `ValueError` for unknown tables, an unknown recipe or setting, and where there is no seed.
    """
    with_settings(recipe_named(plan.recipe), plan.settings)
    if not plan.seeds:
        raise ValueError("Expected at least one seed, but got none")
    found, own = [], _by_appearance(plan.appearance_weights)
    for cell in cells(plan.members).itertuples():
        for seed in dict.fromkeys((plan.weak_seeds or plan.seeds) if cell.bag else plan.seeds):
            parameters = {"RECIPE": plan.recipe, "MIX": cell.mix, "APPEARANCE": cell.appearance}
            parameters |= {"BASIC_AUG": bool(cell.basic_aug), "BAG": int(cell.bag), "SEED": seed, "EPOCHS": plan.epochs}
            parameters |= {"EMOTION_WEIGHTS": plan.emotion_weights, "SETTINGS": plan.settings}
            parameters |= {"APPEARANCE_WEIGHTS": own.get(cell.appearance, "")}
            found.append((cell.table, parameters))
    return found


def _by_appearance(text: str) -> dict[str, str]:
    """ "dino=SOURCE vggface2=SOURCE" -> {appearance: source}."""
    own = dict(part.partition("=")[::2] for part in text.split())
    for name, source in own.items():
        check_choice("--appearance-weights", name, ("vggface2", "dino", "mobilevitv2"))
        if not source:
            raise ValueError(f"Expected --appearance-weights as 'dino=SOURCE vggface2=SOURCE', but got {text!r}")
    return own
