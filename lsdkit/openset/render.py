"""One rendered face: a subject, an expression and a style make a picture and its 68 landmarks."""

import functools
from typing import NamedTuple

import numpy as np

from lsdkit.openset.actions import draw_actions
from lsdkit.openset.appearance import draw_background, draw_shot, style_named
from lsdkit.openset.camera import crop, project, rotation
from lsdkit.openset.develop import develop
from lsdkit.openset.hair import hair_cover
from lsdkit.openset.head import EYE_LEFT, EYE_RIGHT, HAIR, LASHES, SKIN, TEETH, TONGUE, load_head
from lsdkit.openset.identity import Subject, draw_subject
from lsdkit.openset.occlusion import openness
from lsdkit.openset.raster import blend, rasterise, vertex_normals
from lsdkit.openset.shade import AVERAGE, Paint, Surface, shade
from lsdkit.openset.variants import draw_variant, variant_of
from lsdkit.seeds import numpy_generator


class Face(NamedTuple):
    """A rendered face."""

    image: np.ndarray  # (P, P, 3) uint8 RGB
    landmarks: np.ndarray  # (68, 2) float32 in [-1, 1] of the picture, x right, y down
    variant: str
    actions: np.ndarray  # (52,) float32, the facial actions in the order of `load_head().unit_names`


class _Person(NamedTuple):
    subject: Subject
    points: np.ndarray  # (N, 3) float32, with the hair's volume
    triangles: np.ndarray
    parts: np.ndarray
    two_sided: np.ndarray


def render_face(
    expression: str, *, seed: int, subject_seed: int, variant: str = "", style: str = "training", pixels: int = 112
) -> Face:
    """Render one face: always the same for the same arguments, whatever was rendered before.

    expression: a name such as "ANGER" or "NEUTRAL"; seed: fixes everything but the person; subject_seed: fixes the
    person; variant: a way to show the expression (see `variants.VARIANTS`), drawn where it is ""; style: "training" or
    "photographic" (see `appearance.STYLES`); pixels: side of the picture, at least 16.
    Raises `ValueError` for an unknown name or too small a picture.
    """
    if pixels < 16:
        raise ValueError(f"Expected `pixels` of at least 16, but got {pixels}")
    head, ranges = load_head(), style_named(style)
    generator = numpy_generator(seed, "render")
    drawn = variant_of(expression, variant or draw_variant(expression, generator))
    person = _person(subject_seed)
    actions, gaze, _ = draw_actions(head, drawn, generator, ranges.intensity)
    shot = draw_shot(ranges, generator)

    points = person.points + blend(actions, head.units)
    eyes = np.stack([points[head.vertex_parts == part].mean(0) for part in (EYE_LEFT, EYE_RIGHT)])
    turn = rotation(shot.yaw, shot.pitch, shot.roll).astype(np.float32)
    centre = np.append(eyes[:, :2].mean(0), eyes[0, 2] - 0.9).astype(np.float32)
    posed = (points - centre) @ turn.T
    flat = crop(project(posed, shot.distance), head.landmarks, shot.jitter)
    screen = (flat * [AVERAGE * pixels, AVERAGE * pixels, 1.0]).astype(np.float32)

    seen, weights = rasterise(screen, person.triangles, person.two_sided, AVERAGE * pixels)
    surface = Surface(
        triangles=person.triangles,
        parts=person.parts,
        rest=head.rest,
        posed=posed,
        normals=vertex_normals(posed, person.triangles),
        masks=head.masks,
        openness=openness(),
        eyes=((eyes - centre) @ turn.T).astype(np.float32),
        gaze=_gaze(gaze, (eyes - centre) @ turn.T, shot.distance),
    )
    layer = shade(seen, weights, surface, _paint(person.subject, shot.shirt), shot.light)
    mask = layer[..., 3]
    light = layer[..., :3] + (1.0 - mask[..., None]) * draw_background(ranges, pixels, generator)
    image = develop(light, mask, shot.brightness, ranges, generator)
    landmarks = (flat[head.landmarks, :2] * 2.0 - 1.0).astype(np.float32)
    return Face(image, landmarks, drawn.name, actions)


@functools.lru_cache(maxsize=128)
def _person(seed: int) -> _Person:
    """The subject of a seed, its hair and the triangles that it shows."""
    head = load_head()
    subject = draw_subject(head, numpy_generator(seed, "subject"))
    cover = hair_cover(head.rest, head.masks, head.vertex_parts == SKIN, subject.hairline, subject.side_line)
    normals = vertex_normals(subject.points, head.triangles)
    points = subject.points + normals * (cover * subject.hair_volume)[:, None].astype(np.float32)
    shown = (head.parts != HAIR) | subject.long_hair
    parts = head.parts[shown]
    two_sided = np.isin(parts, [LASHES, HAIR, TEETH, TONGUE])
    return _Person(subject, points, np.ascontiguousarray(head.triangles[shown]), parts, two_sided)


def _gaze(degrees: np.ndarray, eyes: np.ndarray, distance: float) -> np.ndarray:
    """Unit vectors of both eyes, (2, 3) float32: towards the camera, then turned by `degrees` (left, up)."""
    towards = np.array([0.0, 0.0, distance]) - eyes
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return (towards @ rotation(degrees[0], degrees[1], 0.0).T).astype(np.float32)


def _paint(subject: Subject, shirt: np.ndarray) -> Paint:
    return Paint(
        skin=subject.skin.astype(np.float32),
        lips=subject.lips.astype(np.float32),
        hair=subject.hair.astype(np.float32),
        brows=subject.brows.astype(np.float32),
        iris=subject.eyes.astype(np.float32),
        shirt=shirt,
        brow_thickness=float(subject.brow_thickness),
        brow_arch=float(subject.brow_arch),
        brow_strength=float(subject.brow_strength),
        hairline=float(subject.hairline),
        side_line=float(subject.side_line),
        stubble=float(subject.stubble),
        blush=float(subject.blush),
        mottling=float(subject.mottling),
    )
