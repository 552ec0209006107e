"""What the documents and docstrings name is there: files and folders of the project, modules and their functions."""

import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = re.compile(r"(?<![\w/.-])(?:lsdkit|benchmarks|tests|docs|notebooks)/[\w./-]*[\w/]")
NAMES = re.compile(r"`(lsdkit(?:\.\w+)+)")
IMPORTS = re.compile(r"\bfrom (lsdkit(?:\.\w+)*) import (\w+)")
DOCUMENTS = [
    *(path for pattern in ("*.md", "docs/*.md", "notebooks/*.ipynb") for path in ROOT.glob(pattern)),
    *(ROOT / name for name in ("lsdkit/README.md", "Makefile")),
]
SOURCES = [path for folder in ("lsdkit", "benchmarks", "tests") for path in ROOT.glob(f"{folder}/**/*.py")]


def is_there(name: str) -> bool:
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_there(path):
    text, places = path.read_text(), set()
    names = set(NAMES.findall(text))
    if path in DOCUMENTS:
        places = set(PLACES.findall(text))
        names |= {".".join(pair) for pair in IMPORTS.findall(text)}
    absent = [place for place in places if not (ROOT / place).exists()]
    assert sorted([*absent, *(name for name in names if not is_there(name))]) == []
