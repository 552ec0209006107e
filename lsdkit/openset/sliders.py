"""Which identity targets the heads use: paired sliders, head shapes, asymmetries and the macro (sex, age, origin) set.

Sliders whose name or effect passes for an expression (laugh lines, mouth corners, brow angle, ageing folds) are left
out, so that a subject's neutral face is neutral.
"""

from pathlib import Path

FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "chin", "cheek", "ears", "neck")
LEFT_OUT = (  # these move as an expression does, or move the whole head; mouth and nose also sideways
    *("laugh-lines", "mouth-angles", "mouth-dimples", "eyebrows-angle", "eyebrows-trans-up", "eyebrows-trans-down"),
    *("head-age", "head-trans", "head-angle", "head-fat", "neck-trans", "measure", "ext-", "lip-middle"),
    *("mouth-trans-in", "mouth-trans-out", "nose-trans-in", "nose-trans-out", "eye-height", "eye-push"),
    *("mouth-trans-backward", "mouth-trans-forward", "chin-prognathism", "jaw-drop"),
)
OPPOSITES = {"decr": "incr", "in": "out", "down": "up"}  # ending of the negative direction -> of the positive one
OPPOSITES |= {"backward": "forward", "concave": "convex", "compress": "uncompress"}
SHAPES = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular")
ORIGINS = ("african", "asian", "caucasian")
SEXES = ("female", "male")
AGES = ("young", "old")
WEIGHTS = ("minweight", "averageweight", "maxweight")


def identity_targets(folder: Path) -> dict[str, list[Path]]:
    """Name of each identity target -> the files that it sums (left and right are tied into one).

    Names: "slider:<name>:-" and "slider:<name>:+", "shape:<name>", "asym:<name>", "macro:<origin>-<sex>-<age>",
    "weight:<sex>-<age>-<weight>".
    """
    sliders: dict[str, list[Path]] = {}
    for part in FOLDERS:
        for path in sorted((folder / part).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if any(word in name for word in LEFT_OUT):
                continue
            stem, _, ending = name.removeprefix("l-").removeprefix("r-").rpartition("-")
            for less, more in OPPOSITES.items():
                if ending in (less, more):
                    slider = stem if less == "decr" else f"{stem}-{less}-{more}"  # one stem moves in several directions
                    sliders.setdefault(f"slider:{slider}:{'-' if ending == less else '+'}", []).append(path)
    paired = {name[:-2] for name in sliders if f"{name[:-1]}-" in sliders and f"{name[:-1]}+" in sliders}
    targets = {name: paths for name, paths in sliders.items() if name[:-2] in paired}
    targets |= {f"shape:{name}": [folder / "head" / f"head-{name}.target.gz"] for name in SHAPES}
    for path in sorted((folder / "asym").glob("asym-*.target.gz")):
        targets[f"asym:{path.name.removesuffix('.target.gz').removeprefix('asym-')}"] = [path]
    macro = folder / "macrodetails"
    for person in (f"{sex}-{age}" for sex in SEXES for age in AGES):
        targets |= {f"macro:{name}-{person}": [macro / f"{name}-{person}.target.gz"] for name in ORIGINS}
        shared = macro / f"universal-{person}-averagemuscle"
        targets |= {f"weight:{person}-{name}": [Path(f"{shared}-{name}.target.gz")] for name in WEIGHTS}
    return targets
