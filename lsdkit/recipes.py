"""Recipes: every setting of a training, as frozen, validated data; and members: what one run trains.

A recipe holds what stays the same over an ensemble (Table 1 of the paper and the choices that the paper leaves
open); a member adds what Tables 2 and 3 vary: mixing, appearance backbone, basic augmentation, bag and seed.
"""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, Self, get_args, get_origin

MIXES = ("mixup", "mixaugment")
BAGS = 5  # weak learners, each on a bag of 20% of the training set (paper section 2.2)
RANDOM = "random"  # the source of weights that are drawn and not read
NO_APPEARANCE = "none"  # as `appearance`: a single-task network, which learns expressions alone


_AT_LEAST_1 = "of at least 1", lambda value: value >= 1
_AT_LEAST_0 = "of at least 0", lambda value: value >= 0
_ABOVE_0 = "above 0", lambda value: value > 0
_SHARE = "in (0, 1]", lambda value: 0 < value <= 1
_PART = "in [0, 1)", lambda value: 0 <= value < 1
_RANGES = {  # in words, and as a test
    **dict.fromkeys(("features", "head_features", "heads", "epochs"), _AT_LEAST_1),
    **dict.fromkeys(("steps_per_epoch", "weak_epochs", "weight_decay"), _AT_LEAST_0),
    **dict.fromkeys(("learning_rate", "alpha"), _ABOVE_0),
    **dict.fromkeys(("bag_fraction", "lr_decay"), _SHARE),
    **dict.fromkeys(("label_smoothing", "averaging"), _PART),
    "aug_strength": ("in 0..1", lambda value: 0 <= value <= 1),
}


