"""Whether two identities (`lsdkit.training.ownership.identify`) are of the same training."""

from lsdkit.common.files import describe_difference


def describe_change(owner: dict, identity: dict) -> str:
    """In words, where another identity differs; "" where both are of the same training.

    What a recipe says of appearances that the member does not have decides nothing.
    """
    owner, identity = _leave_out_unused(owner), _leave_out_unused(identity)
    return describe_difference(owner, identity) if owner != identity else ""


def _leave_out_unused(identity: dict) -> dict:
    member = identity.get("member", {})
    if "recipe" not in member:  # of another task than a member's
        return identity
    recipe, roles = member["recipe"], ("emotion", member["appearance"])
    used = {name: [pair for pair in recipe[name] if pair[0] in roles] for name in ("appearances", "weights")}
    return identity | {"member": member | {"recipe": recipe | used}}
