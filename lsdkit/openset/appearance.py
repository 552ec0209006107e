"""What varies from face to face of one person: pose, lens, light, shirt, background and what a camera does to it all.

Two styles differ in documented ways. `training` is a clean studio: frontal pose, soft white light, plain grounds, no
image damage. `photographic` imitates snapshots: wider poses, weaker expressions among the strong ones, harder and
coloured light, cluttered grounds, colour casts, grey pictures, blur, noise, low resolution, earlier JPEG compression,
and pictures that end beside the face.
"""

from typing import NamedTuple

import numpy as np

from lsdkit.openset.identity import to_linear
from lsdkit.openset.shade import Light


class Style(NamedTuple):
    """Ranges of the random draws of a style. A pair is a uniform range, a single number a standard deviation."""

    yaw: float  # degrees
    pitch: float  # degrees
    crop_turn: float  # degrees, error of the crop
    crop_scale: float
    crop_shift: float  # of the crop's side
    distance: tuple[float, float]  # decimetres from camera to face
    intensity: tuple[float, float]  # of the expression
    key_azimuth: tuple[float, float]  # degrees from the viewer to either side
    key_height: tuple[float, float]  # degrees above the horizon
    key_share: tuple[float, float]  # key light against ambient light
    light_tint: float  # standard deviation of the log colour of the light
    brightness: tuple[float, float]  # mean sRGB level that the exposure aims at
    clutter: float  # strength of shapes behind the head
    ground_tint: float
    cast: float  # standard deviation of the log colour cast of the image
    contrast: tuple[float, float]
    grey: float  # share of grey pictures
    noise: tuple[float, float]  # standard deviation, of the full range
    blur: tuple[float, float]  # Gaussian radius in pixels of a 112-pixel face
    resolution: tuple[float, float]  # share of the full resolution that was kept
    jpeg: tuple[int, int] | None  # quality of an earlier compression
    ends: float  # share of pictures that end within the crop, whose last pixels are repeated as in crops of photographs


STYLES = {
    "training": Style(
        yaw=9.0, pitch=6.0, crop_turn=2.0, crop_scale=0.03, crop_shift=0.01, distance=(12.0, 40.0),
        intensity=(0.7, 1.15), key_azimuth=(0.0, 55.0), key_height=(5.0, 50.0), key_share=(0.4, 0.7), light_tint=0.03,
        brightness=(0.47, 0.58), clutter=0.0, ground_tint=0.05, cast=0.0, contrast=(1.0, 1.0), grey=0.0,
        noise=(0.0, 0.008), blur=(0.0, 0.0), resolution=(1.0, 1.0), jpeg=None, ends=0.0,
    ),
    "photographic": Style(
        yaw=14.0, pitch=7.0, crop_turn=4.0, crop_scale=0.05, crop_shift=0.02, distance=(7.0, 30.0),
        intensity=(0.7, 1.2), key_azimuth=(0.0, 85.0), key_height=(-10.0, 65.0), key_share=(0.35, 0.85),
        light_tint=0.10, brightness=(0.40, 0.60), clutter=0.35, ground_tint=0.15, cast=0.05, contrast=(0.85, 1.25),
        grey=0.30, noise=(0.0, 0.025), blur=(0.0, 0.7), resolution=(0.5, 1.0), jpeg=(35, 90), ends=0.4,
    ),
}  # fmt: skip
SWITCHES = ("identity", "appearance", "pose", "wrinkles", "teeth", "degradation")  # what `without` can switch off


class Shot(NamedTuple):
    """The draws of one picture."""

    yaw: float
    pitch: float
    roll: float
    jitter: tuple[float, float, float, float]
    distance: float
    light: Light
    shirt: np.ndarray  # (3,) linear RGB
    brightness: float


def find_style(name: str) -> Style:
    """The style of this name; raises `ValueError` with the names there are."""
    if name not in STYLES:
        raise ValueError(f"Expected `style` to be one of {', '.join(STYLES)}, but got {name!r}")
    return STYLES[name]


def check_without(without: tuple[str, ...]) -> None:
    """Raises `ValueError` where a name is not one of `SWITCHES`."""
    for name in without:
        if name not in SWITCHES:
            raise ValueError(f"Expected `without` to name some of {', '.join(SWITCHES)}, but got {name!r}")


