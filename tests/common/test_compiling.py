"""Compiled loops where there is a place to keep them, and where there is none."""

from lsdkit.common.compiling import compiled


def double(x):
    return 2 * x


def test_what_is_compiled_is_kept_beside_the_module():
    kept = compiled(double)
    assert kept(21) == 42
    assert kept.stats.cache_path.startswith(str(__file__).rpartition("/")[0])


def test_without_a_place_it_is_compiled_all_the_same():
    names = {}
    exec(compile("def triple(x):\n    return 3 * x\n", "<nowhere>", "exec"), names)
    free = compiled(names["triple"])
    assert free(14) == 42
    assert free.stats.cache_path is None
