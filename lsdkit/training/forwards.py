"""Modules that compute otherwise for a while: their `forward` is replaced, and put back."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def replace_forwards(modules: Iterable[nn.Module], make: Callable[[nn.Module, Callable], Callable]) -> Iterator[None]:
    """Within the block, each module's `forward` is what `make` makes of the module and its forward until now."""
    before = []
    for module in modules:
        before.append((module, vars(module).get("forward")))
        module.forward = make(module, module.forward)
    try:
        yield
    finally:
        for module, forward in before:
            del module.forward
            if forward is not None:
                module.forward = forward
