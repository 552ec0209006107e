"""Ambient occlusion: how much of the sky each vertex of the resting head sees, measured once with the rasteriser."""

import functools

import numpy as np

from lsdkit.openset.head import FORMAT, HAIR, cache_folder, keep, load_head
from lsdkit.openset.raster import rasterise, vertex_normals

DIRECTIONS = 96
SIZE = 320  # pixels of a depth map
SLACK = 0.03  # decimetres by which a vertex may lie behind what is seen


@functools.lru_cache(maxsize=1)
def openness() -> np.ndarray:
    """Cosine-weighted share of directions from which each vertex is seen, (N,) float32 in [0, 1]; kept in the cache."""
    return keep(cache_folder() / f"openness-{FORMAT}.npz", lambda: {"openness": _measure()})["openness"]


def _measure() -> np.ndarray:
    head = load_head()
    triangles = np.ascontiguousarray(head.triangles[head.parts != HAIR])
    two_sided = np.ones(len(triangles), bool)
    normals = vertex_normals(head.rest, triangles).astype(np.float64)
    points = head.rest - head.rest.mean(0)
    scale = SIZE * 0.48 / np.linalg.norm(points, axis=1).max()
    seen_light, all_light = np.zeros(len(points)), np.full(len(points), 1e-9)
    for step in range(DIRECTIONS):  # a Fibonacci sphere
        z = 1.0 - (2 * step + 1) / DIRECTIONS
        turn = step * np.pi * (3.0 - np.sqrt(5.0))
        towards = np.array([np.sqrt(1 - z * z) * np.cos(turn), z, np.sqrt(1 - z * z) * np.sin(turn)])
        right = np.cross([0.0, 1.0, 0.01], towards)
        right /= np.linalg.norm(right)
        flat = points @ np.stack([right, np.cross(towards, right), towards]).T
        across, down = SIZE / 2 + flat[:, 0] * scale, SIZE / 2 - flat[:, 1] * scale
        screen = np.stack([across, down, -flat[:, 2]], 1).astype(np.float32)
        seen, weights = rasterise(screen, triangles, two_sided, SIZE)
        corners = screen[triangles[seen], 2]  # (S, S, 3)
        u, v = weights[..., 0], weights[..., 1]
        depth = np.where(seen < 0, np.inf, u * corners[..., 0] + v * corners[..., 1] + (1 - u - v) * corners[..., 2])
        columns, rows = screen[:, 0].astype(int), screen[:, 1].astype(int)
        cosine = np.maximum(0.0, normals @ towards)
        seen_light += cosine * (screen[:, 2] <= depth[rows, columns] + SLACK)
        all_light += cosine
    return (seen_light / all_light).astype(np.float32)