LATER = {"later": True}  # of a field that runs of earlier versions lack: its default is what they did, and no part of
# their `Member.spec`


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training. Defaults are the `paper` recipe: its text, and gaps filled as docs/deviations.md says."""

    name: str
    image_size: int = 224  # side of the square network input, pixels
    emotion: str = "vggface2_resnet50"  # backbone of the emotion branch
    appearances: tuple[tuple[str, str], ...] = (  # paper's name of the appearance backbone -> our backbone
        ("vggface2", "vggface2_resnet50"),
        ("dino", "resnet50"),
        ("mobilevitv2", "mobilevitv2_200"),
    )
    weights: tuple[tuple[str, str], ...] = (  # "emotion" or an appearance's name -> source (docs/weights.md)
        ("emotion", "vggface2_ft"),
        ("vggface2", "vggface2_ft"),
        ("dino", "dino_resnet50"),
        ("mobilevitv2", "timm:mobilevitv2_200.cvnets_in22k_ft_in1k"),
    )
    classes: Literal[6, 7, 8] = 6  # expressions learned: 6, 7 with neutral, 8 with neutral and contempt (pre-training)
    features: int = 512  # channels D after the adapters
    head_features: int = 256  # inner channels of a cross-attention head
    heads: int = 4
    shared: tuple[int, int] = (256, 128)  # widths of the shared layers
    batch_size: int = 128
    epochs: int = 12
    steps_per_epoch: int = 0  # 0 = as many as the faces give; fewer for a dry run
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    lr_decay: float = 0.9  # factor on the learning rate after each epoch
    averaging: float = 0.0  # most that the mean of weights, which is scored, keeps of itself at a step; 0 = no mean
    alpha: float = 0.1  # of Beta(alpha, alpha)
    bag_fraction: float = 0.2
    bag_replacement: bool = False
    bag_disjoint: bool = False
    class_weights: Literal["none", "one_minus_share", "balanced"] = "none"  # 1 - n_c / N (authors), or N / (K n_c)
    sampling: Literal["shuffled", "balanced"] = "shuffled"  # each face once an epoch, or every class equally often
    label_smoothing: float = 0.0  # share of each hard label that is spread over all classes
    basic_aug_off: Literal["nothing_left", "jitter_removed"] = "nothing_left"  # what BASIC_AUG off means: of the
    # emotion view nothing is left, or both views lose their jitter and the emotion view keeps the rest
    aug_strength: float = 1.0  # 0..1, factor on the ranges of affine, erasing and jitter; 1 = the paper's
    draws: Literal["per_image", "per_batch"] = "per_image"  # flip, affine and erasing
    shared_jitter: bool = False  # one colour draw for both views of a face
    normalisation: Literal["backbone", "imagenet"] = "backbone"
    head_log_softmax: bool = True  # log-softmax over the heads before they are summed
    partition: Literal["mean_log", "log_mean"] = "mean_log"  # mean of log(1 + k/var), or log(1 + k/mean var)
    partition_passes: Literal["one", "all"] = "one"
    affinity: Literal["soft", "partner"] = "soft"  # of virtual faces: y~; or y_j, and in Mix-augment added twice
    shared_statistics: bool = False  # one set of batch-norm statistics for both branches in the shared layers
    dino_key: Literal["teacher", "student"] = "teacher"
    vote: Literal["probabilities", "logits"] = "probabilities"
    precision: Literal["float32", "bf16"] = "float32"
    frozen: tuple[tuple[str, int], ...] = field(default=(), metadata=LATER)  # backbone -> its first parts, not trained
    landmark_start: Literal["random", "mean"] = field(default="random", metadata=LATER)  # of the landmark layer: drawn,
    # or such that it answers the mean landmarks of the faces trained on
    # of batch norm beside a mean of weights: averaged as they are, or measured again before each score
    statistics: Literal["averaged", "measured"] = field(default="averaged", metadata=LATER)
    # what backward needs of backbones: kept, or computed again (`lsdkit.training.memory`); "split_N" changes results
    memory: Literal["plain", "recompute", "split_2", "split_4", "split_8"] = field(default="plain", metadata=LATER)
    weak_epochs: int = field(default=0, metadata=LATER)  # of members on a bag; 0 = `epochs`
    data: Literal["release", "open", "open_small"] = field(default="release", compare=False)  # where none is named; no
    # part of what a training is, so that it is left out of `Member.spec`

    def __post_init__(self):
        for each in fields(self):
            check_number(each.name, getattr(self, each.name), type(each.default))
        if len(self.shared) != 2 or any(type(width) is not int or width < 1 for width in self.shared):
            raise ValueError(f"Expected `shared` to be two whole numbers of at least 1, but got {self.shared!r}")
        if not 16 <= self.image_size <= 1024:
            raise ValueError(f"Expected `image_size` in 16..1024 pixels, but got {self.image_size}")
        if self.batch_size < 2:
            raise ValueError(
                f"Expected `batch_size` of at least 2 (batch norm needs two faces), but got {self.batch_size}"
            )
        for name, (words, holds) in _RANGES.items():
            if not holds(getattr(self, name)):
                raise ValueError(f"Expected `{name}` {words}, but got {getattr(self, name)}")
        for each in fields(self):
            if get_origin(each.type) is Literal:
                check_choice(each.name, getattr(self, each.name), get_args(each.type))
        if self.bag_disjoint and (self.bag_replacement or self.bag_fraction * BAGS > 1 + 1e-9):
            raise ValueError(
                f"Disjoint bags need `bag_replacement` off and {BAGS} x `bag_fraction` of at most 1, "
                f"but got {self.bag_replacement} and {self.bag_fraction}"
            )
        for role, _ in self.weights:
            check_choice("role of `weights`", role, ("emotion", *dict(self.appearances)))
        for backbone, parts in self.frozen:
            if type(parts) is not int or parts < 0:
                raise ValueError(
                    f"Expected `frozen` parts of {backbone} of at least 0, a whole number, but got {parts!r}"
                )

    def source(self, role: str) -> str:
        """Where the weights of a role come from ("random" where nothing is said).

        >>> PAPER.source("emotion"), SMOKE.source("dino")
        ('vggface2_ft', 'random')
        """
        return dict(self.weights).get(role) or RANDOM

    def with_source(self, role: str, source: str) -> "Recipe":
        """The recipe with the weights of one role, "emotion" or an appearance's name, from another source."""
        return replace(self, weights=tuple({**dict(self.weights), role: source}.items()))

    def appearance_backbone(self, appearance: str) -> str:
        """Our backbone for the paper's name of one; any other backbone name stands for itself."""
        return dict(self.appearances).get(appearance, appearance)


def check_number(name: str, value: object, kind: type) -> None:
    """Raise `ValueError` where `kind` is int, float or bool and `value` no whole number, finite number or switch."""
    if kind is int and type(value) is not int:
        raise ValueError(f"Expected `{name}` to be a whole number, but got {value!r}")
    if kind is float and (type(value) is bool or not isinstance(value, int | float) or not math.isfinite(value)):
        raise ValueError(f"Expected `{name}` to be a finite number, but got {value!r}")
    if kind is bool and type(value) is not bool:
        raise ValueError(f"Expected `{name}` to be True or False, but got {value!r}")


def check_choice(name: str, value: object, valid: tuple) -> None:
    """Raise `ValueError` with the valid values where `value` is not one of them."""
    if value not in valid:
        raise ValueError(f"Expected `{name}` to be one of {', '.join(map(repr, valid))}, but got {value!r}")


