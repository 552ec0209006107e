"""Expressions as facial actions: which muscles move and how much, in 3 to 4 variants an expression.

The combinations follow EMFACS (Friesen & Ekman 1983, "EMFACS-7: Emotional Facial Action Coding System") as tabled by
Ekman, Friesen & Hager 2002 ("Facial Action Coding System: Investigator's Guide", table 10-1), with observed variants
from Cordaro et al. 2018 ("Universals and cultural variations in 22 emotional expressions", Emotion 18(1)) and Du, Tao &
Martinez 2014 ("Compound facial expressions of emotion", PNAS 111(15)). Action units (AU) are written as the ARKit names
of the mesh's targets: AU1 browInnerUp, AU2 browOuterUp, AU4 browDown, AU5 eyeWide, AU6 cheekSquint, AU7 eyeSquint, AU9
noseSneer, AU10 mouthUpperUp, AU12 mouthSmile, AU14 mouthDimple, AU15 mouthFrown, AU16 mouthLowerDown, AU17
mouthShrugLower, AU20 mouthStretch, AU22 mouthFunnel, AU23/24 mouthPress and mouthRoll, AU25-27 jawOpen.
"""

from typing import NamedTuple

import numpy as np


class Variant(NamedTuple):
    """One way to show an expression: a name, the actions (a name without Left or Right moves both), and the gaze."""

    name: str
    actions: dict[str, float]  # 0 = rest, 1 = full
    gaze: tuple[float, float] = (0.0, 0.0)  # degrees: spread sideways, and up (down is negative)


def _variant(name: str, gaze: tuple[float, float] = (3.0, 0.0), **actions: float) -> Variant:
    return Variant(name, actions, gaze)


