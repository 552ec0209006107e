"""What a sweep costs before it is run: parameters, operations, memory and hours, each with how sure it is."""

from lsdkit.recipes import NO_APPEARANCE, Member


def passes(member: Member) -> int:
    """Passes through a backbone in a step: one or two over emotion views, one over appearance views."""
    return (2 if member.mix == "mixaugment" else 1) + (member.appearance != NO_APPEARANCE)
