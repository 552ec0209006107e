"""A packed model: trained networks that vote, in one .safetensors file that needs no run folders beside it.

The file holds every tensor that was trained: matrices and filters in half precision where that leaves a member's
answers as they were, all others in full. Frozen parts whose numbers are those of published weights that pip brings
(`lsdkit.weights`) stay out and are taken from there, where their checksum must be what it was. Of the first member with
an appearance branch that branch is kept too, for landmarks; of the others only what expressions need. JSON in the
file's metadata tells, under `lsdkit`, the format, the name, how the members vote, and for each its settings, what it is
shown of an aligned crop, what its faces were, which published weights it needs, and its precision.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lsdkit import __version__
from lsdkit.common.files import SEAL, atomic, seal
from lsdkit.common.paths import resolve
from lsdkit.common.seeds import torch_generator
from lsdkit.data.viewing import View
from lsdkit.method.network import MultiTask
from lsdkit.recipes import Member
from lsdkit.training.checkpoints import hash_weights
from lsdkit.training.evaluation import load_network, predict_logits, softmax
from lsdkit.training.runs import Run, read_member
from lsdkit.training.starting import start_branches
from lsdkit.weights import published

FORMAT = 1
SUFFIX = ".safetensors"
CENTRES = "affinity."  # serve training alone
MOST_CHANGE = 1e-3  # of a probability, that half precision may make
PROBES = 64  # validation faces at most that it is measured on


@dataclass(frozen=True, eq=False)
class Packed:
    """One network of a bundle, as the file has it.

    `landmarks`: whether its appearance branch is there. `needed`: role -> source and SHA-256 of the published weights
    that its frozen parts are taken from. `tensors`: its own, float32.
    """

    name: str
    member: Member
    view: View
    kind: str  # what its faces were, of `data.store.KINDS`
    landmarks: bool
    needed: Mapping[str, Mapping[str, str]]
    tensors: Mapping[str, Tensor]
    file: Path

    def find_view(self) -> View:
        """What its network is shown of an aligned crop."""
        return self.view

    def build(self, device: torch.device | str = "cpu", *, landmarks: bool = False) -> MultiTask:
        """The network, in evaluation mode; with `landmarks` its appearance branch too, where the file has it.

        Raises `FileNotFoundError` where published weights that it needs are absent, and `ValueError` where they are
        others than it was made with, or where the file lacks tensors.
        """
        both = landmarks and self.landmarks
        network = _make(self.member, self.member.appearance if both else "")
        needed = {role: each for role, each in self.needed.items() if both or role == "emotion"}
        for role, each in needed.items():
            if (digest := _start(network, self.member, role)) != each["sha256"]:
                raise ValueError(
                    f"Expected the weights {each['source']} that {self.file} was made with (SHA-256 "
                    f"{each['sha256'][:16]}...), but those that are installed begin with {digest[:16]}"
                )
        wanted = set(_own(network)) - set(chain.from_iterable(_frozen(network, role) for role in needed))
        given, state = {key: value.shape for key, value in self.tensors.items()}, network.state_dict()
        lacking = sorted(key for key in wanted if given.get(key) != state[key].shape and not key.startswith(CENTRES))
        if lacking:
            raise ValueError(
                f"Expected every tensor of {self.name} in {self.file}, but {len(lacking)} are missing or of another "
                f"shape, such as {lacking[0]}; get the file again, or pack the runs again"
            )
        network.load_state_dict({key: self.tensors[key] for key in wanted & set(self.tensors)}, strict=False)
        return network.to(device, memory_format=torch.channels_last).eval()


@dataclass(frozen=True, eq=False)
class Bundle:
    """A packed model: its members vote as `vote` says, "probabilities" or "logits"."""

    name: str
    vote: str
    members: tuple[Packed, ...]
    file: Path


def pack(runs: Sequence[Run], file: Path | str, *, name: str, half: bool = True) -> Path:
    """Pack finished runs, which vote in the order given, into the new file `file`; returns its path.

    `half`: write a member's matrices and filters in half precision, unless that changes a probability of one of up to
    `PROBES` validation faces by `MOST_CHANGE` or more. Where a run's store is gone this is not measured; the file tells
    the change, or that it is not known. Raises `ValueError` for no runs, for runs whose recipes vote in different ways,
    and for another ending than .safetensors; `FileExistsError` where `file` exists; and what `load_network` raises.
    """
    file = resolve(file)
    ways = {run.member.recipe.vote for run in runs}
    if len(ways) != 1:
        raise ValueError(f"Expected runs whose recipes vote in one way, but got {' and '.join(ways) or 'no runs'}")
    if file.suffix != SUFFIX:
        raise ValueError(f"Expected a file that ends in {SUFFIX}, but got {file.name}")
    if file.exists():
        raise FileExistsError(f"Expected {file} to be new, but it exists; choose another name, or move it away")
    tensors, members, landmarks = {}, [], False
    for number, run in enumerate(runs):
        network = load_network(run.folder)
        with_landmarks, landmarks = network.multitask and not landmarks, landmarks or network.multitask
        needed = _find_needed(network, run.member, ("emotion", "appearance") if with_landmarks else ("emotion",))
        left_out = set(chain.from_iterable(_frozen(network, role) for role in needed))
        own = _own(network) if with_landmarks else network.emotion_state()
        own = {key: own[key].contiguous() for key in own if key not in left_out and not key.startswith(CENTRES)}
        own, precision = _shorten(own, network, run) if half else (own, {"half": False})
        tensors |= {f"{number}.{key}": tensor for key, tensor in own.items()}
        members.append(
            {
                "name": run.name,
                "member": run.member.spec(),
                "view": run.find_view().describe(),
                "kind": run.kind,
                "landmarks": with_landmarks,
                "weights": needed,
                "precision": precision,
            }
        )
    about = {"format": FORMAT, "name": name, "lsdkit": __version__, "vote": ways.pop(), "members": members}
    write_bundle(file, tensors, about)
    return file


def write_bundle(file: Path, tensors: Mapping[str, Tensor], about: Mapping) -> None:
    """Write a packed model's tensors and what is told of them, with the checksums of both."""
    told = seal({**about, "tensors": hash_weights(dict(tensors))})
    with atomic(file) as temporary:
        temporary.write_bytes(
            save(dict(tensors), {"lsdkit": json.dumps(told)})
        )  # `save_file`'s only its owner may read


