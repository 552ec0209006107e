"""The visible outline of the jaw: on the jaw of a frontal face, on the edge of the far cheek of a turned one."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from lsdkit.common.landmarks import INNER, JAW
from lsdkit.openset.camera import project, rotation
from lsdkit.openset.contour import between, visible_contour
from lsdkit.openset.head import SKIN, load_head
from lsdkit.openset.raster import rasterise
from lsdkit.openset.render import render_face

DISTANCE = 15.0  # decimetres


def outline(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The resting head on the screen, its jaw points and its visible outline, (17, 2) each."""
    head, turn = load_head(), rotation(yaw, pitch, roll)
    screen = project((head.rest - [0, 7.0, 0.4]) @ turn.T, DISTANCE)
    return screen, screen[head.landmarks[JAW], :2].mean(1), between(screen[:, :2], *visible_contour(screen, turn))


@pytest.mark.parametrize("pitch", [0.0, 10.0])
def test_a_frontal_face_keeps_the_jaw(pitch):
    _, jaw, seen = outline(0.0, pitch)
    assert np.linalg.norm(seen - jaw, axis=1).max() < 0.05  # decimetres
    assert np.linalg.norm(seen - jaw, axis=1).mean() < 0.01


@pytest.mark.parametrize("pose", [(12.0, 0.0, 0.0), (25.0, -8.0, 5.0), (35.0, 10.0, -7.0)])
def test_the_mirrored_pose_has_the_mirrored_outline(pose):
    yaw, pitch, roll = pose
    _, _, seen = outline(yaw, pitch, roll)
    _, _, mirrored = outline(-yaw, pitch, -roll)
    assert mirrored[::-1] * [-1, 1] == pytest.approx(seen, abs=2e-3)


@pytest.mark.parametrize("yaw", [10.0, 20.0, 35.0])
def test_the_near_side_stays_and_the_far_side_goes_out_to_the_edge(yaw):
    """The face turns to its left: points 0 to 7 come into sight, points 9 to 16 go behind the cheek."""
    screen, jaw, seen = outline(yaw)
    assert seen[:7] == pytest.approx(jaw[:7], abs=0.02)
    assert (seen[12:, 0] > jaw[12:, 0] - 1e-6).all()
    moved = np.linalg.norm(seen - jaw, axis=1)[12:]
    assert moved.mean() > (0.05 if yaw > 30 else 0.0)
    far = _depth_inside(screen, seen[9:])
    assert np.abs(far).max() < 0.05  # the picture's edge of the face, from inside or outside
    if yaw > 30:
        assert _depth_inside(screen, jaw[13:]).max() > 0.05


def _depth_inside(screen: np.ndarray, places: np.ndarray, scale: float = 100.0) -> np.ndarray:
    """How far inside (positive) or outside the picture of the face, neck and ears left away, places (n, 2) lie."""
    head = load_head()
    front = (head.rest[:, 2] > 0.75) & (head.rest[:, 1] > 6.1) & (head.masks[:, 3] < 0.3)
    face = head.triangles[(head.parts == SKIN) & front[head.triangles].all(1)]
    pixels = (np.add(screen, (1.5, 1.5, 0)) * (scale, scale, 1)).astype(np.float32)
    mask = rasterise(pixels, face, np.ones(len(face), bool), int(3 * scale))[0] >= 0
    signed = distance_transform_edt(mask) - distance_transform_edt(~mask)
    column, row = ((places + 1.5) * scale).astype(int).T
    return signed[row, column] / scale


def test_a_face_has_both_kinds_and_they_differ_on_the_jaw_only():
    turned = 0
    for seed in range(12):
        face = render_face("SADNESS", seed=seed, subject_seed=seed, style="photographic", pixels=16)
        assert face.contour.shape == (68, 2)
        assert face.contour.dtype == np.float32
        assert np.array_equal(face.contour[INNER], face.landmarks[INNER])
        away = np.linalg.norm(face.contour - face.landmarks, axis=1)[JAW]
        assert away.max() < 0.35
        if abs(face.pose[0]) > 12:
            far = slice(0, 8) if face.pose[0] < 0 else slice(9, 17)
            near = slice(9, 17) if face.pose[0] < 0 else slice(0, 8)
            assert away[far].mean() > away[near].mean()
            turned += 1
    assert turned
