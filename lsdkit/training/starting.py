"""What a network starts from: published weights or an own run's, put into the branch that they belong to.

Every load is told of key by key, and goes into the result. Weights belong to one graph and one preprocessing
(`lsdkit.weights.published`); a recipe that combines them with another backbone is refused.
"""

import warnings

import torch

from lsdkit.common.files import describe_difference
from lsdkit.common.paths import resolve
from lsdkit.method import backbones
from lsdkit.method.network import MultiTask
from lsdkit.recipes import NO_APPEARANCE, RANDOM, Recipe
from lsdkit.training import checkpoints
from lsdkit.training.runs import read_run
from lsdkit.weights import published
from lsdkit.weights.loading import Report, fill
from lsdkit.weights.published import Source

DETAILS = 10  # names of keys that a report gives of each sort
_DAN_SIZES = {"features": 512, "head_features": 256, "heads": 4}  # of the official attention heads
_KEPT_SETTINGS = ("features", "head_features", "heads", "shared")  # sizes that an own run has to share


def start_branches(network: MultiTask, recipe: Recipe, appearance: str) -> dict[str, dict]:
    """Load the recipe's weights into a freshly built network, in place, and say what became of each key.

    Returns for each role, "emotion" and, where there is that branch, "appearance": `source`; `kind` ("random", or what
    `published.Source.kind` says of its first part); and for weights that were read `file` (its name), `sha256`, the
    number of keys `loaded`, `missing` in the file, `unexpected` in it and `reshaped`, and up to ten names of each under
    `detail`. An own run adds to the emotion branch `rows`: how many of its expressions were taken.

    Warns of tensors that stay random. Raises `FileNotFoundError` where a file is missing, and `ValueError` for
    weights of another graph or preprocessing, for ones that mostly do not fit, and for a damaged file.
    """
    return {role: _start(network, recipe, role, name) for role, name in _roles(network.multitask, appearance)}


def fingerprint_sources(recipe: Recipe, appearance: str) -> dict[str, str]:
    """SHA-256 of what each role starts from, without loading it; roles with random weights are left out.

    Raises `FileNotFoundError` for a file that is missing and `ValueError` for a source that is none.
    """
    found = {
        role: published.fingerprint(recipe.source(name))
        for role, name in _roles(appearance not in ("", NO_APPEARANCE), appearance)
    }
    return {role: digest for role, digest in found.items() if digest}


def _roles(multitask: bool, appearance: str) -> list[tuple[str, str]]:
    """(role of a result, role of a recipe) of each branch."""
    return [("emotion", "emotion"), *([("appearance", appearance)] if multitask else [])]


def _start(network: MultiTask, recipe: Recipe, role: str, name: str) -> dict:
    source = recipe.source(name)
    parts = published.parse(source)
    if not parts:
        return {"source": RANDOM, "kind": "random"}
    report, extra = Report(), {}
    for part in parts:
        if part.run:
            found, extra = _from_run(network, recipe, role, name, part)
        else:
            found = (_heads if part.heads else _from_set)(network, recipe, role, name, part)
        report += found
    random = report.random()
    if random:
        warnings.warn(f"{source}: {len(random)} tensors stay random, such as {random[0]} ({report})", stacklevel=4)
    return {
        "source": source,
        "kind": parts[0].kind,
        "file": "+".join(published.locate(part).name for part in parts),
        "sha256": published.fingerprint(source),
        **{sort: len(keys) for sort, keys in vars(report).items()},
        "detail": {sort: keys[:DETAILS] for sort, keys in vars(report).items()},
        **extra,
    }


