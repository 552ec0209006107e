"""How far dlib's 68-point predictor lies from the open set's landmarks, on faces rendered for the purpose.

    python benchmarks/openset/agreement.py [--faces N] [--detector] [--without pose degradation]    prints the table
    python benchmarks/openset/agreement.py --fit [--faces N]           chooses the vertices anew and prints them

Each face has a person of its own; expressions take turns. Errors are distances in units of the distance between the
outer eye corners. The predictor is given the box that dlib's detector would draw around the true
landmarks, or with --detector the one that it draws. It is a measure of agreement, not of truth: the predictor has a
bias of its own, the vertices were fitted to it, and where it fails on a face the distance is its error.

--fit renders N training faces of other people (seeds below 10000), and prints, for `lsdkit.openset.head`, the vertices
with the smallest mean distance, mirror-symmetric, near where the points are now and on the same feature (lips on lips,
lids on lids). Raise `head.FORMAT` with them.
"""

import argparse
from itertools import compress
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import FLIP, INNER, PARTS, denormalise, eye_distance, inter_ocular_error, normalise
from lsdkit.common.seeds import numpy_generator
from lsdkit.data import detection
from lsdkit.openset import head
from lsdkit.openset.appearance import STYLES, SWITCHES, narrow_style
from lsdkit.openset.render import draw_person, render_face, stage

TABLE = {"all": slice(None), "17-67": INNER, **PARTS}  # rows of the table -> points
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
        return float(eye_distance(self.true))


def look(number: int, style: str, pixels: int, detector: bool, without: tuple[str, ...] = ()) -> Sight:
    """Render the face of a number and annotate it; the person's seed is the face's. `without` as in `render_face`."""
    expression = EXPRESSIONS[number % 6]
    face = render_face(expression, seed=number, subject_seed=number, style=style, pixels=pixels, without=without)
    ranges = narrow_style(STYLES[style], without)
    scene = stage(expression, "", draw_person(number, without), ranges, numpy_generator(number, "render"))
    image = Image.fromarray(face.image)
    canvas, pad = detection.scale_and_pad(image, 400 / pixels, 0.3)
    corners = denormalise(face.landmarks, 400, 400) + pad
    points, _ = detection.predict_points(canvas, detection.fit_box(corners), refine=False)
    detected = detection.find_face(image, detection.ATTEMPTS[2:3]) if detector else None
    return Sight(
        expression,
        face.landmarks,
        face.contour,
        normalise(points - pad, 400, 400),
        normalise(detected.points, pixels, pixels) if detected else None,
        scene.flat[:, :2] * 2 - 1,
        float(face.pose[0]),
    )


def measure(sights: list[Sight], true: str, name: str, points: slice = slice(None)) -> np.ndarray:
    """(N,) mean distance of some points that dlib marked to the true ones or the contour, in inter-ocular units."""
    pairs = (np.stack([getattr(sight, kind)[points] for sight in sights]) for kind in (true, name))
    return inter_ocular_error(*pairs, unit=np.array([sight.unit for sight in sights]))


def print_table(sights: list[Sight], style: str) -> None:
    """Print mean and median error by part, then the mean by expression."""
    boxes = {"true box": "given"}
    if any(sight.detected is not None for sight in sights):
        boxes["detector"] = "detected"
    for box, name in boxes.items():
        marked = [sight for sight in sights if getattr(sight, name) is not None]
        print(f"\n{style}, {box}: {len(marked)} of {len(sights)} faces")
        print(f"{'':8}{'mesh mean':>10}{'median':>8}{'contour mean':>14}{'median':>8}")
        for part, points in TABLE.items():
            errors = [measure(marked, kind, name, points) for kind in ("true", "contour")]
            values = [value for each in errors for value in (each.mean(), np.median(each))]
            print(f"{part:8}{values[0]:10.4f}{values[1]:8.4f}{values[2]:14.4f}{values[3]:8.4f}")
        print("17-67 by expression: ", end="")
        names, inner = np.array([sight.expression for sight in marked]), measure(marked, "true", name, INNER)
        print("  ".join(f"{e.lower()} {inner[names == e].mean():.4f}" for e in EXPRESSIONS if (names == e).any()))


def fit(sights: list[Sight]) -> np.ndarray:
    """The vertices (68, 2) of each point with the smallest mean distance to dlib's, mirror pairs together."""
    mesh = head.load_head()
    rest = mesh.rest.astype(float)
    skin = np.flatnonzero(mesh.vertex_parts == head.SKIN)
    near, mirror = cKDTree(rest[skin]).query(rest * [-1, 1, 1])
    mirrored, mirror = near < 2e-3, skin[mirror]
    good = list(compress(sights, measure(sights, "true", "given") < LEFT_FACE))
    views = (np.stack([s.mesh for s in good]), np.stack([s.given for s in good]), np.array([s.unit for s in good]))
    yaws = np.array([s.yaw for s in good])
    chosen, taken = mesh.landmarks.copy(), set()
    order = [point for point in range(68) if point <= FLIP[point]]
    costs = {}
    for point in order:
        marks = _candidates(point, mesh, mirrored)
        sides = [(point, yaws > -4), (FLIP[point], yaws < 4)]
        if point >= 17:  # the jaw is fitted where it turns to the viewer: elsewhere dlib means the outline
            sides = [(mark, yaws == yaws) for mark, _ in sides]
        costs[point] = {mark: _distance(mark, mirror[list(mark)], sides, *views) for mark in marks}
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
        print_table(sights, "training, fitted to")
        chosen = fit(sights)
        moved = [s._replace(true=s.mesh[chosen].mean(1)) for s in sights]
        print_table(moved, "the same faces, new vertices (contour still by the old ones)")
        print(base_numbers(chosen))
        return
    numbers = range(TEST_SEED, TEST_SEED + arguments.faces)
    options = arguments.pixels, arguments.detector, tuple(arguments.without)
    for style in STYLES:
        print_table(
            [look(n, style, *options) for n in tqdm(numbers, leave=False)],
            " without ".join([style, *arguments.without]),
        )


if __name__ == "__main__":
    main()