# fmt: off  (a table reads better than one action a line)
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "ANGER": (
        # 4 + 5 + 7 + 23 + 24: lips pressed
        _variant(
            "pressed",
            browDown=1.2,
            eyeWide=0.5,
            eyeSquint=0.5,
            noseSneer=0.3,
            mouthPress=0.9,
            mouthRollLower=0.5,
            mouthRollUpper=0.4,
        ),
        # 4 + 5 + 7 + 10 + 22 + 25 + 26: shouting, teeth bared
        _variant(
            "shouting",
            browDown=1.3,
            eyeWide=0.7,
            eyeSquint=0.4,
            noseSneer=0.7,
            mouthUpperUp=0.9,
            mouthLowerDown=1.2,
            mouthFunnel=0.5,
            mouthStretch=0.4,
            jawOpen=0.55,
        ),
        # 4 + 7 + 10 + 16 + 25: teeth clenched
        _variant(
            "clenched",
            browDown=1.3,
            eyeWide=0.3,
            eyeSquint=0.6,
            noseSneer=0.6,
            mouthUpperUp=0.8,
            mouthLowerDown=1.3,
            mouthStretch=0.8,
            jawOpen=0.12,
        ),
        # 4 + 5 + 7 + 17 + 24: a glare, chin raised
        _variant(
            "glaring",
            browDown=1.3,
            eyeWide=0.9,
            eyeSquint=0.3,
            mouthShrugLower=0.9,
            mouthPress=0.6,
            mouthFrown=0.5,
            mouthRollUpper=0.3,
        ),
    ),
    "DISGUST": (
        # 9 + 10 + 17
        _variant(
            "wrinkled",
            browDown=0.5,
            eyeSquint=0.8,
            cheekSquint=0.7,
            noseSneer=1.3,
            mouthUpperUp=0.9,
            mouthShrugLower=0.7,
            mouthFrown=0.4,
        ),
        # 9 + 10 + 16 + 25 + 26: mouth open, upper lip drawn up
        _variant(
            "gaping",
            browDown=0.4,
            eyeSquint=0.9,
            cheekSquint=0.6,
            noseSneer=1.2,
            mouthUpperUp=1.3,
            mouthLowerDown=0.5,
            mouthFrown=0.5,
            jawOpen=0.25,
        ),
        # 9 + 19 + 25 + 26: tongue shown
        _variant(
            "tongue",
            browDown=0.4,
            eyeSquint=0.9,
            cheekSquint=0.5,
            noseSneer=1.2,
            mouthUpperUp=0.7,
            mouthFrown=0.4,
            jawOpen=0.4,
            tongueOut=0.75,
        ),
        # 10 + 15 + 17, one side stronger
        _variant(
            "curled",
            browDown=0.3,
            eyeSquint=0.6,
            cheekSquint=0.4,
            noseSneer=1.0,
            mouthUpperUpLeft=1.3,
            mouthUpperUpRight=0.5,
            mouthFrown=0.7,
            mouthShrugLower=0.6,
        ),
    ),
    "FEAR": (
        # 1 + 2 + 4 + 5 + 20 + 25
        _variant(
            "stretched",
            browInnerUp=1.4,
            browOuterUp=0.5,
            browDown=0.6,
            eyeWide=1.7,
            mouthStretch=1.3,
            mouthLowerDown=0.6,
            jawOpen=0.12,
        ),
        # 1 + 2 + 4 + 5 + 20 + 26
        _variant(
            "open",
            browInnerUp=1.4,
            browOuterUp=0.5,
            browDown=0.5,
            eyeWide=1.8,
            mouthStretch=1.2,
            mouthLowerDown=0.9,
            mouthFrown=0.3,
            jawOpen=0.38,
        ),
        # 1 + 4 + 5 + 20 + 25: teeth together, a glance aside
        _variant(
            "grimace",
            browInnerUp=1.5,
            browDown=0.7,
            eyeWide=1.7,
            mouthStretch=1.4,
            mouthLowerDown=1.2,
            mouthUpperUp=0.3,
            mouthFrown=0.4,
            jawOpen=0.06,
            gaze=(10.0, 0.0),
        ),
    ),
    "HAPPINESS": (
        # 6 + 12
        _variant("smile", cheekSquint=0.7, eyeSquint=0.3, mouthSmile=0.95),
        # 12
        _variant("slight", cheekSquint=0.4, eyeSquint=0.1, mouthSmile=0.75, mouthDimple=0.3),
        # 6 + 12 + 25: teeth shown
        _variant(
            "toothy",
            cheekSquint=0.9,
            eyeSquint=0.4,
            mouthSmile=1.05,
            mouthUpperUp=0.5,
            mouthLowerDown=0.35,
            jawOpen=0.1,
        ),
        # 6 + 12 + 26
        _variant(
            "laughing", browOuterUp=0.3, cheekSquint=1.0, eyeSquint=0.6, mouthSmile=1.1, mouthUpperUp=0.45, jawOpen=0.45
        ),
    ),
    "SADNESS": (
        # 1 + 4 + 15 + 17
        _variant(
            "frown", browInnerUp=1.4, browDown=0.5, eyeBlink=0.1, mouthFrown=1.2, mouthShrugLower=0.5, gaze=(3.0, -6.0)
        ),
        # 1 + 15 + 43: eyes cast down
        _variant("lowered", browInnerUp=1.2, eyeBlink=0.15, mouthFrown=1.1, mouthShrugLower=0.3, gaze=(4.0, -14.0)),
        # 1 + 4 + 11 + 15 + 25: on the point of crying
        _variant(
            "weeping",
            browInnerUp=1.5,
            browDown=0.7,
            eyeSquint=0.6,
            eyeBlink=0.1,
            cheekSquint=0.6,
            mouthFrown=1.2,
            mouthStretch=0.6,
            mouthLowerDown=0.5,
            mouthShrugLower=0.5,
            jawOpen=0.06,
            gaze=(3.0, -4.0),
        ),
        # 1 + 4 + 15 + 24: lips pressed
        _variant(
            "contained",
            browInnerUp=1.3,
            browDown=0.4,
            eyeBlink=0.1,
            mouthFrown=1.0,
            mouthPress=0.6,
            mouthRollLower=0.4,
            gaze=(4.0, -8.0),
        ),
    ),
    "SURPRISE": (
        # 1 + 2 + 5 + 26
        _variant("open", browInnerUp=1.3, browOuterUp=1.2, eyeWide=1.5, jawOpen=0.9),
        # 1 + 2 + 5 + 27
        _variant("dropped", browInnerUp=1.4, browOuterUp=1.3, eyeWide=1.6, jawOpen=1.3, mouthFunnel=0.2),
        # 1 + 2 + 5 + 22 + 26
        _variant(
            "rounded", browInnerUp=1.3, browOuterUp=1.2, eyeWide=1.6, jawOpen=0.65, mouthFunnel=0.7, mouthPucker=0.3
        ),
        # 1 + 2 + 5 + 25
        _variant("parted", browInnerUp=1.5, browOuterUp=1.4, eyeWide=1.6, jawOpen=0.4),
    ),
    "NEUTRAL": (_variant("rest"),),
}
# fmt: on


def variant_of(expression: str, name: str) -> Variant:
    """The variant of this name. Raises `ValueError` with the names there are."""
    for variant in _variants(expression):
        if variant.name == name:
            return variant
    names = ", ".join(variant.name for variant in VARIANTS[expression])
    raise ValueError(f"Expected `variant` of {expression} to be one of {names}, but got {name!r}")


def draw_variant(expression: str, generator: np.random.Generator) -> str:
    """The name of a variant of an expression, each equally likely."""
    names = [variant.name for variant in _variants(expression)]
    return names[generator.integers(len(names))]


def _variants(expression: str) -> tuple[Variant, ...]:
    if expression not in VARIANTS:
        raise ValueError(f"Expected `expression` to be one of {', '.join(VARIANTS)}, but got {expression!r}")
    return VARIANTS[expression]
