"""Writes the open set to disk in the layout of the LSD release, with a pool of processes, and resumes where it stopped.

The faces are rendered into `.<name>.partial` beside the target; each block of faces leaves its rows of every table once
all of its pictures are written, so that a later call skips it. The folder gets its own name when everything is there.
"""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import resources
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from lsdkit import __version__
from lsdkit.common.bars import open_bar
from lsdkit.common.files import atomic, hold_lock, read_json, write_json, write_text
from lsdkit.common.landmarks import COORDINATES
from lsdkit.common.machine import cores
from lsdkit.common.signals import can_start_processes, end_with_parent, tell_broken_pool
from lsdkit.data.release import LIST_HEADER, RENDERED_MARK, TEST
from lsdkit.openset.appearance import check_without
from lsdkit.openset.develop import encode
from lsdkit.openset.devices import check_device, choose_painter
from lsdkit.openset.head import load_head
from lsdkit.openset.plan import Row, plan_release, subject_seed
from lsdkit.openset.render import render_face

FORMAT = 8  # raise it when the same settings give other pictures
BLOCK = 32  # faces
DRAWN = ("style", "intensity", "yaw", "pitch", "roll", "gaze_left", "gaze_up")
COLUMNS = ("key", "split", "expression", "subject", "variant", "seed", *DRAWN, *COORDINATES)  # of faces.csv
TABLES = ("actions", "contour", "faces")  # a row a face, in the same order; the last one says that a block is done


