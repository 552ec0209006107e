"""Predictions of a run or an ensemble: probabilities as a table, or the challenge's submission, checked.

A submission is a CSV file headed `image,expression` with one line for each test image in the release's order: its file
name and the index of its class, 0 ANGER to 5 SURPRISE.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit import evaluation, files, results
from lsdkit.device import device_named
from lsdkit.ensemble import SELECTION_RULES, soft_vote, vote_runs
from lsdkit.experiment import store_of
from lsdkit.expressions import EXPRESSIONS, index_of
from lsdkit.faces import TEST
from lsdkit.paths import project_path, resolve
from lsdkit.store import SPLITS, Store

HEADER = "image,expression"
ONE_CLASS = 0.9  # share of all answers beyond which a class is warned of


def chosen_runs(
    runs: Path | str, ensemble: str = "", seed: int | None = None, allow_incomplete: bool = False
) -> tuple[str, list[Path]]:
    """What votes, in words, and its folders: `runs` itself where it is a run, or runs in it.

    `ensemble` is a name of `SELECTION_RULES` or "all" (as is ""); `seed` keeps the runs of one seed. Raises
    `ValueError` for an unknown name, and where runs of the ensemble are missing unless `allow_incomplete`.
    """
    folder = Path(runs)
    if results.result_path(folder).is_file():
        if ensemble not in ("", "all"):
            raise ValueError(f"Expected a folder of runs for the ensemble {ensemble!r}, but {folder} is one run")
        return f"the run {folder.name}", [folder]
    if ensemble not in ("", "all", *SELECTION_RULES):
        names = ", ".join(map(repr, SELECTION_RULES))
        raise ValueError(f"Expected --ensemble to be 'all' or one of {names}, but got {ensemble!r}")
    table = results.list_runs(folder)
    if seed is not None:
        table = table[table["seed"] == seed]
    if table.empty:
        which = "" if seed is None else f" of seed {seed}"
        raise ValueError(
            f"Expected finished runs{which} in {folder}, but found none; train some, or name a run's folder"
        )
    if ensemble in ("", "all"):
        return f"all {len(table)} runs", [Path(path) for path in table["path"]]
    selection = SELECTION_RULES[ensemble](table)
    if not selection.complete and not (allow_incomplete and selection.runs):
        missing = "; ".join(selection.missing[:3]) + (" and more" if len(selection.missing) > 3 else "")
        raise ValueError(
            f"Expected every run of {ensemble!r} in {folder}, but {len(selection.missing)} are missing ({missing}); "
            "train them, or say --allow-incomplete"
        )
    lacking = f", {len(selection.missing)} missing" if selection.missing else ""
    paths = table.set_index("run")["path"]
    return f"{ensemble} ({len(selection.runs)} runs{lacking})", [Path(paths[run]) for run in selection.runs]


def probabilities(run_dirs: Sequence[Path], store: Store | None = None, split: str = "test") -> pd.DataFrame:
    """The vote of runs over a split, as `results.prediction_table`: key, split, expression, six probabilities.

    Without `store`, of the predictions that the runs left (validation and test); with it, their networks are run over
    its faces. The vote is the one of the runs' recipe. Raises `ValueError` where their recipes vote differently or the
    split has no faces.
    """
    members = [results.member_of(results.read_result(run_dir)) for run_dir in run_dirs]
    ways = {member.recipe.vote for member in members}
    if len(ways) > 1:
        raise ValueError("Expected runs of recipes that vote in one way, but some sum logits and some average")
    if store is None:
        table = vote_runs(run_dirs, ways.pop())
        table = table[table["split"] == split].reset_index(drop=True)
        known = "validation and test: run them over a store with --data STORE"
    else:
        rows, device = store.rows(split), device_named("auto")
        stack = []
        for run_dir, member in zip(run_dirs, members, strict=True):
            logits = evaluation.predict_logits(evaluation.load_network(run_dir, device), store, rows, member, device)
            stack.append(evaluation.softmax(logits))
        voted = soft_vote(stack, ways.pop()) if len(rows) else np.empty((0, len(EXPRESSIONS)))
        table = results.prediction_table(
            [store.keys[row] for row in rows], [split] * len(rows), store.labels[rows], voted
        )
        known = ", ".join(name for name in SPLITS if len(store.rows(name)))
    if table.empty:
        raise ValueError(f"Expected faces of the split {split!r}, but there are none; there are those of {known}")
    return table


def write_probabilities(
    runs: Path | str,
    out: Path | str,
    *,
    split: str = "test",
    data: str = "",
    ensemble: str = "",
    seed: int | None = None,
    allow_incomplete: bool = False,
) -> str:
    """Write `probabilities` of `chosen_runs` to the CSV file `out`; returns what was written, in words.

    Raises `FileExistsError` where `out` exists.
    """
    out = _free(out)
    what, run_dirs = chosen_runs(runs, ensemble, seed, allow_incomplete)
    table = probabilities(run_dirs, Store.open(resolve(data)) if data else None, split)
    results.write_table(out, table)
    return f"{project_path(out)}: probabilities of {len(table):,} {split} faces by {what}"


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
    """Write the challenge's submission of `chosen_runs` to `out`, read it back and check it; returns a report.

    `listed` is the release's list file, whose first column gives names and order; "" takes the test faces in the order
    of the store. `missing` is the expression to answer for listed images that are not in the store (unreadable ones).
    Raises `FileExistsError` where `out` exists; `ValueError` where images are missing and `missing` is "", and where
    the answers are not those of the probabilities.
    """
    out = _free(out)
    fill = index_of(missing) if missing else -1
    if fill >= len(EXPRESSIONS):
        raise ValueError(f"Expected --missing to be one of {', '.join(EXPRESSIONS)}, but got {missing!r}")
    what, run_dirs = chosen_runs(runs, ensemble, seed, allow_incomplete)
    given = [results.read_result(run_dir) for run_dir in run_dirs]
    store = Store.open(resolve(data)) if data else store_of(given[0])
    table = probabilities(run_dirs, store if data else None)
    name_of_key = dict(zip(store.keys, map(_image_name, store.faces["path"]), strict=True))
    found = dict(zip((name_of_key[key] for key in table["key"]), results.probabilities_of(table), strict=False))
    if len(found) < len(table):
        raise ValueError(f"Expected each test image's file name once in {store.path}, but some occur in two folders")
    names = listed_names(listed) if listed else list(found)
    absent = _absent(store, names, found, listed)
    if absent and fill < 0:
        raise ValueError(
            f"Expected every image of the submission in {store.path}, but {len(absent)} of {len(names)} are not: "
            f"{', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''} (see its left_out.csv); "
            "say --missing EXPRESSION to answer that for them"
        )
    if not set(names) & set(found):
        raise ValueError(
            f"Expected the images of {listed} in {store.path}, but none is; choose the right list or store"
        )
    answers = [int(np.argmax(found[name])) if name in found else fill for name in names]
    lines = [HEADER, *(f"{name},{answer}" for name, answer in zip(names, answers, strict=True))]
    files.write_text(out, "\n".join(lines) + "\n")
    try:
        kept = validate_submission(out, names)
        report = check_answers(
            [answer for name, answer in zip(names, kept, strict=True) if name in found],
            np.stack([found[name] for name in names if name in found]),
            max((list(result["counts"]["trained_on"].values()) for result in given), key=sum),
        )
    except ValueError:
        out.replace(out.with_name(f"{out.name}.refused"))
        raise
    filled = f"\n{len(absent)} images are not in the store and were answered {EXPRESSIONS[fill]}: " if absent else ""
    filled += ", ".join(absent[:5]) + (" ..." if len(absent) > 5 else "")
    extra = len(set(found) - set(names))
    unlisted = f"\n{extra} test faces of the store are not in the list and were left out" if extra else ""
    return f"{project_path(out)}: {len(names):,} images by {what}; read back and checked\n{report}{filled}{unlisted}"


def listed_names(path: Path | str) -> list[str]:
    """The image names of the release's list file, in its order. Raises `ValueError` for another header or a repeat."""
    lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    header = lines[0].replace(" ", "").strip()
    if header.split(",")[0] != "image":
        raise ValueError(f"Expected {path} to begin with the line {HEADER!r}, but got {lines[0].strip()[:80]!r}")
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
    text = Path(path).read_bytes().decode("utf-8", "replace")
    lines = text.split("\n")
    if lines[0] != HEADER:
        raise ValueError(f"Expected the first line of {path} to be {HEADER!r}, but got {lines[0][:80]!r}")
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
    if list(seen) != list(names):
        unknown, lacking = [n for n in seen if n not in set(names)], [n for n in names if n not in seen]
        wrong = next(
            (i for i, pair in enumerate(zip(seen, names, strict=False), 2) if pair[0] != pair[1]),
            min(len(seen), len(names)) + 2,
        )
        raise ValueError(
            f"Expected the {len(names)} images of the release in its order in {path}, but got {len(seen)}: "
            f"{len(lacking)} lack ({', '.join(lacking[:3])}), {len(unknown)} are unknown ({', '.join(unknown[:3])}), "
            f"the first difference is in line {wrong}"
        )
    return answers


