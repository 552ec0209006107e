"""Votes that go beyond the paper: who votes, with which weights, how sure; chosen on validation, judged on test.

The votes here are means of probabilities. What is chosen on faces fits them better than others, so that a score on
those very faces says little: `compare_votes` chooses on the validation faces and reads the test faces.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from lsdkit.ensembles import calibration
from lsdkit.ensembles.votes import labelled_splits, name_run, read_stack, vote_way
from lsdkit.method import metrics
from lsdkit.method.bagging import soft_vote
from lsdkit.training.predictions import labels_of
from lsdkit.training.runs import Run

ROUNDS = 30
PLAIN, MIRRORED = "plain vote of all", "plain vote, flip averaging"
_TINY = np.finfo(np.float64).tiny


def select_greedily(labels: np.ndarray, stack: np.ndarray, rounds: int = ROUNDS) -> list[int]:
    """Members chosen one by one, with replacement, each the one that helps the vote so far most: their positions.

    Caruana, Niculescu-Mizil, Crew and Ksikes, *Ensemble Selection from Libraries of Models*, ICML 2004,
    https://doi.org/10.1145/1015330.1015432, section 2.1. labels: (B,) in 0..5; stack: (M, B, 6). What helps is macro
    F1 and, where two members give the same, the lower log loss. Of `rounds` rounds, those up to the best vote count.
    Who is chosen several times has as many votes.

    >>> first, second = [[0.9, 0.1, 0, 0, 0, 0], [0.6, 0.4, 0, 0, 0, 0]], [[0.6, 0.4, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    >>> select_greedily([0, 1], [first, second])
    [1]
    """
    labels, stack = np.asarray(labels), np.asarray(stack, dtype=np.float64)  # (B,), (M, B, 6)
    chosen, scores, total, faces = [], [], np.zeros(stack.shape[1:]), np.arange(len(labels))
    for size in range(1, rounds + 1):
        tried = (total + stack) / size  # (M, B, 6)
        score = metrics.score_answers(labels, tried.argmax(2))
        loss = -np.log(np.maximum(tried[:, faces, labels], _TINY)).mean(1)
        best = int(np.lexsort((loss, -score))[0])
        chosen.append(best)
        scores.append(score[best])
        total += stack[best]
    return chosen[: int(np.argmax(scores)) + 1]


def fit_weights(labels: np.ndarray, stack: np.ndarray, steps: int = 2000) -> np.ndarray:
    """Weights (M,), of at least 0 and of sum 1, with which the mean of probabilities (M, B, K) has the least log loss.

    A linear opinion pool: a mixture whose components are the members, found by expectation and maximisation, which
    never makes it worse (Dempster, Laird and Rubin, 1977); the problem is convex.

    >>> fit_weights([0, 0], [[[0.9, 0.1]] * 2, [[0.2, 0.8]] * 2]).round(3).tolist()
    [1.0, 0.0]
    """
    labels, stack = np.asarray(labels), np.asarray(stack, dtype=np.float64)
    own = np.maximum(stack[:, np.arange(len(labels)), labels], _TINY)  # (M, B)
    weights = np.full(len(own), 1 / len(own))
    for _ in range(steps):
        parts = weights[:, None] * own
        before, weights = weights, (parts / parts.sum(0)).mean(1)
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights


def weigh_vote(stack: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probabilities (B, K): the mean of the members' (M, B, K) with weights (M,) of any positive sum.

    >>> weigh_vote([[[1.0, 0.0]], [[0.0, 1.0]]], [3, 1]).tolist()
    [[0.75, 0.25]]
    """
    weights = np.asarray(weights, dtype=np.float64)
    return np.tensordot(weights / weights.sum(), np.asarray(stack, dtype=np.float64), axes=1)


def calibrate_members(labels: np.ndarray, stack: np.ndarray) -> np.ndarray:
    """The temperature of each member, (M,), from labels (B,) and probabilities (M, B, K)."""
    return np.array([calibration.fit_temperature(labels, member) for member in stack])


def compare_votes(
    runs: Sequence[Run],
    subjects: Mapping[str, str] | None = None,
    ask_mirrored: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> pd.DataFrame:
    """Votes of these runs, chosen on the validation faces and judged on the test faces: a row a vote.

    They are: the best member; the plain vote of all, as their recipe says; `select_greedily`; `fit_weights`; the vote
    of members that each have a temperature of their own; the plain vote with one temperature, which gives the same
    answers and is differently sure; and, with `ask_mirrored`, the plain vote of each face and its mirror image.
    `ask_mirrored(keys)` gives the members' probabilities (M, B, 6) for the mirror images of the faces of these keys, as
    `lsdkit.prediction.predict_mirrored` does.

    Columns: name (the index), chosen (what, in words), validation and test (macro F1), above, low and high (test macro
    F1 above the plain vote's, with its paired 95% bootstrap interval) and ece (of the test faces,
    `calibration.calibration_error`). `subjects` tells whose face a key is; where it does so for all test faces, whole
    subjects are resampled. Without labels of test faces all but `chosen` and `validation` is NaN. Raises `ValueError`
    as `votes.read_stack` and `vote_way` do.
    """
    way, seen = vote_way(runs), {split: read_stack(runs, split) for split in labelled_splits(runs)}
    if "validation" not in seen:
        raise ValueError(f"Expected labelled validation faces to choose by, but {runs[0].folder} has none")
    labels = {split: labels_of(faces) for split, (faces, _) in seen.items()}
    votes = {split: {} for split in seen}
    truth, stack = labels["validation"], seen["validation"][1]
    best = int(metrics.score_answers(truth, stack.argmax(2)).argmax())
    greedy, weights = select_greedily(truth, stack), fit_weights(truth, stack)
    temperatures = calibrate_members(truth, stack)
    one = calibration.fit_temperature(truth, soft_vote(stack, way))
    for split, (faces, each) in seen.items():
        sharpened = np.stack([calibration.apply_temperature(own, t) for own, t in zip(each, temperatures, strict=True)])
        plain = soft_vote(each, way)
        votes[split] = {
            PLAIN: plain,
            "best member": each[best],
            "greedy selection": each[greedy].mean(0),
            "weighted vote": weigh_vote(each, weights),
            "vote of calibrated members": sharpened.mean(0),
            "plain vote, calibrated": calibration.apply_temperature(plain, one),
        }
        if ask_mirrored is not None:
            votes[split][MIRRORED] = soft_vote(np.concatenate([each, ask_mirrored(faces["key"].tolist())]), way)
    names = [name_run(run) for run in runs]
    chosen = {
        PLAIN: f"all {len(runs)}, each one vote",
        "best member": names[best],
        "greedy selection": f"{len(greedy)} votes of {len(set(greedy))} members, most by {names[_most_common(greedy)]}",
        "weighted vote": f"{weights.max():.0%} is {names[weights.argmax()]}'s, {(weights > 0.01).sum()} above 1%",
        "vote of calibrated members": f"temperatures {temperatures.min():.2f} to {temperatures.max():.2f}",
        "plain vote, calibrated": f"temperature {one:.2f}",
        MIRRORED: "nothing: each face and its mirror image",
    }
    chosen = {name: how for name, how in chosen.items() if name in votes["validation"]}
    table = pd.DataFrame({"chosen": chosen}, index=pd.Index(chosen, name="name"))
    table["validation"] = [metrics.macro_f1(truth, votes["validation"][name].argmax(1)) for name in table.index]
    rows = {name: _judge(name, seen["test"][0], votes["test"], subjects) for name in chosen} if "test" in seen else {}
    judged = pd.DataFrame.from_dict(rows, orient="index", columns=["test", "above", "low", "high", "ece"])
    return table.join(judged.astype(float))


def describe_votes(table: pd.DataFrame) -> str:
    """What `compare_votes` found, in a sentence: which votes are clearly above or below the plain one on test."""
    if table["test"].isna().all():
        return (
            "The test faces have no labels: nothing judges these votes, whose validation scores are of the faces they "
            "were chosen by."
        )
    others = table.drop(index=PLAIN)
    said = {"above": others.index[others["low"] > 0], "below": others.index[others["high"] < 0]}
    clear = [f"{', '.join(names)} {way} it" for way, names in said.items() if len(names)]
    rest = others[(others["low"] <= 0) & (others["high"] >= 0)]
    gained = f"{others['above'].min():+.3f} to {others['above'].max():+.3f}"
    verdict = f"clearly {' and '.join(clear)}" if clear else "none clearly above or below it"
    ends = table.loc[[PLAIN, "plain vote, calibrated"], "ece"]
    return (
        f"On test the plain vote reads {table.loc[PLAIN, 'test']:.3f}; the others differ from it by {gained}: "
        f"{verdict}, and {len(rest)} of {len(others)} within chance. One temperature takes the plain vote's ECE from "
        f"{ends.iloc[0]:.3f} to {ends.iloc[1]:.3f} and changes no answer."
    )


def _judge(name: str, faces: pd.DataFrame, votes: Mapping[str, np.ndarray], subjects: Mapping | None) -> list[float]:
    """Test macro F1 of a vote, what it is above the plain one with its interval, and its ECE."""
    truth, answers, plain = labels_of(faces), votes[name].argmax(1), votes[PLAIN].argmax(1)
    people = np.array([(subjects or {}).get(key, "") for key in faces["key"]])
    known = (people != "").all() and len(set(people)) > 1
    gain = metrics.bootstrap_difference(truth, answers, plain, groups=people if known else None)
    ece = calibration.calibration_error(calibration.bin_confidence(truth, votes[name]))
    return [metrics.macro_f1(truth, answers), gain["value"], gain["low"], gain["high"], ece]


def _most_common(chosen: Sequence[int]) -> int:
    return int(np.bincount(chosen).argmax())
