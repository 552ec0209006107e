"""Small data that several test files share, made by the tests themselves."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store

PER_CLASS = {"train": 8, "validation": 4, "test": 2}
SIDE = 40


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Store:
    """84 noise pictures, a colour for each class, three subjects, and one face without landmarks."""
    root, generator, rows, landmarks = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0), [], {}
    for split, count in PER_CLASS.items():
        for index, name in enumerate(EXPRESSIONS):
            for number in range(count):
                key = f"{split}/{name}/{number}"
                colour = 40 * index + generator.integers(0, 40, (SIDE, SIDE, 3))
                Image.fromarray(colour.astype(np.uint8)).save(root / f"{key.replace('/', '-')}.png")
                rows.append((key, split, name, f"subject-{number % 3}", f"{key.replace('/', '-')}.png"))
                landmarks[key] = generator.uniform(-0.8, 0.8, (68, 2))
    del landmarks["train/FEAR/0"]
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    options = {"size": None, "kind": "rendered", "source": "noise", "settings": {}, "root": root, "progress": False}
    return write_store(root / "store", table, landmarks, **options)


@pytest.fixture(scope="session")
def load_benchmark() -> Iterator[Callable[[str], ModuleType]]:
    """A function that loads a script of benchmarks/ by its folder and name, such as "openset/judges"."""
    benchmarks, before = Path(__file__).parents[1] / "benchmarks", list(sys.path)

    def load(name: str) -> ModuleType:
        path = benchmarks / f"{name}.py"
        sys.path.append(str(path.parent))  # scripts find those beside them
        specification = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
        module = sys.modules[specification.name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    yield load
    sys.path[:] = before
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(benchmarks)):
            del sys.modules[name]