def check_answers(answers: Sequence[int], found: np.ndarray, trained_on: Sequence[int]) -> str:
    """How the answers are spread over the classes, as a table in words, and warnings.

    `answers` (B,) in 0..5, `found` (B, 6) the probabilities they stand for, `trained_on` the six training counts.
    Raises `ValueError` where most answers are classes that the probabilities speak against: less likely than 1 in 6.
    """
    answers, found = np.asarray(answers), np.asarray(found)
    against = (found[np.arange(len(answers)), answers] < 1 / len(EXPRESSIONS)).mean()
    if against > 0.5:
        raise ValueError(
            f"Expected answers that the probabilities speak for, but {against:.0%} are classes of below-average "
            "probability: are they the least likely classes, or those of other faces?"
        )
    shares = np.bincount(answers, minlength=len(EXPRESSIONS)) / len(answers)
    trained = np.asarray(trained_on, float)[: len(EXPRESSIONS)]
    columns = {"answers": shares, "mean probability": found.mean(0), "training faces": trained / trained.sum()}
    lines = [pd.DataFrame(columns, index=list(EXPRESSIONS)).map("{:.1%}".format).to_string()]
    lines += [f"WARNING: {EXPRESSIONS[index]} is never answered" for index in np.flatnonzero(shares == 0)]
    lines += [
        f"WARNING: {EXPRESSIONS[index]} is answered for {shares[index]:.1%} of the images"
        for index in np.flatnonzero(shares > ONE_CLASS)
    ]
    return "\n".join(lines)


