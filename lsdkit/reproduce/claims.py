"""What the paper states about its Tables 2 to 4, each statement held against a folder of runs by one rule.

A statement is one or several differences that are to be above 0. The rule: a difference *holds* where its whole 95%
interval lies above 0, *does not* where it lies below 0, and is *not decided* otherwise. A statement of several
differences holds where all do, does not where one does not, and is not decided otherwise; where a cell is missing it
is *not run*. The intervals are paired: both sides on the same resampled faces (subjects where they are known), and on
the same seeds where they have the same.

One seed tells nothing of others. A side that has a network of one seed (a voter of an ensemble counts) gets the spread
between seeds of the cells that have several: the difference is decided where it exceeds what seeds do as well, if those
of this cell vary like the others'. Where no cell has several the verdict is about these networks alone. Both are
marked "(one seed)" (`formats.format_claims`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from itertools import pairwise

import numpy as np
import pandas as pd

from lsdkit.ensembles import rules
from lsdkit.reproduce.formats import NAMES
from lsdkit.reproduce.scores import Estimate, Matrix, describe_seeds, mean_of

HOLDS, FAILS, OPEN, NOT_RUN, NOT_TESTABLE = "holds", "does not", "not decided", "not run", "not testable"
APPEARANCES = NAMES["appearance"][1]
BEST_WEAK, BEST_MIXAUG_WEAK = ("mixup", "mobilevitv2"), ("mixaugment", "vggface2")
APART = "mu_strong_mu_weak"  # the paper's second ensemble, whose place differs between validation and test
BASELINE = "h"  # the claim against the challenge's baseline: no test but on the release's faces
COLUMNS = (
    *("claim", "statement", "paper", "paper_difference", "paper_verdict"),
    *("ours", "low", "high", "verdict", "unit", "seeds"),
)


@cache
def _read(name: str) -> pd.DataFrame:
    """A table of text beside this file."""
    return pd.read_csv(resources.files("lsdkit.reproduce") / name, dtype=str, keep_default_na=False)


def read_paper() -> pd.DataFrame:
    """The numbers printed in Tables 2 to 5: table, mix, appearance, basic_aug, name, split, statistic, percent (text).

    >>> read_paper().query("name == 'MU & MA Best Weak' and split == 'test'")["percent"].item()
    '34.93'
    """
    return _read("paper_scores.csv")


def paper_score(table: str, split: str = "validation", **row: object) -> float:
    """One number of the paper, in percent; NaN where it prints none. `row`: mix, appearance, basic_aug, name.

    >>> paper_score("table2", mix="mixup", appearance="dino", basic_aug=True)
    70.57
    """
    rows = read_paper()
    wanted = {"table": table, "split": split, "mix": "", "appearance": "", "basic_aug": "", "name": "", **row}
    for name, value in wanted.items():
        rows = rows[rows[name] == str(value)]
    return float(rows["percent"].iloc[0]) if len(rows) else float("nan")


@dataclass(frozen=True)
class Pair:
    """A score, or a difference of two, in the paper, in percent or points, and ours, in [0, 1] (None = not run)."""

    paper: float
    ours: Estimate | float | None

    def __sub__(self, other: "Pair") -> "Pair":
        known = self.ours is not None and other.ours is not None
        return Pair(self.paper - other.paper, self.ours - other.ours if known else None)


def list_differences(matrix: Matrix) -> dict[str, dict[str, Pair]]:
    """The differences, in words, that each claim is made of, by its letter.

    Of Table 4 the paper's validation numbers are taken, but for the claims that it makes of either split (d and h) and
    of both (l: those without MU Strong & MU Weak), for which the runs are scored on the other split too.
    """
    strong, weak = partial(_pair_strong, matrix), partial(_pair_weak, matrix)
    votes, votes_of_split = _pair_ensembles(matrix, "validation"), _pair_ensembles(matrix, matrix.split)
    printed = read_paper().query("table == 'table2' and statistic == 'f1'")["percent"].astype(float)
    best = Pair(printed.max(), matrix.score_ensemble(rules.BEST_STRONG.id))
    gains = {mix: strong(mix, (True,)) - strong(mix, (False,)) for mix in rules.MIX_NAMES}
    mixes = {each: {*each.strong, *dict(each.weak)} for each in votes}
    alone = rules.ENSEMBLES["ma_strong_ma_best_weak"]
    level = paper_score("table4", matrix.split, name="Baseline")  # on the release's faces, of a network not published
    baseline = Pair(level, level / 100 if matrix.is_release else None)
    cells = [(mix, name) for mix in rules.MIX_NAMES for name in rules.WEAK_APPEARANCES]
    best_weak, best_mixaug = weak(*BEST_WEAK), weak(*BEST_MIXAUG_WEAK)
    return {
        "a": {"Mix-aug minus Mix-up": strong("mixaugment") - strong("mixup")},
        "b": {f"{name}: weak minus strong": weak(mix) - strong(mix) for mix, name in rules.MIX_NAMES.items()},
        "c": {
            "Mix-up: on minus off": gains["mixup"],
            "Mix-up: on minus off, less Mix-aug: on minus off": gains["mixup"] - gains["mixaugment"],
        },
        "d": {
            f"{alone.name} minus {each.name}": votes_of_split[alone] - pair
            for each, pair in votes_of_split.items()
            if each != alone
        },
        "e": {
            f"{each.name} minus best strong": pair - best for each, pair in votes.items() if "mixaugment" in mixes[each]
        },
        "f": {"Mix-aug minus Mix-up": weak("mixaugment") - weak("mixup")},
        "g": {
            f"best strong minus {each.name}": best - pair for each, pair in votes.items() if mixes[each] == {"mixup"}
        },
        "h": {f"{each.name} minus baseline": pair - baseline for each, pair in votes_of_split.items()},
        # b sets weak members, all with basic augmentation and a third of them MobileViTv2, against strong ones, half
        # without and none MobileViTv2; in i both sides hold the same configurations
        "i": {
            f"{name}: weak minus strong": weak(mix, *rules.STRONG_APPEARANCES) - strong(mix, (True,))
            for mix, name in rules.MIX_NAMES.items()
        },
        "j": {
            f"Mix-up MobileViTv2 minus {rules.MIX_NAMES[mix]} {APPEARANCES[name]}": best_weak - weak(mix, name)
            for mix, name in cells
            if (mix, name) != BEST_WEAK
        },
        "k": {
            f"Mix-aug VGGFace2 weak minus strong {APPEARANCES[cell.appearance]}, basic augmentation "
            f"{'on' if cell.basic_aug else 'off'}": best_mixaug - _pair_cells(matrix, [cell])
            for cell in rules.strong_cells("mixaugment")
        },
        "l": _compare_orders(matrix),
    }


def _compare_orders(matrix: Matrix) -> dict[str, Pair]:
    """Whether test faces order four ensembles as validation faces do, the paper's by the paper's places, ours by ours.

    The order on validation is taken as given, without an interval. Without labels of either split nothing is run.
    """
    other = matrix.read_other_split()
    known = {} if other is None else {matrix.split: matrix, other.split: other}
    validation, test = (_pair_ensembles(known.get(split), split) for split in ("validation", "test"))
    apart, four = rules.ENSEMBLES[APART], [each for each in validation if each.id != APART]
    papers = sorted(four, key=lambda each: -validation[each].paper)
    ours = sorted(four, key=lambda each: -score.value if (score := validation[each].ours) else 0)
    places = [Pair(test[one].paper, test[two].ours) for one, two in zip(papers, ours, strict=True)]
    last = Pair(validation[papers[-1]].paper, validation[ours[-1]].ours)
    steps = {f"Test: {place} on validation minus the next": None for place in ("first", "second", "third")}
    return {
        **{words: upper - lower for words, (upper, lower) in zip(steps, pairwise(places), strict=True)},
        f"Validation: last minus {apart.name}": last - validation[apart],
        f"Test: {apart.name} minus last on validation": test[apart] - places[-1],
    }


def _pair_strong(matrix: Matrix, mix: str, basics: Sequence[bool] = (True, False)) -> Pair:
    """The mean of strong members; the paper's over all of them as printed."""
    pair = _pair_cells(matrix, [cell for cell in rules.strong_cells(mix) if cell.basic_aug in basics])
    return replace(pair, paper=paper_score("table2", mix=mix)) if len(basics) == 2 else pair


