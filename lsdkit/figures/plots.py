"""Plots of counts, curves, scores, confusion and votes: arrays in, a `Figure` out."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.figures.style import COLOURS, GRID, INK, LABELS, MAIN, MUTED, SECOND, SERIES, Figure, new_axes, styled

LOOKS = {  # of members and votes, alike in every figure
    "strong member": (MAIN, "o"),
    "weak member": ("#E69F00", "s"),
    "ensemble": (SECOND, "D"),
}


@styled
def class_counts(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Bars of the number of faces of each class, one panel a split; `counts` maps a split to six counts."""
    drawn, axes = new_axes(1, len(counts), max(5.2, 3.6 * len(counts)), 2.7, sharey=True)
    names, palette = list(LABELS), list(COLOURS.values())
    for ax, (split, values) in zip(axes[0], counts.items(), strict=True):
        values = np.asarray(values)
        sns.barplot(x=values, y=names, hue=names, palette=palette, legend=False, ax=ax, saturation=1)
        total, filled = values.sum(), values[values > 0]
        for row, value in enumerate(values):
            ax.text(value, row, f" {value:,} ({value / max(total, 1):.0%})", va="center", fontsize=9)
        ratio = f"\nlargest : smallest {filled.max() / filled.min():.1f} : 1" if len(filled) else ""
        ax.set_title(f"{split}: {total:,} faces{ratio}", fontsize=10)
        ax.set(xlabel="faces", ylabel="", xlim=(0, max(values.max(), 1) * 1.38))
        ax.tick_params(left=False)
    return drawn


@styled
def subject_counts(subjects: Sequence[str], expressions: Sequence[str]) -> Figure:
    """Faces of each subject (columns, from most faces to fewest) in each class (rows), as a heat map with totals."""
    table = pd.crosstab(pd.Series(expressions, name="expression"), pd.Series(subjects, name="subject"))
    table = table.reindex(EXPRESSIONS, fill_value=0).loc[:, table.sum().sort_values(ascending=False).index]
    drawn, axes = new_axes(2, 1, 10, 4.2, sharex=True, height_ratios=(1, 1.6))
    totals = table.sum().to_numpy()
    axes[0, 0].bar(np.arange(len(totals)) + 0.5, totals, width=0.8, color=MAIN)
    axes[0, 0].set(ylabel="faces")
    spread = f"{totals.min()} to {totals.max()} faces each (median {np.median(totals):.0f})"
    axes[0, 0].set_title(f"{len(totals)} subjects, {spread}")
    few = len(totals) <= 40
    sns.heatmap(table, ax=axes[1, 0], cmap="Blues", cbar_kws={"label": "faces", "pad": 0.01}, xticklabels=few)
    axes[1, 0].set_yticklabels(LABELS, rotation=0)
    axes[1, 0].set(xlabel="subject, from most faces to fewest", ylabel="")
    return drawn


@styled
def beta_density(alphas: Sequence[float] = (0.1, 1.0, 4.0), draws: np.ndarray | None = None) -> Figure:
    """Density of lambda ~ Beta(alpha, alpha); `draws` adds a histogram of sampled lambdas, for the first alpha."""
    drawn, axes = new_axes(1, 1, 6.4, 2.9)
    ax, grid = axes[0, 0], np.linspace(0.001, 0.999, 999)
    if draws is not None:
        label = f"{len(draws):,} draws at {alphas[0]:g}"
        ax.hist(draws, bins=40, range=(0, 1), density=True, color=GRID, edgecolor="white", label=label)
    for alpha, (colour, style) in zip(alphas, SERIES, strict=False):
        density = (grid * (1 - grid)) ** (alpha - 1) * math.gamma(2 * alpha) / math.gamma(alpha) ** 2
        ax.plot(grid, density, style, color=colour, label=f"alpha = {alpha:g}")
    ax.set(xlabel="lambda, share of the first face", ylabel="density", xlim=(0, 1), ylim=(0, 6))
    ax.legend(loc="upper center", ncols=2)
    return drawn


