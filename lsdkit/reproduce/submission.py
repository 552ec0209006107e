"""The challenge's submission of a run or an ensemble: written in the release's order, read back and checked.

A submission is a CSV file headed `image,expression` with one line for each test image in the release's order: its file
name and the index of its class, 0 ANGER to 5 SURPRISE.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS, index_of
from lsdkit.common.paths import project_path, resolve
from lsdkit.data.release import LIST_HEADER, TEST
from lsdkit.data.store import Store
from lsdkit.prediction import check_new, choose_runs, vote
from lsdkit.training.predictions import probabilities_of

ONE_CLASS = 0.9  # share of all answers beyond which a class is warned of


def write_submission(
    runs: Path | str,
    out: Path | str,
    *,
    listed: str = "",
    missing: str = "",
    data: str = "",
    ensemble: str = "",
    seed: int | None = None,
    allow_incomplete: bool = False,
) -> str:
    """Write the challenge's submission of `choose_runs` to `out`, read it back and check it; returns a report.

    `listed` is the release's list file, whose first column gives names and order; "" takes the test faces in the order
    of the store. `missing` is the expression to answer for listed images that are not in the store (unreadable ones).
    Raises `FileExistsError` where `out` exists; `ValueError` where images are missing and `missing` is "", and where
    the answers are not those of the probabilities.
    """
    out = check_new(out)
    fill = index_of(missing) if missing else -1
    if fill >= len(EXPRESSIONS):
        raise ValueError(f"Expected --missing to be one of {', '.join(EXPRESSIONS)}, but got {missing!r}")
    what, voters = choose_runs(runs, ensemble, seed, allow_incomplete)
    store = Store.open(resolve(data)) if data else voters[0].open_store()
    place, table = store.path, vote(voters, store if data else None)
    images = dict(zip(store.keys, map(_name_image, store.faces["path"]), strict=True))
    voted = dict(zip((images[key] for key in table["key"]), probabilities_of(table), strict=True))  # image -> (6,)
    if len(voted) < len(table):
        raise ValueError(f"Expected each test image's file name once in {place}, but some occur in two folders")
    lost = [_name_image(path) for path in store.left_out["path"] if path.startswith(f"{TEST}/")]
    if lost and not listed:
        raise ValueError(
            f"Expected --list FILE, the release's list of test images: {len(lost)} of them are not in {place} "
            f"({_quote(lost)}), and their places in the order are known from there only"
        )
    names = read_list(listed) if listed else list(voted)
    there, absent = [name for name in names if name in voted], [name for name in names if name not in voted]
    if absent and not missing:
        raise ValueError(
            f"Expected every image of the submission in {place}, but {len(absent)} of {len(names)} are not: "
            f"{_quote(absent)} (see its left_out.csv); say --missing EXPRESSION to answer that for them"
        )
    if not there:
        raise ValueError(f"Expected the images of {listed} in {place}, but none is; choose the right list or store")
    answers = {name: int(voted[name].argmax()) if name in voted else fill for name in names}
    lines = [LIST_HEADER, *(f"{name},{answer}" for name, answer in answers.items())]
    files.write_text(out, "\n".join(lines) + "\n")
    try:
        kept = dict(zip(names, validate_submission(out, names), strict=True))
        trained_on = max((list(run.counts["trained_on"].values()) for run in voters), key=sum)
        report = check_answers([kept[name] for name in there], np.stack([voted[name] for name in there]), trained_on)
    except ValueError:
        out.replace(out.with_name(f"{out.name}.refused"))
        raise
    if absent:
        report += f"\n{len(absent)} images are not in the store and were answered {EXPRESSIONS[fill]}: {_quote(absent)}"
    if len(voted) > len(there):
        report += f"\n{len(voted) - len(there)} test faces of the store are not in the list and were left out"
    return f"{project_path(out)}: {len(names):,} images by {what}; read back and checked\n{report}"


def read_list(path: Path | str) -> list[str]:
    """The image names of the release's list file, in its order. Raises `ValueError` for another header or a repeat."""
    try:
        lines = Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected {path} to be in UTF-8, but it is in another encoding: save it as UTF-8") from error
    if lines[0].replace(" ", "").strip().split(",")[0] != "image":
        raise ValueError(f"Expected {path} to begin with the line {LIST_HEADER!r}, but got {lines[0].strip()[:80]!r}")
    names = [line.split(",")[0].strip() for line in lines[1:] if line.strip()]
    if len(set(names)) < len(names):
        raise ValueError(f"Expected each image of {path} once, but {len(names) - len(set(names))} lines repeat one")
    if not names:
        raise ValueError(f"Expected images in {path}, but it lists none")
    return names


