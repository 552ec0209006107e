"""Who is on a photograph, by its file's name; and splits that keep people apart."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lsdkit.common.seeds import numpy_generator

NAME_NUMBER = "name_number"  # as face collections name their files: anna_01.jpg
PATTERNS = {NAME_NUMBER: r"(?:^|/)([^/]*[^\W\d][^/]*?)_\d+(?:\.[^./]*)?$"}  # words that stand for a pattern


def name_subjects(paths: Iterable[str], pattern: str) -> list[str]:
    """Who is on each picture: the group of `pattern`, searched in its path; "" where it does not match.

    `pattern`: one of `PATTERNS`, or a regular expression with one group. Paths have forward slashes. Raises
    `ValueError` for any other pattern.

    >>> name_subjects(["happy/anna_01.jpg", "happy/Ben_Li_2.png", "sad/17.jpg"], NAME_NUMBER)
    ['anna', 'Ben_Li', '']
    >>> name_subjects(["happy/anna/01.jpg", "happy/02.jpg"], "/([^/]+)/[^/]+$")
    ['anna', '']
    """
    try:
        search = re.compile(PATTERNS.get(pattern, pattern))
    except re.error as error:
        raise ValueError(_describe(f"{pattern!r}, which is none: {error}")) from error
    if search.groups != 1:
        raise ValueError(_describe(f"{pattern!r}, with {search.groups} groups"))
    return [(found[1] or "") if (found := search.search(path)) else "" for path in paths]


def _describe(got: str) -> str:
    return (
        f"Expected subjects to be {', '.join(PATTERNS)}, or a regular expression whose one group is the person, such "
        rf"as '([a-z]+)-\d+\.jpg$', but got {got}"
    )


def draw_people(expressions: Sequence[str], subjects: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Positions (n,) of the faces of some people, all of each one's, that are about `share` of every expression.

    People come in an order drawn by `seed`; one is taken where that brings the expressions nearer to `share` (squared
    differences of shares), unless an expression would have no other face. A face of nobody known ("") is a person of
    its own. Raises `ValueError` where nobody can be taken.

    >>> rows = draw_people(["ANGER", "FEAR"] * 10, [f"p{i // 4}" for i in range(20)], 0.2, 0)
    >>> len(rows), len(set(rows // 4))
    (4, 1)
    """
    subjects = np.array([name or f"\0{row}" for row, name in enumerate(subjects)], dtype=object)
    people = pd.crosstab(subjects, np.asarray(expressions, dtype=object))
    counts, taken, chosen = people.to_numpy(), np.zeros(people.shape[1]), []
    total = counts.sum(0)
    for person in numpy_generator(seed, "validation", "people").permutation(len(counts)):
        more = taken + counts[person]
        if (more < total).all() and ((more / total - share) ** 2).sum() < ((taken / total - share) ** 2).sum():
            taken = more
            chosen.append(people.index[person])
    if not chosen:
        raise ValueError(
            f"Expected people of whom some can make up a share of {share:g} of the faces, but got {len(people)}, too "
            "few or too unequal to keep apart: name others, ask for another --validation, or put all faces in one "
            "--split"
        )
    return np.flatnonzero(np.isin(subjects, chosen))
