"""Which faces a release holds: its counts, its people, its designs."""

from collections import Counter

import pytest

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.release import TRAIN_COUNTS, VALIDATION_COUNTS
from lsdkit.openset.plan import plan_release, share_out


def test_the_plan_has_the_release_counts_and_keeps_the_test_subjects_apart():
    rows = plan_release(fraction=0.01, validation=600, test=600, seed=0)
    assert (
        len({row.key for row in rows})
        == len({row.path for row in rows})
        == len({row.seed for row in rows})
        == len(rows)
    )
    by_split = {split: [row for row in rows if row.split == split] for split in ("train", "validation", "test")}
    assert [len(part) for part in by_split.values()] == [2773, 600, 600]
    counts = [sum(row.expression == name for row in by_split["train"]) for name in EXPRESSIONS]
    assert counts == [round(0.01 * count) for count in TRAIN_COUNTS]
    subjects = {split: {row.subject for row in part} for split, part in by_split.items()}
    assert subjects["validation"] <= subjects["train"]
    assert not subjects["test"] & subjects["train"]
    sad = [row.subject for row in by_split["train"] if row.expression == "SADNESS"]
    shares = sorted((sad.count(subject) for subject in set(sad)), reverse=True)
    assert shares[0] > 5 * shares[-1] > 0  # uneven, as in the paper's figure 3
    assert plan_release(fraction=0.01, validation=600, test=600, seed=1) != rows
    assert sum(share_out(601, VALIDATION_COUNTS)) == 601


def test_a_varied_design_has_equal_classes_many_people_and_the_style_of_photographs():
    rows = plan_release(fraction=0.01, validation=60, test=60, seed=0, design="varied")
    train = [row for row in rows if row.split == "train"]
    counts = Counter(row.expression for row in train)
    assert set(counts.values()) == {round(0.01 * sum(TRAIN_COUNTS) / 6)}
    assert {row.style for row in rows} == {"photographic"}
    assert len({row.subject for row in train}) > 500
    assert not {row.subject for row in train} & {row.subject for row in rows if row.split == "test"}
    plain = plan_release(fraction=0.01, validation=60, test=60, seed=0)
    assert {row.split: row.style for row in plain}["train"] == "training"
    with pytest.raises(ValueError, match="release, varied"):
        plan_release(fraction=0.01, validation=60, test=60, seed=0, design="even")