PAPER = Recipe(name="paper")
AUTHORS = replace(
    PAPER,
    name="authors",
    weights=tuple({**dict(PAPER.weights), "emotion": "vggface2_ft+dan_affectnet8"}.items()),
    weight_decay=0.0,
    lr_decay=0.6,
    class_weights="one_minus_share",
    basic_aug_off="jitter_removed",
    draws="per_batch",
    shared_jitter=True,
    normalisation="imagenet",
    head_log_softmax=False,
    partition="log_mean",
    partition_passes="all",
    affinity="partner",
    shared_statistics=True,
    dino_key="student",
    vote="logits",
)
SMALL = replace(  # from random numbers, for two cores
    PAPER,
    name="small",
    image_size=48,
    emotion="narrow_caffe",
    appearances=(("vggface2", "narrow_caffe"), ("dino", "narrow"), ("mobilevitv2", "mobilevitv2_050")),
    weights=(),
    features=128,
    head_features=64,
    shared=(128, 64),
    batch_size=16,
    epochs=5,
    learning_rate=5e-3,
    aug_strength=0.2,
    data="open",
)
SMOKE = replace(
    SMALL, name="smoke", image_size=32, features=32, head_features=16, shared=(32, 16), epochs=2, data="open_small"
)
DEMO = replace(  # from weights that come with the installation, for two cores (docs/weights.md)
    SMALL,
    name="demo",
    image_size=112,
    emotion="dlib_face",
    appearances=(("vggface2", "dlib_face"), ("dino", "narrow"), ("mobilevitv2", "tf_efficientnet_lite0")),
    weights=(
        ("emotion", "dlib_face"),
        ("vggface2", "dlib_face"),
        ("dino", "dino_open"),
        ("mobilevitv2", "efficientnet_lite0"),
    ),
    frozen=(  # docs/weights.md: a part of a network without batch norm blows up, a whole one is slow
        ("dlib_face", 11),  # all of it
        ("tf_efficientnet_lite0", 3),  # all but its last convolution
    ),
    batch_size=32,
    epochs=2,
    weak_epochs=4,
    learning_rate=2e-3,
    lr_decay=0.6,
    averaging=0.98,
    sampling="balanced",
    aug_strength=0.5,
    landmark_start="mean",
    statistics="measured",
)
WORKSHOP = replace(DEMO, name="workshop", epochs=4, weak_epochs=8, lr_decay=0.8)
TINY = replace(DEMO, name="tiny")  # for the 42 cells of the paper's tables, so that the demo may change alone
GRADIENTS = replace(  # for photographs, from renders alone: the benchmark's
    SMALL,
    name="gradients",
    emotion="gradients",
    appearances=(("vggface2", "gradients"), ("dino", "narrow"), ("mobilevitv2", "mobilevitv2_050")),
    weights=(("dino", "dino_open"),),
    features=64,
    head_features=32,
    image_size=72,
    batch_size=32,
    epochs=5,  # of a training by hand; the benchmark has its own numbers
    learning_rate=2e-3,
    weight_decay=1e-2,
    lr_decay=0.8,
    averaging=0.99,
    sampling="balanced",
    label_smoothing=0.1,
)
FACE_GRADIENTS = replace(  # the same with the face network beside the histograms, and pre-trained appearance branches
    GRADIENTS,
    name="face_gradients",
    emotion="face_gradients",
    appearances=DEMO.appearances,
    weights=DEMO.weights,
    frozen=(("face_gradients", 1), *DEMO.frozen),
    image_size=112,
    epochs=2,
    averaging=0.98,
    landmark_start="mean",
)
RECIPES = {
    recipe.name: recipe for recipe in (PAPER, AUTHORS, WORKSHOP, DEMO, TINY, SMALL, SMOKE, GRADIENTS, FACE_GRADIENTS)
}


def find_recipe(recipe: Recipe | str) -> Recipe:
    """The recipe of this name, or the recipe itself; raises `ValueError` with the names there are.

    >>> find_recipe("paper").epochs
    12
    """
    if isinstance(recipe, Recipe):
        return recipe
    check_choice("RECIPE", recipe, tuple(RECIPES))
    return RECIPES[recipe]