def load_bundle(file: Path | str) -> Bundle:
    """The packed model in a file.

    Raises `FileNotFoundError` where there is none, and `ValueError`, naming the file, for one that is damaged, holds
    numbers that are not finite, is no packed model, or was made by a version of this kit that packs in another way.
    """
    file = resolve(file)
    if not file.is_file():
        raise FileNotFoundError(f"Expected a packed model, but there is no file at {file}")
    try:
        with safe_open(file, "pt") as content:
            metadata = content.metadata() or {}
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (no dictionary)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"Expected {file} to be a packed model, but it cannot be read: {error}") from error
    if "lsdkit" not in metadata:
        raise ValueError(
            f"Expected {file} to be a packed model, but it says nothing of its networks; "
            "`lsdkit.training.bundles.pack` makes one of runs"
        )
    try:
        about = json.loads(metadata["lsdkit"])
        if about["format"] != FORMAT:
            raise ValueError(
                f"it is of format {about['format']!r}, not {FORMAT}: install the version of lsdkit that made it "
                f"({about.get('lsdkit')}), or get the file that belongs to this one"
            )
        if SEAL in about and (seal(about) != about or hash_weights(tensors) != about["tensors"]):
            raise ValueError("it is damaged: it is not what was written; get it again")
        members = tuple(_read(number, each, tensors, file) for number, each in enumerate(about["members"]))
        if not members:
            raise ValueError("it has no network")
        return Bundle(str(about["name"]), str(about["vote"]), members, file)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, ValueError) else error
        raise ValueError(f"Expected {file} to be a packed model of this version, but {what}") from error


