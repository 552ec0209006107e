"""Expressions as facial actions: which muscles move, how much, in 3 to 5 variants an expression.

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

from lsdkit.openset.head import Head


class Variant(NamedTuple):
    """One way to show an expression: a name, the actions (a name without Left or Right moves both), and the gaze."""

    name: str
    actions: dict[str, float]  # 0 = rest, 1 = full
    gaze: tuple[float, float] = (0.0, 0.0)  # degrees: spread sideways, and up (down is negative)


def _variant(name: str, gaze: tuple[float, float] = (3.0, 0.0), **actions: float) -> Variant:
    return Variant(name, actions, gaze)


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "ANGER": (
        _variant(  # 4 + 5 + 7 + 23 + 24
            "pressed",
            browDown=1.2,
            eyeSquint=0.5,
            eyeWide=0.5,
            mouthPress=0.9,
            mouthRollLower=0.5,
            mouthRollUpper=0.4,
            noseSneer=0.3,
        ),
        _variant(  # 4 + 5 + 7 + 10 + 22 + 25 + 26: shouting, teeth bared
            "shouting",
            browDown=1.3,
            eyeSquint=0.5,
            eyeWide=0.6,
            noseSneer=0.7,
            mouthUpperUp=0.9,
            mouthLowerDown=1.2,
            mouthFunnel=0.5,
            mouthStretch=0.4,
            jawOpen=0.55,
        ),
        _variant(  # 4 + 7 + 10 + 16 + 25: clenched teeth
            "clenched",
            browDown=1.3,
            eyeSquint=0.7,
            noseSneer=0.6,
            mouthUpperUp=0.8,
            mouthLowerDown=1.3,
            mouthStretch=0.8,
            jawOpen=0.12,
        ),
        _variant(  # 4 + 5 + 7 + 17 + 24: glare, chin raised
            "glaring",
            browDown=1.3,
            eyeWide=0.7,
            eyeSquint=0.3,
            mouthShrugLower=0.9,
            mouthPress=0.6,
            mouthFrown=0.5,
            mouthRollUpper=0.3,
        ),
    ),
    "DISGUST": (
        _variant(  # 9 + 10 + 17
            "wrinkled",
            noseSneer=1.3,
            mouthUpperUp=0.9,
            mouthShrugLower=0.7,
            browDown=0.5,
            eyeSquint=0.8,
            cheekSquint=0.7,
            mouthFrown=0.4,
        ),
        _variant(  # 9 + 10 + 16 + 25 + 26: mouth open, upper lip drawn up
            "gaping",
            noseSneer=1.2,
            mouthUpperUp=1.3,
            mouthLowerDown=0.5,
            jawOpen=0.25,
            browDown=0.4,
            eyeSquint=0.9,
            cheekSquint=0.6,
            mouthFrown=0.5,
        ),
        _variant(  # 9 + 19 + 25 + 26: tongue shown
            "tongue",
            noseSneer=1.2,
            mouthUpperUp=0.7,
            mouthFrown=0.4,
            jawOpen=0.35,
            tongueOut=0.75,
            browDown=0.4,
            eyeSquint=0.9,
            cheekSquint=0.5,
        ),
        _variant(  # 10 + 15 + 17, one side stronger
            "curled",
            noseSneer=1.0,
            mouthUpperUpLeft=1.3,
            mouthUpperUpRight=0.5,
            mouthFrown=0.7,
            mouthShrugLower=0.6,
            browDown=0.3,
            eyeSquint=0.6,
            cheekSquint=0.4,
        ),
    ),
    "FEAR": (
        _variant(  # 1 + 2 + 4 + 5 + 20 + 25
            "stretched",
            browInnerUp=1.4,
            browOuterUp=0.5,
            browDown=0.6,
            eyeWide=1.3,
            mouthStretch=1.3,
            mouthLowerDown=0.6,
            jawOpen=0.12,
        ),
        _variant(  # 1 + 2 + 4 + 5 + 20 + 26
            "open",
            browInnerUp=1.4,
            browOuterUp=0.5,
            browDown=0.5,
            eyeWide=1.4,
            mouthStretch=1.2,
            mouthLowerDown=0.9,
            mouthFrown=0.3,
            jawOpen=0.38,
        ),
        _variant(  # 1 + 4 + 5 + 20, teeth together
            "grimace",
            browInnerUp=1.5,
            browDown=0.7,
            eyeWide=1.3,
            mouthStretch=1.4,
            mouthLowerDown=1.2,
            mouthUpperUp=0.3,
            mouthFrown=0.4,
            jawOpen=0.06,
            gaze=(10.0, 0.0),
        ),
    ),
    "HAPPINESS": (
        _variant("smile", mouthSmile=0.9, cheekSquint=0.7, eyeSquint=0.4),  # 6 + 12
        _variant("slight", mouthSmile=0.75, cheekSquint=0.4, eyeSquint=0.2, mouthDimple=0.3),  # 12
        _variant(  # 6 + 12 + 25: teeth shown
            "toothy", mouthSmile=1.0, cheekSquint=0.9, eyeSquint=0.5, mouthUpperUp=0.5, mouthLowerDown=0.35, jawOpen=0.1
        ),
        _variant(  # 6 + 12 + 26
            "laughing",
            mouthSmile=1.05,
            cheekSquint=1.0,
            eyeSquint=0.7,
            mouthUpperUp=0.45,
            jawOpen=0.42,
            browOuterUp=0.2,
        ),
    ),
    "SADNESS": (
        _variant(
            "frown", browInnerUp=1.4, browDown=0.5, mouthFrown=1.2, mouthShrugLower=0.5, eyeBlink=0.2, gaze=(3.0, -6.0)
        ),  # 1 + 4 + 15 + 17
        _variant(
            "lowered", browInnerUp=1.2, mouthFrown=1.1, eyeBlink=0.4, mouthShrugLower=0.3, gaze=(4.0, -16.0)
        ),  # 1 + 15 + 43
        _variant(  # 1 + 4 + 11 + 15 + 25: on the point of crying
            "weeping",
            browInnerUp=1.5,
            browDown=0.7,
            mouthFrown=1.2,
            cheekSquint=0.6,
            eyeSquint=0.6,
            mouthStretch=0.6,
            mouthLowerDown=0.5,
            mouthShrugLower=0.5,
            eyeBlink=0.15,
            jawOpen=0.06,
            gaze=(3.0, -4.0),
        ),
        _variant(  # 1 + 4 + 15 + 24, lips pressed
            "contained",
            browInnerUp=1.3,
            browDown=0.4,
            mouthFrown=1.0,
            mouthPress=0.6,
            mouthRollLower=0.4,
            eyeBlink=0.25,
            gaze=(4.0, -8.0),
        ),
    ),
    "SURPRISE": (
        _variant("open", browInnerUp=1.3, browOuterUp=1.3, eyeWide=1.1, jawOpen=0.9),  # 1 + 2 + 5 + 26
        _variant(
            "dropped", browInnerUp=1.4, browOuterUp=1.4, eyeWide=1.2, jawOpen=1.3, mouthFunnel=0.2
        ),  # 1 + 2 + 5 + 27
        _variant(
            "rounded", browInnerUp=1.3, browOuterUp=1.3, eyeWide=1.2, jawOpen=0.65, mouthFunnel=0.7, mouthPucker=0.3
        ),  # 1 + 2 + 5 + 22 + 26
        _variant("parted", browInnerUp=1.5, browOuterUp=1.5, eyeWide=1.2, jawOpen=0.35),  # 1 + 2 + 5 + 25
    ),
    "NEUTRAL": (_variant("rest"),),
}
GAINS = {  # the mesh's own brow actions are weak, its eyeWide strong; the first prefix that fits counts
    "browInner": 2.0,
    "brow": 1.4,
    "eyeWide": 0.55,
    "noseSneer": 1.3,
    "mouthFrown": 1.2,
}
DISTRACTORS = (  # small actions that say nothing of the expression
    "jawLeft", "jawRight", "mouthLeft", "mouthRight", "mouthPucker", "mouthDimple", "cheekPuff", "jawForward",
    "mouthRollLower", "mouthShrugUpper", "eyeSquint", "browOuterUpLeft", "browOuterUpRight",
)  # fmt: skip


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


def draw_actions(
    head: Head, variant: Variant, generator: np.random.Generator, intensity: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of the facial actions, (U,) float32, and the gaze (2,) in degrees (to the subject's left, up).

    Intensity is drawn from the range given (below 0.5 nobody can name the expression), each action varies by 15%,
    left and right by another 12%; two distractors of up to 0.15 are added, and 12% of the faces half blink.
    """
    actions = dict.fromkeys(head.unit_names, 0.0)
    strength = generator.uniform(*intensity)
    for name, amount in variant.actions.items():
        level = amount * strength * max(0.0, generator.normal(1.0, 0.15))
        for unit in _sides(head, name):
            actions[unit] += _gain(unit) * level * max(0.0, generator.normal(1.0, 0.12))
    for name in generator.choice(DISTRACTORS, 2, replace=False):
        for unit in _sides(head, str(name)):
            actions[unit] += generator.uniform(0.0, 0.15)
    if generator.random() < 0.12:
        blink = generator.uniform(0.15, 0.5)
        for unit in _sides(head, "eyeBlink"):
            actions[unit] += blink
    sideways = generator.normal(0.0, 1.0) * variant.gaze[0]
    upward = generator.normal(variant.gaze[1], 2.0)
    for unit in _sides(head, "eyeLookDown"):
        actions[unit] += np.clip(-upward / 25.0, 0.0, 1.0)
    for unit in _sides(head, "eyeBlink"):  # lids that cross show as holes
        closed = actions[unit] + 0.4 * actions[unit.replace("Blink", "Squint")]
        actions[unit] = max(0.0, actions[unit] - max(0.0, closed - 1.0))
    return np.array(list(actions.values()), np.float32), np.array([sideways, upward])


def _variants(expression: str) -> tuple[Variant, ...]:
    if expression not in VARIANTS:
        raise ValueError(f"Expected `expression` to be one of {', '.join(VARIANTS)}, but got {expression!r}")
    return VARIANTS[expression]


def _sides(head: Head, name: str) -> tuple[str, ...]:
    return (name,) if name in head.unit_names else (f"{name}Left", f"{name}Right")


def _gain(unit: str) -> float:
    return next((gain for prefix, gain in GAINS.items() if unit.startswith(prefix)), 1.0)
