"""Parameters of a notebook: whether they are those that it declares, and the member that they describe.

Importing this module is cheap on purpose: a wrong parameter fails before torch and the rest are loaded.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches

from lsdkit.recipes import NO_APPEARANCE, RECIPES, SETTABLE, Member, check_choice, find_recipe

DEVICES = ("auto", "cpu", "cuda")
INJECTED = "# Parameters"  # how the cell begins that papermill puts after the declared parameters
TYPES = {  # what a parameter may be, in words, and how a value of another type comes right
    "str": (
        "text",
        "with papermill say -r {0} and the text, since -p reads numbers, True, False and None; in a cell, quotes",
    ),
    "int": ("a whole number", "with papermill say -p {0} and digits; in a cell, digits without quotes"),
    "bool": ("True or False", "with papermill say -p {0} True or -p {0} False; in a cell, no quotes"),
}


def check_parameters(scope: Mapping[str, object]) -> None:
    """Compare what papermill gave a notebook, and what was typed into it, with the parameters that it declares.

    `scope` is the notebook's `globals()`, whose `In` holds the cells that were run. Raises `ValueError` for a name
    that is not declared, with the nearest one, and for a value of another type than declared. What later cells bind
    is no parameter, so that this can be run again at any time.
    """
    declared, injected = {}, []
    for source in scope.get("In", ()):
        try:
            body = ast.parse(source).body
        except SyntaxError:
            continue
        if found := _list_declared(body):
            declared, injected = declared | found, []
        elif source.startswith(INJECTED):
            injected = [target.id for node in body if isinstance(node, ast.Assign) for target in node.targets]
    check_names(injected, declared)
    for name, kind in declared.items():
        if type(scope[name]).__name__ != kind:
            what, advice = TYPES[kind]
            raise ValueError(f"Expected `{name}` to be {what}, but got {scope[name]!r}: {advice.format(name)}")


def check_names(given: Iterable[str], declared: Iterable[str], whose: str = "this notebook") -> None:
    """Raise `ValueError` for parameters that are not declared, with the nearest that are.

    >>> check_names(["MIXX"], ["MIX", "BAG"])
    Traceback (most recent call last):
    ValueError: Expected parameters of this notebook (MIX, BAG), but got MIXX: did you mean MIX?
    """
    declared = list(declared)
    if unknown := sorted(set(given) - set(declared)):
        near = [found for name in unknown for found in get_close_matches(name.upper(), declared, 1)]
        hint = f": did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"Expected parameters of {whose} ({', '.join(declared)}), but got {', '.join(unknown)}{hint}")


def _list_declared(body: list[ast.stmt]) -> dict[str, str]:
    """Names and types that a cell declares, {} where it is no cell of parameters: typed names in capitals alone."""
    typed = [node for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    names = {node.target.id: ast.unparse(node.annotation) for node in typed}
    fits = len(typed) == len(body) and all(name.isupper() and kind in TYPES for name, kind in names.items())
    return names if fits else {}


def parse_settings(text: str) -> dict[str, object]:
    """Settings of a recipe from "name=value name=value"; `ValueError`, naming what there is, for a wrong one.

    >>> parse_settings("label_smoothing=0.1 sampling=balanced")
    {'label_smoothing': 0.1, 'sampling': 'balanced'}
    """
    settings = {}
    for part in text.split():
        name, _, value = part.partition("=")
        if name not in SETTABLE or not value:
            near = get_close_matches(name, SETTABLE, 1) if name not in SETTABLE else []
            raise ValueError(
                f"Expected settings as 'name=value name=value' with names of {', '.join(SETTABLE)}, but got {part!r}"
                + (f": did you mean {near[0]}?" if near else "")
            )
        kind = SETTABLE[name]
        try:
            settings[name] = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            raise ValueError(f"Expected `{name}` to be of type {kind.__name__}, but got {value!r}") from None
    return settings


def member_from_parameters(
    RECIPE: str,
    MIX: str = "mixaugment",
    APPEARANCE: str = "vggface2",
    BASIC_AUG: bool = True,
    BAG: int = 0,
    SEED: int = 0,
    EPOCHS: int = 0,
    DEVICE: str = "auto",
    EMOTION_WEIGHTS: str = "",
    APPEARANCE_WEIGHTS: str = "",
    SETTINGS: str = "",
) -> Member:
    """The member that a notebook's parameters describe; raises `ValueError` with the valid values for a wrong one.

    A source of weights "" is the recipe's (see docs/weights.md); SETTINGS is "name=value name=value" over the recipe's.

    >>> member_from_parameters("smoke", MIX="mixup", BAG=2).name
    'smoke-mixup-vggface2-basic-bag2-seed0'
    >>> member_from_parameters("smoke", MIX="cutmix")
    Traceback (most recent call last):
    ValueError: Expected `MIX` to be one of 'mixup', 'mixaugment', but got 'cutmix'
    """
    settings = parse_settings(SETTINGS)
    if "epochs" in settings:  # of every member
        settings.setdefault("weak_epochs", 0)
    recipe = replace(find_recipe(RECIPE), **settings)
    check_choice("DEVICE", DEVICE, DEVICES)
    names = (*dict(recipe.appearances), NO_APPEARANCE)
    if APPEARANCE not in names:
        from lsdkit.method import backbones  # slow to import: only where the paper's names do not answer

        try:
            backbones.check_name(APPEARANCE)
        except ValueError as error:
            words = ", ".join(map(repr, names))
            raise ValueError(f"Expected `APPEARANCE` to be one of {words}, or a backbone. {error}") from None
    return Member.of(
        recipe,
        mix=MIX,
        appearance=APPEARANCE,
        basic_aug=BASIC_AUG,
        bag=BAG,
        seed=SEED,
        epochs=EPOCHS,
        emotion_weights=EMOTION_WEIGHTS,
        appearance_weights=APPEARANCE_WEIGHTS,
    )


def find_compared(member: Member, COMPARE: str) -> Member | None:
    """The same member of the recipe COMPARE, to be trained beside it; None for "".

    Its epochs, weights and settings are that recipe's own. Raises `ValueError` with the valid names for a wrong one,
    and where nothing would differ.

    >>> find_compared(member_from_parameters("smoke", BAG=2, EPOCHS=1), "small").name
    'small-mixaugment-vggface2-basic-bag2-seed0'
    """
    check_choice("COMPARE", COMPARE, ("", *RECIPES))
    if not COMPARE:
        return None
    same = ("mix", "appearance", "basic_aug", "bag", "seed")
    compared = Member.of(COMPARE, **{name: getattr(member, name) for name in same})
    if replace(compared, recipe=replace(compared.recipe, name=member.recipe.name)) == member:
        raise ValueError(
            f"Expected `COMPARE` to be another recipe than RECIPE {member.recipe.name}, but {COMPARE} has the same "
            "settings: name another, or give this member EPOCHS, weights or SETTINGS of its own"
        )
    return compared
