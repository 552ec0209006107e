"""Dependencies point one way, room by room (lsdkit/README.md); a new file needs no entry here."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "lsdkit"
ORDER = (  # each may import what stands before it, and itself
    *("common", "recipes", "figures", "method", "data", "weights", "openset", "training", "selfsupervision"),
    *("ensembles", "prediction", "reading", "notebook", "photographs", "reproduce", "explore", "cli"),
)
LESS = {"figures": {"common"}, "method": {"common", "recipes"}}  # these two import less
APART = {"photographs": "reproduce", "reproduce": "photographs"}


def rooms_imported(path: Path) -> set[str]:
    """Rooms of lsdkit that a file imports from, also inside functions."""
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom | ast.Import)]
    modules = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.module != "lsdkit"]
    modules += [f"lsdkit.{a.name}" for node in nodes if getattr(node, "module", "") == "lsdkit" for a in node.names]
    modules += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    found = {module.split(".")[1] for module in modules if module.startswith("lsdkit.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_imports_point_down(path):
    room = path.relative_to(LIBRARY).with_suffix("").parts[0]
    if room != "__init__":  # the public face may name everything
        allowed = LESS.get(room, set(ORDER[: ORDER.index(room)])) | {room}
        assert rooms_imported(path) <= allowed - {APART.get(room)}
