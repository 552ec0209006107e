"""Subjects: what stays the same over all faces of one person. Shape of the head, skin, hair, brows, eyes and lips."""

from typing import NamedTuple

import numpy as np

from lsdkit.openset.hair import BALD
from lsdkit.openset.head import Head
from lsdkit.openset.raster import blend
from lsdkit.openset.sliders import AGES, ORIGINS, SEXES, SHAPES, WEIGHTS

SKIN_TONES = (  # sRGB in [0, 1] from dark to light: red, green, blue
    (0.27, 0.42, 0.58, 0.74, 0.86, 0.94),
    (0.17, 0.27, 0.40, 0.55, 0.68, 0.79),
    (0.12, 0.19, 0.29, 0.42, 0.56, 0.70),
)
HAIR_COLOURS = np.array(  # sRGB: black, dark brown, brown, chestnut, dark blond, blond, red, grey, white
    [
        [0.05, 0.045, 0.045], [0.13, 0.09, 0.07], [0.24, 0.16, 0.11], [0.36, 0.22, 0.14], [0.48, 0.36, 0.22],
        [0.68, 0.54, 0.34], [0.48, 0.22, 0.10], [0.50, 0.49, 0.48], [0.78, 0.77, 0.75],
    ]
)  # fmt: skip
EYE_COLOURS = np.array(  # sRGB: dark brown, brown, hazel, green, blue, grey
    [
        [0.14, 0.08, 0.05], [0.26, 0.15, 0.08], [0.35, 0.26, 0.13], [0.30, 0.36, 0.24], [0.28, 0.40, 0.52],
        [0.40, 0.44, 0.47],
    ]
)  # fmt: skip
# Of sliders whose mean is not 0: dlib marks thinner and wider lips on photographs than the mesh has.
CENTRES = {"mouth-lowerlip-height": -0.6, "mouth-upperlip-height": -0.8, "mouth-scale-horiz": 0.4}
# The deepest creases of a resting face. Without them a crease would say that an expression makes it.
CREASES = np.array([0.6, 0.9, 1.3, 0.4])


class Subject(NamedTuple):
    """A person. Colours are linear RGB in [0, 1], lengths decimetres."""

    points: np.ndarray  # (N, 3) float32, the neutral head
    age: float  # 0 young, 1 old
    male: float  # 0 female, 1 male
    skin: np.ndarray  # (3,)
    lips: np.ndarray  # (3,)
    hair: np.ndarray  # (3,)
    brows: np.ndarray  # (3,)
    iris: np.ndarray  # (3,)
    brow_thickness: float
    brow_arch: float
    brow_strength: float  # 0 invisible .. 1 opaque
    hairline: float  # height of the hair's edge over the forehead, `hair.BALD` for none
    side_line: float  # how far down the hair reaches behind the ears
    long_hair: bool
    hair_volume: float
    stubble: float  # 0 none .. 1 a full beard
    blush: float
    mottling: float
    glasses: float  # half the width of a lens in decimetres, 0 for none
    creases: np.ndarray  # (4,) of the resting face, 1 and more is full; in the order of `shade.Paint.folds`


def to_linear(colour: np.ndarray) -> np.ndarray:
    """Linear light from sRGB in [0, 1] (a plain power of 2.2)."""
    return np.clip(colour, 0.0, 1.0) ** 2.2


