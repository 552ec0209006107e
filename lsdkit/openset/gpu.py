"""Shading on a CUDA device: the function of the CPU, compiled for the GPU, with a thread for each pixel.

`devices` imports this module where it is asked for CUDA, so that what is wrong with a machine's CUDA stops no CPU.
"""

import numpy as np
from numba import config, cuda

from lsdkit.openset.shade import AVERAGE, Light, Paint, Surface, shade_pixel

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # of the process: a picture of 112 px need not fill a large GPU
SIDE = 8  # threads along each side of a block


@cuda.jit
def _kernel(image, seen, weights, surface, paint, light):
    row, column = cuda.grid(2)
    if row < image.shape[0] and column < image.shape[1]:
        colour = cuda.local.array(3, np.float64)
        shade_pixel(image, row, column, colour, seen, weights, surface, paint, light)


def shade(seen: np.ndarray, weights: np.ndarray, surface: Surface, paint: Paint, light: Light) -> np.ndarray:
    """As `shade.shade`, on the current CUDA device: (P, P, 4) float32."""
    size = len(seen) // AVERAGE
    image, blocks = cuda.to_device(np.zeros((size, size, 4), np.float32)), -(-size // SIDE)
    scene = [_move(value) for value in (seen, weights, surface, paint, light)]
    _kernel[(blocks, blocks), (SIDE, SIDE)](image, *scene)
    return image.copy_to_host()


def _move(value):
    """An array, or every array of a named tuple, on the device; numbers stay as they are."""
    if isinstance(value, tuple):
        return type(value)(*map(_move, value))
    return cuda.to_device(value) if isinstance(value, np.ndarray) else value


def describe_missing() -> str:
    """What numba lacks for CUDA on this machine, "" where it has a device and a compiler."""
    if cuda.is_available():
        return ""
    error = cuda.cuda_error()
    if error is None:
        return "numba finds the driver and not the compiler NVVM (pip install 'lsdkit[cuda]' brings it, for CUDA 13)"
    return f"numba finds none ({' '.join(str(error).split())})"


def try_kernel() -> None:
    """Compile and run a kernel; raises what CUDA raises, or `RuntimeError` for a wrong result."""
    number = cuda.to_device(np.ones(1))
    _double[1, 1](number)
    if number.copy_to_host()[0] != 2.0:
        raise RuntimeError(f"twice 1 is {number.copy_to_host()[0]}")


@cuda.jit
def _double(number):
    number[0] *= 2.0
