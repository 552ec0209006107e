"""Rendering the open set: faces a second a core, where the time goes, memory, and how it grows with processes.

    python benchmarks/speed/rendering.py                                  # one core, by style, against NumPy
    python benchmarks/speed/rendering.py --faces 3600 --jobs 1 2 4        # a whole release into a temporary folder
    python benchmarks/speed/rendering.py --same FILE.npy                  # twice: are the pictures the same?
    python benchmarks/speed/rendering.py --device cuda ...                # with --faces or --same: painted on the GPU

One core: this process is held to one core and one thread. Faces are taken from the plan of a release, so subjects
recur as they do there. "a CPU second" counts this process's processor time, which other programs slow less than the
clock. The reference renders the same faces with the four compiled functions replaced by vectorised NumPy: blending is
a matrix product, the rasteriser enumerates the pixels of all triangles at once, and shading is plainer than ours (no
brows, beard or highlights), so the ratio is a lower bound. Shares are each function's own time.

A release: a fresh process for each number of jobs renders into a folder that is then deleted, with the caches of the
mesh and of numba warm. Memory is the largest sum over its processes of the proportional set size, which counts a page
that several of them share once (beyond Linux, once for each); it is read every quarter of a second.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from lsdkit.common.machine import resident_memory
from lsdkit.data.release import TRAIN_COUNTS
from lsdkit.openset import render
from lsdkit.openset.develop import encode
from lsdkit.openset.plan import Row, plan_release, subject_seed
from lsdkit.openset.release import render_release
from lsdkit.openset.shade import AVERAGE

TARGETS = (15, 25)  # faces a second a core: at least, and better
STAGES = {  # function of lsdkit.openset.render -> stage; one that is not named here is its own stage
    **dict.fromkeys(("draw_subject", "hair_cover", "draw_person"), "person"),
    **dict.fromkeys(("draw_variant", "find_variant", "draw_actions", "draw_shot"), "draws"),
    **dict.fromkeys(("project", "crop", "rotation", "stage", "_gaze", "_paint", "vertex_normals"), "pose and crop"),
    **dict.fromkeys(("visible_contour", "between", "_marks", "_measure_turn", "_of_picture"), "landmarks"),
    **dict.fromkeys(("load_head", "openness", "find_style", "numpy_generator", "render_face"), "rest"),
    **dict.fromkeys(("_shade_on", "check_device", "check_without", "narrow_style", "folds"), "rest"),
    "draw_background": "background",
    "encode": "jpeg",
}


class Stopwatch:
    """Own processor time of wrapped functions: what they call that is wrapped too is taken off."""

    def __init__(self):
        self.seconds, self._inner = Counter(), [0.0]

    def wrap(self, name: str, function):
        stage = STAGES.get(name, name)

        def timed(*arguments, **named):
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.process_time() - start
                self.seconds[stage] += spent - self._inner.pop()
                self._inner[-1] += spent

        return timed


def timed_functions(watch: Stopwatch) -> dict:
    """Every function of the kit that `render` calls, each wrapped."""
    ours = {n: f for n, f in vars(render).items() if callable(f) and not isinstance(f, type)}
    return {n: watch.wrap(n, f) for n, f in ours.items() if f.__module__.startswith("lsdkit")}


def render_row(row: Row, pixels: int, device: str = "cpu") -> np.ndarray:
    chosen = {"variant": row.variant, "seed": row.seed, "subject_seed": subject_seed(0, row.subject)}
    return render.render_face(row.expression, **chosen, style=row.style, pixels=pixels, device=device).image


def render_rows(rows: list[Row], pixels: int, compress=encode) -> int:
    """Render and compress faces; returns their bytes."""
    return sum(len(compress(render_row(row, pixels))) for row in rows)


def numpy_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = points[triangles].transpose(1, 0, 2)
    flat = np.cross(b - a, c - a)
    normals = np.stack([np.bincount(triangles.ravel(), np.repeat(flat[:, k], 3), len(points)) for k in range(3)], 1)
    return (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def numpy_rasterise(points: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, size: int):
    """The same z-buffer, all pixels of all triangles' boxes at once."""
    corners = points[triangles].astype(np.float64)  # (T, 3, 3)
    (ax, ay, _), (bx, by, _), (cx, cy, _) = corners.transpose(1, 2, 0)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    low = np.maximum(0, np.ceil(corners[..., :2].min(1) - 0.5)).astype(int)
    high = np.minimum(size - 1, np.floor(corners[..., :2].max(1) - 0.5)).astype(int)
    extent = np.maximum(0, high - low + 1) * ((area < 0) | ((area > 0) & two_sided))[:, None]
    count = extent.prod(1)
    t = np.repeat(np.arange(len(triangles)), count)
    place = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column, row = low[t, 0] + place % extent[t, 0], low[t, 1] + place // extent[t, 0]
    x, y = column + 0.5, row + 0.5
    u = ((bx[t] - x) * (cy[t] - y) - (by[t] - y) * (cx[t] - x)) / area[t]
    v = ((cx[t] - x) * (ay[t] - y) - (cy[t] - y) * (ax[t] - x)) / area[t]
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    t, u, v, pixel = t[inside], u[inside], v[inside], (row * size + column)[inside]
    depth = (np.stack([u, v, 1 - u - v], 1) * corners[t, :, 2]).sum(1)
    order = np.lexsort((t, depth, pixel))
    pixel, first = np.unique(pixel[order], return_index=True)
    winner = order[first]
    seen, weights = np.full(size * size, -1, np.int32), np.zeros((size * size, 2), np.float32)
    seen[pixel], weights[pixel, 0], weights[pixel, 1] = t[winner], u[winner], v[winner]
    return seen.reshape(size, size), weights.reshape(size, size, 2)


