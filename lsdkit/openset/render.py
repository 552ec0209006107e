"""One rendered face: a subject, an expression and a style make a picture, its 68 landmarks and what was drawn."""

import functools
from typing import NamedTuple

import numpy as np

from lsdkit.common.landmarks import INNER
from lsdkit.common.seeds import numpy_generator
from lsdkit.openset.actions import Drawn, draw_actions
from lsdkit.openset.appearance import Shot, Style, check_without, draw_background, draw_shot, find_style, narrow_style
from lsdkit.openset.camera import crop, project, rotation
from lsdkit.openset.contour import between, visible_contour
from lsdkit.openset.develop import develop
from lsdkit.openset.devices import check_device
from lsdkit.openset.hair import hair_cover
from lsdkit.openset.head import EYE_LEFT, EYE_RIGHT, HAIR, LASHES, SKIN, TEETH, TONGUE, load_head
from lsdkit.openset.identity import Subject, draw_subject
from lsdkit.openset.occlusion import openness
from lsdkit.openset.raster import blend, rasterise, vertex_normals
from lsdkit.openset.shade import AVERAGE, Paint, Surface, shade
from lsdkit.openset.variants import Variant, draw_variant, find_variant

SAME = 20  # seed of the subject whose shape or colours all faces take where those are switched off
GREY_SHIRT = np.full(3, 0.2, np.float32)


class Face(NamedTuple):
    """A rendered face."""

    image: np.ndarray  # (P, P, 3) uint8 RGB
    landmarks: np.ndarray  # (68, 2) float32 in [-1, 1] of the picture, x right, y down
    variant: str
    actions: np.ndarray  # (52,) float32, the facial actions in the order of `load_head().unit_names`
    contour: np.ndarray  # (68, 2) float32, `landmarks` with points 0-16 on the visible outline (see `contour`)
    intensity: float  # of the expression, which multiplies its actions
    pose: np.ndarray  # (3,) degrees as seen in the picture: yaw to the subject's left, pitch up, roll to the left
    gaze: np.ndarray  # (2,) degrees off the camera, to the subject's left and up


class Person(NamedTuple):
    subject: Subject
    points: np.ndarray  # (N, 3) float32, with the hair's volume
    triangles: np.ndarray
    parts: np.ndarray
    two_sided: np.ndarray


class Scene(NamedTuple):
    """A posed head before it is painted. Camera space has x right, y up and z towards the viewer, in decimetres."""

    person: Person
    variant: str
    drawn: Drawn
    shot: Shot
    posed: np.ndarray  # (N, 3) float32, camera space
    eyes: np.ndarray  # (2, 3), centres of the eye balls, camera space
    flat: np.ndarray  # (N, 3) in the unit square of the crop, x right, y down, and the distance from the camera
    contour: np.ndarray  # (17, 3) likewise, the visible outline of the jaw
    turned: float  # degrees by which the crop turned the picture to the left


def render_face(
    expression: str,
    *,
    seed: int,
    subject_seed: int,
    variant: str | Variant = "",
    style: str | Style = "training",
    pixels: int = 112,
    without: tuple[str, ...] = (),
    device: str = "cpu",
) -> Face:
    """Render one face: always the same for the same arguments, whatever was rendered before.

    expression: a name such as "ANGER" or "NEUTRAL"; seed: fixes everything but the person; subject_seed: fixes the
    person; variant: a way to show the expression (see `variants.VARIANTS`), drawn where it is "", or one of your own;
    style: "training" or "photographic" (see `appearance.STYLES`), or ranges of your own; pixels: side of the picture,
    at least 16; without: sources of variety that are switched off, of `appearance.SWITCHES` (for ablations); device:
    what paints the pixels, "cpu" or "cuda".
    Raises `ValueError` for an unknown name or too small a picture.
    """
    if pixels < 16:
        raise ValueError(f"Expected `pixels` of at least 16, but got {pixels}")
    check_without(without)
    check_device(device, ("cpu", "cuda"))
    head, ranges = load_head(), narrow_style(style if isinstance(style, Style) else find_style(style), without)
    generator = numpy_generator(seed, "render")
    scene = stage(expression, variant, draw_person(subject_seed, without), ranges, generator)
    person, shot = scene.person, scene.shot
    screen = (scene.flat * [AVERAGE * pixels, AVERAGE * pixels, 1.0]).astype(np.float32)
    seen, weights = rasterise(screen, person.triangles, person.two_sided, AVERAGE * pixels)
    surface = Surface(
        triangles=person.triangles,
        parts=person.parts,
        rest=head.rest,
        posed=scene.posed,
        normals=vertex_normals(scene.posed, person.triangles),
        masks=head.masks,
        openness=openness(),
        eyes=scene.eyes.astype(np.float32),
        gaze=_gaze(scene.drawn.gaze, scene.eyes, shot.distance),
    )
    shirt = GREY_SHIRT if "appearance" in without else shot.shirt
    paint = _paint(person.subject, shirt, folds(scene.drawn.actions, person.subject, "wrinkles" not in without))
    layer = _shade_on(device, seen, weights, surface, paint, shot.light)
    mask = layer[..., 3]
    light = layer[..., :3] + (1.0 - mask[..., None]) * draw_background(ranges, pixels, generator)
    image = develop(light, mask, shot.brightness, ranges, generator)
    return Face(
        image=image,
        landmarks=_of_picture(_marks(scene.flat)),
        variant=scene.variant,
        actions=scene.drawn.actions,
        contour=_of_picture(np.concatenate([scene.contour, _marks(scene.flat)[INNER]])),
        intensity=scene.drawn.intensity,
        pose=np.array([shot.yaw, shot.pitch, shot.roll + scene.turned]),
        gaze=scene.drawn.gaze,
    )


