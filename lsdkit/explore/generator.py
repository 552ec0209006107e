"""The explorer of notebook 01: sliders that draw a rendered face anew, a drawing of nobody."""

from functools import cached_property, lru_cache
from typing import NamedTuple

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import numpy_generator
from lsdkit.explore.explorer import PARTS, Answer, Explorer
from lsdkit.explore.packing import ask_panel
from lsdkit.figures.faces import face_sheet
from lsdkit.figures.style import LABELS, Figure
from lsdkit.openset.actions import draw_actions
from lsdkit.openset.appearance import draw_shot, find_style
from lsdkit.openset.head import load_head
from lsdkit.openset.render import Face, render_face
from lsdkit.openset.variants import VARIANTS, Variant, find_variant
from lsdkit.prediction import Panel
from lsdkit.reading.reading import Model, load_panel

PIXELS, THUMB = 192, 112  # sides of the face, and of those of the still figure


class Dials(NamedTuple):
    """What the sliders say; angles in degrees, as seen in the picture."""

    expression: str = "HAPPINESS"
    variant: str = "toothy"
    second: str = "SURPRISE"  # the expression blended in, in its most frequent variant
    share: float = 0.0  # of the second
    intensity: float = 1.0  # 0 is a face at rest
    person: int = 8
    chance: int = 0  # decides what no slider does: small actions, gaze, shirt and ground
    yaw: float = 0.0  # to the person's left
    pitch: float = 0.0  # up
    distance: float = 20.0  # of the camera, decimetres
    azimuth: float = 30.0  # of the light, to the right
    height: float = 25.0  # of the light, above the horizon
    hardness: float = 0.55  # share of that light against the light from all sides
    brightness: float = 0.52  # that the exposure aims at
    photographic: bool = False  # a cheap camera, and things behind the head


class Generator(Explorer):
    """One rendered face, drawn anew by sliders for expression, intensity, person, pose and light.

    `model`: a run, a packed model or a folder of runs that says what it sees in the face; "" is none. The renderer is
    compiled at its first use, half a minute on a slow machine.
    """

    script = "generator"
    title = "A rendered face, drawn anew with each slider"

    def __init__(self, model: Model | str = ""):
        self.model = model
        self.draw = lru_cache(maxsize=64)(draw_face)  # the model is asked about a face that was just drawn
        super().__init__()

    @cached_property
    def panel(self) -> Panel | None:
        return load_panel(self.model) if self.model else None

    def still(self) -> Figure:
        """One person in the six expressions."""
        dials = [Dials(name, VARIANTS[name][0].name) for name in EXPRESSIONS]
        return face_sheet(
            [self.draw(each, THUMB).image for each in dials], [f"{name}, rendered" for name in LABELS], columns=6
        )

    def answer_start(self) -> Answer:
        """The dials as they stand first, each expression's variants, and the names of the six."""
        variants = {name: [variant.name for variant in each] for name, each in VARIANTS.items()}
        said = {"dials": Dials()._asdict(), "variants": variants, "parts": PARTS, "classes": LABELS}
        return {**said, "model": self.panel.name if self.panel else ""}, []

    def answer_face(self, **dials: object) -> Answer:
        """The face that these `Dials` draw, and its 68 landmarks."""
        face = self.draw(Dials(**dials))
        return {"size": PIXELS}, [face.image, face.landmarks]

    def answer_reading(self, **dials: object) -> Answer:
        """What the model says of that face."""
        return {"probabilities": ask_panel(self.panel, self.draw(Dials(**dials)).image[None])[0].tolist()}, []


def draw_face(dials: Dials, pixels: int = PIXELS) -> Face:
    """The rendered face of these dials.

    The renderer draws poses and light at random, from ranges that a style has. Here the ranges are points; a pose,
    which is a random number times a spread, is brought to its dial by the spread. Raises `ValueError` for an unknown
    expression or variant.
    """
    variant, seed = blend_variants(dials), dials.chance
    style = find_style("photographic" if dials.photographic else "training")._replace(
        yaw=1.0, pitch=1.0, crop_turn=0.0, crop_scale=0.0, crop_shift=0.0, light_tint=0.0,
        distance=(dials.distance,) * 2, intensity=(dials.intensity,) * 2, key_azimuth=(1.0, 1.0),
        key_height=(dials.height,) * 2, key_share=(dials.hardness,) * 2, brightness=(dials.brightness,) * 2,
    )  # fmt: skip
    generator = numpy_generator(seed, "render")  # the draws that `render_face` is going to make
    draw_actions(load_head(), variant, generator, style.intensity)
    shot = draw_shot(style, generator)
    side = 1.0 if shot.light.key[0] > 0 else -1.0
    style = style._replace(
        yaw=dials.yaw / shot.yaw, pitch=dials.pitch / shot.pitch, key_azimuth=(side * dials.azimuth,) * 2
    )
    return render_face(
        dials.expression, seed=seed, subject_seed=dials.person, variant=variant, style=style, pixels=pixels
    )


def blend_variants(dials: Dials) -> Variant:
    """The facial actions of one expression and a share of those of a second."""
    first, second = (
        find_variant(dials.expression, dials.variant),
        max(VARIANTS[dials.second], key=lambda each: each.share),
    )
    shares = (1 - dials.share, dials.share)
    mixed = {
        name: sum(share * each.actions.get(name, 0.0) for share, each in zip(shares, (first, second), strict=True))
        for name in first.actions | second.actions
    }
    gaze = tuple(shares[0] * one + shares[1] * other for one, other in zip(first.gaze, second.gaze, strict=True))
    return Variant("dialled", mixed, gaze, 1.0)