@styled
def training_curves(history: pd.DataFrame) -> Figure:
    """Loss, its parts and validation macro F1 by epoch, a ring at the epoch that is kept; columns as history.csv's."""
    drawn, axes = new_axes(1, 3, 10.5, 2.9)
    epochs = history["epoch"]
    total, parts, score = axes[0]
    total.plot(epochs, history["loss"], color=MAIN, marker="o", ms=4, label="training, all parts")
    if "val_loss" in history:
        total.plot(epochs, history["val_loss"], "--", color=SECOND, marker="s", ms=4, label="validation, expression")
    total.legend()
    names = ("expression", "affinity", "partition", "landmarks")
    for part, colour, marker in zip(names, ("#D55E00", "#009E73", "#CC79A7", "#E69F00"), "os^D", strict=True):
        if part in history and history[part].any():  # no line, no name: a training without landmarks has 0 there
            parts.plot(epochs, history[part], color=colour, marker=marker, ms=4, label=part)
    parts.set_yscale("log")
    parts.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    parts.yaxis.set_major_formatter("{x:g}")
    parts.yaxis.set_minor_locator(ticker.NullLocator())
    parts.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    score.plot(epochs, history["val_macro_f1"], color=MAIN, marker="o", ms=4)
    best = history["val_macro_f1"].idxmax()
    score.plot(epochs[best], history["val_macro_f1"][best], "o", ms=11, mfc="none", mec=SECOND)
    score.axhline(1 / 6, color=MUTED, lw=1, ls=":")
    score.text(1, 1 / 6, " chance", transform=score.get_yaxis_transform(), fontsize=8, color=MUTED, va="center")
    score.set(ylim=(0, 1))
    titles = ("Loss", "Parts of the training loss", "Validation (ring: kept)")
    units = ("loss", "loss, log scale", "macro F1")
    for ax, title, unit in zip(axes[0], titles, units, strict=True):
        ax.set(xlabel="epoch", ylabel=unit)
        ax.set_title(title)
        ax.grid(axis="y")
        ax.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            ax.set_xlim(epochs.iloc[0] - 1, epochs.iloc[0] + 1)
    return drawn