def _shade_on(device: str, *scene) -> np.ndarray:
    if device == "cpu":
        return shade(*scene)
    from lsdkit.openset import gpu  # numba's part for CUDA loads here

    return gpu.shade(*scene)


def stage(
    expression: str, variant: str | Variant, person: Person, ranges: Style, generator: np.random.Generator
) -> Scene:
    """Draw the expression and the shot of a person, and pose the head; the draws of the picture itself follow."""
    head = load_head()
    named = isinstance(variant, str)
    chosen = find_variant(expression, variant or draw_variant(expression, generator)) if named else variant
    drawn = draw_actions(head, chosen, generator, ranges.intensity)
    shot = draw_shot(ranges, generator)

    points = person.points + blend(drawn.actions, head.units)
    eyes = np.stack([points[head.vertex_parts == part].mean(0) for part in (EYE_LEFT, EYE_RIGHT)])
    turn = rotation(shot.yaw, shot.pitch, shot.roll).astype(np.float32)
    centre = np.append(eyes[:, :2].mean(0), eyes[0, 2] - 0.9).astype(np.float32)
    moved = points - centre
    posed = moved[:, :1] * turn[:, 0] + moved[:, 1:2] * turn[:, 1] + moved[:, 2:] * turn[:, 2]  # no BLAS: same bits
    screen = project(posed, shot.distance)
    flat = crop(screen, _marks(screen)[:, :2], shot.jitter)
    contour = between(flat, *visible_contour(screen, turn))
    eyes, turned = (eyes - centre) @ turn.T, _measure_turn(screen, flat)
    return Scene(person, chosen.name, drawn, shot, posed, eyes, flat, contour, turned)


def _marks(points: np.ndarray) -> np.ndarray:
    """The 68 landmarks among the vertices (N, D)."""
    return points[load_head().landmarks].mean(1)


def _of_picture(flat: np.ndarray) -> np.ndarray:
    """Points of the crop's unit square, (n, 3), in [-1, 1] of the picture, (n, 2) float32."""
    return (flat[:, :2] * 2.0 - 1.0).astype(np.float32)


def _measure_turn(screen: np.ndarray, flat: np.ndarray) -> float:
    """Degrees by which the crop turned the picture to the left (counter-clockwise), from where two points went."""
    before, after = (np.subtract(*_marks(points)[[27, 8], :2]) @ [1.0, -1.0j] for points in (screen, flat))
    return float(np.degrees(np.angle(after / before)))


@functools.lru_cache(maxsize=128)
def draw_person(seed: int, without: tuple[str, ...] = ()) -> Person:
    """The subject of a seed, its hair and the triangles that it shows."""
    head = load_head()
    shape, looks = (SAME if name in without else seed for name in ("identity", "appearance"))
    subject = draw_subject(head, numpy_generator(looks, "subject"))
    if shape != looks:
        subject = subject._replace(points=draw_subject(head, numpy_generator(shape, "subject")).points)
    cover = hair_cover(head.rest, head.masks, head.vertex_parts == SKIN, subject.hairline, subject.side_line)
    normals = vertex_normals(subject.points, head.triangles)
    points = subject.points + normals * (cover * subject.hair_volume)[:, None].astype(np.float32)
    shown = ((head.parts != HAIR) | subject.long_hair) & ((head.parts != TEETH) | ("teeth" not in without))
    parts = head.parts[shown]
    two_sided = np.isin(parts, [LASHES, HAIR, TEETH, TONGUE])
    return Person(subject, points, np.ascontiguousarray(head.triangles[shown]), parts, two_sided)


def _gaze(degrees: np.ndarray, eyes: np.ndarray, distance: float) -> np.ndarray:
    """Unit vectors of both eyes, (2, 3) float32: towards the camera, then turned by `degrees` (left, up)."""
    towards = np.array([0.0, 0.0, distance]) - eyes
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return (towards @ rotation(degrees[0], degrees[1], 0.0).T).astype(np.float32)


def folds(actions: np.ndarray, subject: Subject, shown: bool) -> np.ndarray:
    """Depth of the creases of this face, (4,) float32 in [0, 1]: at rest, and what its actions add (more with age).

    Between the brows (AU4), across the forehead (AU1, AU2), from the nose to the mouth's corners (AU6, 9, 10, 12), and
    on the bridge of the nose (AU9).
    """
    names = load_head().unit_names
    amount = {name: float(value) for name, value in zip(names, actions, strict=True)}

    def both(name: str) -> float:
        return 0.5 * (amount[f"{name}Left"] + amount[f"{name}Right"])

    raised = 0.5 * amount["browInnerUp"] + 0.5 * both("browOuterUp")
    cheeks = 0.5 * both("mouthSmile") + 0.5 * both("noseSneer") + 0.3 * both("mouthUpperUp") + 0.3 * both("cheekSquint")
    depths = np.array([both("browDown"), 0.6 * raised, cheeks, 0.7 * both("noseSneer")])
    made = np.clip(depths, 0.0, 1.0) * (0.25 + 0.5 * subject.age)
    return (np.clip(subject.creases + made, 0.0, 1.0) * shown).astype(np.float32)


def _paint(subject: Subject, shirt: np.ndarray, creases: np.ndarray) -> Paint:
    """The subject's colours and amounts, as numba takes them, with the shirt and the creases."""
    looks = {name: getattr(subject, name) for name in Paint._fields if name in Subject._fields}
    looks = {name: np.asarray(value, np.float32) if np.ndim(value) else float(value) for name, value in looks.items()}
    return Paint(**looks, shirt=shirt, folds=creases)
