"""Compiled loops where there is a place to keep them, and where there is none."""

from pathlib import Path

import numba

from lsdkit.common.compiling import compiled


def double(x):
    return 2 * x


def test_what_is_compiled_is_kept_for_the_next_process(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kept = compiled(double)
    assert kept(21) == 42
    assert tmp_path in Path(kept.stats.cache_path).parents
    assert list(tmp_path.rglob("*.nbc"))


def test_without_a_place_it_is_compiled_all_the_same():
    names = {}
    exec(compile("def triple(x):\n    return 3 * x\n", "<nowhere>", "exec"), names)
    free = compiled(names["triple"])
    assert free(14) == 42
    assert free.stats.cache_path is None