@styled
def compared_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """Validation macro F1 and, where they were learned, the landmarks' loss against faces seen, a colour a training.

    The columns are history.csv's and `faces`, seen by the end of each epoch; a ring marks the epoch that is kept.
    """
    learned = {name: history for name, history in histories.items() if history["landmarks"].any()}
    drawn, axes = new_axes(1, 1 + bool(learned), 4.4 * (1 + bool(learned)) + 0.4, 3.2)
    score, *rest = axes[0]
    for (name, history), (colour, _), marker in zip(histories.items(), SERIES, "osD^", strict=False):
        line = {"color": colour, "marker": marker, "ms": 5, "label": name}
        score.plot(history["faces"], history["val_macro_f1"], **line)
        kept = history.loc[history["val_macro_f1"].idxmax()]
        score.plot(kept["faces"], kept["val_macro_f1"], "o", ms=11, mfc="none", mec=colour)
        for ax in rest if name in learned else ():
            ax.plot(history["faces"], history["landmarks"], **line)
    score.axhline(1 / 6, color=MUTED, lw=1, ls="--", label="chance")
    score.set(ylim=(0, 1), ylabel="macro F1", title="Validation (ring: kept)")
    for ax in rest:
        ax.set(yscale="log", ylabel="mean squared error, log scale", title="Landmarks, in training")
    for ax in axes[0]:
        ax.set(xlim=(0, None), xlabel="training faces seen (a marker an epoch)")
        ax.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.grid(axis="y")
    drawn.legend(*score.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return drawn


@styled
def paired_curves(curves: Mapping[tuple[str, int], pd.DataFrame]) -> Figure:
    """Validation macro F1 by epoch, a colour a kind of training and a line style a bag; dotted: chance.

    curves: (kind, bag) -> its history, columns as history.csv's.
    """
    drawn, axes = new_axes(1, 1, 6.4, 3.4)
    ax, kinds, bags = axes[0, 0], list(dict.fromkeys(kind for kind, _ in curves)), sorted({bag for _, bag in curves})
    for (kind, bag), history in curves.items():
        colour, (_, style), marker = SERIES[kinds.index(kind)][0], SERIES[bags.index(bag)], "os^D"[bags.index(bag)]
        look = {"color": colour, "ls": style, "marker": marker, "ms": 5, "label": f"{kind}, bag {bag}"}
        ax.plot(history["epoch"], history["val_macro_f1"], **look)
    ax.axhline(1 / 6, color=MUTED, lw=1, ls=":")
    ax.text(1, 1 / 6, " chance", transform=ax.get_yaxis_transform(), fontsize=8, color=MUTED, va="center")
    ax.set(xlabel="epoch", ylabel="validation macro F1", ylim=(0, 1))
    ax.xaxis.get_major_locator().set_params(integer=True)
    drawn.legend(loc="outside upper left", ncols=2)
    return drawn


@styled
def score_differences(
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    each: Sequence[Sequence[float]],
    label: str,
) -> Figure:
    """Differences of two scores as dots with intervals, top down, rings the single pairs; dashed: no difference."""
    drawn, axes = new_axes(1, 1, 8.4, 1.1 + 0.6 * len(names))
    ax = axes[0, 0]
    for place, (value, (low, high), pairs) in enumerate(zip(values, intervals, each, strict=True)):
        ax.hlines(place, low, high, color=MAIN, lw=2.6, alpha=0.55)
        ax.plot(pairs, np.full(len(pairs), place - 0.2), "o", ms=6, mfc="none", mec=SECOND)
        ax.plot(value, place, "o", color=MAIN, ms=8)
        behind = {"color": "white", "pad": 1.5, "lw": 0}
        said = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        ax.text(value, place + 0.19, said, ha="center", va="top", fontsize=9, bbox=behind)
    ax.axvline(0, color=INK, lw=1.2, ls="--", zorder=0.9)
    reach = 1.15 * max(0.02, *(abs(end) for pair in intervals for end in pair), *(abs(v) for own in each for v in own))
    ax.set(xlim=(-reach, reach), ylim=(len(names) - 0.4, -0.5), xlabel=label)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    return drawn


@styled
def per_class_f1(scores: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Figure:
    """Bars of F1 per class, in [0, 1], with the interval from `low` to `high`; dashed: their mean."""
    drawn, axes = new_axes(1, 1, 6.6, 2.9)
    ax, scores = axes[0, 0], np.asarray(scores, dtype=float)
    ax.bar(LABELS, scores, color=list(COLOURS.values()), width=0.65)
    tops = np.maximum(scores, high)
    reach = (np.maximum(scores - low, 0), np.maximum(high - scores, 0))
    ax.errorbar(LABELS, scores, yerr=reach, fmt="none", ecolor=INK, capsize=4, lw=1.2)
    for place, (score, top) in enumerate(zip(scores, tops, strict=True)):
        ax.text(place, top + 0.02, f"{score:.2f}", ha="center", fontsize=9, bbox={"fc": "white", "lw": 0, "pad": 0.5})
    ax.axhline(scores.mean(), color=INK, lw=1, ls="--", zorder=1.5)
    ax.text(5.45, scores.mean(), f" macro\n {scores.mean():.3f}", va="center", fontsize=9)
    ax.set(ylabel="F1", ylim=(0, max(1.0, tops.max() + 0.1)), xlim=(-0.5, 5.45))
    ax.tick_params(bottom=False)
    ax.grid(axis="y")
    return drawn


@styled
def confusion(counts: np.ndarray, names: Sequence[str] = LABELS) -> Figure:
    """Confusion counts (K, K), rows the truth and columns the prediction; coloured by the share of the row."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.vectorize(lambda part, count: f"{part:.0%}\n{count}")(share, counts)
    drawn, axes = new_axes(1, 1, 6.2, 4.8)
    options = {"vmin": 0, "vmax": 1, "cmap": "Blues", "linewidths": 1, "annot_kws": {"fontsize": 8.5}}
    options |= {"xticklabels": names, "yticklabels": names, "cbar_kws": {"label": "share of the class's faces"}}
    sns.heatmap(share, annot=texts, fmt="", ax=axes[0, 0], **options)
    axes[0, 0].set(xlabel="predicted", ylabel="true")
    axes[0, 0].tick_params(left=False, bottom=False, rotation=0)
    return drawn


@styled
def score_intervals(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    groups: Sequence[str],
    score: str = "",
) -> Figure:
    """Macro F1, or the score named, as dots with intervals, top down; `groups` sets colour and mark."""
    drawn, axes = new_axes(1, 1, 8.4, 0.9 + 0.3 * len(names))
    ax, places = axes[0, 0], np.arange(len(names))
    values, low, high, groups = (np.asarray(column) for column in (values, low, high, groups))
    present = [group for group in dict.fromkeys((*LOOKS, *groups.tolist())) if group in groups]
    taken = [LOOKS.get(group) for group in present]
    free = iter([look for look in (*LOOKS.values(), ("#009E73", "v")) if look not in taken])
    for group in present:
        colour, marker = LOOKS.get(group) or next(free)
        chosen = groups == group
        ax.hlines(places[chosen], low[chosen], high[chosen], color=colour, lw=2, alpha=0.55)
        ax.plot(values[chosen], places[chosen], marker, color=colour, ms=7, label=group)
    for place, value, right in zip(places, values, high, strict=True):
        ax.text(right, place, f"  {value:.3f}", va="center", fontsize=9)
    if not score:
        ax.axvline(1 / 6, color=MUTED, lw=1, ls=":")
    ax.set(xlim=(0, 1), xlabel=score or "macro F1 (dotted: chance, 1/6)", ylim=(len(names) - 0.4, -0.6))
    ax.set_yticks(places, names, fontsize=9)
    ax.tick_params(left=False)
    ax.grid(axis="x")
    drawn.legend(loc="outside upper left", ncols=4)
    return drawn


@styled
def scores_by_start(
    runs: pd.DataFrame, starts: Sequence[str], panels: Mapping[str, tuple[str, float, str]], absent: str = "left out"
) -> Figure:
    """Scores of trainings by where they started, top down: dots are seeds, a bar their mean, also as a number.

    `runs`: a row a run with the columns start, member ("strong" or "weak") and those of `panels`, a panel each:
    {column: (title, reference, what that is)}. A start without runs says `absent`.
    """
    drawn, axes = new_axes(1, len(panels), 0.8 + 4.8 * len(panels), 1.3 + 0.55 * len(starts), sharey=True)
    looks = [(name, *LOOKS[f"{name} member"]) for name in ("strong", "weak") if name in set(runs["member"])]
    for ax, (column, (title, reference, what)) in zip(axes[0], panels.items(), strict=True):
        for number, (member, colour, marker) in enumerate(looks):
            own = runs[runs["member"] == member]
            places = own["start"].map(starts.index) + 0.36 * (number - (len(looks) - 1) / 2)
            means = own.groupby(places)[column].mean()
            ax.barh(means.index, means, 0.3, color=colour, alpha=0.4)
            dots = {"color": colour, "ms": 5.5, "mec": "white", "mew": 0.6, "zorder": 3}
            ax.plot(own[column], places, marker, label=f"{member} (dots: seeds; bar and number: mean)", **dots)
            for place, mean in means.items():
                ax.text(1.01, place, f"{mean:.3f}", transform=ax.get_yaxis_transform(), va="center", fontsize=9)
        for place, start in enumerate(starts):
            if start not in set(runs["start"]):
                ax.text(0.01, place, absent, transform=ax.get_yaxis_transform(), va="center", color=MUTED, fontsize=9)
        ax.axvline(reference, color=INK, lw=1.2, ls="--")
        label = f"{what} {reference:.3f}"
        ax.text(reference, 1.01, label, transform=ax.get_xaxis_transform(), ha="center", fontsize=8.5, color=MUTED)
        ax.set(xlim=(0, 1.08 * max(reference, runs[column].max())), ylim=(len(starts) - 0.5, -0.5))
        ax.set_yticks(range(len(starts)), starts)
        ax.set_title(title, pad=18)
        ax.tick_params(left=False)
        ax.grid(axis="x")
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return drawn


@styled
def agreement(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Share of faces (M, M) on which two members name the same class; columns carry the rows' numbers."""
    count = len(names)
    rows = [f"{name}  [{number}]" for number, name in enumerate(names, 1)]
    cell = 0.5 if count <= 20 else 0.2  # inches; a page shows a wider figure smaller, its names with it
    drawn, axes = new_axes(1, 1, cell * count + 4.6, 0.84 * cell * count + 0.8)
    options = {"annot": count <= 20, "fmt": ".2f", "cmap": "Blues", "vmax": 1, "annot_kws": {"fontsize": 8.5}}
    bar = {"label": "share of faces\nwith the same answer"}
    sns.heatmap(matrix, ax=axes[0, 0], xticklabels=range(1, count + 1), yticklabels=rows, cbar_kws=bar, **options)
    axes[0, 0].tick_params(left=False, bottom=False, rotation=0, labelsize=10 if count <= 20 else 8)
    axes[0, 0].set_xlabel("member")
    return drawn


@styled
def votes(probabilities: np.ndarray, names: Sequence[str], truth: int) -> Figure:
    """Probabilities (M, K) that members give one face, a panel each; the true class's bar is marked."""
    drawn, axes = new_axes(1, len(probabilities), 2.1 * len(probabilities) + 0.9, 2.1, sharey=True)
    for ax, row, name in zip(axes[0], probabilities, names, strict=True):
        bars = ax.barh(LABELS, row, color=list(COLOURS.values()))
        bars[truth].set(edgecolor=INK, linewidth=1.8)
        for place, value in enumerate(row):
            weight = "bold" if place == row.argmax() else "normal"
            ax.text(value, place, f" {value:.2f}", va="center", fontsize=8, fontweight=weight)
        ax.set(xlim=(0, 1.25), xticks=(0, 0.5, 1), ylim=(5.6, -0.6), xlabel="probability")
        ax.set_title(name, fontsize=9)
        ax.tick_params(left=False)
    return drawn


@styled
def split_densities(values: Mapping[str, Mapping[str, np.ndarray]], notes: Mapping[str, str] | None = None) -> Figure:
    """Distributions of measures by split, a panel each; values {axis label: {split: values}}, notes {label: title}."""
    drawn, axes = new_axes(1, len(values), 2.6 * len(values) + 0.4, 2.6)
    for ax, (name, splits) in zip(axes[0], values.items(), strict=True):
        everything = np.concatenate(list(splits.values()))
        low, high = np.quantile(everything, (0.002, 0.998))
        fewest = min((len(part) for part in splits.values() if len(part)), default=1)
        edges = np.linspace(low, max(high, low + 1e-6), int(np.clip(np.sqrt(fewest), 8, 30)) + 1)
        for (split, part), (colour, style) in zip(splits.items(), SERIES, strict=False):
            if len(part):
                share = np.histogram(np.clip(part, low, high), edges)[0] / len(part)
                ax.stairs(share, edges, color=colour, ls=style, lw=1.6, label=split)
        ax.set(xlabel=name, yticks=(), ylim=(0, None))
        ax.set_title((notes or {}).get(name, ""), fontsize=9)
    axes[0, 0].set_ylabel("share of faces")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside upper left", ncols=4)
    return drawn


@styled
def shape_distances(distances: np.ndarray, limit: float) -> Figure:
    """Histogram of Procrustes distances to the mean shape, counts on a log scale, with the limit for outliers."""
    known = distances[np.isfinite(distances)]
    drawn, axes = new_axes(1, 1, 6.4, 2.6)
    ax, far = axes[0, 0], int((known > limit).sum())
    ax.hist(known, bins=int(np.clip(np.sqrt(len(known)), 10, 60)), color=MAIN)
    ax.axvline(limit, color=SECOND, ls="--", lw=1.4)
    ax.text(limit, 0.97, f" {far:,} beyond {limit:.2f}", transform=ax.get_xaxis_transform(), va="top", fontsize=9)
    label = "distance to the mean shape (0 the same, 1 nothing in common)"
    ax.set(xlabel=label, ylabel="faces, log scale", yscale="log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set(xlim=(0, max(1.25 * limit, known.max(initial=0) * 1.05)))
    return drawn
