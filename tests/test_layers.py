"""Dependencies point one way, from expressions to the command line; nothing imports upwards or from notebooks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    {
        "expressions",
        "seeds",
        "files",
        "paths",
        "interrupts",
        "findings",
        "markup",
        "pickles",
        "device",
        "averaging",
        "cores",
    },
    {
        "recipes",
        "landmarks",
        "mix",
        "gradients",
        "losses",
        "metrics",
        "decode",
        "weights",
        "duplicates",
        "shapes",
        "deca",
    },
    {"results", "store", "detect", "annotators", "crop", "augment", "dan", "backbones", "facestats", "published"},
    {"faces", "openset", "ensemble", "checkpoints", "copies", "baselines", "photoscores"},
    {"prepare", "derived", "join", "audit", "quality", "multitask", "sampling", "comparison", "photographs"},
    {"objective", "evaluation", "initial"},
    {"training", "plots", "faceplots"},
    {"experiment", "pretrain", "widgets", "page", "auditfiles", "qualityfiles"},
    {
        "headless",
        "report",
        "members",
        "costs",
        "estimate",
        "predict",
        "matrix",
        "claims",
        "tabletext",
        "tables",
        "protocol",
    },
    {"demo", "sweep", "benchtext", "benchmark", "benchcommand"},
    {"cli"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ARRAYS_ONLY = {"mix", "losses", "metrics"}  # pure functions of tensors and arrays
MODULES = sorted((ROOT / "lsdkit").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Names of lsdkit's modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lsdkit":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("lsdkit.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    parts = path.relative_to(ROOT / "lsdkit").with_suffix("").parts
    name = parts[0]
    if name == "__init__":
        assert not imports(path)
        return
    assert name in LEVEL, f"{name} is new: give it a place in LAYERS"
    for other in imports(path) - {name, "__version__"}:
        assert other in LEVEL, f"{name} imports lsdkit.{other}, which has no place in LAYERS"
        assert LEVEL[other] <= LEVEL[name], f"{name} imports {other}, which lies above it"
    if name in ARRAYS_ONLY:
        assert imports(path) <= {"expressions", "seeds"}, f"{name} is to know tensors and arrays only"


def test_no_import_cycle():
    graph = {}
    for path in MODULES:
        name = path.relative_to(ROOT / "lsdkit").with_suffix("").parts[0]
        graph.setdefault(name, set()).update(imports(path) - {name})
    done, path_now = set(), []

    def visit(name: str) -> None:
        assert name not in path_now, f"import cycle: {' -> '.join([*path_now, name])}"
        if name in done:
            return
        path_now.append(name)
        for other in sorted(graph.get(name, ())):
            visit(other)
        path_now.pop()
        done.add(name)

    for name in sorted(graph):
        visit(name)
    assert {"expressions", "recipes"} <= done


def test_modules_are_short():
    for path in MODULES:
        lines = len(path.read_text().splitlines())
        assert lines <= 330, f"{path.relative_to(ROOT)} has {lines} lines: is it still one idea?"
