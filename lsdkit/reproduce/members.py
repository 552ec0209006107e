"""The runs of a sweep: the cells of the paper's Tables 2 and 3, or rows of one's own, times seeds.

There are 42 cells: `table2` are the 8 strong ones of Table 2, `table3` the 30 weak ones of Table 3, `extra` the 4
strong MobileViTv2 cells that the paper could not train. Rows are what `lsdkit.notebook.grids` reads.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field

from lsdkit.ensembles.rules import MIX_NAMES, WEAK_APPEARANCES, Cell, strong_cells, weak_cells
from lsdkit.notebook.parameters import member_from_parameters
from lsdkit.recipes import Member, check_choice

TABLES = {
    "table2": strong_cells(*MIX_NAMES),
    "table3": [cell for mix in MIX_NAMES for name in WEAK_APPEARANCES for cell in weak_cells(mix, name)],
    "extra": strong_cells(*MIX_NAMES, appearances=("mobilevitv2",)),
}
OWN = "own"  # the table of runs beyond the paper's
DEFAULTS = {  # of notebook 03's parameters, but for the recipe
    name: each.default
    for name, each in inspect.signature(member_from_parameters).parameters.items()
    if each.default is not each.empty
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep is to run: which cells or rows, under which recipe and settings, with which seeds.

    `rows` are runs beyond the paper's, {where it is written, in words: parameters of notebook 03}, and take the place
    of `members`; what a row says itself comes before what the plan says, and its SETTINGS are added to the plan's.
    `weak_seeds` are those of members on a bag (Table 3); none means `seeds`. `settings` is "name=value name=value" over
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
    rows: dict[str, dict] = field(default_factory=dict)


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
    """The runs of a plan: each cell of its tables or each of its rows, in their order, with each of its seeds.

    Raises `ValueError`, with the valid values and the row, for a wrong one, where there is no seed, and where two runs
    are one member, or would share a folder.

    >>> expand_plan(Plan(members="table2", recipe="smoke"))[-1].member.name
    'smoke-mixup-dino-nobasic-bag0-seed0'
    >>> rows = {"first": {"BAG": 1}, "second": {"SETTINGS": "alpha=0.2", "SEED": 7}}
    >>> [entry.member.name for entry in expand_plan(Plan(recipe="smoke", rows=rows))][1]
    'smoke-mixaugment-vggface2-basic-bag0-seed7-alpha_0.2'
    """
    if not plan.seeds:
        raise ValueError("Expected at least one seed, but got none")
    sources, entries, places = _parse_sources(plan.appearance_weights), [], {}
    common = {**DEFAULTS, "RECIPE": plan.recipe, "EPOCHS": plan.epochs, "EMOTION_WEIGHTS": plan.emotion_weights}
    for table, where, own in _list_rows(plan):
        settings = " ".join(filter(None, (plan.settings, own.get("SETTINGS"))))
        source = sources.get(own.get("APPEARANCE", DEFAULTS["APPEARANCE"]), "")
        seeds = (plan.weak_seeds or plan.seeds) if own.get("BAG") else plan.seeds
        for seed in [own["SEED"]] if "SEED" in own else dict.fromkeys(seeds):
            parameters = {**common, "APPEARANCE_WEIGHTS": source, **own, "SEED": seed, "SETTINGS": settings}
            parameters["DEVICE"] = device
            try:
                member = member_from_parameters(**parameters)
            except ValueError as error:
                raise ValueError(f"{where}: {error}" if where else str(error)) from error
            name = member.name
            if name in places:
                twice, earlier = places[name]
                how = "are the same member" if twice == member else "would share a folder"
                raise ValueError(f"Expected each run once, but {where} and {earlier} {how}, {name}: leave one out")
            places[name] = member, where
            entries.append(Entry(member, parameters, table))
    return entries


def _list_rows(plan: Plan) -> Iterator[tuple[str, str, dict]]:
    """(table, where it is written, parameters) of each cell of the plan's tables, or of each of its rows."""
    for where, own in plan.rows.items():
        yield OWN, where, own
    for table, cell in () if plan.rows else list_cells(plan.members):
        own = {"MIX": cell.mix, "APPEARANCE": cell.appearance, "BASIC_AUG": cell.basic_aug, "BAG": cell.bag}
        yield table, "", own


def _parse_sources(text: str) -> dict[str, str]:
    """ "dino=SOURCE vggface2=SOURCE" -> {appearance: source}."""
    sources = dict(part.partition("=")[::2] for part in text.split())
    for name, source in sources.items():
        check_choice("--appearance-weights", name, WEAK_APPEARANCES)
        if not source:
            raise ValueError(f"Expected --appearance-weights as 'dino=SOURCE vggface2=SOURCE', but got {text!r}")
    return sources