def check(path: Path | str, listed: Path | str) -> str:
    """Check a submission made elsewhere against the release's list file; returns how its answers are spread."""
    if not listed:
        raise ValueError("Expected --list FILE, the release's list of test images, to check a submission against")
    answers = validate_submission(path, listed_names(listed))
    shares = np.bincount(answers, minlength=len(EXPRESSIONS)) / len(answers)
    spread = ", ".join(f"{name} {share:.1%}" for name, share in zip(EXPRESSIONS, shares, strict=True))
    return f"{path}: {len(answers):,} images, header, names, order and range are right\n{spread}"


def _free(out: Path | str) -> Path:
    """The path to write to; `FileExistsError` where there is a file: a submission is never overwritten."""
    out = resolve(out)
    if out.exists():
        raise FileExistsError(f"Expected {out} to be new, but it exists; choose another --out, or move it away")
    return out


def _absent(store: Store, names: Sequence[str], found: dict, listed: str) -> list[str]:
    """Images of the submission that the store lacks. Without a list, `ValueError` where test images were left out."""
    lost = pd.read_csv(store.path / "left_out.csv", dtype=str, keep_default_na=False)["path"]
    lost = [_image_name(path) for path in lost if path.startswith(f"{TEST}/")]
    if lost and not listed:
        raise ValueError(
            f"Expected --list FILE, the release's list of test images: {len(lost)} of them are not in {store.path} "
            f"({', '.join(lost[:5])}), and their places in the order are known from there only"
        )
    return [name for name in names if name not in found]


def _image_name(path: str) -> str:
    """An image's name in the submission: its path below the release's test folder, or its file's name."""
    return path.removeprefix(f"{TEST}/") if path.startswith(f"{TEST}/") else Path(path).name
