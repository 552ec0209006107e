"""What the paper states about its Tables 2 to 4, each statement held against a folder of runs by one rule.

A statement is one or several differences that are to be above 0. The rule: a difference *holds* where its whole 95%
interval lies above 0, *does not* where it lies below 0, and is *not decided* otherwise. A statement of several
differences holds where all do, does not where one does not, and is not decided otherwise; where a cell is missing it
is *not run*. The intervals are of a paired bootstrap over the faces (subjects where they are known) and the seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources

import numpy as np
import pandas as pd

from lsdkit.ensemble import SELECTION_RULES, STRONG_APPEARANCES
from lsdkit.matrix import Estimate, Matrix, difference, mean_of, seeds_text

HOLDS, FAILS, OPEN, NOT_RUN, NOT_TESTABLE = "holds", "does not", "not decided", "not run", "not testable"
ENSEMBLES = tuple(name for name in SELECTION_RULES if name != "All members")  # in the order of Table 4
COLUMNS = (
    *("claim", "statement", "paper", "paper_difference", "paper_verdict"),
    *("ours", "low", "high", "verdict", "unit", "seeds"),
)


@cache
def paper_scores() -> pd.DataFrame:
    """The numbers printed in Tables 2 to 5: table, mix, appearance, basic_aug, name, split, statistic, percent (text).

    >>> paper_scores().query("name == 'MU & MA Best Weak' and split == 'test'")["percent"].item()
    '34.93'
    """
    with resources.files("lsdkit").joinpath("data/paper_scores.csv").open(encoding="utf-8") as stream:
        return pd.read_csv(stream, dtype=str, keep_default_na=False)


def paper_score(table: str, split: str = "validation", **row: object) -> float:
    """One number of the paper, in percent; NaN where it prints none. `row`: mix, appearance, basic_aug, name.

    >>> paper_score("table2", mix="mixup", appearance="dino", basic_aug=True)
    70.57
    """
    found = paper_scores()
    wanted = {"table": table, "split": split, "mix": "", "appearance": "", "basic_aug": "", "name": "", **row}
    for name, value in wanted.items():
        found = found[found[name] == str(value)]
    return float(found["percent"].iloc[0]) if len(found) else float("nan")


@dataclass(frozen=True)
class Part:
    """A difference that is to be above 0: in words, the paper's own in percentage points, and ours (None = not run)."""

    words: str
    paper: float
    ours: Estimate | None


@dataclass(frozen=True)
class Claim:
    """A statement and the differences that it is made of."""

    statement: str
    paper: str  # the numbers that the paper gives for it
    parts: tuple[Part, ...]
    testable: bool = True  # on these faces


def verdict(ours: Estimate | None, unit: str = "faces") -> str:
    """The rule for one difference: its interval above 0, below 0, or neither."""
    if ours is None:
        return NOT_RUN
    low, high = ours.interval(unit)
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def together(verdicts: Sequence[str]) -> str:
    """The rule for several differences, all of which a statement needs.

    >>> together(["holds", "not decided"]), together(["holds", "does not"]), together(["holds", "not run"])
    ('not decided', 'does not', 'not run')
    """
    for first in (FAILS, NOT_RUN, OPEN):
        if first in verdicts:
            return first
    return HOLDS


