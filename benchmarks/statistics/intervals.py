"""How often the intervals of `lsdkit tables` hold the true macro F1, in simulated runs of several seeds.

    python benchmarks/statistics/intervals.py [--repeats 2000] [--resamples 500] [--deviations 0 1 4]

Four made-up cells answer 600 faces in the class shares of the release. A network is right on a face where a sum of
normal deviations is above 0: the seed's, the face's for all networks, the face's for all seeds of a cell, and the
face's for this network. Most wrong answers go to one class. Seeds deviate by 0, 1 or 4 times as much (standard
deviations of macro F1) as one network's score moves with the faces. Faces are independent, or they are those of 100
subjects, who have a fifth of each variance of their faces in common and are what is resampled. The truth, over all
faces and seeds, is integrated.

Prints the share of 95% intervals that hold the truth and their width in percentage points: of the estimate of
`lsdkit.reproduce.scores` (new), and of the one that it replaced (old), which drew seeds in each resample of faces as
well. Needed is the width of an interval that knows by how much the estimate errs. "One seed" is one seed of a cell
against several of another, with the spread that three other cells tell, as verdicts have it; "3 against" are three
seeds against five.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import ndtr

from lsdkit.common.seeds import numpy_generator
from lsdkit.data.release import VALIDATION_COUNTS
from lsdkit.method import metrics
from lsdkit.reproduce.scores import Estimate, Replicates, mean_of, pool_seeds

FACES, SUBJECTS, CLASSES, CELLS = 600, 100, len(VALIDATION_COUNTS), 4
SEEDS = (2, 3, 5)
LEVELS = np.array([0.60, 0.50, 0.45, 0.40])  # of the cells: what the sums have in common
OF_FACE, OF_CELL, OF_NETWORK = 0.5, 0.15, 0.35  # variances of a face's deviations
OF_SUBJECT = 0.2  # share of each of them that the faces of a subject have in common
SHARES = np.array(VALIDATION_COUNTS) / sum(VALIDATION_COUNTS)
TEMPTED = 0.4  # of the wrong answers: to the next class; the others to one of the five that are wrong
WRONG = (1 - TEMPTED) / (CLASSES - 1) * (1 - np.eye(CLASSES)) + TEMPTED * np.roll(np.eye(CLASSES), 1, axis=1)


def true_scores(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Macro F1 of each cell (4,) over all faces, where the sums of its seeds spread by this: mean and deviation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    right = ndtr(LEVELS[:, None] + spread * nodes)[..., None, None]  # (4, 60, 1, 1)
    scores = metrics.f1_from_confusion(SHARES[:, None] * (right * np.eye(CLASSES) + (1 - right) * WRONG)).mean(-1)
    mean = scores @ weights / weights.sum()
    return mean, np.sqrt((scores - mean[:, None]) ** 2 @ weights / weights.sum())


def draw_answers(
    generator: np.random.Generator, spread: float, subjects: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and the answers of all cells and seeds (4, S, N) to faces of these subjects (N,), or of none."""

    def deviate(variance: float, *shape: int) -> np.ndarray:
        own = generator.standard_normal((*shape, FACES), np.float32)
        if subjects is not None:
            shared = generator.standard_normal((*shape, SUBJECTS), np.float32)[..., subjects]
            own = np.sqrt(OF_SUBJECT) * shared + np.sqrt(1 - OF_SUBJECT) * own
        return np.sqrt(variance) * own

    labels, seeds = generator.choice(CLASSES, FACES, p=SHARES), max(SEEDS)
    sums = LEVELS[:, None, None] + spread * generator.standard_normal((CELLS, seeds, 1))
    sums = sums + deviate(OF_FACE, 1, 1) + deviate(OF_CELL, CELLS, 1) + deviate(OF_NETWORK, CELLS, seeds)
    chances = generator.random((CELLS, seeds, FACES))
    away = np.where(chances < TEMPTED, 1, 1 + (chances - TEMPTED) / (1 - TEMPTED) * (CLASSES - 1))
    return labels, np.where(sums > 0, labels, (labels + away.astype(int)) % CLASSES)


