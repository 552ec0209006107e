"""A member's network as boxes: which parts it has, which shapes leave them, how many numbers each trains or holds."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lsdkit.common.landmarks import POINTS
from lsdkit.figures.network import Part
from lsdkit.method.network import MultiTask
from lsdkit.recipes import Member


def outline(network: MultiTask, member: Member, faces: Tensor) -> dict[str, list[Part]]:
    """The boxes of `lsdkit.figures.network.architecture`, with the shapes that `faces` (B, 3, S, S) take on their way.

    Shapes are those of one face. The network is left in the mode that it had.
    """
    recipe, emotion = member.recipe, network.emotion
    parts = {
        "emotion": [
            ("backbone", recipe.emotion, emotion.backbone, False),
            ("adapters", "1x1 conv, BN, ReLU", emotion.adapters, False),
            (f"{recipe.heads} heads (MAN)", "attention: place, channel", emotion.heads, False),
            ("fusion (AFN)", "sum over the heads", None, False),
            ("shared layers", "2 x linear, BN", network.shared, True),
            ("expression", "linear, BN", network.expression, False),
        ]
    }
    if network.multitask:
        appearance = network.appearance
        parts["appearance"] = [
            ("backbone", recipe.appearance_backbone(member.appearance), appearance.backbone, False),
            ("adapter", "1x1 conv, BN, ReLU, mean", appearance.adapter, False),
            ("shared layers", "2 x linear, BN", network.shared_appearance, True),
            ("landmarks", "linear", network.landmarks, False),
        ]
    shapes = _record_shapes(network, [module for own in parts.values() for *_, module, _ in own if module], faces)
    heads, boxes = shapes[emotion.heads[0]], {}
    shapes[emotion.heads] = (recipe.heads, *heads)
    if network.multitask:
        shapes[network.landmarks] = (POINTS, 2)
    for branch, own in parts.items():
        boxes[branch] = [Part("picture", f"{branch} view, RGB", tuple(faces.shape[1:]))]
        for name, about, module, shared in own:
            if module is emotion.adapters and not len(module):
                continue  # the backbone has as many channels as are wanted
            trained, frozen = (0, 0) if module is None else _count(module)
            shape = heads if module is None else shapes[module]
            boxes[branch].append(Part(name, about, shape, trained, frozen, shared))
    if network.multitask:  # weights are counted where they first stand
        boxes["appearance"][-2] = boxes["appearance"][-2]._replace(about="the same weights", trained=0)
    return boxes


@torch.no_grad()
def _record_shapes(network: MultiTask, modules: Iterable[nn.Module], faces: Tensor) -> dict[nn.Module, tuple[int, ...]]:
    """What leaves each of these modules, and each attention head, for one face."""
    shapes, hooks = {}, []
    for module in [*modules, *network.emotion.heads]:
        hooks.append(module.register_forward_hook(lambda m, _, out: shapes.__setitem__(m, tuple(out.shape[1:]))))
    training = network.training
    try:
        network.eval()
        network.forward_emotion(faces)
        if network.multitask:
            network.forward_landmarks(faces)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return shapes


def _count(module: nn.Module) -> tuple[int, int]:
    """Numbers of a module that are trained, and that are not."""
    sizes = {True: 0, False: 0}
    for parameter in module.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    return sizes[True], sizes[False]
