"""Loops compiled by numba: kept on disk where that can be, and without Python's lock."""

from collections.abc import Callable
from functools import partial

from numba import njit


def compiled(function: Callable) -> Callable:
    """The function compiled at its first call for the types that it is given.

    What is compiled is kept for the next process, beside the module or in the user's folder (`NUMBA_CACHE_DIR` names
    another); where neither can be written, each process compiles anew. Other threads run meanwhile.
    """
    compile_free = partial(njit, nogil=True)
    try:
        return compile_free(cache=True)(function)
    except RuntimeError:  # numba finds no place to keep it
        return compile_free()(function)
