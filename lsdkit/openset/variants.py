"""Expressions as facial actions: which muscles move and how much, in 3 to 5 variants an expression.

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
    """One way to show an expression."""

    name: str
    actions: dict[str, float]  # 0 = rest, 1 = full, more is possible; a name without Left or Right moves both sides
    gaze: tuple[float, float]  # degrees: spread sideways, and up (down is negative)
    share: float  # how often it is drawn, against the expression's other variants


def _variant(name: str, share: float = 1.0, gaze: tuple[float, float] = (3.0, 0.0), **actions: float) -> Variant:
    return Variant(name, actions, gaze, share)


# A table, in which a variant takes as few lines as it needs.
# fmt: off
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "ANGER": (
        # 4 + 5 + 7 + 9 + 23 + 24: lips pressed
        _variant("pressed", share=0.4, browDown=1.1, eyeWide=0.2, eyeSquint=0.4, noseSneer=0.6, mouthPress=0.9,
            mouthRollLower=0.5, mouthRollUpper=0.4),
        # 4 + 5 + 7 + 10 + 22 + 25 + 26: shouting, teeth bared
        _variant("shouting", share=2.0, browDown=0.8, eyeWide=0.6, eyeSquint=0.3, noseSneer=0.7, mouthUpperUp=0.8,
            mouthLowerDown=0.9, mouthFunnel=0.3, mouthStretch=0.5, jawOpen=0.6),
        # 4 + 7 + 10 + 16 + 25 + 27: roaring, the mouth wide open
        _variant("roaring", share=0.6, browDown=1.0, eyeSquint=0.6, noseSneer=0.5, mouthUpperUp=0.8,
            mouthLowerDown=0.9, mouthStretch=0.5, jawOpen=0.7),
        # 4 + 7 + 10 + 16 + 25: teeth clenched
        _variant("clenched", browDown=0.8, eyeWide=0.3, eyeSquint=0.5, noseSneer=0.7, mouthUpperUp=0.9,
            mouthLowerDown=1.3, mouthStretch=0.8, jawOpen=0.15),
        # 4 + 5 + 7 + 9 + 17 + 24: a glare, chin raised
        _variant("glaring", share=0.4, browDown=1.1, eyeWide=0.6, eyeSquint=0.3, mouthShrugLower=0.8,
            mouthPress=0.6, mouthFrown=0.15, mouthRollUpper=0.3, noseSneer=0.5),
    ),
    "DISGUST": (  # the brows make up for the mesh's noseSneer, which draws them down as anger does
        # 6 + 7 + 9 + 10 + 17: eyes pressed
        _variant("wrinkled", browInnerUp=0.3, browOuterUp=0.3, eyeSquint=1.2, eyeBlink=0.4, cheekSquint=1.0,
            noseSneer=0.8, mouthUpperUp=1.2, mouthShrugLower=0.5, mouthFrown=0.9),
        # 7 + 10 + 17: the upper lip drawn up, the nose hardly wrinkled, eyes open
        _variant("lifted", eyeSquint=0.6, cheekSquint=0.4, noseSneer=0.5, mouthUpperUp=1.3, mouthShrugLower=0.4),
        # 10 + 15 + 17, one side stronger
        _variant("curled", share=0.8, browOuterUp=0.3, eyeSquint=1.1, eyeBlink=0.3, cheekSquint=0.8, noseSneer=0.7,
            mouthUpperUpLeft=1.7, mouthUpperUpRight=0.5, mouthFrown=0.9, mouthShrugLower=0.7),
    ),
    "FEAR": (  # 10 and 16, which show the teeth, are not in the tables' fear
        # 1 + 2 + 4 + 5 + 16 + 20 + 25
        _variant("stretched", share=1.4, browInnerUp=1.4, browOuterUp=0.85, browDown=0.5, eyeWide=2.3,
            mouthStretch=1.7, mouthLowerDown=1.0, jawOpen=0.25),
        # 1 + 2 + 4 + 5 + 10 + 16 + 20 + 26: both rows of teeth shown
        _variant("open", share=1.0, browInnerUp=1.4, browOuterUp=0.7, browDown=0.5, eyeWide=2.5, mouthUpperUp=0.4,
            mouthStretch=1.5, mouthLowerDown=1.2, mouthFrown=0.25, jawOpen=0.42),
        # 1 + 2 + 4 + 5 + 20 + 26: a gasp, mouth open and hardly stretched
        _variant("gasping", share=0.6, browInnerUp=1.4, browOuterUp=0.8, browDown=0.4, eyeWide=2.6, mouthStretch=1.1,
            mouthLowerDown=0.7, jawOpen=0.4),
        # 1 + 2 + 4 + 5 + 20 + 25 + 27: a scream
        _variant("screaming", share=0.5, browInnerUp=1.4, browOuterUp=0.7, browDown=0.4, eyeWide=2.5,
            mouthStretch=1.3, mouthLowerDown=1.0, jawOpen=0.75),
        # 1 + 2 + 4 + 5 + 20: worried, mouth closed
        _variant("worried", share=0.4, browInnerUp=1.4, browOuterUp=0.7, browDown=0.5, eyeWide=2.6,
            mouthStretch=1.1, mouthPress=0.2),
    ),
    "HAPPINESS": (
        # 6 + 12
        _variant("smile", share=0.6, cheekSquint=0.8, eyeSquint=0.3, mouthSmile=1.15),
        # 12
        _variant("slight", share=0.3, cheekSquint=0.4, eyeSquint=0.1, mouthSmile=0.95, mouthDimple=0.3),
        # 6 + 12 + 25: teeth shown
        _variant("toothy", share=1.5, cheekSquint=0.9, eyeSquint=0.35, mouthSmile=1.2, mouthUpperUp=0.55,
            mouthLowerDown=0.5, mouthStretch=0.2, jawOpen=0.14),
        # 1 + 2 + 6 + 12 + 25: the broadest smile, brows raised a little
        _variant("beaming", browInnerUp=0.3, browOuterUp=0.3, cheekSquint=0.9, eyeSquint=0.2, mouthSmile=1.5,
            mouthUpperUp=0.6, mouthLowerDown=0.4, jawOpen=0.12),
        # 6 + 12 + 26
        _variant("laughing", share=1.2, browOuterUp=0.2, cheekSquint=1.0, eyeSquint=0.5, mouthSmile=1.3,
            mouthUpperUp=0.6, mouthLowerDown=0.3, mouthStretch=0.2, jawOpen=0.4),
    ),
    "SADNESS": (
        # 1 + 4 + 15 + 17
        _variant("frown", browInnerUp=0.8, browDown=0.4, mouthFrown=1.0, mouthShrugLower=0.6, gaze=(3.0, -5.0)),
        # 1 + 15 + 43: eyes cast down
        _variant("lowered", browInnerUp=0.8, eyeBlink=0.1, mouthFrown=0.8, mouthShrugLower=0.3, gaze=(4.0, -14.0)),
        # 1 + 15 + 43: eyes nearly closed, mouth at rest
        _variant("downcast", share=1.4, browInnerUp=0.7, eyeBlink=0.35, mouthFrown=0.5, gaze=(4.0, -18.0)),
        # 1 + 4 + 11 + 15 + 25: on the point of crying
        _variant("weeping", browInnerUp=1.0, browDown=0.6, eyeSquint=0.7, eyeBlink=0.1, cheekSquint=0.6,
            mouthFrown=1.0, mouthStretch=0.6, mouthLowerDown=0.5, mouthShrugLower=0.5, jawOpen=0.06,
            gaze=(3.0, -4.0)),
        # 1 + 4 + 15 + 24: lips pressed
        _variant("contained", browInnerUp=0.9, browDown=0.4, mouthFrown=0.9, mouthPress=0.6, mouthRollLower=0.4,
            gaze=(4.0, -6.0)),
    ),
    "SURPRISE": (
        # 1 + 2 + 5 + 26
        _variant("open", share=1.5, browInnerUp=0.7, browOuterUp=0.8, eyeWide=1.1, jawOpen=0.55),
        # 1 + 2 + 5 + 27
        _variant("dropped", browInnerUp=0.8, browOuterUp=0.9, eyeWide=1.2, jawOpen=0.95),
        # 1 + 2 + 5 + 22 + 26
        _variant("rounded", share=0.8, browInnerUp=0.7, browOuterUp=0.8, eyeWide=1.1, jawOpen=0.5, mouthFunnel=0.5,
            mouthPucker=0.15),
        # 1 + 2 + 5 + 25
        _variant("parted", share=0.5, browInnerUp=0.9, browOuterUp=1.0, eyeWide=1.3, jawOpen=0.3),
        # 1 + 2 + 25: hardly more than raised brows
        _variant("slight", share=1.2, browInnerUp=0.55, browOuterUp=0.65, eyeWide=0.6, jawOpen=0.22),
    ),
    "NEUTRAL": (_variant("rest"),),
}
# fmt: on


def find_variant(expression: str, name: str) -> Variant:
    """The variant of this name. Raises `ValueError` with the names there are."""
    for variant in _variants(expression):
        if variant.name == name:
            return variant
    names = ", ".join(variant.name for variant in VARIANTS[expression])
    raise ValueError(f"Expected `variant` of {expression} to be one of {names}, but got {name!r}")


def draw_variant(expression: str, generator: np.random.Generator) -> str:
    """The name of a variant of an expression, drawn by the variants' shares."""
    variants = _variants(expression)
    shares = np.array([variant.share for variant in variants])
    return variants[generator.choice(len(variants), p=shares / shares.sum())].name


def _variants(expression: str) -> tuple[Variant, ...]:
    if expression not in VARIANTS:
        raise ValueError(f"Expected `expression` to be one of {', '.join(VARIANTS)}, but got {expression!r}")
    return VARIANTS[expression]
