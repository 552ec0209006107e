"""The benchmark that measures how often intervals hold the truth: its pieces, and a small run."""

import re

import numpy as np
import pytest

from lsdkit.method import metrics


@pytest.fixture(scope="module")
def coverage(load_benchmark):
    return load_benchmark("statistics/intervals")


@pytest.mark.parametrize("grouped", [False, True])
def test_scores_are_those_of_the_metric(coverage, grouped):
    subjects = np.arange(coverage.FACES) % coverage.SUBJECTS if grouped else None
    labels, answers = coverage.draw_answers(np.random.default_rng(0), 0.1, subjects)
    times = coverage.draw_times(subjects, 3)
    assert (times.sum(1) == coverage.FACES).all()
    scores = coverage.score_answers(labels, answers, times)
    rows = np.repeat(np.arange(coverage.FACES), times[2].astype(int))
    for cell, seed in ((0, 0), (3, 4)):
        assert scores[0, cell, seed] == pytest.approx(metrics.macro_f1(labels, answers[cell, seed]))
        assert scores[2, cell, seed] == pytest.approx(metrics.macro_f1(labels[rows], answers[cell, seed, rows]))
    if grouped:
        assert all(len(set(times[1, subjects == subject])) == 1 for subject in range(5))


def test_the_truth_is_the_mean_of_many_experiments(coverage):
    once = np.ones((1, coverage.FACES), np.float32)
    drawn = [coverage.draw_answers(np.random.default_rng(seed), 0.4, None) for seed in range(300)]
    scores = np.concatenate([coverage.score_answers(*each, once) for each in drawn])
    np.testing.assert_allclose(scores.mean((0, 2)), coverage.true_scores(0.4)[0], atol=0.012)
    assert coverage.true_scores(0.0)[1].max() < 1e-9


def test_a_small_run_prints_each_setting(coverage, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["intervals.py", "--repeats", "6", "--resamples", "40", "--deviations", "0", "4"])
    coverage.main()
    lines = re.findall(
        r"^(faces|subjects) +(\d) +(\d) (.{22})([\d.]+) +([\d.]+) +([\d. ]+)$", capsys.readouterr().out, re.M
    )
    assert len(lines) == 2 * 2 * (4 + 4 + 5)
    assert all(0 <= float(share) <= 1 for line in lines for share in line[4:6])
    assert {line[1] for line in lines} == {"2", "3", "5"}