def score_answers(labels: np.ndarray, answers: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Macro F1 (R, 4, S) where each face counts as often as `times` (R, N) says."""
    classes = np.arange(CLASSES)[:, None]
    of_class, given = labels == classes, answers[..., None, :] == classes  # (K, N), (4, S, K, N)
    wanted = np.concatenate([(given & of_class).reshape(-1, FACES), given.reshape(-1, FACES), of_class])
    counts = times @ wanted.T.astype(np.float32)  # (R, 4 S K + 4 S K + K)
    hits, answered = counts[:, :-CLASSES].reshape(len(times), 2, *answers.shape[:2], CLASSES).swapaxes(0, 1)
    total = answered + counts[:, None, None, -CLASSES:]
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0).mean(-1, dtype=np.float64)


def draw_times(subjects: np.ndarray | None, resamples: int) -> np.ndarray:
    """How often each face is drawn in each resample, (1 + R, N), the first once each; serves all repeats."""
    units = FACES if subjects is None else SUBJECTS
    times = numpy_generator(0, "coverage").multinomial(units, np.full(units, 1 / units), resamples)
    times = np.concatenate([np.ones((1, units)), times]).astype(np.float32)
    return times if subjects is None else times[:, subjects]


def old_interval(estimate: Estimate) -> np.ndarray:
    """The interval that was replaced: each resample of the faces draws seeds too, their deviations stretched."""
    draws = 0.0
    for seeds, part in estimate.parts.items():
        number, own = len(seeds), part.draws["faces"]
        share = numpy_generator(0, "seeds", *seeds).multinomial(number, np.full(number, 1 / number), len(own)) / number
        stretch = np.sqrt(number / max(1, number - 1))
        draws = draws + (own * (1 / number + stretch * (share - 1 / number))).sum(1)
    return metrics.interval(draws)


def list_estimates(scores: np.ndarray, number: int) -> Iterator[tuple[str, Estimate, Sequence[float]]]:
    """Name, estimate and its weights of the cells, from the first seeds of scores (1 + R, 4, S) of `draw_times`."""

    def take(cell: int, seeds: int = number) -> Replicates:
        return Replicates(scores[0, cell, :seeds], {"faces": scores[1:, cell, :seeds]})

    def estimate(part: Replicates, **unseen: tuple[float, int]) -> Estimate:
        seeds = len(part.points)
        return Estimate({tuple(range(seeds)): part}, (seeds, seeds), unseen)

    first, second, *others = (estimate(take(cell)) for cell in range(CELLS))
    yield "a cell", first, (1, 0, 0, 0)
    yield "mean of four cells", mean_of([first, second, *others]), (0.25, 0.25, 0.25, 0.25)
    yield "difference of two", first - second, (1, -1, 0, 0)
    if number > 3:
        yield "difference, 3 against", estimate(take(0, 3)) - second, (1, -1, 0, 0)
    alone = estimate(take(0, 1), **pool_seeds([take(cell) for cell in (1, 2, 3)]))
    yield "difference, one seed", alone - second, (1, -1, 0, 0)


def measure(spread: float, subjects: np.ndarray | None, repeats: int, resamples: int) -> dict:
    """(seeds, estimate) -> error, ends of the new interval and of the old, less the truth, (repeats, 5)."""
    truth, times, found = true_scores(spread)[0], draw_times(subjects, resamples), {}
    for repeat in range(repeats):
        generator = numpy_generator(repeat, "coverage", "faces" if subjects is None else "subjects")
        scores = score_answers(*draw_answers(generator, spread, subjects), times)
        for number in SEEDS:
            for name, estimate, weights in list_estimates(scores, number):
                row = [estimate.value, *estimate.interval(unseen=True), *old_interval(estimate)]
                found.setdefault((number, name), []).append(np.array(row) - truth @ weights)
    return {key: np.array(rows) for key, rows in found.items()}


def describe(errors: np.ndarray) -> str:
    """A line of the table, of one entry of `measure`."""
    held = [((errors[:, end] <= 0) & (errors[:, end + 1] >= 0)).mean() for end in (1, 3)]
    widths, old = 100 * (errors[:, 2] - errors[:, 1]), 100 * (errors[:, 4] - errors[:, 3]).mean()
    needed = 100 * 2 * 1.96 * errors[:, 0].std()
    return f"{held[0]:.3f}{held[1]:7.3f}{needed:10.2f}{widths.mean():8.2f}{np.median(widths):8.2f}{old:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000, help="of each experiment (default %(default)s)")
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap (default %(default)s)")
    parser.add_argument("--deviations", type=float, nargs="+", default=[0, 1, 4], help="of seeds (default 0 1 4)")
    given, started = parser.parse_args(), time.perf_counter()
    known = 1.96 * np.sqrt(0.95 * 0.05 / given.repeats)
    print(f"{given.repeats} repeats: a share of .95 is known to {known:.3f}; widths in percentage points")
    print(f"{'':48}shares           widths")
    print(f"unit     seeds deviation estimate               {'new    old    needed  new: mean  median    old':>45}")
    for unit, subjects in (("faces", None), ("subjects", np.arange(FACES) % SUBJECTS)):
        drawn = (draw_answers(numpy_generator(number, "still"), 0.0, subjects) for number in range(400))
        moves = np.std([score_answers(*each, np.ones((1, FACES), np.float32)) for each in drawn], axis=0).mean()
        for deviation in given.deviations:
            spread = deviation * moves / (true_scores(0.1)[1].mean() / 0.1)
            results = measure(spread, subjects, given.repeats, given.resamples)
            for (number, name), errors in sorted(results.items(), key=lambda item: item[0][0]):
                print(f"{unit:<9}{number:>5}{deviation:>10g} {name:<22}{describe(errors)}", flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