def validate_submission(path: Path | str, names: Sequence[str]) -> list[int]:
    """The answers of a submission, each in 0..5, in the order of `names`: the images that it has to list.

    Raises `ValueError`, naming the first line, where header, count, names, order, range or the last line's end differ.
    """
    lines = Path(path).read_bytes().decode("utf-8", "replace").split("\n")
    if lines[0] != LIST_HEADER:
        raise ValueError(f"Expected the first line of {path} to be {LIST_HEADER!r}, but got {lines[0][:80]!r}")
    if lines[-1] != "":
        raise ValueError(f"Expected {path} to end with a line break, but its last line is {lines[-1][:80]!r}")
    answers, seen = [], {}
    for number, line in enumerate(lines[1:-1], 2):
        name, comma, answer = line.partition(",")
        if not comma or answer not in ("0", "1", "2", "3", "4", "5"):
            raise ValueError(f"Expected line {number} of {path} to be NAME,0 to NAME,5, but got {line[:80]!r}")
        if name in seen:
            raise ValueError(
                f"Expected each image once in {path}, but lines {seen[name]} and {number} are both {name!r}"
            )
        seen[name] = number
        answers.append(int(answer))
    wrong = [number for number, (name, due) in enumerate(zip_longest(seen, names), 2) if name != due]
    if wrong:
        due = set(names)
        unknown, lacking = [name for name in seen if name not in due], [name for name in names if name not in seen]
        raise ValueError(
            f"Expected the {len(names)} images of the release in its order in {path}, but got {len(seen)}: "
            f"{len(lacking)} lack ({', '.join(lacking[:3])}), {len(unknown)} are unknown ({', '.join(unknown[:3])}), "
            f"the first difference is in line {wrong[0]}"
        )
    return answers


def check_answers(answers: Sequence[int], probabilities: np.ndarray, trained_on: Sequence[int]) -> str:
    """How the answers are spread over the classes, as a table in words, and warnings.

    `answers` (B,) in 0..5, `probabilities` (B, 6) what they stand for, `trained_on` the six training counts. Raises
    `ValueError` where most answers are classes that the probabilities speak against: less likely than 1 in 6.
    """
    against = (probabilities[np.arange(len(answers)), answers] < 1 / len(EXPRESSIONS)).mean()
    if against > 0.5:
        raise ValueError(
            f"Expected answers that the probabilities speak for, but {against:.0%} are classes of below-average "
            "probability: are they the least likely classes, or those of other faces?"
        )
    shares, trained = _share(answers), np.asarray(trained_on, float)[: len(EXPRESSIONS)]
    columns = {"answers": shares, "mean probability": probabilities.mean(0), "training faces": trained / trained.sum()}
    lines = [pd.DataFrame(columns, index=list(EXPRESSIONS)).map("{:.1%}".format).to_string()]
    lines += [f"WARNING: {name} is never answered" for name, share in shares.items() if share == 0]
    often = shares[shares > ONE_CLASS]
    lines += [f"WARNING: {name} is answered for {share:.1%} of the images" for name, share in often.items()]
    return "\n".join(lines)


def check_submission(path: Path | str, listed: Path | str) -> str:
    """Check a submission made elsewhere against the release's list file; returns how its answers are spread."""
    if not listed:
        raise ValueError("Expected --list FILE, the release's list of test images, to check a submission against")
    answers = validate_submission(path, read_list(listed))
    spread = ", ".join(f"{name} {share:.1%}" for name, share in _share(answers).items())
    return f"{path}: {len(answers):,} images, header, names, order and range are right\n{spread}"


def _share(answers: Sequence[int]) -> pd.Series:
    """The share of each expression in answers (B,)."""
    return pd.Series(np.bincount(answers, minlength=len(EXPRESSIONS)) / len(answers), index=list(EXPRESSIONS))


def _name_image(path: str) -> str:
    """An image's name in the submission: its path below the release's test folder, or its file's name."""
    return path.removeprefix(f"{TEST}/") if path.startswith(f"{TEST}/") else Path(path).name


def _quote(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
