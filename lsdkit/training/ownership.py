"""Whose a run folder is: one training at a time, of one member on one data set, from one set of weights."""

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path

from lsdkit.common.files import hold_lock, read_json, write_json
from lsdkit.data.store import Store
from lsdkit.recipes import Member
from lsdkit.training.identity import describe_change
from lsdkit.training.runs import RESULT, Run, is_finished, read_run
from lsdkit.training.starting import fingerprint_sources

LOCK, LOCK_SECONDS = ".lock", 60.0
CLAIM = "member.json"


def hold_run_folder(folder: Path | str) -> AbstractContextManager:
    """Hold a run folder against other processes; the system frees it when a process dies.

    Waits `LOCK_SECONDS`, then raises `ValueError`: a killed notebook's kernel can outlive it for a moment.
    """
    busy = "another process trains in it; wait for it, or choose another RUN_DIR"
    return hold_lock(Path(folder) / LOCK, busy, LOCK_SECONDS)


def identify(member: Member, store: Store) -> dict:
    """What decides which weights come out: the member's settings, the data, the weight files that it starts from.

    The data are the pixels, the landmarks and the table of keys, splits and expressions; not where they lie on disk.
    """
    checksums = {name: store.manifest["checksums"][name] for name in ("images.npy", "landmarks.npy")}
    table = store.faces[["key", "split", "expression"]].to_csv(index=False, lineterminator="\n")
    checksums["faces"] = hashlib.sha256(table.encode()).hexdigest()
    given = fingerprint_sources(member.recipe, member.appearance)
    return {"member": member.spec(), "store": checksums, "weights": given}


def check_owner(folder: Path, identity: dict, advice: str = "choose another RUN_DIR or remove the folder") -> bool:
    """Whether the folder is this training's already; `ValueError` where it is another's."""
    claim = folder / CLAIM
    if claim.is_file() and (other := describe_change(read_json(claim), identity)):
        raise ValueError(f"{folder} holds another training: {other}; {advice}")
    return claim.is_file()


def find_finished(folder: Path, identity: dict) -> Run | None:
    """This training's run where the folder holds it, finished; `ValueError` where the folder is another's."""
    if check_owner(folder, identity):
        return read_run(folder) if is_finished(folder) else None
    if is_finished(folder):
        raise ValueError(f"Expected {CLAIM} beside {RESULT} in {folder}; choose another RUN_DIR or remove the folder")
    return None


def claim_folder(folder: Path, identity: dict) -> None:
    """Make the folder this training's own."""
    write_json(folder / CLAIM, identity)
