"""Which faces a release holds: how many of each expression, whose, and in which variant. Rendering comes later."""

from typing import NamedTuple

import numpy as np

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.seeds import derive, numpy_generator
from lsdkit.data.release import CLASS_FOLDERS, TEST, TRAIN, TRAIN_COUNTS, VALIDATION, VALIDATION_COUNTS
from lsdkit.openset.variants import draw_variant

LEAST = 8  # training faces of a class, however small the fraction
TEST_SUBJECTS = 20


class Design(NamedTuple):
    """How the training faces of a release are drawn. Validation and test faces are in style "photographic" always."""

    balanced: bool  # as many faces of each expression, instead of the LSD release's shares
    subjects: int  # people of training and validation
    zipf: float  # a subject's share of an expression falls with its rank to this power
    style: str  # of the training faces


DESIGNS = {
    "release": Design(balanced=False, subjects=40, zipf=0.8, style="training"),  # as unequal as the LSD release
    "varied": Design(balanced=True, subjects=600, zipf=0.0, style="photographic"),  # for reading photographs
}


class Row(NamedTuple):
    """One face of the plan."""

    key: str
    split: str
    expression: str
    subject: str
    variant: str
    style: str
    seed: int  # of the face, see `render.render_face`
    path: str  # relative to the release's folder


def plan_release(*, fraction: float, validation: int, test: int, seed: int, design: str = "release") -> list[Row]:
    """All faces of a release, training first, then validation, then test.

    Training: `fraction` of the release's faces. In the design "release" that is its count of each class, at least 8,
    shared unevenly over 40 subjects, each class with its own order of them (paper figure 3); in "varied" each class
    has the same count, shared evenly over 600 subjects. Validation: other pictures of the same subjects, `validation`
    in all, classes as in the release. Test: `test` pictures of 20 further subjects, same classes, in random order.
    Raises `ValueError` for an unknown design, for a fraction outside (0, 1] and for fewer than 6 validation or test
    faces (0 test faces pass).
    """
    if design not in DESIGNS:
        raise ValueError(f"Expected `design` to be one of {', '.join(DESIGNS)}, but got {design!r}")
    if not 0 < fraction <= 1:
        raise ValueError(f"Expected `fraction` in (0, 1], but got {fraction}")
    if validation < len(EXPRESSIONS):
        least = len(EXPRESSIONS)
        raise ValueError(f"Expected `validation` of at least {least} faces, one a class, but got {validation}")
    if test != 0 and test < len(EXPRESSIONS):
        raise ValueError(f"Expected `test` to be 0 or at least {len(EXPRESSIONS)}, one face a class, but got {test}")
    balanced, count, zipf, style = DESIGNS[design]
    subjects = [f"subject-{number:03d}" for number in range(1, count + TEST_SUBJECTS + 1)]
    known, unseen = subjects[:count], subjects[count:]
    counts = [round(sum(TRAIN_COUNTS) / len(TRAIN_COUNTS))] * len(TRAIN_COUNTS) if balanced else TRAIN_COUNTS
    train = [max(LEAST, round(fraction * count)) for count in counts]
    return [
        *_plan_rows("train", train, known, zipf, style, seed),
        *_plan_rows("validation", share_out(validation, VALIDATION_COUNTS), known, 0.0, "photographic", seed),
        *_plan_rows("test", share_out(test, VALIDATION_COUNTS), unseen, 0.0, "photographic", seed),
    ]


def share_out(total: int, weights: tuple[int, ...]) -> list[int]:
    """Whole numbers that add up to `total`, in proportion to the weights, at least one each (largest remainders).

    >>> share_out(60, VALIDATION_COUNTS)
    [10, 4, 7, 21, 10, 8]
    """
    if total == 0:
        return [0] * len(weights)
    exact = np.array(weights) / sum(weights) * (total - len(weights))
    parts = np.floor(exact).astype(int)
    order = np.argsort(parts - exact, kind="stable")
    parts[order[: total - len(weights) - parts.sum()]] += 1
    return (parts + 1).tolist()


def subject_seed(seed: int, subject: str) -> int:
    """The seed of a person of a release, from the release's seed and the person's name."""
    return derive(seed, "subject", subject)


def _plan_rows(split: str, counts: list[int], subjects: list[str], zipf: float, style: str, seed: int) -> list[Row]:
    generator = numpy_generator(seed, "plan", split)
    order = generator.permutation(sum(counts)) if split == "test" else np.arange(sum(counts))
    rows: list[Row] = []
    for name, folder, count in zip(EXPRESSIONS, CLASS_FOLDERS, counts, strict=True):
        shares = (1.0 + generator.permutation(len(subjects))) ** -zipf
        for number, subject in enumerate(generator.choice(subjects, count, p=shares / shares.sum())):
            index = len(rows)
            if split == "test":
                key, path = f"test/{order[index]}", f"{TEST}/{order[index]}.jpg"
            else:
                place = f"{TRAIN}/{folder}" if split == "train" else f"{VALIDATION}/{name}"
                key, path = f"{split}/{name}/{number}", f"{place}/{number}.jpg"
            face = derive(seed, "face", split, index)
            rows.append(Row(key, split, name, str(subject), draw_variant(name, generator), style, face, path))
    return sorted(rows, key=lambda row: int(row.key.split("/")[1])) if split == "test" else rows
