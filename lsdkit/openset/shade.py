"""Shading: colour of each pixel that sees the head, and the 2 x 2 average that smooths its edges.

Paint is a function of the rest mesh, so that lips, brows and hair follow the skin as it moves. Light is linear: wrapped
diffuse key light (skin wraps further in red, which imitates scattering below the surface; d'Eon & Irving 2011), an
ambient term that sees the sky through the mesh's occlusion, a rim, and a broad highlight.
"""

import math
from typing import NamedTuple

import numpy as np

from lsdkit.common.compiling import compiled
from lsdkit.openset.hair import hair_line
from lsdkit.openset.head import EYE_LEFT, EYE_RIGHT, HAIR, LASHES, TEETH, TONGUE

AVERAGE = 2  # samples along each side of a pixel


class Surface(NamedTuple):
    """The posed mesh: camera space has x right, y up and z towards the viewer. N vertices, T triangles."""

    triangles: np.ndarray  # (T, 3) int32
    parts: np.ndarray  # (T,) uint8
    rest: np.ndarray  # (N, 3) float32, decimetres
    posed: np.ndarray  # (N, 3) float32, camera space
    normals: np.ndarray  # (N, 3) float32, camera space
    masks: np.ndarray  # (N, 4) float32: lips, eyelids, inside of the mouth, ears
    openness: np.ndarray  # (N,) float32, share of the sky that a vertex sees
    eyes: np.ndarray  # (2, 3) float32, centres of the eye balls, camera space
    gaze: np.ndarray  # (2, 3) float32, unit vectors


class Paint(NamedTuple):
    """Colours (linear RGB, (3,) float32) and amounts."""

    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    brows: np.ndarray
    iris: np.ndarray
    shirt: np.ndarray
    brow_thickness: float
    brow_arch: float
    brow_strength: float
    hairline: float
    side_line: float
    stubble: float
    blush: float
    mottling: float
    folds: np.ndarray  # (4,) float32 in [0, 1]: between the brows, forehead, nose to mouth, bridge of the nose
    glasses: float  # half the width of a lens, decimetres; 0 = none


class Light(NamedTuple):
    """Light in camera space. Colours are linear RGB, (3,) float32."""

    key: np.ndarray  # (3,) float32, unit vector towards the key light
    key_colour: np.ndarray
    sky: np.ndarray  # ambient light from above
    ground: np.ndarray  # ambient light from below
    rim: float
    shine: float


@compiled
def _step(value, low, high):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3.0 - 2.0 * t)


@compiled
def _ripple(x, y, z):
    """A smooth field in about [-1, 1]."""
    return (
        math.sin(9.1 * x + 4.3 * y + 1.0) * math.sin(7.7 * y - 5.1 * z + 2.0)
        + math.sin(21.0 * x - 13.0 * z) * math.sin(17.0 * y + 11.0 * x + 0.5) * 0.5
    ) / 1.5


@compiled
def _creased(x, y, z, folds):
    """Share of the light that is left in the creases at a point of the resting face."""
    side = abs(x)
    if z < 0.9 or side > 0.6:
        return 1.0
    dark = 0.0
    if folds[0] > 0.0 and 7.30 < y < 7.62 and side < 0.2:  # two upright lines between the brows
        dark += 0.55 * folds[0] * math.exp(-(((side - 0.055) / 0.018) ** 2)) * math.exp(-(((y - 7.45) / 0.08) ** 2))
    if folds[1] > 0.0 and 7.55 < y < 7.95:  # level lines across the forehead
        wave = y + 0.03 * math.cos(5.0 * x)
        line = math.exp(-(((wave - 7.66) / 0.016) ** 2)) + math.exp(-(((wave - 7.76) / 0.016) ** 2))
        dark += 0.35 * folds[1] * (line + math.exp(-(((wave - 7.85) / 0.016) ** 2))) * math.exp(-((side / 0.35) ** 4))
    if folds[2] > 0.0 and 6.45 < y < 7.0:  # from the wings of the nose past the corners of the mouth
        t = (6.92 - y) / 0.42
        edge = 0.17 + 0.20 * t**0.8 if t > 0.0 else 0.17
        ends = _step(y, 6.48, 6.60) * (1.0 - _step(y, 6.88, 6.96))
        dark += 0.42 * folds[2] * ends * math.exp(-(((side - edge) / 0.022) ** 2))
    if folds[3] > 0.0 and 7.08 < y < 7.34 and side < 0.15:  # level lines on the bridge of the nose
        dark += 0.4 * folds[3] * math.exp(-((side / 0.08) ** 2)) * max(0.0, math.sin(85.0 * (y - 7.08))) ** 2
    return 1.0 - min(0.6, dark)


