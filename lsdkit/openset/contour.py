"""The visible contour: where a person who sees only the picture would put the 17 points of the jaw.

The mesh's own points 0-16 stay on the jaw as the head turns, and go out of sight behind the far cheek. Annotators of
photographs mark the outline that they see instead. So each point gets a strip of the face's surface, from the jaw
towards the middle of the face, and the place in the strip that lies outermost in the picture is taken (the "landmark
marching" of Zhu et al. 2015, "High-fidelity pose and expression normalization for face recognition in the wild",
CVPR). On the side that turns to the viewer the jaw itself is outermost, so points there stay where they are.
"""

import functools
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lsdkit.common.landmarks import JAW
from lsdkit.openset.head import SKIN, load_head

MIDDLE = 6.85  # decimetres: strips below this height run towards (0, MIDDLE), those above run level
DEPTH = 0.55  # share of the way from the jaw to the middle of the face that a strip covers


class Strips(NamedTuple):
    """The strips of all points, S places in all; each place lies on an edge of the mesh."""

    points: np.ndarray  # (S,) int64, which of the 17 points
    edges: np.ndarray  # (S, 2) int64, vertices
    shares: np.ndarray  # (S,) float64, of the second vertex
    outwards: np.ndarray  # (17, 3) float64, unit vectors on the resting head, from the middle to the jaw


@functools.lru_cache(maxsize=1)
def cut_strips() -> Strips:
    """Where a level or radial plane through each point of the jaw cuts the resting face in front of that point."""
    head = load_head()
    skin = head.triangles[head.parts == SKIN]
    edges = np.unique(np.sort(skin[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0).astype(np.int64)
    edges = edges[head.masks[edges, 2].max(1) < 0.3]  # not inside the mouth
    rest = head.rest.astype(np.float64)
    start, end = rest[edges[:, 0]], rest[edges[:, 1]]
    parts, outwards = [], []
    for point, pair in enumerate(head.landmarks[JAW]):
        corner = rest[pair].mean(0)
        middle = np.array([0.0, max(corner[1], MIDDLE), corner[2]])
        length = np.linalg.norm(corner - middle)
        outward = (corner - middle) / length
        across = np.array([-outward[1], outward[0], 0.0])  # the plane holds `outward` and the axis of depth
        one, other = (start - corner) @ across, (end - corner) @ across
        cut = np.flatnonzero((one < 0) != (other < 0))
        share = one[cut] / (one[cut] - other[cut])
        place = start[cut] + share[:, None] * (end - start)[cut]
        along = (place - middle) @ outward / length
        good = (place[:, 2] > corner[2]) & (along > 1 - DEPTH) & (along < 1.15)
        parts.append((np.full(1 + good.sum(), point), [pair, *edges[cut[good]]], np.append(0.5, share[good])))
        outwards.append(outward)
    return Strips(*(np.concatenate(column) for column in zip(*parts, strict=True)), np.array(outwards))


def visible_contour(screen: np.ndarray, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places that lie outermost: vertices of their edges (17, 2) and the share of the second vertex (17,).

    screen: (N, 2 or more) points on the screen, y down (`camera.project`); turn: (3, 3) rotation of the head. A place
    on any picture of these points is `between(points, *visible_contour(screen, turn))`.
    """
    places = cut_strips()
    outwards = places.outwards @ turn.T
    outwards = outwards[:, :2] * [1.0, -1.0] / np.linalg.norm(outwards[:, :2], axis=1, keepdims=True)
    reach = (between(screen[:, :2], places.edges, places.shares) * outwards[places.points]).sum(1)
    starts = np.searchsorted(places.points, np.arange(JAW.stop + 1))
    best = [first + int(reach[first:last].argmax()) for first, last in pairwise(starts)]
    return places.edges[best], places.shares[best]


def between(points: np.ndarray, edges: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Places on edges (S, 2) of `points` (N, D), `shares` of the way from the first vertex to the second: (S, D)."""
    return points[edges[:, 0]] * (1.0 - shares[:, None]) + points[edges[:, 1]] * shares[:, None]