def draw_subject(head: Head, generator: np.random.Generator) -> Subject:
    """A new person: macro mix, about 30 of the tied sliders, head shapes and asymmetries; then colours."""
    male = generator.beta(0.5, 0.5)
    age = generator.beta(0.7, 1.4) * 0.9
    origins = generator.dirichlet([0.5] * len(ORIGINS))
    points = _draw_points(head, generator, male, age, origins)

    lightness = origins @ np.array([0.12, 0.66, 0.82]) + generator.normal(0.0, 0.08)  # african, asian, caucasian
    grid, lightness = np.linspace(0.0, 1.0, len(SKIN_TONES[0])), np.clip(lightness, 0.0, 1.0)
    tone = [np.interp(lightness, grid, channel) for channel in SKIN_TONES] + generator.normal(0.0, 0.012, 3)
    light_share = origins[2] * generator.random()
    odds = np.array([1.0, 1.0, *(3 * light_share,) * 4, light_share])
    shade = generator.choice(len(HAIR_COLOURS) - 2, p=odds / odds.sum())
    if generator.random() < max(0.0, age - 0.45):
        shade = generator.choice([7, 8])
    hair = to_linear(HAIR_COLOURS[shade] * generator.uniform(0.8, 1.2))
    odds = np.array([1.0, 1.0, *(2 * light_share,) * 4])
    eye = generator.choice(len(EYE_COLOURS), p=odds / odds.sum())
    redness = generator.uniform(0.0, 1.0) * (1.0 - male * 0.7)
    lips = to_linear(tone * [0.88, 0.66, 0.66]) * (1 - redness) + redness * to_linear(tone * [0.85, 0.45, 0.48])
    is_male = male > 0.5
    long_hair = generator.random() < (0.06 if is_male else 0.65)
    bald = is_male and generator.random() < 0.10 + 0.25 * age
    return Subject(
        points=points,
        age=age,
        male=male,
        skin=to_linear(tone),
        lips=lips,
        hair=hair,
        brows=hair * generator.uniform(0.5, 0.9) if shade < 7 else hair * 0.5,
        iris=to_linear(EYE_COLOURS[eye] * generator.uniform(0.8, 1.3)),
        brow_thickness=generator.uniform(0.042, 0.062) + 0.014 * male,
        brow_arch=generator.uniform(0.03, 0.065),
        brow_strength=generator.uniform(0.75, 1.0),
        hairline=BALD if bald else generator.uniform(7.70, 7.98) + 0.10 * (is_male and age > 0.5),
        side_line=generator.uniform(6.5, 6.9),
        long_hair=bool(long_hair and not bald),
        hair_volume=generator.uniform(0.02, 0.10) + 0.06 * long_hair,
        stubble=float(is_male) * max(0.0, generator.uniform(-0.6, 0.7)),
        blush=generator.uniform(0.0, 0.5),
        mottling=generator.uniform(0.0, 0.05),
        glasses=generator.uniform(0.19, 0.24) * (generator.random() < 0.12),
        creases=generator.uniform(0.0, CREASES) * (0.3 + 0.7 * age) * (generator.random(4) < 0.75),
    )


def _draw_points(
    head: Head, generator: np.random.Generator, male: float, age: float, origins: np.ndarray
) -> np.ndarray:
    amounts = np.zeros(len(head.target_names), np.float32)
    weight = np.clip(generator.normal(0.5, 0.25), 0.0, 1.0)
    for sex, share in zip(SEXES, (1 - male, male), strict=True):
        for period, part in zip(AGES, (1 - age, age), strict=True):
            for origin, mix in zip(ORIGINS, origins, strict=True):
                amounts[head.target(f"macro:{origin}-{sex}-{period}")] = share * part * mix
            thin, heavy = max(0.0, 1 - 2 * weight), max(0.0, 2 * weight - 1)
            for name, mix in zip(WEIGHTS, (thin, 1 - thin - heavy, heavy), strict=True):
                amounts[head.target(f"weight:{sex}-{period}-{name}")] = share * part * mix
    sliders = sorted({name[7:-2] for name in head.target_names if name.startswith("slider:")})
    values = CENTRES | {
        str(name): CENTRES.get(str(name), 0.0) + np.clip(generator.normal(0.0, 0.45), -0.9, 0.9)
        for name in generator.choice(sliders, 30, replace=False)
    }
    for name, value in values.items():
        amounts[head.target(f"slider:{name}:{'+' if value > 0 else '-'}")] = abs(value)
    for name in generator.choice(SHAPES, 2, replace=False):
        amounts[head.target(f"shape:{name}")] = generator.uniform(0.0, 0.6)
    sides = sorted({name[5:-2] for name in head.target_names if name.startswith("asym:")})
    for name in generator.choice(sides, 6, replace=False):
        amounts[head.target(f"asym:{name}-{generator.choice(['l', 'r'])}")] = generator.uniform(0.0, 0.5)
    return head.rest + blend(amounts, head.targets)
