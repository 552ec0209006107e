"""How far dlib's 68-point predictor lies from the open set's landmarks, on faces rendered for the purpose.

    python benchmarks/agreement.py [--faces N] [--detector] [--without pose degradation]    prints the table
    python benchmarks/agreement.py --fit [--faces N]           chooses the vertices anew and prints them

Each face has a person of its own; expressions take turns. Errors are distances in units of the distance between the
outer eye corners (points 36 and 45). The predictor is given the box that dlib's detector would draw around the true
landmarks, or with --detector the one that it draws. It is a measure of agreement, not of truth: the predictor has a
bias of its own, the vertices were fitted to it, and where it fails on a face the distance is its error.

--fit renders N training faces of other people (seeds below 10000), and prints, for `lsdkit.openset.head`, the vertices
with the smallest mean distance, mirror-symmetric, near where the points are now and on the same feature (lips on lips,
lids on lids). Raise `head.FORMAT` with them. It needs the extra `dlib`.
"""

import argparse
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from lsdkit import detect
from lsdkit.expressions import EXPRESSIONS
from lsdkit.landmarks import FLIP, denormalise, normalise
from lsdkit.openset import head
from lsdkit.openset.appearance import STYLES, SWITCHES, narrowed
from lsdkit.openset.render import _person, render_face, stage
from lsdkit.seeds import numpy_generator

PARTS = {
    "all": range(68),
    "17-67": range(17, 68),
    "jaw": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}
FIT_SEED, TEST_SEED = 5000, 10_000
REACH = 0.13  # decimetres on the resting head: how far a point may move in one fit
LEFT_FACE = 0.2  # of the inter-ocular distance: a face that the predictor misses by more, on average, is not fitted to


class Sight(NamedTuple):
    """A rendered face and what dlib makes of it; points in [-1, 1] of the picture."""

    expression: str
    true: np.ndarray  # (68, 2)
    contour: np.ndarray  # (68, 2)
    given: np.ndarray | None  # (68, 2) in the true box
    detected: np.ndarray | None  # (68, 2) with dlib's detector, None without or where it finds nothing
    mesh: np.ndarray  # (N, 2) all vertices
    yaw: float

    @property
    def unit(self) -> float:
        return float(np.linalg.norm(self.true[36] - self.true[45]))


def look(number: int, style: str, pixels: int, detector: bool, without: tuple[str, ...] = ()) -> Sight:
    """Render the face of a number and annotate it; the person's seed is the face's. `without` as in `render_face`."""
    expression = EXPRESSIONS[number % 6]
    face = render_face(expression, seed=number, subject_seed=number, style=style, pixels=pixels, without=without)
    ranges = narrowed(STYLES[style], without)
    scene = stage(expression, "", _person(number, without), ranges, numpy_generator(number, "render"))
    image = Image.fromarray(face.image)
    canvas, pad = detect._canvas(image, 400 / pixels, 0.3)
    corners = denormalise(face.landmarks, 400, 400) + pad
    points, _ = detect._predicted(canvas, detect._box(corners), refine=False)
    found = detect.find_face(image, detect.ATTEMPTS[2:3]) if detector else None
    return Sight(
        expression,
        face.landmarks,
        face.contour,
        normalise(points - pad, 400, 400),
        normalise(found.points, pixels, pixels) if found else None,
        scene.flat[:, :2] * 2 - 1,
        float(face.pose[0]),
    )


def errors(true: np.ndarray, found: np.ndarray, unit: float) -> np.ndarray:
    """(68,) distances in inter-ocular units."""
    return np.linalg.norm(true - found, axis=1) / unit


def table(sights: list[Sight], style: str) -> None:
    """Print mean and median error by part, then the mean by expression."""
    found = [("true box", "given")] + (
        [("detector", "detected")] if any(s.detected is not None for s in sights) else []
    )
    for box, name in found:
        seen = [sight for sight in sights if getattr(sight, name) is not None]
        by_points = {
            kind: np.stack([errors(getattr(s, kind), getattr(s, name), s.unit) for s in seen])
            for kind in ("true", "contour")
        }
        print(f"\n{style}, {box}: {len(seen)} of {len(sights)} faces")
        print(f"{'':8}{'mesh mean':>10}{'median':>8}{'contour mean':>14}{'median':>8}")
        for part, members in PARTS.items():
            line = [by_points[kind][:, list(members)] for kind in ("true", "contour")]
            values = [value for part_errors in line for value in (part_errors.mean(), np.median(part_errors.mean(1)))]
            print(f"{part:8}{values[0]:10.4f}{values[1]:8.4f}{values[2]:14.4f}{values[3]:8.4f}")
        print("17-67 by expression: ", end="")
        names = np.array([sight.expression for sight in seen])
        inner = by_points["true"][:, 17:].mean(1)
        print("  ".join(f"{e.lower()} {inner[names == e].mean():.4f}" for e in EXPRESSIONS if (names == e).any()))


