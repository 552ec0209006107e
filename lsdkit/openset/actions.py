"""From a variant of an expression to the amounts by which this face moves: strength, asymmetry, accidents, gaze."""

from typing import NamedTuple

import numpy as np

from lsdkit.openset.head import Head
from lsdkit.openset.variants import Variant

# The mesh's own brow actions are weak, its eyeWide strong; the first prefix that fits counts.
GAINS = {"browInner": 1.8, "brow": 1.3, "eyeWide": 0.55, "noseSneer": 1.3, "mouthFrown": 1.2}
DISTRACTORS = (  # small actions that say nothing of the expression
    "jawLeft", "jawRight", "mouthLeft", "mouthRight", "mouthPucker", "mouthDimple", "cheekPuff", "jawForward",
    "mouthRollLower", "mouthShrugUpper", "eyeSquint", "browOuterUpLeft", "browOuterUpRight",
)  # fmt: skip


class Drawn(NamedTuple):
    """What a face does."""

    actions: np.ndarray  # (U,) float32, coefficients of the facial actions in the order of `head.unit_names`
    gaze: np.ndarray  # (2,) degrees, to the subject's left and up
    intensity: float  # of the expression: all of its actions are multiplied by it


def draw_actions(head: Head, variant: Variant, generator: np.random.Generator, intensity: tuple[float, float]) -> Drawn:
    """How a face shows a variant of an expression.

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
    return Drawn(np.array(list(actions.values()), np.float32), np.array([sideways, upward]), float(strength))


def _sides(head: Head, name: str) -> tuple[str, ...]:
    return (name,) if name in head.unit_names else (f"{name}Left", f"{name}Right")


def _gain(unit: str) -> float:
    return next((gain for prefix, gain in GAINS.items() if unit.startswith(prefix)), 1.0)
