"""A schematic face and its mirror image, which tests of landmarks share."""

import numpy as np

from lsdkit.common.landmarks import FLIP


def face(shift: float = 0.0) -> np.ndarray:
    """(68, 2): a schematic face in [-1, 1], mirror-symmetric where `shift` is 0."""
    t = np.linspace(-1, 1, 17)
    jaw = np.stack([0.7 * np.sin(t * np.pi / 2), -0.2 + 0.9 * np.cos(t * np.pi / 2)], 1)
    brows = [(x, -0.45) for x in (-0.55, -0.46, -0.37, -0.28, -0.2, 0.2, 0.28, 0.37, 0.46, 0.55)]
    nose = [(0, y) for y in (-0.2, -0.1, 0.0, 0.1)] + [(x, 0.18) for x in (-0.12, -0.06, 0, 0.06, 0.12)]
    eye = np.array([(-0.1, 0), (-0.04, -0.04), (0.04, -0.04), (0.1, 0), (0.04, 0.04), (-0.04, 0.04)])
    outer = [(0.3 * np.cos(a), 0.1 * np.sin(a)) for a in np.deg2rad(180 + 30 * np.arange(12))]
    inner = [(0.2 * np.cos(a), 0.05 * np.sin(a)) for a in np.deg2rad(180 + 45 * np.arange(8))]
    mouth = np.add([*outer, *inner], [0, 0.4])
    return np.concatenate([jaw, brows, nose, np.add(eye, [-0.37, -0.25]), np.add(eye, [0.37, -0.25]), mouth]) + shift


def flip(points: np.ndarray) -> np.ndarray:
    """Landmarks (..., 68, 2) in [-1, 1] of the mirror image."""
    return np.asarray(points)[..., FLIP, :] * [-1, 1]