def claims(matrix: Matrix) -> list[Claim]:
    """The paper's statements (section 3.2) and one of ours, with the differences that these runs give."""
    strong, weak = partial(_side, matrix.strong, _paper_strong), partial(_side, matrix.weak, _paper_weak)
    return [
        Claim(
            "Strong members: Mix-aug is above Mix-up on average",
            "68.71 against 68.46 (Table 2)",
            (_minus("Mix-aug minus Mix-up", strong("mixaugment"), strong("mixup")),),
        ),
        Claim(
            "Weak members are above strong members on average, for both mixes",
            "69.65 against 68.71 and 69.20 against 68.46 (Tables 3 and 2)",
            (
                _minus("Mix-aug: weak minus strong", weak("mixaugment"), strong("mixaugment")),
                _minus("Mix-up: weak minus strong", weak("mixup"), strong("mixup")),
            ),
        ),
        _basic_augmentation(matrix),
        _best_ensemble(matrix),
        Claim(
            "Every ensemble with Mix-aug members is above the best single strong member",
            "71.82, 71.33 and 71.65 against 70.57 (Tables 4 and 2)",
            tuple(
                _minus(f"{name} minus best strong", _ensemble(matrix, name), _best_strong(matrix))
                for name in ENSEMBLES[2:]
            ),
        ),
        Claim(
            "Weak members: Mix-aug is above Mix-up on average",
            "69.65 against 69.20 (Table 3)",
            (_minus("Mix-aug minus Mix-up", weak("mixaugment"), weak("mixup")),),
        ),
        Claim(
            "Both ensembles of Mix-up alone are below some single member (taken: the best strong one)",
            "70.39 and 69.91 against 70.57 (Tables 4 and 2)",
            tuple(
                _minus(f"best strong minus {name}", _best_strong(matrix), _ensemble(matrix, name))
                for name in ENSEMBLES[:2]
            ),
        ),
        _baseline(matrix),
        _like_for_like(matrix),
    ]


_Pair = tuple[float, Estimate | None]  # the paper's value in percent, and ours


def _side(ours: Callable, paper: Callable, mix: str, *options: object) -> _Pair:
    return float(np.mean(paper(mix, *options))), mean_of(ours(mix, *options))


def _paper_strong(mix: str, basics: Sequence[bool] = (True, False)) -> list[float]:
    if len(basics) == 2:
        return [paper_score("table2", mix=mix)]  # the mean as printed
    return [paper_score("table2", mix=mix, appearance=name, basic_aug=basics[0]) for name in STRONG_APPEARANCES]


def _paper_weak(mix: str, names: Sequence[str] = ()) -> list[float]:
    if not names:
        return [paper_score("table3", mix=mix, basic_aug=True)]  # the mean as printed
    return [paper_score("table3", mix=mix, appearance=name, basic_aug=True) for name in names]


def _ensemble(matrix: Matrix, name: str, split: str = "validation") -> _Pair:
    return paper_score("table4", split, name=name), matrix.ensemble(name)


def _best_strong(matrix: Matrix) -> _Pair:
    table = paper_scores().query("table == 'table2' and statistic == 'f1'")
    return table["percent"].astype(float).max(), matrix.best_strong()


def _minus(words: str, first: _Pair, second: _Pair) -> Part:
    return Part(words, first[0] - second[0], difference(first[1], second[1]))


def _basic_augmentation(matrix: Matrix) -> Claim:
    gains = {}
    for mix in ("mixup", "mixaugment"):
        on, off = (_side(matrix.strong, _paper_strong, mix, (basic,)) for basic in (True, False))
        gains[mix] = on[0] - off[0], difference(on[1], off[1])
    return Claim(
        "Basic augmentation helps Mix-up, and helps it more than Mix-aug",
        "Mix-up +2.23 and +4.11, Mix-aug -1.36 and +0.28 (Table 2)",
        (
            Part("Mix-up: on minus off", *gains["mixup"]),
            _minus("Mix-up: on minus off, less Mix-aug: on minus off", gains["mixup"], gains["mixaugment"]),
        ),
    )


def _best_ensemble(matrix: Matrix) -> Claim:
    best = ENSEMBLES[2]
    split, others = matrix.split, [name for name in ENSEMBLES if name != best]  # the paper states it of both splits
    printed = [f"{paper_score('table4', split, name=name):.2f}" for name in (best, *others)]
    return Claim(
        "The ensemble of Mix-aug members alone is the best of the five",
        f"{printed[0]} against {', '.join(printed[1:-1])} and {printed[-1]} (Table 4)",
        tuple(
            _minus(f"{best} minus {name}", _ensemble(matrix, best, split), _ensemble(matrix, name, split))
            for name in others
        ),
    )