def fit(sights: list[Sight]) -> np.ndarray:
    """The vertices (68, 2) of each point with the smallest mean distance to dlib's, mirror pairs together."""
    mesh = head.load_head()
    rest = mesh.rest.astype(float)
    skin = np.flatnonzero(mesh.vertex_parts == head.SKIN)
    near, mirror = cKDTree(rest[skin]).query(rest * [-1, 1, 1])
    mirrored, mirror = near < 2e-3, skin[mirror]
    good = [s for s in sights if errors(s.true, s.given, s.unit).mean() < LEFT_FACE]
    seen = (np.stack([s.mesh for s in good]), np.stack([s.given for s in good]), np.array([s.unit for s in good]))
    yaws = np.array([s.yaw for s in good])
    chosen, taken = mesh.landmarks.copy(), set()
    order = [point for point in range(68) if point <= FLIP[point]]
    costs = {}
    for point in order:
        marks = _candidates(point, mesh, mirrored)
        sides = [(point, yaws > -4), (FLIP[point], yaws < 4)]
        if point >= 17:  # the jaw is fitted where it turns to the viewer: elsewhere dlib means the outline
            sides = [(mark, yaws == yaws) for mark, _ in sides]
        costs[point] = {mark: _distance(mark, mirror[list(mark)], sides, *seen) for mark in marks}
    for point in sorted(order, key=lambda p: min(costs[p].values())):
        mark = min((m for m in costs[point] if m not in taken), key=costs[point].get)
        chosen[point], chosen[FLIP[point]] = mark, mirror[list(mark)]
        taken |= {mark, tuple(sorted(mirror[list(mark)]))}
        before = costs[point].get(tuple(sorted(mesh.landmarks[point])), np.nan)
        print(f"{point:3}: {before:.4f} -> {costs[point][mark]:.4f}")
    return chosen


def _candidates(point: int, mesh: head.Head, mirrored: np.ndarray) -> list[tuple[int, int]]:
    """Vertices, twice the same, and ends of edges near a landmark, on the same feature."""
    now, rest = mesh.landmarks[point], mesh.rest.astype(float)
    place = rest[now].mean(0)
    reach = 2.5 * REACH if point < 17 else REACH
    fits = mirrored & (mesh.vertex_parts == head.SKIN) & (np.linalg.norm(rest - place, axis=1) < reach)
    fits &= (np.abs(rest[:, 0]) < 1e-3) if point == FLIP[point] else (rest[:, 0] * np.sign(place[0]) > 1e-3)
    lips, lids, inside, ears = mesh.masks.T
    fits &= (inside <= max(0.3, inside[now].max())) & (ears < 0.3)
    if point >= 48:
        fits &= lips >= min(0.3, lips[now].min())
    if 36 <= point < 48:
        fits &= lids >= min(0.3, lids[now].min())
    corners = mesh.triangles[fits[mesh.triangles].sum(1) >= 2]
    edges = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges = np.unique(edges[fits[edges].all(1)], axis=0)
    return [(int(v), int(v)) for v in np.flatnonzero(fits)] + [(int(v), int(w)) for v, w in edges]


def _distance(mark, mirrored, sides, meshes, given, units) -> float:
    """Mean distance of a candidate and its mirror image to dlib's points."""
    away = []
    for pair, (point, near) in zip((list(mark), list(mirrored)), sides, strict=True):
        places = meshes[:, pair][near].mean(1)
        away.append(np.linalg.norm(places - given[near, point], axis=1) / units[near])
    return float(np.concatenate(away).mean())


def base_numbers(chosen: np.ndarray) -> str:
    """The vertices as the numbers of base.obj that `head.LANDMARK_VERTICES` holds."""
    points, _, faces = head._read_mesh(head.data_folder() / "mpfb2" / "3dobjs" / "base.obj")
    kept = np.unique(head._head_triangles(points, faces)[0])
    return " ".join(str(kept[v]) if v == w else f"{kept[v]}+{kept[w]}" for v, w in chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=150, help="faces of each style (default 150), or to fit to")
    parser.add_argument("--pixels", type=int, default=112, help="side of the pictures (default 112)")
    parser.add_argument("--detector", action="store_true", help="also with the faces that dlib finds itself")
    parser.add_argument("--without", nargs="+", choices=SWITCHES, default=[], help="what the pictures do without")
    parser.add_argument("--fit", action="store_true", help="choose the vertices anew")
    arguments = parser.parse_args()
    if arguments.fit and arguments.without:
        parser.error("--fit is made on whole faces: leave --without away")
    if arguments.fit:
        numbers = range(FIT_SEED, FIT_SEED + arguments.faces)
        sights = [look(n, "training", arguments.pixels, False) for n in tqdm(numbers, leave=False)]
        table(sights, "training, fitted to")
        chosen = fit(sights)
        moved = [s._replace(true=s.mesh[chosen].mean(1)) for s in sights]
        table(moved, "the same faces, new vertices (contour still by the old ones)")
        print(base_numbers(chosen))
        return
    numbers = range(TEST_SEED, TEST_SEED + arguments.faces)
    options = arguments.pixels, arguments.detector, tuple(arguments.without)
    for style in STYLES:
        table(
            [look(n, style, *options) for n in tqdm(numbers, leave=False)],
            " without ".join([style, *arguments.without]),
        )


if __name__ == "__main__":
    main()
