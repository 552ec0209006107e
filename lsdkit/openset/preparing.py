"""The open set as a store: rendered where it is missing, then read like any other data."""

from pathlib import Path

from lsdkit.common.paths import resolve
from lsdkit.data.preparing import VERSION, hold_folder, keep_finished
from lsdkit.data.readers import read_release
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.recipes import Recipe

# `data` of a recipe -> folder, share of the release's training faces, validation faces and as many test faces
OPEN_SETS = {"open": ("data/open", 0.01, 600), "open_small": ("data/open-smoke", 0.001, 60)}


def prepare_open(
    out: str | Path = OPEN_SETS["open"][0],
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
) -> Store:
    """Render the open set into `<out>-release`, in the release's layout, and store it in `out`.

    `fraction` of the release's 277,251 training faces, `validation` and `test` faces, `pixels` a side. `design`,
    `without` and `device` as in `lsdkit.openset.release.render_release`. The store's kind is "rendered". Raises
    `FileExistsError` where `<out>-release` holds an open set of other settings.
    """
    out = resolve(out)
    from lsdkit.openset import devices, release  # numba and the mesh load here, when they are needed

    devices.check_device(device)
    drawn = {"fraction": fraction, "validation": validation, "test": test, "pixels": pixels, "seed": seed}
    drawn |= {"design": design, "without": list(without)}
    settings = {"reader": "open", "version": VERSION, "format": release.FORMAT, **drawn}
    with hold_folder(out):
        if kept := keep_finished(out, settings):
            return kept
        folder = out.with_name(f"{out.name}-release")
        release.render_release(folder, **drawn, jobs=jobs, device=device, progress=progress)
        listing = read_release(folder)
        about = {"size": pixels, "kind": "rendered", "source": folder.name, "settings": settings}
        about |= {"root": folder, "landmark_source": "exact", "jobs": jobs, "progress": progress}
        return write_store(out, listing.table, listing.landmarks, **about)


def find_store(data_dir: str | Path, recipe: Recipe) -> Path:
    """The folder of the store that a notebook asks for, whether it is there or not; "" is the recipe's open set."""
    return resolve(data_dir or OPEN_SETS.get(recipe.data, OPEN_SETS["open"])[0])


def open_or_render(data_dir: str | Path, recipe: Recipe, *, progress: bool = True) -> Store:
    """The store a notebook asks for; "" is the open set, which is rendered first where it is missing.

    The default is `data/open`; for a recipe of `data` "open_small" it is `data/open-smoke` (277 + 60 + 60 faces).
    Raises `FileNotFoundError` for any other folder without a store.
    """
    path = find_store(data_dir, recipe)
    for folder, fraction, others in OPEN_SETS.values():
        if path == resolve(folder) and not (path / "manifest.json").is_file():
            return prepare_open(path, fraction=fraction, validation=others, test=others, progress=progress)
    return Store.open(path)