def _baseline(matrix: Matrix) -> Claim:
    """The baseline is a number on the LSD release's faces, and a network that nobody published: no test elsewhere."""
    level = paper_score("table4", matrix.split, name="Baseline")
    least = min(paper_score("table4", matrix.split, name=name) for name in ENSEMBLES)
    parts = []
    for name in ENSEMBLES:
        paper = paper_score("table4", matrix.split, name=name)
        ours = matrix.ensemble(name) if matrix.release else None
        parts.append(Part(f"{name} minus baseline", paper - level, None if ours is None else ours - level / 100))
    words = f"{least:.2f} and more against {level:.1f} (Table 4)"
    return Claim("Every ensemble is above the challenge's baseline", words, tuple(parts), testable=matrix.release)


def _like_for_like(matrix: Matrix) -> Claim:
    """Not the paper's: it sets weak members, all with basic augmentation and a third of them MobileViTv2, against
    strong ones, half without and none MobileViTv2. Here both sides hold the same configurations."""
    parts = []
    for mix, words in (("mixaugment", "Mix-aug"), ("mixup", "Mix-up")):
        weak = _side(matrix.weak, _paper_weak, mix, STRONG_APPEARANCES)
        parts.append(_minus(f"{words}: weak minus strong", weak, _side(matrix.strong, _paper_strong, mix, (True,))))
    return Claim(
        "(Not the paper's.) Claim b like for like: basic augmentation on, VGGFace2 and DINO alone",
        "69.64 against 68.44 and 68.57 against 70.04 (means of cells of Tables 3 and 2)",
        tuple(parts),
    )


def claim_table(matrix: Matrix) -> pd.DataFrame:
    """The statements and their verdicts, columns `COLUMNS`: a row for each, and one for each of several differences.

    `paper_difference`, `ours`, `low` and `high` are in percentage points; `paper_verdict` applies the sign of the
    paper's printed numbers, which carry no interval; `unit` is what the interval resamples; `seeds` is the number that
    the cells have, "1 to 3" where they differ (of a statement: the cells that decide it).
    """
    rows = []
    for letter, claim in zip("abcdefghi", claims(matrix), strict=True):
        single = claim.parts[0] if len(claim.parts) == 1 else None
        whole, deciding = _verdict(claim, matrix.unit)
        rows.append(
            {
                **(_part_row(single, matrix.unit) if single else {}),
                "claim": letter,
                "statement": claim.statement,
                "paper": claim.paper,
                "paper_verdict": together([_sign(part.paper) for part in claim.parts]),
                "verdict": whole,
                "seeds": seeds_text(deciding) if deciding else None,
            }
        )
        for number, part in enumerate(claim.parts if claim.testable and single is None else (), 1):
            rows.append({**_part_row(part, matrix.unit), "claim": f"{letter}.{number}", "statement": part.words})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _verdict(claim: Claim, unit: str) -> tuple[str, list[Estimate]]:
    """The verdict on a statement, and the differences that decide it: of several that fail, one of the most seeds."""
    if not claim.testable:
        return NOT_TESTABLE, []
    found = [verdict(part.ours, unit) for part in claim.parts]
    whole = together(found)
    deciding = [part.ours for part, word in zip(claim.parts, found, strict=True) if word == whole and part.ours]
    return whole, [max(deciding, key=lambda ours: ours.seeds)] if whole == FAILS else deciding


def _part_row(part: Part, unit: str) -> dict:
    row = {"paper_difference": round(part.paper, 4), "paper_verdict": _sign(part.paper)}
    row["verdict"] = verdict(part.ours, unit)
    if part.ours is not None:
        low, high = part.ours.interval(unit)
        row |= {"ours": 100 * part.ours.value, "low": 100 * low, "high": 100 * high}
        row |= {"unit": unit, "seeds": seeds_text([part.ours])}
    return row


def _sign(value: float) -> str:
    return HOLDS if value > 0 else FAILS if value < 0 else OPEN
