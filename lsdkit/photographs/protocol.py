"""The protocol of the benchmark: rendered faces in, scores on photographs out. Its constants are here.

Those of the networks are in `recipes.GRADIENTS`, `lsdkit.method.gradients` and `lsdkit.training.averaging`, those of
the regressions in `lsdkit.photographs.regressions`; docs/benchmark.md says what each is for. A change of one, or of
what the code makes of it, is a new `version`: scores of two versions are not compared.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from lsdkit.data.release import TRAIN_COUNTS
from lsdkit.notebook import parse_settings
from lsdkit.photographs.regressions import NAMES
from lsdkit.recipes import BAGS, NO_APPEARANCE, Member, find_recipe

SINGLE, TWO_BRANCH, ENSEMBLE = "single", "two-branch", "ensemble"
NETWORKS = (SINGLE, TWO_BRANCH, ENSEMBLE)
MODELS = (*NAMES, *NETWORKS)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of the benchmark; the defaults are the protocol itself."""

    version: int = 5
    generator: int = 6  # `lsdkit.openset.release.FORMAT`: which renderer
    design: str = "varied"  # of `lsdkit.openset.plan.DESIGNS`: equal classes, 600 people, photographic style
    fraction: float = 0.013  # of the LSD release's training faces: 3,606
    validation: int = 600  # rendered faces that choose the epoch
    test: int = 600  # rendered faces of unseen people, scored beside the photographs
    pixels: int = 112
    annotator: str = "dlib"  # finds the faces of photographs, and their landmarks
    grey: bool = True  # every picture, rendered or photographed, in training and test
    window: tuple[float, float, float] = (0.2, 0.28, 0.6)  # left, top, side: the part of each picture that is used
    seeds: tuple[int, ...] = (0, 1, 2)  # a seed draws everything: the rendered faces, bags, first weights, batches
    recipe: str = "gradients"
    settings: str = ""  # over the recipe's: "name=value name=value"
    strong_epochs: int = 5  # few: see docs/benchmark.md
    weak_epochs: int = 10  # a bag holds a fifth of the faces
    strong: tuple[str, str] = ("mixaugment", "vggface2")  # mix and appearance of `single` and `two-branch`
    weak: tuple[tuple[str, str], ...] = (("mixaugment", "vggface2"), ("mixup", "dino"))  # five bags of each
    resamples: int = 2000  # of the bootstrap

    @property
    def faces(self) -> int:
        """Rendered faces to train on."""
        return round(self.fraction * sum(TRAIN_COUNTS))


PROTOCOL = Protocol()


def members_of(model: str, seed: int, protocol: Protocol = PROTOCOL) -> list[Member]:
    """The networks that a model is made of: none of a regression, one, or those that vote.

    >>> [len(members_of(model, 0)) for model in ("hog", "single", "two-branch", "ensemble")]
    [0, 1, 1, 11]
    """
    recipe = replace(find_recipe(protocol.recipe), **parse_settings(protocol.settings))
    mix, appearance = protocol.strong
    strong = Member.of(recipe, mix=mix, appearance=appearance, seed=seed, epochs=protocol.strong_epochs)
    weak = [
        Member.of(recipe, mix=mix, appearance=appearance, bag=bag, seed=seed, epochs=protocol.weak_epochs)
        for mix, appearance in protocol.weak
        for bag in range(1, BAGS + 1)
    ]
    networks = {
        SINGLE: [replace(strong, appearance=NO_APPEARANCE)],
        TWO_BRANCH: [strong],
        ENSEMBLE: [strong, *weak],
    }
    return networks.get(model, [])


def networks_of(protocol: Protocol, models: Sequence[str], seed: int) -> dict[str, Member]:
    """The networks of these models and this seed by name, each once: the vote counts `two-branch` among its members."""
    return {member.name: member for model in models for member in members_of(model, seed, protocol)}


def list_deviations(protocol: Protocol, models: Sequence[str] = MODELS, generators: Iterable[int] = ()) -> list[str]:
    """How a benchmark differs from the protocol, in words; none where its scores may be called the protocol's.

    >>> list_deviations(Protocol(fraction=0.002))
    ['fraction is 0.002 and not 0.013']
    """
    values = [(field.name, getattr(protocol, field.name), getattr(PROTOCOL, field.name)) for field in fields(Protocol)]
    words = [f"{name} is {here} and not {there}" for name, here, there in values if here != there]
    others = sorted(set(generators) - {protocol.generator})
    words += [f"faces are those of generator {other} and not {protocol.generator}" for other in others]
    missing = [model for model in MODELS if model not in models]
    return words + ([f"without {', '.join(missing)}"] if missing else [])
