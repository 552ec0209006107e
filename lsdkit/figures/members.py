"""What tells members of an ensemble apart: how sure they are, which faces they learned from, how alike they answer.

Arrays in, matplotlib Figure out, in the style of `plots`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns

from lsdkit.figures.style import GRID, INK, MAIN, MUTED, SECOND, SERIES, Figure, new_axes, styled


@styled
def reliability(binned: pd.DataFrame, error: float) -> Figure:
    """Reliability diagram: how often answers are right, by how sure the member is of them.

    binned: a row for each range of confidence, columns low, high, faces, confidence and accuracy (NaN where there is no
    face); error: the expected calibration error, in [0, 1]. A bar at the diagonal is as often right as it says; the
    part that is missing or too much is hatched. Below, how many faces there are.
    """
    drawn, axes = new_axes(2, 1, 5.6, 4.6, sharex=True, height_ratios=(3, 1))
    ax, below = axes[:, 0]
    middle, width = (binned["low"] + binned["high"]) / 2, binned["high"] - binned["low"]
    known = binned["faces"] > 0
    right, sure = binned["accuracy"].fillna(0), binned["confidence"].fillna(0)
    ax.bar(middle, right, width, color=MAIN, edgecolor="white", label="share that is right")
    gap = {"facecolor": "none", "edgecolor": SECOND, "hatch": "///", "lw": 1, "label": "gap to the confidence"}
    ax.bar(middle[known], (sure - right)[known], width[known], bottom=right[known], **gap)
    ax.plot([0, 1], [0, 1], color=INK, lw=1, ls="--", label="as often right as it says")
    ax.set(ylim=(0, 1.02), ylabel="share of answers that are right")
    ax.set_title(f"ECE {error:.3f} over {binned['faces'].sum():,} faces", pad=22)
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        fontsize=8,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=0.9,
    )
    below.bar(middle, binned["faces"], width, color=MUTED, edgecolor="white")
    for place, count in zip(middle, binned["faces"], strict=True):
        if count:
            below.text(place, count, f"{count:,}", ha="center", va="bottom", fontsize=8)
    below.set(xlim=(0, 1), xlabel="probability of the answer (confidence)", ylabel="faces", yticks=())
    below.set_ylim(0, 1.35 * max(binned["faces"].max(), 1))
    return drawn


@styled
def bags(shared: np.ndarray, names: Sequence[str], found: np.ndarray, expected: np.ndarray) -> Figure:
    """Overlap of the members' training faces, and in how many different bags a face is.

    shared: (M, M), the share of a row's faces that the column's member learned from too; columns carry the rows'
    numbers. found, expected: (B + 1,), the share of the faces in 0, 1, ... B bags, as counted and as chance makes it.
    """
    count = len(names)
    rows = [f"{name}  [{number}]" for number, name in enumerate(names, 1)]
    wide = 0.45 * count + 3.4
    drawn, axes = new_axes(1, 2, wide + 3.4, max(0.36 * count + 1.0, 3.0), width_ratios=(wide, 3.4))
    left, right = axes[0]
    options = {"annot": count <= 20, "fmt": ".0%", "cmap": "Blues", "vmin": 0, "vmax": 1, "annot_kws": {"fontsize": 8}}
    sns.heatmap(shared, ax=left, xticklabels=range(1, count + 1), yticklabels=rows, cbar=False, **options)
    left.tick_params(left=False, bottom=False, rotation=0, labelsize=9)
    left.set_xlabel("member")
    left.set_title("Share of the row's faces\nthat the column has too", fontsize=10)
    places = np.arange(len(found))
    right.bar(places, found, color=MAIN, width=0.7, label="counted")
    right.plot(places, expected, "D", color=SECOND, ms=6, mec="white", mew=0.7, label="by chance")
    for place, share in zip(places, found, strict=True):
        right.text(place, max(share, expected[place]) + 0.02, f"{share:.0%}", ha="center", fontsize=8.5)
    right.set(xticks=places, xlabel="different bags that hold a face", ylabel="share of the training faces")
    right.set_ylim(0, 1.25 * max(found.max(), expected.max()))
    right.set_title("In how many bags is a face?", fontsize=10)
    right.legend()
    return drawn


@styled
def diversity(pairs: pd.DataFrame) -> Figure:
    """Pairs of members: how alike they answer against how good they are, a dot a pair, large where its vote gains.

    pairs: a row a pair, columns kappa (agreement beyond chance), mean (macro F1 of the two), gain (of their vote above
    the better of the two) and group (what the two are), which sets colour and marker.
    """
    drawn, axes = new_axes(1, 1, 7.2, 4.0)
    ax, most = axes[0, 0], max(pairs["gain"].abs().max(), 1e-9)
    groups, markers = list(dict.fromkeys(pairs["group"])), "osD^"
    for number, group in enumerate(groups):
        own, (colour, _), marker = pairs[pairs["group"] == group], SERIES[number % len(SERIES)], markers[number % 4]
        wins = own["gain"] > 0
        sizes = 20 + 260 * own["gain"].abs() / most
        look = {"marker": marker, "edgecolor": colour, "linewidth": 1.3}
        ax.scatter(own["kappa"][wins], own["mean"][wins], sizes[wins], color=colour, alpha=0.55, **look)
        ax.scatter(own["kappa"][~wins], own["mean"][~wins], sizes[~wins], facecolor="none", **look)
        ax.scatter([], [], 60, color=colour, alpha=0.55, label=group, **look)
    ax.scatter([], [], 60, facecolor="none", edgecolor=INK, label="hollow: no gain over the better one")
    ax.set(xlabel="agreement beyond chance (kappa; to the left: more diverse)", ylabel="mean macro F1 of the two")
    ax.margins(0.12)
    ax.grid(color=GRID)
    ax.set_title(f"A pair of members a dot; its size: what their vote gains or loses (largest {most:.3f})", fontsize=10)
    drawn.legend(loc="outside lower center", ncols=2)
    return drawn