@compiled
def _framed(side, y, z, half):
    """How much of a point of the resting face the frame of the glasses covers, 0 to 1."""
    dx, dy = (side - 0.31) / half, (y - 7.25) / (0.75 * half)
    reach = (dx**4 + dy**4) ** 0.25  # a rounded rectangle around each eye
    if z > 0.9 and abs(reach - 1.0) < 0.14:
        return 0.9
    bridge = side < 0.31 - half and abs(y - 7.30) < 0.02 and z > 1.0
    temple = side > 0.31 + half and abs(y - 7.30) < 0.025
    return 0.9 if bridge or temple else 0.0


@compiled
def _skin(colour, x, y, z, lips, lids, inside, ears, paint):
    """Write the albedo of the skin at a rest point into `colour`; returns how glossy it is, 0 to 1."""
    side = abs(x)
    tint = 1.0 + paint.mottling * _ripple(x, y, z)
    red = 0.0
    if z > 0.8:
        cheek = math.exp(-((side - 0.40) ** 2 + (y - 6.98) ** 2) / 0.035)
        cheek += 0.8 * math.exp(-(x * x + (y - 6.93) ** 2) / 0.015)
        red = paint.blush * 0.35 * cheek
    for c in range(3):
        colour[c] = paint.skin[c] * tint
    colour[1] *= 1.0 - red
    colour[2] *= 1.0 - red * 0.8
    for c in range(3):
        colour[c] *= 1.0 - 0.22 * lids * (1.0 + 0.4 * c)
        colour[c] *= _creased(x, y, z, paint.folds)
    gloss = 1.0
    if paint.stubble > 0.0 and z > 0.3:
        moustache = _step(y, 6.69, 6.75) * (1.0 - _step(y, 6.80, 6.90)) * (1.0 - _step(side, 0.16, 0.32))
        upper = 6.50 + 0.9 * max(0.0, side - 0.12)  # the beard's edge rises from the chin to the ears
        jaw = _step(upper - y, -0.05, 0.12) * _step(y, 6.0, 6.25) * (1.0 - _step(y, 6.95, 7.15))
        beard = paint.stubble * max(0.8 * moustache, jaw) * (1.0 - 0.9 * lips)
        for c in range(3):
            colour[c] += beard * 0.8 * (paint.hair[c] * 1.1 - colour[c])
        gloss -= 0.7 * beard
    mouth = _step(lips, 0.25, 0.75)
    for c in range(3):
        colour[c] += mouth * (paint.lips[c] - colour[c])
    s = (side - 0.115) / 0.485
    if -0.1 < s < 1.1 and z > 0.8 and 7.25 < y < 7.65:
        line = 7.42 + paint.brow_arch * math.sin(0.75 * math.pi * s) - 0.03 * s
        half = paint.brow_thickness * (1.0 - 0.55 * max(0.0, s) ** 1.5)
        brow = (1.0 - _step(abs(y - line), half * 0.45, half * 1.05)) * _step(s, -0.02, 0.14)
        brow *= 1.0 - _step(s, 0.86, 1.06)
        brow *= paint.brow_strength
        for c in range(3):
            colour[c] += brow * (paint.brows[c] - colour[c])
        gloss -= 0.8 * brow
    if inside > 0.0:
        deep = _step(inside, 0.3, 0.8) * (1.0 - 0.8 * mouth)
        colour[0] += deep * (0.22 - colour[0])
        colour[1] += deep * (0.045 - colour[1])
        colour[2] += deep * (0.045 - colour[2])
    above = -1.0
    if y > min(paint.side_line, paint.hairline - 0.04) - 0.02:
        above = y - hair_line(x, z, paint.hairline, paint.side_line)
        if above > -0.019:
            above += 0.009 * math.sin(67.0 * x + 3.0 * math.sin(29.0 * z)) + 0.009 * math.sin(113.0 * x + 41.0 * z)
    if above > 0.0 and ears < 0.5 and inside < 0.3:
        edge = _step(above, 0.0, 0.10)
        strand = 0.82 + 0.18 * math.sin(60.0 * x + 22.0 * math.sin(3.0 * z + 2.0 * y)) * math.sin(23.0 * z + 9.0 * x)
        for c in range(3):
            colour[c] += edge * (paint.hair[c] * strand - colour[c])
        gloss -= 0.6 * edge
    if paint.glasses > 0.0 and z > 0.3 and inside < 0.3:
        frame = _framed(side, y, z, paint.glasses)
        for c in range(3):
            colour[c] += frame * (0.02 - colour[c])
    if y < 5.85:
        for c in range(3):
            colour[c] = paint.shirt[c]
        gloss = 0.0
    return max(0.0, gloss)


