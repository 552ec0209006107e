"""sweep.json, which a sweep keeps in its folder: which members, on which store, and how far each session came."""

from pathlib import Path

from lsdkit.common import files

RECORD, LOCK = "sweep.json", ".sweep.lock"  # the second is held while a sweep runs


def read_record(folder: Path | str) -> dict:
    """What a folder's sweep.json holds; {} where there is none. Raises `Damaged`, naming it, for anything else.

    recipe       its settings; {} for members beyond the paper's, which may differ in it
    store        the checksum of its images
    settings     the `members.Plan`, as the last session was given it
    members      {name: spec hash}
    work         {name: operations of its training}
    sessions     each from one start to its end: started, host, jobs, threads, gpus, device, done_before, run, failed
                 {name: reason}, wall_seconds, ended (whether it ended by itself)
    """
    path = Path(folder) / RECORD
    return files.read_json(path, "remove it: finished runs stay as they are") if path.is_file() else {}


def is_own(record: dict) -> bool:
    """Whether a sweep is of members beyond the paper's."""
    return bool(record.get("settings", {}).get("rows"))
