"""Shading on a CUDA device: the function of the CPU, compiled for the GPU, with a thread for each pixel."""

import functools
import warnings

import numpy as np
from numba import cuda

from lsdkit.openset.shade import AVERAGE, Light, Paint, Surface, shade_pixel

DEVICES = ("auto", "cpu", "cuda")
SIDE = 16  # threads along each side of a block


@cuda.jit
def _kernel(image, seen, weights, surface, paint, light):
    row, column = cuda.grid(2)
    if row < image.shape[0] and column < image.shape[1]:
        colour = cuda.local.array(3, np.float64)
        shade_pixel(image, row, column, colour, seen, weights, surface, paint, light)


def shade(seen: np.ndarray, weights: np.ndarray, surface: Surface, paint: Paint, light: Light) -> np.ndarray:
    """As `shade.shade`, on the current CUDA device: (P, P, 4) float32."""
    size = len(seen) // AVERAGE
    image = cuda.to_device(np.zeros((size, size, 4), np.float32))
    blocks = -(-size // SIDE)
    moved = [_moved(value) for value in (seen, weights, surface, paint, light)]
    _kernel[(blocks, blocks), (SIDE, SIDE)](image, *moved)
    return image.copy_to_host()


def _moved(value):
    """An array, or every array of a named tuple, on the device; numbers stay as they are."""
    if isinstance(value, tuple):
        return type(value)(*map(_moved, value))
    return cuda.to_device(value) if isinstance(value, np.ndarray) else value


def device_named(name: str) -> str:
    """What paints the pixels, "cpu" or "cuda": "auto" is a CUDA device where numba can use one, else the CPU.

    Raises `ValueError` for another name, and for "cuda" where numba can use none. A device that numba finds and cannot
    use is warned of, once, and not used.
    """
    if name not in DEVICES:
        raise ValueError(f"Expected `device` to be one of {', '.join(DEVICES)}, but got {name!r}")
    if name == "cpu":
        return name
    found, trouble = _cuda()
    if found and not trouble:
        return "cuda"
    remedy = "name the device cpu, or install what numba needs: pip install 'lsdkit[cuda]'"
    if name == "cuda":
        raise ValueError(f"Expected a CUDA device that numba can use, but got none ({trouble}); {remedy}")
    if found:
        warnings.warn(f"The CUDA device is not used for rendering: {trouble}; {remedy}", stacklevel=3)
    return "cpu"


@functools.cache
def _cuda() -> tuple[bool, str]:
    """Whether numba finds a CUDA device, and what keeps it from running a kernel there ("" where it runs one)."""
    if not cuda.is_available():
        return False, "numba finds no device"
    try:
        _kernel_of_nothing[1, 1](cuda.to_device(np.zeros(1)))
        cuda.synchronize()
    except Exception as error:
        return True, f"{type(error).__name__}: {error}"
    return True, ""


@cuda.jit
def _kernel_of_nothing(number):
    number[0] = 1.0
