"""Where the scalp carries hair: above a line that falls from the forehead past the temples to behind the ears."""

import math

import numpy as np

from lsdkit.common.compiling import compiled

BALD = 99.0  # a hairline above every head


@compiled
def hair_line(x, z, hairline, side_line):
    """Height of the hair's edge at a point of the resting scalp, decimetres.

    hairline: its height over the forehead; side_line: its height behind the ears.
    """
    front = hairline + 0.04 * math.cos(6.0 * x)
    knots = (0.25, 0.45, 0.70, 0.95, 1.15)  # z, from behind the ear to the forehead
    shares = (0.0, 0.35, 0.45, 0.85, 1.0)
    if z <= knots[0]:
        return side_line
    for k in range(1, 5):
        if z < knots[k]:
            share = shares[k - 1] + (shares[k] - shares[k - 1]) * (z - knots[k - 1]) / (knots[k] - knots[k - 1])
            return side_line + share * (front - side_line)
    return front


@compiled
def hair_cover(rest, masks, body, hairline, side_line):
    """How much each vertex is covered by hair, (N,) float32 in [0, 1].

    rest: (N, 3); masks: (N, 4) with the inside of the mouth in column 2 and the ears in column 3; body: (N,) bool.
    """
    cover = np.zeros(len(rest), np.float32)
    for n in range(len(rest)):
        if body[n] and masks[n, 2] < 0.3 and masks[n, 3] < 0.3:
            above = rest[n, 1] - hair_line(rest[n, 0], rest[n, 2], hairline, side_line)
            cover[n] = min(1.0, max(0.0, above / 0.12))
    return cover
