"""Placeholder until the real module lands."""


def start(network, recipe, appearance):
    """Nothing is loaded."""
    roles = ("emotion",) if appearance == "none" else ("emotion", "appearance")
    return {role: {"source": "random", "kind": "random"} for role in roles}


def fingerprints(recipe, appearance):
    """Nothing is loaded."""
    return {}