@compiled
def _eye(colour, px, py, pz, centre, gaze, paint):
    """Write the albedo of an eye ball into `colour`, by the angle between its point and the gaze."""
    dx, dy, dz = px - centre[0], py - centre[1], pz - centre[2]
    length = math.sqrt(dx * dx + dy * dy + dz * dz) + 1e-9
    angle = math.acos(min(1.0, max(-1.0, (dx * gaze[0] + dy * gaze[1] + dz * gaze[2]) / length)))
    white = _step(angle, 0.46, 0.54)
    pupil = 1.0 - _step(angle, 0.17, 0.23)
    ring = _step(angle, 0.33, 0.47)
    sclera = (0.74, 0.69, 0.66)
    for c in range(3):
        iris = paint.iris[c] * (1.0 - 0.65 * ring) * (1.0 - pupil) + 0.004
        colour[c] = iris + white * (sclera[c] - iris)


@compiled
def shade_pixel(image, row, column, colour, seen, weights, surface, paint, light):
    """Write linear RGB and coverage of one pixel into `image`, which holds 0 there; `colour` (3,) is overwritten."""
    share = 1.0 / (AVERAGE * AVERAGE)
    rest, posed, normals, masks = surface.rest, surface.posed, surface.normals, surface.masks
    hx, hy, hz = light.key[0], light.key[1], light.key[2] + 1.0  # half way to the viewer
    length = math.sqrt(hx * hx + hy * hy + hz * hz) + 1e-9
    hx, hy, hz = hx / length, hy / length, hz / length
    for sample in range(AVERAGE * AVERAGE):
        i, j = AVERAGE * row + sample // AVERAGE, AVERAGE * column + sample % AVERAGE
        t = seen[i, j]
        if t < 0:
            continue
        a, b, c = surface.triangles[t, 0], surface.triangles[t, 1], surface.triangles[t, 2]
        u, v = weights[i, j, 0], weights[i, j, 1]
        w = 1.0 - u - v
        x = u * rest[a, 0] + v * rest[b, 0] + w * rest[c, 0]
        y = u * rest[a, 1] + v * rest[b, 1] + w * rest[c, 1]
        z = u * rest[a, 2] + v * rest[b, 2] + w * rest[c, 2]
        nx = u * normals[a, 0] + v * normals[b, 0] + w * normals[c, 0]
        ny = u * normals[a, 1] + v * normals[b, 1] + w * normals[c, 1]
        nz = u * normals[a, 2] + v * normals[b, 2] + w * normals[c, 2]
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
        nx, ny, nz = nx / length, ny / length, nz / length
        openness = u * surface.openness[a] + v * surface.openness[b] + w * surface.openness[c]
        part = surface.parts[t]
        gloss, power, wrap = 0.0, 12.0, 0.25
        if part in (EYE_LEFT, EYE_RIGHT):
            px = u * posed[a, 0] + v * posed[b, 0] + w * posed[c, 0]
            py = u * posed[a, 1] + v * posed[b, 1] + w * posed[c, 1]
            pz = u * posed[a, 2] + v * posed[b, 2] + w * posed[c, 2]
            side = 0 if part == EYE_LEFT else 1
            _eye(colour, px, py, pz, surface.eyes[side], surface.gaze[side], paint)
            gloss, power = 9.0, 90.0
        elif part == LASHES:
            for k in range(3):
                colour[k] = 0.35 * paint.brows[k] + 0.18 * paint.skin[k]
        elif part == TEETH:
            shown = _step(z, 1.20, 1.38)  # the sides of the arch lie in the shadow of cheeks and lips
            colour[0], colour[1], colour[2] = 0.08 + 0.74 * shown, 0.03 + 0.74 * shown, 0.03 + 0.63 * shown
            openness = (0.35 + 0.5 * _step(z, 1.20, 1.48)) * (0.4 + 0.6 * _step(y, 6.56, 6.68))  # lower ones darker
            gloss = 0.6 * shown
        elif part == TONGUE:
            colour[0], colour[1], colour[2] = 0.42, 0.13, 0.13
            openness = 0.08 + 0.45 * _step(z, 1.0, 1.4)
            gloss = 0.6
        elif part == HAIR:
            if nz < 0.0:
                nx, ny, nz = -nx, -ny, -nz
            strand = 0.8 + 0.2 * math.sin(70.0 * z + 25.0 * x) * math.sin(31.0 * x + 3.0 * y)
            for k in range(3):
                colour[k] = paint.hair[k] * strand
        else:
            lips = u * masks[a, 0] + v * masks[b, 0] + w * masks[c, 0]
            lids = u * masks[a, 1] + v * masks[b, 1] + w * masks[c, 1]
            inside = u * masks[a, 2] + v * masks[b, 2] + w * masks[c, 2]
            ears = u * masks[a, 3] + v * masks[b, 3] + w * masks[c, 3]
            gloss = _skin(colour, x, y, z, lips, lids, inside, ears, paint)
            gloss *= 1.0 + 0.8 * lips
            openness = max(openness, 0.35 * lips)
        facing = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
        up = 0.5 + 0.5 * ny
        edge = (1.0 - max(0.0, nz)) ** 3 * light.rim
        highlight = gloss * light.shine * max(0.0, nx * hx + ny * hy + nz * hz) ** power
        reach = min(1.0, 0.35 + 0.9 * openness)  # hollows lose key light as well
        for k in range(3):
            spread = wrap + (0.15 if k == 0 else 0.0)
            key = max(0.0, (facing + spread) / (1.0 + spread)) * reach
            ambient = (light.ground[k] + up * (light.sky[k] - light.ground[k])) * openness
            lit = colour[k] * (light.key_colour[k] * key + ambient + edge * light.sky[k])
            lit += highlight * light.key_colour[k] * reach * (facing > 0.0)
            image[row, column, k] += share * lit
        image[row, column, 3] += share


@compiled
def shade(seen, weights, surface, paint, light):
    """Linear RGB and coverage of each pixel, (P, P, 4) float32, colour already multiplied by coverage.

    seen, weights: of `raster.rasterise` at AVERAGE times the resolution.
    """
    size = len(seen) // AVERAGE
    image = np.zeros((size, size, 4), np.float32)
    colour = np.zeros(3, np.float64)
    for row in range(size):
        for column in range(size):
            shade_pixel(image, row, column, colour, seen, weights, surface, paint, light)
    return image
