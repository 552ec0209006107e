"""Whose a run folder is: one training at a time, of one member on one data set, from one set of weights."""

import warnings
from contextlib import AbstractContextManager
from pathlib import Path

from lsdkit.common.files import Damaged, hold_lock, read_json, write_json
from lsdkit.data.store import Store
from lsdkit.recipes import Member
from lsdkit.training.checkpoints import check_weights
from lsdkit.training.identity import describe_change
from lsdkit.training.runs import CLAIM, LOCK, RESULT, Run, is_finished, read_run
from lsdkit.training.starting import fingerprint_sources

LOCK_SECONDS = 60.0


def hold_run_folder(folder: Path | str) -> AbstractContextManager:
    """Hold a run folder against other processes; the system frees it when a process dies.

    Waits `LOCK_SECONDS`, then raises `ValueError`: a killed notebook's kernel can outlive it for a moment.
    """
    busy = "another process trains in it; wait for it, or choose another RUN_DIR"
    return hold_lock(Path(folder) / LOCK, busy, LOCK_SECONDS)


def identify(member: Member, store: Store) -> dict:
    """What decides which weights come out: the member's settings, the data, the weight files that it starts from.

    The data are the pixels, the landmarks and the table of keys, splits and expressions; not where they lie on disk.
    Raises `ValueError` where they are not what the store's manifest says.
    """
    store.verify()
    given = fingerprint_sources(member.recipe, member.appearance)
    return {"member": member.spec(), "store": store.checksums, "weights": given}


def check_owner(folder: Path, identity: dict, advice: str = "choose another RUN_DIR or remove the folder") -> bool:
    """Whether the folder is this training's already; `ValueError` where it is another's."""
    claim = folder / CLAIM
    if claim.is_file() and (other := describe_change(read_json(claim, advice), identity)):
        raise ValueError(f"{folder} holds another training: {other}; {advice}")
    return claim.is_file()


def find_finished(folder: Path, identity: dict) -> Run | None:
    """This training's run where the folder holds it, finished and whole; `ValueError` where the folder is another's.

    Of a damaged one the result is removed, with a warning: it is to be trained again.
    """
    if check_owner(folder, identity):
        return read_whole(folder, discard=True)
    if is_finished(folder):
        raise ValueError(f"Expected {CLAIM} beside {RESULT} in {folder}; choose another RUN_DIR or remove the folder")
    return None


def read_whole(folder: Path, *, discard: bool = False) -> Run | None:
    """The finished run in a folder; None where there is none, or, with a warning, where a file of it is damaged.

    `discard`: remove a damaged one's result, so that no other reader takes it for finished.
    """
    if not is_finished(folder):
        return None
    try:
        run = read_run(folder)
        run.check_files()
        if not run.files:  # of an older result
            check_weights(folder)
    except (Damaged, FileNotFoundError) as error:
        warnings.warn(f"The run in {folder} is trained again: {error}", stacklevel=3)
        if discard:
            (folder / RESULT).unlink()
        return None
    return run


def claim_folder(folder: Path, identity: dict) -> None:
    """Make the folder this training's own."""
    write_json(folder / CLAIM, identity)