def _pair_cells(matrix: Matrix, cells: Sequence[rules.Cell]) -> Pair:
    """The mean of these cells of Table 2."""
    printed = [paper_score("table2", mix=c.mix, appearance=c.appearance, basic_aug=c.basic_aug) for c in cells]
    return Pair(float(np.mean(printed)), mean_of(matrix.score_cells(cells)))


def _pair_weak(matrix: Matrix, mix: str, *appearances: str) -> Pair:
    """The mean of weak members of these appearances; of all where none is named, the paper's as printed."""
    names = appearances or rules.WEAK_APPEARANCES
    printed = [paper_score("table3", mix=mix, appearance=name, basic_aug=True) for name in names]
    paper = float(np.mean(printed)) if appearances else paper_score("table3", mix=mix, basic_aug=True)
    return Pair(paper, mean_of([mean_of(matrix.score_cells(rules.weak_cells(mix, name))) for name in names]))


def _pair_ensembles(matrix: Matrix | None, split: str) -> dict[rules.Ensemble, Pair]:
    """The five ensembles, the paper's on its faces of this split; ours are not run without a matrix."""
    pairs = {}
    for each in rules.ENSEMBLES.values():
        ours = None if matrix is None else matrix.score_ensemble(each.id)
        pairs[each] = Pair(paper_score("table4", split, name=each.name), ours)
    return pairs