SETTABLE = {  # what a member may change of its recipe, by name, and the type of each
    each.name: type(getattr(PAPER, each.name))
    for each in fields(Recipe)
    if each.compare and each.name != "name" and not isinstance(getattr(PAPER, each.name), tuple)
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of an ensemble: a recipe and what Tables 2 and 3 vary. `bag` 0 is the whole training set (strong).

    `appearance` is the paper's name of the appearance backbone, a backbone's own name, or "none": single-task.
    """

    recipe: Recipe
    mix: str = "mixaugment"
    appearance: str = "vggface2"
    basic_aug: bool = True
    bag: int = 0
    seed: int = 0
    epochs: int = 0  # 0 = the recipe's

    def __post_init__(self):
        check_choice("MIX", self.mix, MIXES)
        check_choice("BASIC_AUG", self.basic_aug, (True, False))
        check_choice("BAG", self.bag, tuple(range(BAGS + 1)))
        if type(self.basic_aug) is not bool:
            raise ValueError(f"Expected `BASIC_AUG` to be True or False, but got {self.basic_aug!r}")
        for name in ("bag", "seed", "epochs"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"Expected `{name.upper()}` to be a whole number of at least 0, but got {value!r}")
        if self.epochs == 0:
            object.__setattr__(self, "epochs", self.usual_epochs())

    @classmethod
    def of(
        cls,
        recipe: Recipe | str = "paper",
        *,
        mix: str = "mixaugment",
        appearance: str = "vggface2",
        basic_aug: bool = True,
        bag: int = 0,
        seed: int = 0,
        epochs: int = 0,
        emotion_weights: str = "",
        appearance_weights: str = "",
    ) -> Self:
        """A member of a recipe, or of the one of this name; a source of weights "" is the recipe's (docs/weights.md).

        `appearance` may be any backbone's own name. Raises `ValueError` with the valid values for a wrong one; the name
        of a backbone is checked where the network is built.

        >>> Member.of("smoke", mix="mixup", bag=2).name
        'smoke-mixup-vggface2-basic-bag2-seed0'
        """
        recipe = find_recipe(recipe)
        if appearance not in (*dict(recipe.appearances), NO_APPEARANCE):
            recipe = replace(recipe, appearances=(*recipe.appearances, (appearance, appearance)))
        if appearance_weights and appearance == NO_APPEARANCE:
            raise ValueError(f"Expected no APPEARANCE_WEIGHTS with APPEARANCE 'none', but got {appearance_weights!r}")
        for role, source in (("emotion", emotion_weights), (appearance, appearance_weights)):
            recipe = recipe.with_source(role, source) if source else recipe
        return cls(
            recipe=recipe, mix=mix, appearance=appearance, basic_aug=basic_aug, bag=bag, seed=seed, epochs=epochs
        )

    @property
    def name(self) -> str:
        """A readable, unique-enough folder name.

        >>> Member(recipe=find_recipe("paper"), mix="mixup", bag=2).name
        'paper-mixup-vggface2-basic-bag2-seed0'
        """
        basic = "basic" if self.basic_aug else "nobasic"
        fixed = self.recipe.name, self.mix, self.appearance, basic, f"bag{self.bag}", f"seed{self.seed}"
        epochs = [f"epochs{self.epochs}"] if self.epochs != self.usual_epochs() else []
        return "-".join((*fixed, *epochs, *(f"{name}_{value}" for name, value in self.changes)))

    @property
    def changes(self) -> list[tuple[str, object]]:
        """Settings that are not its recipe's own, then where its branches start by their roles: (name, value).

        >>> from dataclasses import replace
        >>> Member(recipe=replace(find_recipe("smoke"), alpha=0.4)).changes
        [('alpha', 0.4)]
        """
        named = RECIPES.get(self.recipe.name, self.recipe)
        settings = [(name, getattr(self.recipe, name)) for name in SETTABLE]
        changes = [(name, value) for name, value in settings if value != getattr(named, name)]
        for role in ("emotion", self.appearance):
            if self.recipe.source(role) != named.source(role):
                source = self.recipe.source(role).rstrip("/").rpartition("/")[2]
                changes.append((role, re.sub("[^A-Za-z0-9_.]+", "_", source)))
        return changes

    def usual_epochs(self) -> int:
        """The recipe's, of a strong or of a weak member."""
        return (self.bag and self.recipe.weak_epochs) or self.recipe.epochs

    def spec(self) -> dict:
        """Every setting as plain JSON values: what decides, with the store, which weights come out."""
        spec = asdict(self)
        for each in fields(Recipe):
            if not each.compare or ("later" in each.metadata and getattr(self.recipe, each.name) == each.default):
                del spec["recipe"][each.name]
        return json.loads(json.dumps(spec))

    def spec_hash(self) -> str:
        """Twelve hexadecimal digits over `spec()`: a finished run is this member's where they agree."""
        text = json.dumps(self.spec(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
