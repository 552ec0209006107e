"""The protocol of the benchmark: rendered faces in, scores on photographs out. Its constants are here.

Those of the networks' recipes are in `lsdkit.recipes`, `lsdkit.method.gradients` and `lsdkit.training.averaging`, those
of the regressions in `lsdkit.photographs.regressions`; docs/benchmark.md says what each is for. A change of one, or of
what the code makes of it, is a new `version`: scores of two versions are not compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from lsdkit.data.combining import WHOLE
from lsdkit.data.release import TRAIN_COUNTS
from lsdkit.method.backbones import FACE_DROPOUT
from lsdkit.method.gradients import DROPOUT, RANK, RIDGE
from lsdkit.method.recognition import CHIP
from lsdkit.notebook.parameters import parse_settings
from lsdkit.photographs.regressions import HOG, HOG_SIDE, NAMES, STRENGTH
from lsdkit.photographs.views import INNER, VIEWS
from lsdkit.photographs.views import WHOLE as WHOLE_VIEW
from lsdkit.recipes import BAGS, NO_APPEARANCE, Member, check_choice, find_recipe

SINGLE, TWO_BRANCH, SHIPPED, ENSEMBLE = "single", "two-branch", "open-1", "ensemble"
OTHERS, SAME = "other collections", "same collection"  # what reference lines are trained on


@dataclass(frozen=True, kw_only=True)
class Group:
    """Networks of one kind that a model is made of, one for each of `bags` (0: on all faces).

    `view`: what they see of each face, "inner" (the protocol's window) or "whole" (the aligned crop).
    """

    recipe: str = "face_gradients"
    settings: str = ""  # over the recipe's: "name=value name=value"
    mix: str = "mixaugment"
    appearance: str = "vggface2"
    basic_aug: bool = False
    epochs: int
    bags: tuple[int, ...] = (0,)
    view: str = WHOLE_VIEW

    def __post_init__(self):
        check_choice("view", self.view, VIEWS)

    def members(self, seed: int) -> list[Member]:
        """The networks of a seed."""
        recipe = replace(find_recipe(self.recipe), **parse_settings(self.settings))
        names = ("mix", "appearance", "basic_aug", "epochs")
        options = {name: getattr(self, name) for name in names}
        return [Member.of(recipe, bag=bag, seed=seed, **options) for bag in self.bags]


BAGGED = tuple(range(1, BAGS + 1))
STRONG = Group(epochs=1)  # few: see docs/benchmark.md
WEAK = (  # a bag holds a fifth of the faces
    Group(epochs=3, bags=BAGGED, appearance="mobilevitv2"),
    Group(epochs=10, bags=BAGGED, recipe="gradients", mix="mixup", appearance="dino", basic_aug=True, view=INNER),
)
NETWORKS = {  # model -> the networks that it is made of, which vote
    SINGLE: (replace(STRONG, appearance=NO_APPEARANCE),),
    TWO_BRANCH: (STRONG,),
    SHIPPED: (STRONG, *(replace(group, bags=BAGGED[:2]) for group in WEAK)),  # what 6 MB hold of the next
    ENSEMBLE: (STRONG, *WEAK),
}
MODELS = (*NAMES, *NETWORKS)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the benchmark; the defaults are the protocol itself."""

    version: int = 7
    generator: int = 8  # `lsdkit.openset.release.FORMAT`: which renderer
    design: str = "varied"  # of `lsdkit.openset.plan.DESIGNS`: equal classes, 600 people, photographic style
    fraction: float = 0.013  # of the LSD release's training faces: 3,606
    validation: int = 600  # rendered faces that choose the epoch
    test: int = 600  # rendered faces of unseen people, scored beside the photographs
    pixels: int = 112
    annotator: str = "dlib"  # finds the faces of photographs, and their landmarks
    grey: bool = True  # every picture, rendered or photographed, in training and test
    window: tuple[float, float, float] = (0.2, 0.28, 0.6)  # left, top, side of the view "inner" in each picture
    seeds: tuple[int, ...] = (0, 1, 2)  # a seed draws everything: the rendered faces, bags, first weights, batches
    networks: tuple[tuple[str, tuple[Group, ...]], ...] = tuple(NETWORKS.items())
    folds: int = 5  # of the reference that is trained on photographs of the same collection, by person
    resamples: int = 2000  # of the bootstrap

    @property
    def faces(self) -> int:
        """Rendered faces to train on."""
        return round(self.fraction * sum(TRAIN_COUNTS))

    @property
    def windows(self) -> dict[str, tuple[float, float, float]]:
        """View -> left, top and side of what it shows of the aligned crop, in shares of the crop's side."""
        return {INNER: self.window, WHOLE_VIEW: WHOLE}


PROTOCOL = Protocol()
ONE = "one collection, the development half of 801 photographs"
BOTH = "the two development collections of docs/benchmark.md"
FOUR = "four collections, read in one study"


def list_tuned() -> list[dict[str, str]]:
    """The constants that were chosen by looking at photographs: `constant`, its `value`, and what it was `tuned_on`."""
    recipe, face = find_recipe("gradients"), find_recipe(STRONG.recipe)
    regressions = [(f"C of {name}", STRENGTH[name], FOUR if name == "face" else ONE) for name in STRENGTH]
    rows = [
        (
            "expressions of the renderer",
            f"format {PROTOCOL.generator}",
            f"{BOTH}; independent judges of rendered faces",
        ),
        ("share of the release's training faces that are rendered", PROTOCOL.fraction, ONE),
        ("window of the view inner", PROTOCOL.window, ONE),
        ("histograms: side in pixels, pixels a cell", (HOG_SIDE, *HOG["pixels_per_cell"]), ONE),
        *regressions,
        ("weight decay", recipe.weight_decay, ONE),
        ("mean of weights of gradients", recipe.averaging, ONE),
        ("strength of augmentation of gradients", recipe.aug_strength, ONE),
        ("rank of the projection of gradients", RANK, BOTH),
        ("ridge of the directions of face_gradients, for each feature", RIDGE, BOTH),
        ("pixels that face_gradients shows the face network", CHIP, BOTH),
        ("dropout of the projection, of gradients and of face_gradients", (DROPOUT, FACE_DROPOUT), BOTH),
        (
            "batch, mean of weights and basic augmentation of face_gradients",
            (face.batch_size, face.averaging, STRONG.basic_aug),
            BOTH,
        ),
        ("epochs of face_gradients, on all faces and on a bag", (STRONG.epochs, WEAK[0].epochs), BOTH),
        ("epochs of gradients on a bag", WEAK[1].epochs, ONE),
        ("members of the vote", "6 of face_gradients, 5 of gradients", BOTH),
    ]
    return [{"constant": name, "value": str(value), "tuned_on": where} for name, value, where in rows]


def groups_of(model: str, protocol: Protocol = PROTOCOL) -> tuple[Group, ...]:
    """The kinds of networks that a model is made of; none of a regression."""
    return dict(protocol.networks).get(model, ())


def members_of(model: str, seed: int, protocol: Protocol = PROTOCOL) -> list[Member]:
    """The networks that a model is made of: none of a regression, one, or those that vote.

    >>> [len(members_of(model, 0)) for model in ("hog", "single", "two-branch", "ensemble")]
    [0, 1, 1, 11]
    """
    return [member for group in groups_of(model, protocol) for member in group.members(seed)]


def networks_of(protocol: Protocol, models: Sequence[str], seed: int) -> dict[str, tuple[Member, str]]:
    """The networks of these models and this seed and what they see: name -> (member, view), each once.

    The vote counts `two-branch` among its members. Raises `ValueError` where two networks have one name.
    """
    networks = {}
    for group in (group for model in models for group in groups_of(model, protocol)):
        for member in group.members(seed):
            if networks.setdefault(member.name, (member, group.view)) != (member, group.view):
                raise ValueError(f"Expected networks of different names, but two are called {member.name}")
    return networks


def list_deviations(protocol: Protocol, models: Sequence[str] = MODELS, generators: Iterable[int] = ()) -> list[str]:
    """How a benchmark differs from the protocol, in words; none where its scores may be called the protocol's.

    >>> list_deviations(Protocol(fraction=0.002))
    ['fraction is 0.002 and not 0.013']
    """
    values = [(field.name, getattr(protocol, field.name), getattr(PROTOCOL, field.name)) for field in fields(Protocol)]
    words = [
        "the networks are not those of the protocol" if name == "networks" else f"{name} is {here} and not {there}"
        for name, here, there in values
        if here != there
    ]
    others = sorted(set(generators) - {protocol.generator})
    words += [f"faces are those of generator {other} and not {protocol.generator}" for other in others]
    missing = [model for model in MODELS if model not in models]
    return words + ([f"without {', '.join(missing)}"] if missing else [])
