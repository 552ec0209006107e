"""Pose, perspective and the crop, which is the one that `lsdkit.data.alignment` gives photographs."""

import numpy as np

from lsdkit.common.landmarks import anchor_points
from lsdkit.data.alignment import TARGETS, similarity

EDGE = 0.98  # landmarks stay inside this share of [-1, 1]


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation (3, 3) of the head, degrees: yaw turns to the subject's left, pitch up, roll to the picture's left."""
    y, p, r = np.radians([yaw, -pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return tilt @ nod @ turn


def project(posed: np.ndarray, distance: float) -> np.ndarray:
    """Points (N, 3) on the screen: x right, y down, and distance from the camera, which looks along -z."""
    away = distance - posed[:, 2]
    return np.stack([posed[:, 0] * distance / away, -posed[:, 1] * distance / away, away], 1)


def crop(screen: np.ndarray, landmarks: np.ndarray, jitter: tuple[float, float, float, float]) -> np.ndarray:
    """Screen points (N, 3) moved into the unit square of the crop; landmarks: the 68 points on the screen, (68, 2).

    jitter: (turn in degrees, scale, shift right, shift down): how far the annotator's crop is off. Where a landmark
    would leave the square, the face is shrunk until all of them are inside.
    """
    matrix = similarity(anchor_points(landmarks), TARGETS)
    flat = np.concatenate([landmarks, screen[:, :2]]) @ matrix[:, :2].T + matrix[:, 2]
    turn, scale, right, down = jitter
    c, s = np.cos(np.radians(turn)) * scale, np.sin(np.radians(turn)) * scale
    flat = (flat - 0.5) @ np.array([[c, s], [-s, c]]) + [right, down]
    reach = abs(flat[: len(landmarks)]).max() * 2
    flat = flat[len(landmarks) :] * min(1.0, EDGE / reach) + 0.5
    return np.column_stack([flat, screen[:, 2]])