def narrow_style(style: Style, without: tuple[str, ...]) -> Style:
    """The style with some sources of variety switched off: "pose", "appearance" (light and ground), "degradation"."""
    if "pose" in without:
        style = style._replace(yaw=0.0, pitch=0.0, distance=(20.0, 20.0))
    if "appearance" in without:
        light = {"key_azimuth": (30.0, 30.0), "key_height": (30.0, 30.0), "key_share": (0.55, 0.55), "light_tint": 0.0}
        style = style._replace(**light, brightness=(0.5, 0.5), clutter=0.0, ground_tint=0.0)
    if "degradation" in without:
        style = style._replace(cast=0.0, contrast=(1.0, 1.0), noise=(0.0, 0.0), blur=(0.0, 0.0), ends=0.0)
        style = style._replace(resolution=(1.0, 1.0), jpeg=None)
    return style


def draw_shot(style: Style, generator: np.random.Generator) -> Shot:
    """Pose, lens and light of one picture; angles beyond 2.2 standard deviations are clipped."""
    spreads = (style.yaw, style.pitch, style.crop_turn)
    yaw, pitch, turn = (float(np.clip(generator.normal(0.0, 1.0), -2.2, 2.2)) * spread for spread in spreads)
    spreads = [style.crop_scale, style.crop_shift, style.crop_shift]
    scale, right, down = np.clip(generator.normal(0.0, 1.0, 3), -2.0, 2.0) * spreads
    return Shot(
        yaw=yaw,
        pitch=pitch,
        roll=float(generator.normal(0.0, 5.0)),
        jitter=(turn, 1.0 + float(scale), float(right), float(down)),
        distance=float(generator.uniform(*style.distance)),
        light=_draw_light(style, generator),
        shirt=to_linear(generator.uniform(0.05, 0.85) * _tint(0.25, generator)).astype(np.float32),
        brightness=float(generator.uniform(*style.brightness)),
    )


def _draw_light(style: Style, generator: np.random.Generator) -> Light:
    azimuth = np.radians(generator.uniform(*style.key_azimuth) * generator.choice([-1.0, 1.0]))
    height = np.radians(generator.uniform(*style.key_height))
    share = generator.uniform(*style.key_share)
    key = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    sky = (1.0 - share) * 1.5 * _tint(style.light_tint, generator)
    return Light(
        key=key.astype(np.float32),
        key_colour=(share * 1.6 * _tint(style.light_tint, generator)).astype(np.float32),
        sky=sky.astype(np.float32),
        ground=(sky * generator.uniform(0.4, 0.8)).astype(np.float32),
        rim=float(generator.uniform(0.0, 0.35)),
        shine=float(generator.uniform(0.01, 0.07)),
    )


def draw_background(style: Style, pixels: int, generator: np.random.Generator) -> np.ndarray:
    """A ground behind the head, (P, P, 3) linear RGB: a soft gradient, with blurred shapes where cluttered."""
    level = generator.uniform(0.15, 0.85)
    top, bottom = (
        to_linear(np.clip(level + generator.normal(0.0, 0.10), 0.05, 0.95) * _tint(style.ground_tint, generator))
        for _ in "ab"
    )
    grid = np.linspace(0.0, 1.0, pixels)
    angle = generator.uniform(0.0, 2 * np.pi)
    ramp = np.clip(0.5 + (grid[:, None] - 0.5) * np.cos(angle) + (grid[None, :] - 0.5) * np.sin(angle), 0.0, 1.0)
    ground = top + ramp[..., None] * (bottom - top)
    for _ in range(generator.integers(3, 9) if style.clutter else 0):
        x, y = generator.uniform(-0.1, 1.1, 2)
        width, height = generator.uniform(0.05, 0.35, 2)
        soft = generator.uniform(20.0, 90.0)
        inside = _sigmoid(soft * (width - abs(grid - x)))[None, :] * _sigmoid(soft * (height - abs(grid - y)))[:, None]
        colour = to_linear(generator.uniform(0.05, 0.95) * _tint(style.ground_tint, generator))
        ground += (style.clutter * generator.uniform(0.3, 2.0) * inside)[..., None].clip(0, 1) * (colour - ground)
    return ground.astype(np.float32)


def _tint(spread: float, generator: np.random.Generator) -> np.ndarray:
    """A colour near (1, 1, 1), warm to cold with some green to magenta."""
    warm, green = generator.normal(0.0, spread, 2)
    return np.exp([warm, 0.4 * green, -warm])


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0)))