def judge(ours: Estimate | None) -> str:
    """The rule for one difference: its interval above 0, below 0, or neither."""
    if ours is None:
        return NOT_RUN
    low, high = ours.interval(ours.unit, unseen=True)
    return HOLDS if low > 0 else FAILS if high < 0 else OPEN


def judge_all(pairs: Sequence[Pair]) -> tuple[str, list[Estimate]]:
    """The verdict on a claim, and the differences that decide it: of several that fail, one of the most seeds."""
    verdicts = [judge(pair.ours) for pair in pairs]
    whole = combine_verdicts(verdicts)
    deciding = [pair.ours for pair, verdict in zip(pairs, verdicts, strict=True) if verdict == whole and pair.ours]
    return whole, [max(deciding, key=lambda ours: ours.seeds)] if whole == FAILS else deciding


def combine_verdicts(verdicts: Sequence[str]) -> str:
    """The rule for several differences, all of which a claim needs.

    >>> combine_verdicts(["holds", "not decided"]), combine_verdicts(["holds", "does not", "not run"])
    ('not decided', 'does not')
    """
    return next((first for first in (FAILS, NOT_RUN, OPEN) if first in verdicts), HOLDS)


def tabulate_claims(matrix: Matrix) -> pd.DataFrame:
    """The claims of `lsdkit/reproduce/claims.csv` and their verdicts, columns `COLUMNS`: a row for each, and one for
    each of several differences.

    `paper_difference`, `ours`, `low` and `high` are in percentage points; `paper_verdict` applies the sign of the
    paper's printed numbers, which carry no interval; `low` and `high` are what the verdict goes by, `unit` is what they
    resample; `seeds` is the number that the networks have, "1 to 3" where they differ, voters of an ensemble among them
    (of a claim: of the differences that decide it).
    """
    rows, differences = [], list_differences(matrix)
    for claim in _read("claims.csv").to_dict("records"):
        letter, pairs = claim["claim"], differences[claim["claim"]]
        testable = letter != BASELINE or matrix.is_release
        whole, deciding = judge_all(list(pairs.values())) if testable else (NOT_TESTABLE, [])
        parts = [{"statement": words, **_part_row(pair)} for words, pair in pairs.items()]
        row = {"claim": letter, "statement": claim["statement"], "paper": claim[matrix.split], "verdict": whole}
        row["paper_verdict"] = combine_verdicts([part["paper_verdict"] for part in parts])
        row["seeds"] = describe_seeds(deciding) if deciding else None
        rows.append(row if len(parts) > 1 else {**parts[0], **row})
        if testable and len(parts) > 1:
            rows += [{**part, "claim": f"{letter}.{number}"} for number, part in enumerate(parts, 1)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _part_row(pair: Pair) -> dict:
    sign = HOLDS if pair.paper > 0 else FAILS if pair.paper < 0 else OPEN
    row = {"paper_difference": round(pair.paper, 4), "paper_verdict": sign, "verdict": judge(pair.ours)}
    if pair.ours is not None:
        low, high = pair.ours.interval(pair.ours.unit, unseen=True)
        row |= {"ours": 100 * pair.ours.value, "low": 100 * low, "high": 100 * high}
        row |= {"unit": pair.ours.unit, "seeds": describe_seeds([pair.ours])}
    return row
