"""The runs of a sweep: the cells of the paper's Tables 2 and 3, times seeds, each as a member and as parameters.

There are 42 cells: `table2` are the 8 strong ones of Table 2, `table3` the 30 weak ones of Table 3, `extra` the 4
strong MobileViTv2 cells that the paper could not train.
"""

from dataclasses import dataclass

from lsdkit.ensembles.rules import MIX_NAMES, WEAK_APPEARANCES, Cell, strong_cells, weak_cells
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.recipes import Member, check_choice

TABLES = {
    "table2": strong_cells(*MIX_NAMES),
    "table3": [cell for mix in MIX_NAMES for name in WEAK_APPEARANCES for cell in weak_cells(mix, name)],
    "extra": strong_cells(*MIX_NAMES, appearances=("mobilevitv2",)),
}


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


@dataclass(frozen=True)
class Entry:
    """One run of a plan: a member, the parameters of notebook 03 that train it, and the table that it belongs to."""

    member: Member
    parameters: dict
    table: str


def list_cells(which: str = "all") -> list[tuple[str, Cell]]:
    """(table, cell) of each cell of these tables: table2, table3, extra or all, or several of them with commas.

    Raises `ValueError` for another name.

    >>> len(list_cells("all")), len(list_cells("table2,table3"))
    (42, 38)
    """
    wanted = [name.strip() for name in which.split(",")]
    for name in wanted:
        check_choice("--members", name, (*TABLES, "all"))
    return [(table, cell) for table, cells in TABLES.items() if {table, "all"} & {*wanted} for cell in cells]


def expand_plan(plan: Plan, device: str = "auto") -> list[Entry]:
    """The runs of a plan: each cell of its tables, in their order, with each of its seeds.

    Raises `ValueError`, with the valid values, for a wrong one, and where there is no seed.

    >>> expand_plan(Plan(members="table2", recipe="smoke"))[-1].member.name
    'smoke-mixup-dino-nobasic-bag0-seed0'
    """
    if not plan.seeds:
        raise ValueError("Expected at least one seed, but got none")
    sources, entries = _parse_sources(plan.appearance_weights), []
    for table, cell in list_cells(plan.members):
        for seed in dict.fromkeys((plan.weak_seeds or plan.seeds) if cell.bag else plan.seeds):
            parameters = {"RECIPE": plan.recipe, "MIX": cell.mix, "APPEARANCE": cell.appearance}
            parameters |= {"BASIC_AUG": cell.basic_aug, "BAG": cell.bag, "SEED": seed, "EPOCHS": plan.epochs}
            parameters |= {"EMOTION_WEIGHTS": plan.emotion_weights, "SETTINGS": plan.settings, "DEVICE": device}
            parameters |= {"APPEARANCE_WEIGHTS": sources.get(cell.appearance, "")}
            entries.append(Entry(member_from_parameters(**parameters), parameters, table))
    return entries


def _parse_sources(text: str) -> dict[str, str]:
    """ "dino=SOURCE vggface2=SOURCE" -> {appearance: source}."""
    sources = dict(part.partition("=")[::2] for part in text.split())
    for name, source in sources.items():
        check_choice("--appearance-weights", name, WEAK_APPEARANCES)
        if not source:
            raise ValueError(f"Expected --appearance-weights as 'dino=SOURCE vggface2=SOURCE', but got {text!r}")
    return sources
