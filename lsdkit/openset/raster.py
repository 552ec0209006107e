"""A z-buffer rasteriser: which triangle each pixel sees, and where in it. Exact: every pixel centre is tested."""

import numpy as np

from lsdkit.common.compiling import compiled


@compiled
def rasterise(points, triangles, two_sided, size):
    """Rasterise triangles into a square of `size` pixels.

    points: (N, 3) float32, x right and y down in pixels, z the distance from the camera (smaller is nearer).
    triangles: (T, 3) int32. two_sided: (T,) bool, draw a triangle seen from behind as well.
    Returns `seen` (size, size) int32, the triangle at each pixel centre or -1, and `weights` (size, size, 2) float32,
    the barycentric weights of its first two corners. Weights and depth are interpolated linearly on the screen, which
    for triangles of a few pixels differs from the perspective-correct ones by less than a hundredth of a pixel.
    Of two triangles at the same depth the earlier one stays.
    """
    seen = np.full((size, size), -1, np.int32)
    depth = np.full((size, size), np.inf, np.float32)
    weights = np.zeros((size, size, 2), np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)  # negative = counter-clockwise, as y points down
        if area == 0.0 or (area > 0.0 and not two_sided[t]):
            continue
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(size - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        top = max(0, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(size - 1, int(np.floor(max(ay, by, cy) - 0.5)))
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                z = u * az + v * bz + w * cz
                if z < depth[row, column]:
                    depth[row, column] = z
                    seen[row, column] = t
                    weights[row, column, 0] = u
                    weights[row, column, 1] = v
    return seen, weights


@compiled
def vertex_normals(points, triangles):
    """Unit normals of the vertices, (N, 3) float32: the area-weighted mean of the triangles around each."""
    normals = np.zeros(points.shape, np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for n in range(len(normals)):
        length = np.sqrt(normals[n, 0] ** 2 + normals[n, 1] ** 2 + normals[n, 2] ** 2)
        if length > 0.0:
            normals[n] /= length
    return normals


@compiled
def blend(amounts, basis):
    """The sum of the rows of `basis` (K, N * 3), each times its amount (K,), as (N, 3) float32; rows of 0 are skipped.

    A plain loop: unlike a matrix product it gives the same bits for any number of threads.
    """
    total = np.zeros(basis.shape[1], np.float32)
    for k in range(len(amounts)):
        amount = amounts[k]
        if amount != 0.0:
            row = basis[k]
            for n in range(len(total)):
                total[n] += amount * row[n]
    return total.reshape(-1, 3)
