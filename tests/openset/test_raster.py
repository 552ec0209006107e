"""The rasteriser and the mesh arithmetic against slow loops written out here."""

import numpy as np
import pytest

from lsdkit.openset.camera import crop, project, rotation
from lsdkit.openset.hair import BALD, hair_cover, hair_line
from lsdkit.openset.raster import blend, rasterise, vertex_normals


def naive(points, triangles, two_sided, size):
    """Every triangle at every pixel, in float64: the nearest one that holds the pixel's centre."""
    seen = np.full((size, size), -1)
    depth = np.full((size, size), np.inf)
    for t, corners in enumerate(triangles):
        a, b, c = points[corners].astype(np.float64)
        matrix = np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1.0, 1.0, 1.0]])
        turning = np.linalg.det(matrix)
        if turning == 0 or (turning > 0 and not two_sided[t]):  # y points down: positive turns clockwise on the screen
            continue
        for row in range(size):
            for column in range(size):
                weights = np.linalg.solve(matrix, [column + 0.5, row + 0.5, 1.0])
                z = weights @ [a[2], b[2], c[2]]
                if (weights >= 0).all() and z < depth[row, column]:
                    seen[row, column], depth[row, column] = t, z
    return seen, depth


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rasteriser_agrees_with_a_slow_loop(seed):
    generator = np.random.default_rng(seed)
    points = generator.uniform(-4, 20, (12, 3)).astype(np.float32)  # some triangles reach beyond the picture
    triangles = generator.permuted(np.tile(np.arange(12, dtype=np.int32), (8, 1)), axis=1)[:, :3].copy()
    two_sided = generator.random(8) < 0.5
    seen, weights = rasterise(points, triangles, two_sided, 16)
    expected, depth = naive(points, triangles, two_sided, 16)
    assert (expected >= 0).sum() > 20
    assert np.array_equal(seen, expected)
    u, v = weights[..., 0], weights[..., 1]
    z = points[triangles[seen], 2]
    found = u * z[..., 0] + v * z[..., 1] + (1 - u - v) * z[..., 2]
    assert found[seen >= 0] == pytest.approx(depth[seen >= 0], abs=1e-3)


def test_back_faces_are_hidden_unless_two_sided():
    points = np.array([[1, 1, 1], [7, 1, 1], [1, 7, 1]], np.float32)
    towards, away = np.array([[0, 2, 1]], np.int32), np.array([[0, 1, 2]], np.int32)
    one, both = np.array([False]), np.array([True])
    shown = [
        (rasterise(points, tri, sided, 8)[0] == 0).sum() for tri, sided in ((towards, one), (away, one), (away, both))
    ]
    assert shown[0] == shown[2] > 10
    assert shown[1] == 0


def test_normals_of_a_tetrahedron_point_outwards():
    points = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], np.int32)
    assert vertex_normals(points, triangles) == pytest.approx(points / np.sqrt(3), abs=1e-6)


def test_blend_is_the_matrix_product():
    generator = np.random.default_rng(0)
    amounts, basis = generator.normal(size=5).astype(np.float32), generator.normal(size=(5, 12)).astype(np.float32)
    amounts[2] = 0
    assert blend(amounts, basis) == pytest.approx((amounts.astype(np.float64) @ basis).reshape(-1, 3), abs=1e-5)


def test_rotation_is_one_and_turns_the_way_it_says():
    matrix = rotation(30, 10, 20)
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert (rotation(30, 0, 0) @ [0, 0, 1])[0] > 0.4  # the nose goes to the subject's left
    assert (rotation(0, 30, 0) @ [0, 0, 1])[1] > 0.4  # and up


def test_nearer_is_larger():
    screen = project(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 2.0]]), 10.0)
    assert screen[0].tolist() == [1.0, -1.0, 10.0]
    assert screen[1, 0] == pytest.approx(10 / 8)


def test_crop_keeps_every_landmark_inside():
    generator = np.random.default_rng(0)
    points = generator.normal(0, 1, (70, 3))
    points[36:42, :2], points[42:48, :2], points[48:68, :2] = (-1, 0), (1, 0), (0, 1.3)
    points[8, :2] = (0, 30)  # a chin far below
    flat = crop(points, points[:68, :2], (0.0, 1.0, 0.0, 0.0))
    assert np.abs(flat[:68, :2] * 2 - 1).max() == pytest.approx(0.98)
    assert np.array_equal(flat[:, 2], points[:, 2])


def test_hair_starts_at_the_line_and_a_bald_head_has_none():
    assert hair_line(0.0, 1.4, 7.8, 6.7) > hair_line(0.6, 0.6, 7.8, 6.7) > hair_line(0.6, 0.0, 7.8, 6.7)
    rest = np.array([[0, 8.2, 0.5], [0, 7.0, 1.5], [0, 8.2, 0.5]], np.float32)
    masks, body = np.zeros((3, 4), np.float32), np.array([True, True, False])
    assert hair_cover(rest, masks, body, 7.8, 6.7).tolist() == [1.0, 0.0, 0.0]
    assert hair_cover(rest, masks, body, BALD, BALD).tolist() == [0.0, 0.0, 0.0]