def _from_set(network: MultiTask, recipe: Recipe, role: str, name: str, part: Source) -> Report:
    """A published set: its backbone, and DAN's heads where it is one and the branch is the emotion branch."""
    ours = backbones.backbone_for(recipe, name)
    graph = getattr(network, role).backbone.find(part.published.backbone)
    if graph is None:
        hint = ""
        if part.published.format == "dan" and role == "emotion":
            hint = f"; for its attention heads alone write 'random+{part.text}' or 'SET+{part.text}'"
        raise ValueError(
            f"Expected the {role} branch's weights to belong to its backbone {ours}, but {part.text} belongs to "
            f"{part.published.backbone}, another graph or preprocessing; choose that backbone or other weights{hint}"
        )
    tensors = published.tensors(part, recipe.dino_key)
    heads = {key: tensors.pop(key) for key in list(tensors) if key.startswith("cat_head")}
    report = fill(graph, tensors, part.text).under("backbone.")
    if part.published.format == "dan" and role == "emotion":
        return report + _heads(network, recipe, role, name, part)
    report.unexpected += heads
    return report


def _heads(network: MultiTask, recipe: Recipe, role: str, name: str, part: Source) -> Report:
    """DAN's attention heads onto the emotion branch, whatever its backbone."""
    if role != "emotion":
        raise ValueError(f"Expected attention heads for the emotion branch only, but {name} got {part.text}")
    sizes = {size: getattr(recipe, size) for size in _DAN_SIZES}
    if sizes != _DAN_SIZES:
        raise ValueError(f"Expected a recipe with {_DAN_SIZES} for the heads of {part.text}, but got {sizes}")
    tensors = {k.removeprefix("cat_head"): v for k, v in published.tensors(part).items() if k.startswith("cat_head")}
    return fill(network.emotion.heads, tensors, f"the heads of {part.text}").under("heads.")


def _from_run(network: MultiTask, recipe: Recipe, role: str, name: str, part: Source) -> tuple[Report, dict]:
    """An own run: the emotion branch with the shared layers and the expressions, or the appearance branch."""
    folder = resolve(part.path)
    run = read_run(folder)
    run.check_file("weights.pt")
    donor = run.member
    if role == "appearance" and donor.appearance == NO_APPEARANCE:
        raise ValueError(f"Expected the run {part.text} to have an appearance branch, but it is a single-task run")
    theirs = _setting(donor.recipe, role, "emotion" if role == "emotion" else donor.appearance)
    ours = _setting(recipe, role, name)
    if theirs != ours:
        raise ValueError(
            f"Expected a run with the {role} branch of this recipe, but {part.text} differs: "
            f"{describe_difference(theirs, ours)}; choose a recipe with its settings, or other weights"
        )
    state = checkpoints.read_weights(folder)["state"]
    if role == "appearance":
        return fill(network.appearance, _below("appearance.", state), part.text).under("appearance."), {}
    report = Report()
    for module in ("emotion", "shared"):
        tensors = _below(f"{module}.", state)
        report += fill(getattr(network, module), tensors, part.text).under(f"{module}.")
    rows = min(recipe.classes, donor.recipe.classes)
    report += _first_rows(network, _below("expression.", state), rows).under("expression.")
    return report, {"rows": f"{rows} of the run's {donor.recipe.classes}, for {recipe.classes}"}


def _first_rows(network: MultiTask, tensors: dict[str, torch.Tensor], rows: int) -> Report:
    """The expressions' rows: they share their order (the six of LSD, neutral, contempt), so the first ones fit."""
    own = network.expression.state_dict()
    for key, value in own.items():
        if value.ndim:
            value[:rows] = tensors[key][:rows]
            tensors[key] = value
    return fill(network.expression, tensors, "the expressions of a run")


def _setting(recipe: Recipe, role: str, name: str) -> dict:
    """What decides whether a branch's weights mean the same in two recipes: graph, sizes and preprocessing."""
    backbone = backbones.backbone_for(recipe, name)
    sizes = {size: getattr(recipe, size) for size in (_KEPT_SETTINGS if role == "emotion" else ("features",))}
    return {
        "backbone": backbone.partition(".")[0],
        "preprocessing": backbones.preprocessing(backbone, recipe.normalisation),
        **sizes,
    }


def _below(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
