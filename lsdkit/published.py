"""Published weights: what each set is, where it comes from, which backbone it belongs to, and how its file is read.

A *source* of weights is a string: "" or "random"; the NAME of a set below, its file in its default place; NAME@PATH,
its file elsewhere; A+B, the backbone's weights from A and DAN's attention heads from B; or the folder of one of our own
runs. A bare weight file is no source: files with torchvision's key names fit several graphs that take different input.
"""

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import timm
import torch

from lsdkit import files
from lsdkit.paths import resolve
from lsdkit.weights import dag_name, read_tensors

RANDOM = ("", "random")
UNKNOWN = "not known"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published set of weights. `backbone` names the graph and the input that it belongs to; `sha256` may be the
    first digits only, "" where none is published; `url` is where it can be fetched from without asking. `classes` are
    the rows of the classifier in its file, 0 where there is none: they tell apart files of the same key names."""

    name: str
    backbone: str
    what: str
    origin: str
    licence: str
    file: str
    sha256: str = ""
    classes: int = 0
    format: Literal["torchvision", "dag", "dino", "dan", "timm"] = "torchvision"
    url: str = ""


def _vggface2(name: str, file: str, what: str, **options: str) -> Published:
    fixed = {"backbone": "vggface2_resnet50", "licence": "not known: none is stated with the files", "classes": 8631}
    return Published(name=name, what=what, file=file, **fixed, **options)


def _torchvision(version: int, digits: str) -> Published:
    return Published(
        name=f"torchvision_resnet50_v{version}",
        backbone="resnet50",
        what=f"ResNet50 trained on ImageNet, torchvision's IMAGENET1K_V{version}",
        origin="https://pytorch.org/vision/stable/models.html",
        licence="BSD-3-Clause",
        file=f"resnet50-{digits}.pth",
        sha256=digits,
        classes=1000,
        url=f"https://download.pytorch.org/models/resnet50-{digits}.pth",
    )


def _dan(name: str, file: str, classes: str) -> Published:
    return Published(
        name=name,
        backbone="dan_resnet18",
        what=f"official DAN trained on {classes}: ResNet18 and four attention heads",
        origin="https://github.com/yaoing/DAN (its README links the files on Google Drive)",
        licence="not known: none was found in its repository",
        file=file,
        format="dan",
    )


_PKL = {"origin": "https://github.com/cydonia999/VGGFace2-pytorch (its README links the files on Google Drive)"}
_DAG = {"origin": "https://www.robots.ox.ac.uk/~albanie/pytorch-models.html", "format": "dag"}
_FT, _SCRATCH = "ResNet50 trained on MS-Celeb-1M, then on VGGFace2", "ResNet50 trained on VGGFace2 alone"
_FROM_CAFFE, _FROM_MATLAB = "converted from Caffe, a Python-2 pickle", "converted from MatConvNet, other key names"
_SETS = (
    _vggface2("vggface2_ft", "resnet50_ft_weight.pkl", f"{_FT}; {_FROM_CAFFE}", **_PKL),
    _vggface2("vggface2_scratch", "resnet50_scratch_weight.pkl", f"{_SCRATCH}; {_FROM_CAFFE}", **_PKL),
    _vggface2("vggface2_ft_dag", "resnet50_ft_dag.pth", f"{_FT}; {_FROM_MATLAB}", **_DAG),
    _vggface2("vggface2_scratch_dag", "resnet50_scratch_dag.pth", f"{_SCRATCH}; {_FROM_MATLAB}", **_DAG),
    Published(
        name="dino_resnet50",
        backbone="resnet50",
        what="ResNet50 trained with DINO on ImageNet, without labels; @PATH may name a full checkpoint",
        origin="https://github.com/facebookresearch/dino",
        licence="Apache-2.0",
        file="dino_resnet50_pretrain.pth",
        format="dino",
        url="https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth",
    ),
    _torchvision(1, "0676ba61"),
    _torchvision(2, "11ad3fa6"),
    _dan("dan_affectnet8", "affecnet8_epoch5_acc0.6209.pth", "AffectNet with 8 classes"),
    _dan("dan_affectnet7", "affecnet7_epoch6_acc0.6569.pth", "AffectNet with 7 classes, without contempt"),
    _dan("dan_rafdb", "rafdb_epoch21_acc0.897_bacc0.8275.pth", "RAF-DB with 7 classes"),
)
PUBLISHED = {published.name: published for published in _SETS}
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
        heads = _part(f"dan_{second}")._replace(heads=True)
        return (*(() if first in RANDOM else (_part(first),)), heads)
    return () if source in RANDOM else (_part(source),)


def _part(source: str) -> Source:
    name, _, path = source.partition("@")
    if name.startswith("timm:"):
        return Source(source, from_timm(name.removeprefix("timm:")), path)
    if name in PUBLISHED:
        return Source(source, PUBLISHED[name], path)
    folder = resolve(source)
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


def from_timm(tag: str) -> Published:
    """The set that timm publishes under a tag such as "mobilevitv2_200.cvnets_in22k_ft_in1k".

    Raises `ValueError` for a tag that timm lacks. A name without a tag stands for timm's default tag of it.
    """
    tags = timm.list_pretrained()
    config = timm.get_pretrained_cfg(tag) if tag in tags or ("." not in tag and timm.is_model(tag)) else None
    if config is None or not config.has_weights:
        close = ", ".join(difflib.get_close_matches(tag, tags, n=5))
        raise ValueError(f"Expected a model that timm has weights of, but got {tag!r}; close: {close or 'none'}")
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


def backbone_for(name: str, source: str) -> str:
    """The backbone to build for weights from `source`: of a timm model the very tag, whose input it was trained with.

    >>> backbone_for("mobilevitv2_200", PAPERS_TIMM), backbone_for("resnet50", "dino_resnet50")
    ('mobilevitv2_200.cvnets_in22k_ft_in1k', 'resnet50')
    """
    if not source.startswith("timm:"):
        return name
    tagged = from_timm(source.removeprefix("timm:").partition("@")[0]).backbone
    return tagged if tagged.split(".")[0] == name else name


def folder() -> Path:
    """Where weight files are looked for: the variable `LSDKIT_WEIGHTS`, else `weights/` in the project root."""
    given = os.environ.get("LSDKIT_WEIGHTS", "")
    return resolve(given or "weights")


def locate(source: str | Source) -> Path:
    """The file that one part of a source is read from; fetched first where the set can be and is not there.

    Raises `FileNotFoundError` that says where to get it and where to put it.
    """
    part = parse(source)[0] if isinstance(source, str) else source
    if part.run:
        return resolve(part.path) / "weights.pt"
    if part.path:
        path = resolve(part.path)
        if not path.is_file():
            raise FileNotFoundError(f"Expected the weights {part.published.name} at {path}, but there is no such file")
        return path
    found = _present(part.published)
    if found is None:
        found = _fetched(part.published)
    _check(part.published, found)
    return found


def fingerprint(source: str) -> str:
    """SHA-256 that identifies the content of a source, "" for random weights. Raises as `locate` does."""
    digests = [files.sha256(locate(part)) for part in parse(source)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""


def tensors(part: Source, dino_key: str = "teacher") -> dict[str, torch.Tensor]:
    """The tensors of a published set under the names of its backbone's graph; DAN's heads as `cat_head<k>...`.

    Raises as `locate` and `read_tensors` do, and `ValueError` for the file of another set that has the same key names.
    """
    path = locate(part)
    content = read_tensors(path, dino_key if part.published.format == "dino" else "")
    if "layer4.2.conv3.weight" in content:
        _check_told_apart(part.published, path, content)
    if part.published.format == "dag":
        content = {dag_name(key): value for key, value in content.items()}
        if "conv1.weight" in content:  # RGB to BGR, as the graph takes it
            content["conv1.weight"] = content["conv1.weight"].flip(1)
    if part.published.format == "dan":
        content = {key.removeprefix("features."): value for key, value in content.items()}
    return content


def listing() -> str:
    """Every set: what it is, its origin, licence, checksum where known, where its file goes, whether it is there."""
    lines = [f"Weight files are looked for in {folder()} (set LSDKIT_WEIGHTS to change it).", ""]
    for published in (*_SETS, from_timm(PAPERS_TIMM.removeprefix("timm:"))):
        found = _present(published)
        fetched = "fetched when first needed" if published.url or published.format == "timm" else "get it by hand"
        lines += [
            f"{published.name}  [{'present' if found else 'absent'}]",
            f"    what      {published.what}",
            f"    backbone  {published.backbone}",
            f"    origin    {published.origin}",
            f"    licence   {published.licence}",
            f"    sha256    {f'begins {published.sha256}' if published.sha256 else UNKNOWN}",
            f"    file      {found or folder() / published.file} ({fetched})",
        ]
    lines += [
        "",
        "timm:<tag> stands for any of timm's published models; NAME@PATH for a set whose file lies elsewhere.",
    ]
    return "\n".join(lines)


def _present(published: Published) -> Path | None:
    """The set's file in the weights' folder or in the cache of the hub it comes from; None where it is in neither."""
    places = [folder() / published.file]
    if published.format == "timm":
        from huggingface_hub import try_to_load_from_cache

        repository = published.origin.removeprefix("https://huggingface.co/")
        cached = try_to_load_from_cache(repository, "model.safetensors") if repository != published.origin else None
        places += [Path(cached)] if isinstance(cached, str) else []
    elif published.url:
        places.append(Path(torch.hub.get_dir()) / "checkpoints" / published.file)
    return next((place for place in places if place.is_file()), None)


def _fetched(published: Published) -> Path:
    place = folder() / published.file
    there = "model.safetensors" if published.format == "timm" else published.file
    hint = f"get {there} from {published.origin} and put it to {place}, or write {published.name}@PATH"
    if not published.url and published.format != "timm":
        raise FileNotFoundError(f"Expected the weights {published.name} at {place}, but there is no such file; {hint}")
    try:
        return download(published)
    except Exception as error:  # hubs raise errors of requests, urllib, huggingface_hub and the system
        raise FileNotFoundError(
            f"Expected the weights {published.name} at {place}, but there is no such file and fetching them "
            f"failed ({type(error).__name__}: {error}); where this machine is offline, {hint}"
        ) from error


def download(published: Published) -> Path:
    """Fetch a set through the hub that it is published on, into that hub's cache. Raises what the hub raises."""
    if published.origin.startswith("https://huggingface.co/"):
        from huggingface_hub import hf_hub_download

        repository = published.origin.removeprefix("https://huggingface.co/")
        return Path(hf_hub_download(repository, "model.safetensors"))
    place = Path(torch.hub.get_dir()) / "checkpoints" / published.file
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.hub.download_url_to_file(published.url, str(place), published.sha256 or None, progress=False)
    return place


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
