"""Sentences of numbers: what a notebook's counts and scores say, true whatever the store holds."""

from collections.abc import Mapping, Sequence

from lsdkit.common.expressions import EXPRESSIONS


def describe_imbalance(counts: Sequence[int]) -> str:
    """How uneven six counts of faces are, in the order of `EXPRESSIONS`.

    >>> describe_imbalance([183, 152, 109, 733, 1446, 150])
    'SADNESS has 1,446 of 2,773 faces, 13.3 times as many as FEAR'
    >>> describe_imbalance([0, 4, 0, 4, 0, 0])
    'DISGUST, HAPPINESS have 4 faces each; there are none of ANGER, FEAR, SADNESS, SURPRISE'
    """
    there = {name: int(count) for name, count in zip(EXPRESSIONS, counts, strict=True) if count}
    if not there:
        return "There are no faces with an expression"
    most, least = max(there, key=there.get), min(there, key=there.get)
    if there[most] > there[least]:
        ratio = f"{there[most] / there[least]:.1f} times as many as {least}"
        text = f"{most} has {there[most]:,} of {sum(there.values()):,} faces, {ratio}"
    else:
        text = f"{', '.join(there)} {'have' if len(there) > 1 else 'has'} {there[most]:,} faces"
        text += " each" if len(there) > 1 else ""
    absent = [name for name in EXPRESSIONS if name not in there]
    return f"{text}; there are none of {', '.join(absent)}" if absent else text


def describe_difference(difference: Mapping[str, float], first: str, second: str, score: str = "macro F1") -> str:
    """Which of two scores is higher, as far as the interval of their difference, first minus second, says.

    `difference` has value, low and high, as `lsdkit.method.metrics.bootstrap_difference` gives them.

    >>> describe_difference({"value": 0.03, "low": 0.01, "high": 0.05}, "with", "without")
    'with above without: the macro F1 differs by +0.030 [+0.010, +0.050]'
    >>> describe_difference({"value": 0.03, "low": -0.01, "high": 0.05}, "with", "without")
    'with and without are not told apart: the macro F1 differs by +0.030 [-0.010, +0.050], and 0 is among that'
    """
    value, low, high = (difference[name] for name in ("value", "low", "high"))
    numbers = f"the {score} differs by {value:+.3f} [{low:+.3f}, {high:+.3f}]"
    if low <= 0 <= high:
        return f"{first} and {second} are not told apart: {numbers}, and 0 is among that"
    return f"{first} {'above' if low > 0 else 'below'} {second}: {numbers}"