def _read(number: int, about: Mapping, tensors: Mapping[str, Tensor], file: Path) -> Packed:
    prefix = f"{number}."
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if strange := [key for key, value in own.items() if not value.isfinite().all()]:
        raise ValueError(f"{strange[0]} of {about['name']} holds numbers that are not finite: get the file again")
    return Packed(
        name=about["name"],
        member=read_member(about["member"], file),
        view=View.read(about["view"]),
        kind=about["kind"],
        landmarks=about["landmarks"],
        needed={role: {key: each[key] for key in ("source", "sha256")} for role, each in about["weights"].items()},
        tensors={key: value.float() if value.is_floating_point() else value for key, value in own.items()},
        file=file,
    )


def _make(member: Member, appearance: str) -> MultiTask:
    """A network of random weights: with `appearance` both branches, with "" what expressions need."""
    return MultiTask.build(replace(member, appearance=appearance), torch_generator(member.seed, "load"))


def _own(network: MultiTask) -> dict[str, Tensor]:
    """The tensors of a network's state, those that two modules share under the first one's name alone."""
    once = {key for key, _ in chain(network.named_parameters(), network.named_buffers())}
    return {key: tensor for key, tensor in network.state_dict().items() if key in once}


def _frozen(network: MultiTask, role: str) -> set[str]:
    """The names of the tensors of a branch that are not trained."""
    parts = getattr(network, role).backbone.frozen
    frozen = {id(tensor) for part in parts for tensor in chain(part.parameters(), part.buffers())}
    return {key for key, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in frozen}


def _start(network: MultiTask, member: Member, role: str) -> str:
    """Load a branch's published weights; returns the SHA-256 that identifies them, "" where it takes none."""
    name = "emotion" if role == "emotion" else member.appearance
    recipe = replace(member.recipe, weights=((name, member.recipe.source(name)),))
    return start_branches(network, recipe, member.appearance)[role].get("sha256", "")


def _find_needed(network: MultiTask, member: Member, roles: Iterable[str]) -> dict[str, dict[str, str]]:
    """The roles whose frozen tensors are, number by number, those of published weights that pip brings."""
    needed = {}
    for role in roles:
        source = member.recipe.source("emotion" if role == "emotion" else member.appearance)
        names = _frozen(network, role)
        if not names or not _comes_with_pip(source):
            continue
        fresh = _make(member, member.appearance)
        digest, theirs, ours = _start(fresh, member, role), fresh.state_dict(), network.state_dict()
        if all(theirs[key].equal(ours[key].cpu()) for key in names):
            needed[role] = {"source": source, "sha256": digest}
    return needed


def _comes_with_pip(source: str) -> bool:
    try:
        parts = published.parse(source)
    except ValueError:  # a folder that is gone
        return False
    return bool(parts) and all(part.published and part.published.package and not part.path for part in parts)


def _shorten(own: Mapping[str, Tensor], network: MultiTask, run: Run) -> tuple[Mapping[str, Tensor], dict]:
    """A network's own tensors as they are written, and what is told of their precision.

    Biases and norms, few and far-reaching numbers, stay as they are.
    """
    short = {key: value.half() if value.is_floating_point() and value.ndim > 1 else value for key, value in own.items()}
    if not all(value.isfinite().all() for value in short.values()):
        return own, {"half": False, "change": None}
    change = _measure_change(network, short, run)
    if change is not None and change >= MOST_CHANGE:
        return own, {"half": False, "change": change}
    return short, {"half": True, "change": change}


def _measure_change(network: MultiTask, short: Mapping[str, Tensor], run: Run) -> float | None:
    """The largest change of a probability that other tensors make; None where the run's store is gone."""
    try:
        store = run.open_store()
    except (OSError, ValueError):  # gone, or another by now
        return None
    rows = store.rows("validation")
    rows = rows[:: max(1, len(rows) // PROBES)][:PROBES]
    shortened = copy.deepcopy(network)
    shortened.load_state_dict(short, strict=False)
    one, other = (
        softmax(predict_logits(each, store, rows, run.member, torch.device("cpu"))) for each in (network, shortened)
    )
    return float(np.abs(one - other).max())
