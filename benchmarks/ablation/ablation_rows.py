"""The rows of the ablation table: the benchmark's protocol with one thing changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lsdkit.data.combining import WHOLE
from lsdkit.photographs.protocol import SINGLE, TWO_BRANCH, Group, Protocol, groups_of
from lsdkit.recipes import Member, check_choice

BASELINES = ("landmarks", "hog", "hog+landmarks")  # of the regressions those that see the protocol's window alone
UNMIXED = "alpha=0.000001"  # of Beta(alpha, alpha): lambda is 0 or 1, so that no two faces are mixed


@dataclass(frozen=True, kw_only=True)
class Row:
    """The protocol with one thing changed. Without a `network` (a model's name) it is for the baselines."""

    name: str
    what: str  # in words
    without: tuple[str, ...] = ()  # of `lsdkit.openset.appearance.SWITCHES`
    faces: int = 0  # training faces; 0 = all
    grey: bool = True
    whole: bool = False  # the whole picture, where the protocol looks through its window
    network: str = ""
    mix: str = ""  # "" = the protocol's
    settings: str = ""  # over the protocol's

    @property
    def models(self) -> tuple[str, ...]:
        return (self.network,) if self.network else BASELINES

    @property
    def reference(self) -> str:
        """The row that this one is compared with."""
        return "net" if self.network else "protocol"

    def change(self, protocol: Protocol) -> Protocol:
        """The protocol with this row's pictures: in colour, or whole."""
        return replace(protocol, grey=self.grey, window=WHOLE if self.whole else protocol.window)

    def group(self, protocol: Protocol) -> Group:
        """The kind of network that a network's row trains: the protocol's, with this row's mix and settings."""
        (group,) = groups_of(self.network, protocol)
        settings = f"{group.settings} {self.settings}".strip()
        return replace(group, mix=self.mix or group.mix, settings=settings)

    def member(self, seed: int, protocol: Protocol) -> Member:
        (member,) = self.group(protocol).members(seed)
        return member


ROWS = (
    Row(name="protocol", what="the protocol"),
    Row(name="no-identity", what="one identity", without=("identity",)),
    Row(name="no-appearance", what="one skin, hair, light and background", without=("appearance",)),
    Row(name="no-pose", what="without pose", without=("pose",)),
    Row(name="no-wrinkles", what="without wrinkles", without=("wrinkles",)),
    Row(name="no-teeth", what="without teeth", without=("teeth",)),
    Row(name="no-degradation", what="without degradation", without=("degradation",)),
    Row(name="whole", what="the whole picture, not the inner face", whole=True),
    Row(name="faces-300", what="300 faces", faces=300),
    Row(name="faces-900", what="900 faces", faces=900),
    Row(name="net", what="the protocol", network=TWO_BRANCH),
    Row(name="net-single", what="without the landmark task", network=SINGLE),
    Row(name="net-mixup", what="Mix-up", network=TWO_BRANCH, mix="mixup"),
    Row(name="net-unmixed", what="no mixing", network=TWO_BRANCH, mix="mixup", settings=UNMIXED),
    Row(name="net-no-mean", what="no mean of weights", network=TWO_BRANCH, settings="averaging=0"),
    Row(name="net-weak-decay", what="the paper's weight decay", network=TWO_BRANCH, settings="weight_decay=0.0001"),
    Row(name="net-augmented", what="augmentation at half strength", network=TWO_BRANCH, settings="aug_strength=0.5"),
    Row(name="net-no-degradation", what="without degradation", network=TWO_BRANCH, without=("degradation",)),
    Row(name="net-whole", what="the whole picture, not the inner face", network=TWO_BRANCH, whole=True),
    Row(name="net-colour", what="in colour", network=TWO_BRANCH, grey=False),
    Row(name="net-faces-900", what="900 faces, as many steps", network=TWO_BRANCH, faces=900),
)
NAMES = tuple(row.name for row in ROWS)


def choose_rows(names: Sequence[str] = (), network: bool = False) -> list[Row]:
    """The rows of these names and their references, in the order of `ROWS`; without names all, networks if asked for.

    Raises `ValueError` for an unknown name.
    """
    for name in names:
        check_choice("--rows", name, NAMES)
    wanted = set(names) or {row.name for row in ROWS if network or not row.network}
    wanted |= {row.reference for row in ROWS if row.name in wanted}
    return [row for row in ROWS if row.name in wanted]