def render_release(
    out: str | Path,
    *,
    fraction: float = 0.01,
    validation: int = 600,
    test: int = 600,
    pixels: int = 112,
    seed: int = 0,
    design: str = "release",
    without: tuple[str, ...] = (),
    jobs: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Path:
    """Render the open set into the folder `out` and return it.

    fraction: of the release's training counts, at least 8 a class (0.01 gives 2,773 faces); validation, test: faces
    in all; pixels: side of a picture; design: "release", as unequal as the LSD release, or "varied" (see
    `plan.DESIGNS`); without: sources of variety that are switched off (see `appearance.SWITCHES`); jobs: processes, all
    cores where None, 1 for none beside this one (scripts need the usual `if __name__ == "__main__"` for more); device:
    what paints the pixels, "cpu", "cuda", or "auto" (a CUDA device where numba can use one for so few processes). The
    pictures are the same for any number of processes; those of two devices can differ in a few pixels
    (docs/rendering.md). A complete folder with the same settings is kept, whatever painted it; an interrupted one is
    resumed.
    Raises `ValueError` for settings out of range or a device that cannot be used, `FileExistsError` where `out` holds
    something else.
    """
    out = Path(out)
    rows = plan_release(fraction=fraction, validation=validation, test=test, seed=seed, design=design)
    check_without(without)
    if pixels < 16:
        raise ValueError(f"Expected `pixels` of at least 16, but got {pixels}")
    settings = {"format": FORMAT, "fraction": fraction, "validation": validation, "test": test, "pixels": pixels}
    settings |= {"seed": seed, "design": design, "without": list(without)}
    check_device(device)
    with hold_lock(out.with_name(f".{out.name}.lock")):
        if _is_complete(out, settings):
            return out
        if jobs is not None and jobs < 1:
            raise ValueError(f"Expected `jobs` of at least 1, or None for all cores, but got {jobs}")
        jobs = min(jobs or cores(), -(-len(rows) // BLOCK))
        painter = choose_painter(device, jobs)
        partial = _prepare_partial(out, settings)
        blocks = {n: rows[start : start + BLOCK] for n, start in enumerate(range(0, len(rows), BLOCK))}
        missing = {n: block for n, block in blocks.items() if not _block_file(partial, TABLES[-1], n).exists()}
        with open_bar(total=len(rows), desc="rendering", unit="face", disable=not progress) as bar:
            bar.update(len(rows) - sum(map(len, missing.values())))
            for number in _render_blocks(partial, missing, settings, jobs, painter):
                bar.update(len(blocks[number]))
        _finish(partial, blocks, settings)
        os.replace(partial, out)
    return out


def _is_complete(out: Path, settings: dict) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    earlier = read_json(out / RENDERED_MARK) if (out / RENDERED_MARK).is_file() else "no open set"
    if earlier != settings:
        raise FileExistsError(
            f"Expected {out} to be absent or to hold an open set of the settings {settings}, but it holds {earlier}; "
            "delete the folder or name another one"
        )
    return True


def _prepare_partial(out: Path, settings: dict) -> Path:
    """The folder to render into: one of the same settings that an earlier call left, or a new one."""
    partial = out.with_name(f".{out.name}.partial")
    marker = partial / RENDERED_MARK
    if partial.exists() and not (marker.is_file() and read_json(marker) == settings):
        shutil.rmtree(partial)
    partial.mkdir(exist_ok=True)
    write_json(marker, settings)
    return partial


def _block_file(partial: Path, table: str, number: int) -> Path:
    return partial / "blocks" / f"{table}-{number}.csv"


def _render_blocks(
    partial: Path, blocks: dict[int, list[Row]], settings: dict, jobs: int, device: str
) -> Iterator[int]:
    """Render blocks, in this process or in several; yields the number of each as it is done."""
    arguments = (settings["pixels"], settings["seed"], tuple(settings["without"]), device)
    if jobs == 1 or not can_start_processes():
        for number, block in blocks.items():
            yield render_block(partial, number, block, *arguments)
        return
    # Spawned, not forked: this process may hold threads (torch, a notebook's kernel), which a fork would cut.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_worker)
    with tell_broken_pool(), pool:
        waiting = [pool.submit(render_block, partial, number, block, *arguments) for number, block in blocks.items()]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker() -> None:
    end_with_parent()
    threadpool_limits(1)  # for the numeric libraries: the workers already fill the cores


def render_block(
    partial: Path,
    number: int,
    block: list[Row],
    pixels: int,
    seed: int,
    without: tuple[str, ...] = (),
    device: str = "cpu",
) -> int:
    """Render the faces of a block into `partial`, then write their rows; returns the number of the block."""
    lines: dict[str, list[str]] = {table: [] for table in TABLES}
    for row in block:
        drawn = {"variant": row.variant, "seed": row.seed, "subject_seed": subject_seed(seed, row.subject)}
        face = render_face(row.expression, **drawn, style=row.style, pixels=pixels, without=without, device=device)
        file = partial / row.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode(face.image))
        facts = f"{row.key},{row.split},{row.expression},{row.subject},{row.variant},{row.seed},{row.style}"
        numbers = _join_numbers(face.intensity, face.pose, face.gaze, face.landmarks)
        lines["actions"].append(f"{row.key},{_join_numbers(face.actions)}\n")
        lines["contour"].append(f"{row.key},{_join_numbers(face.contour)}\n")
        lines["faces"].append(f"{facts},{numbers}\n")
    for table in TABLES:
        write_text(_block_file(partial, table, number), "".join(lines[table]))
    return number


def _join_numbers(*values: float | np.ndarray) -> str:
    return ",".join(f"{value:.5f}" for value in np.concatenate([np.ravel(value) for value in values]))


def _finish(partial: Path, blocks: dict[int, list[Row]], settings: dict) -> None:
    """The tables, the test set's list and the README; the block files go."""
    columns = {"actions": ("key", *load_head().unit_names), "contour": ("key", *COORDINATES), "faces": COLUMNS}
    for table in TABLES:
        with atomic(partial / f"{table}.csv") as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.write(",".join(columns[table]) + "\n")
            for number in blocks:
                stream.write(_block_file(partial, table, number).read_text(encoding="utf-8"))
    tests = [row for block in blocks.values() for row in block if row.split == "test"]
    if tests:
        lines = [f"{Path(row.path).name},\n" for row in tests]
        write_text(partial / TEST / "list.csv", "".join([f"{LIST_HEADER}\n", *lines]))
    readme = resources.files("lsdkit.openset").joinpath("readme.txt").read_text(encoding="utf-8")
    write_text(partial / "README.txt", readme.format(version=__version__, settings=json.dumps(settings)))
    shutil.rmtree(partial / "blocks")
