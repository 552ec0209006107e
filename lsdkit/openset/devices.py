"""Which device paints the pixels of rendered faces."""

import functools
import warnings

DEVICES = ("auto", "cpu", "cuda")


def device_named(name: str) -> str:
    """What paints the pixels, "cpu" or "cuda": "auto" is a CUDA device where numba can use one, else the CPU.

    Raises `ValueError` for another name, and for "cuda" where numba can use none. A device that is there and cannot be
    used is warned of, and the CPU paints.
    """
    if name not in DEVICES:
        raise ValueError(f"Expected `device` to be one of {', '.join(DEVICES)}, but got {name!r}")
    if name == "cpu":
        return name
    found, trouble = cuda_state()
    if found and not trouble:
        return "cuda"
    remedy = "name the device cpu, or install what numba needs: pip install 'lsdkit[cuda]'"
    if name == "cuda":
        raise ValueError(f"Expected a CUDA device that numba can use, but there is none ({trouble}); {remedy}")
    if found:
        warnings.warn(f"The CUDA device is not used for rendering: {trouble}; {remedy}", stacklevel=3)
    return "cpu"


@functools.cache
def cuda_state() -> tuple[bool, str]:
    """Whether numba's CUDA is there at all, and what keeps this kit from using it ("" where it runs a kernel)."""
    try:
        from lsdkit.openset import gpu  # numba's part for CUDA loads here

        found = gpu.available()
    except Exception as error:
        return True, f"{type(error).__name__}: {error}"
    return found, "" if found else "numba finds no device"