def numpy_shade(seen: np.ndarray, weights: np.ndarray, surface, paint, light, *_) -> np.ndarray:
    """Interpolation of what shading needs, plain paint, key and ambient light."""
    visible = seen >= 0
    uv = weights[visible]
    share = np.column_stack([uv, 1 - uv.sum(1)])[..., None]
    table = np.column_stack([surface.rest, surface.posed, surface.normals, surface.masks, surface.openness])
    value = (table[surface.triangles[seen[visible]]] * share).sum(1)
    normal, lips, sky = value[:, 6:9], value[:, 9:10], value[:, -1:]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    colour = paint.skin + lips * (paint.lips - paint.skin)
    hair = (value[:, 1] > paint.hairline)[:, None] | (surface.parts[seen[visible]] == render.HAIR)[:, None]
    colour = np.where(hair, paint.hair, colour)
    facing, up = normal @ light.key, 0.5 + 0.5 * normal[:, 1:2]
    reach = np.minimum(1.0, 0.35 + 0.9 * sky)
    lit = colour * np.maximum(0, (facing + 0.25) / 1.25)[:, None] * reach * light.key_colour
    lit += colour * (light.ground + up * (light.sky - light.ground)) * sky
    image = np.zeros((*seen.shape, 4), np.float32)
    image[visible, :3], image[visible, 3] = lit, 1.0
    side = len(seen) // AVERAGE
    return image.reshape(side, AVERAGE, side, AVERAGE, 4).mean((1, 3))


