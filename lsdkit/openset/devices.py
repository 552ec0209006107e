"""Which device paints the pixels of rendered faces."""

import functools
import warnings

DEVICES = ("auto", "cpu", "cuda")
FEW = 4  # processes that "auto" lets share a GPU: more of them render faster without it (docs/rendering.md)


def check_device(name: str, valid: tuple[str, ...] = DEVICES) -> None:
    """Raises `ValueError` for a name that is not valid."""
    if name not in valid:
        raise ValueError(f"Expected `device` to be one of {', '.join(valid)}, but got {name!r}")


def choose_painter(name: str, processes: int = 1) -> str:
    """What paints the pixels, "cpu" or "cuda"; "auto" is a CUDA device where numba can use one for few processes.

    Raises `ValueError` for another name, and for "cuda" where numba can use none. A device on which numba fails is
    warned of, and the CPU paints.
    """
    check_device(name)
    if name == "cpu" or (name == "auto" and processes > FEW):
        return "cpu"
    there, trouble = try_cuda()
    if there and not trouble:
        return "cuda"
    if name == "cuda":
        raise ValueError(
            f"Expected a CUDA device that numba can use, but {trouble}; name the device cpu, or see docs/rendering.md "
            "for what numba needs"
        )
    if there:
        warnings.warn(f"The CPU renders, and not the CUDA device: {trouble}", stacklevel=3)
    return "cpu"


@functools.cache
def try_cuda() -> tuple[bool, str]:
    """Whether numba finds a CUDA device and a compiler for it, and what is wrong ("" where it ran a kernel)."""
    try:
        from lsdkit.openset import gpu  # numba's part for CUDA loads here

        if missing := gpu.describe_missing():
            return False, missing
        gpu.try_kernel()
    except ImportError as error:
        return False, f"numba has no part for CUDA here ({error})"
    except Exception as error:
        return True, f"numba fails on it with {type(error).__name__}: {error}"
    return True, ""