NUMPY = {
    "blend": lambda amounts, basis: (amounts @ basis).reshape(-1, 3),
    "vertex_normals": numpy_normals,
    "rasterise": numpy_rasterise,
    "shade": numpy_shade,
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_core(sample: int, pixels: int, repeats: int) -> None:
    """Print rates and shares of one core, by style."""
    rows, peak, start_mib = plan_release(fraction=0.01, validation=600, test=0, seed=0), 0.0, peak_mib()
    for style in dict.fromkeys(row.style for row in rows):
        chosen = [row for row in rows if row.style == style]
        chosen = chosen[:: max(1, len(chosen) // sample)][:sample]
        render_rows(chosen, pixels)  # compiles, reads the mesh, makes the subjects
        peak = peak or peak_mib()  # of ours alone: the reference takes more
        cpu, wall, ratios = [], [], []
        for _ in range(repeats):
            start, cpu_start = time.perf_counter(), time.process_time()
            size = render_rows(chosen, pixels)
            cpu.append(time.process_time() - cpu_start)
            wall.append(time.perf_counter() - start)
            few = chosen[:: max(1, len(chosen) // 20)]
            with patch.multiple(render, **NUMPY):
                start = time.process_time()
                render_rows(few, pixels)
                ratios.append((time.process_time() - start) / len(few) * len(chosen) / cpu[-1])
        rates = [len(chosen) / statistics.median(seconds) for seconds in (cpu, wall)]
        print(
            f"{style}: {rates[0]:.1f} faces a CPU second, {rates[1]:.1f} by the clock (medians of {repeats} x "
            f"{len(chosen)} faces of {pixels} px; targets {TARGETS[0]}, better {TARGETS[1]}); "
            f"{statistics.median(ratios):.1f} times NumPy; {size / len(chosen) / 1000:.1f} kB a JPEG"
        )
        watch = Stopwatch()
        with patch.multiple(render, **timed_functions(watch)):
            render_rows(chosen, pixels, watch.wrap("encode", encode))
        total = sum(watch.seconds.values())
        shares = [f"{stage} {seconds / total:.1%}" for stage, seconds in watch.seconds.most_common()]
        print(f"  {1000 * total / len(chosen):.1f} ms a face (CPU): {', '.join(shares)}")
    print(f"peak memory of this process: {peak:.0f} MiB, {start_mib:.0f} of it before the first face")


def compare(file: Path, sample: int, pixels: int, device: str) -> None:
    """Save the pictures of some faces, or say how far they are from those that an earlier call saved."""
    rows = plan_release(fraction=0.01, validation=600, test=0, seed=0)
    now = np.stack([render_row(row, pixels, device) for row in rows[:: len(rows) // sample][:sample]])
    now = now.astype(np.int16)
    if not file.exists():
        np.save(file, now)
        return
    apart = abs(now - np.load(file)).max(-1)
    pictures, changed = (apart.max((1, 2)) > 0).sum(), (apart > 0).sum()
    print(
        f"{device}: {pictures} of {len(now)} pictures differ, in {changed} of {apart.size} pixels, "
        f"by up to {apart.max()} of 255"
    )


def settings_for(faces: int) -> dict:
    """Settings of a release of about this many faces, in the default's proportions of validation and test."""
    other = max(6, round(faces * 600 / 3973))
    return {"fraction": (faces - 2 * other) / sum(TRAIN_COUNTS), "validation": other, "test": other}


def measure_memory(root: int) -> tuple[float, int]:
    """MiB that a process and those below it hold, and how many there are."""
    try:
        processes = 1 + len(psutil.Process(root).children(recursive=True))
    except psutil.Error:  # it has ended
        return 0.0, 0
    return resident_memory(root) / 2**20, processes


def release(faces: int, jobs: int, pixels: int, device: str) -> tuple[float, float, float, int, float]:
    """Render a release in a fresh process: seconds, peak MiB, processes, pictures, MB of pictures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "release"
        command = [sys.executable, __file__, "--into", str(out), "--faces", str(faces), "--jobs", str(jobs)]
        start = time.perf_counter()
        child = subprocess.Popen([*command, "--pixels", str(pixels), "--device", device])
        peak = [(0.0, 0)]
        while child.poll() is None:
            peak.append(measure_memory(child.pid))
            time.sleep(0.25)
        seconds = time.perf_counter() - start
        if child.returncode:
            raise RuntimeError(f"Expected the rendering to end well, but it returned {child.returncode}; see above")
        sizes = [file.stat().st_size for file in out.rglob("*.jpg")]
    return seconds, *np.max(peak, 0), len(sizes), sum(sizes) / 1e6


def releases(faces: int, jobs: list[int], pixels: int, device: str) -> None:
    """Print time and memory of a release for each number of processes."""
    first = None
    for number in jobs:
        seconds, mib, processes, pictures, megabytes = release(faces, number, pixels, device)
        rate = pictures / seconds
        first = first or rate / number
        print(
            f"{pictures} faces of {pixels} px, {device}, jobs {number}: {seconds:.1f} s, {rate:.1f} faces/s, "
            f"{rate / number / first:.0%} of jobs {jobs[0]} a job, peak {mib:.0f} MiB in {processes:.0f} processes, "
            f"{megabytes:.1f} MB of pictures",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=0, help="render a release of about this many (default: none)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="processes (default 1 2)")
    parser.add_argument("--sample", type=int, default=200, help="faces a style for the rate of one core")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--pixels", type=int, default=112)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="for --faces and --same (default cpu)")
    parser.add_argument("--same", type=Path, help="a file .npy: save pictures there, or compare with those it holds")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # a child process of `release`
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not (arguments.faces or arguments.same):
        parser.error("--device cuda goes with --faces or --same: the rate of one core is the CPU's")
    if arguments.into:
        settings = settings_for(arguments.faces) | {"pixels": arguments.pixels, "device": arguments.device}
        render_release(arguments.into, **settings, jobs=arguments.jobs[0], progress=False)
        return
    if arguments.same:
        compare(arguments.same, arguments.sample, arguments.pixels, arguments.device)
        return
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the start{' (NOT QUIET)' if load > 0.5 else ''}")
    if arguments.faces:
        releases(arguments.faces, arguments.jobs, arguments.pixels, arguments.device)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    with threadpool_limits(1):
        one_core(arguments.sample, arguments.pixels, arguments.repeats)


if __name__ == "__main__":
    main()
