"""Scores of models over several collections in one figure, beside what learning from photographs gives."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from lsdkit.figures.style import INK, MAIN, MUTED, SECOND, Figure, new_axes, styled

Score = tuple[float, float, float]  # value, and the low and high end of its interval
OTHERS, SAME = "photographs of other collections", "photographs of this collection,\nby people unseen in training"
OTHER_COLOUR, SAME_COLOUR = "#009E73", SECOND
GAP, STEP = 0.6, 0.75  # in rows: between kinds of rows; from one other collection to the next
THIN = 0.003  # half the width of a band of one score


@styled
def collection_scores(
    panels: Mapping[str, Mapping[str, Score]],
    kinds: Sequence[tuple[str, Sequence[str]]],
    others: Mapping[str, Mapping[str, Score]],
    same: Mapping[str, Score],
    *,
    teacher: str = "",
    score: str = "macro F1 of six expressions",
    chance: float = 1 / 6,
) -> Figure:
    """Dots with intervals: a panel a collection, a row a model; below, the same after learning from photographs.

    panels: title -> model -> its score. kinds: (what they are, models) of each block of rows, top down; a model that a
    panel lacks leaves its row empty there. others: title -> name -> score of `teacher`, trained on the photographs of
    that name; same: title -> its score, trained on the panel's own. The range of the one is drawn as a band through the
    panel, the other as a dashed line.
    """
    kinds = [(what, models) for what, models in kinds if models]
    places, heads, place = {}, {}, 0.0
    for what, models in kinds:
        heads[what], place = place, place + 0.8
        places |= {model: place + number for number, model in enumerate(models)}
        place += len(models) + GAP
    references = [(OTHERS, others)] * any(others.values()) + [(SAME, same)] * bool(same)
    if references:
        heads[f"{teacher}, trained on" if teacher else "trained on"], place = place, place + 0.8
        step = STEP * max(map(len, others.values()), default=0)  # room for a line a collection
        places |= {
            what: place + number * (0.6 + step / 2) + (step - STEP) / 2 for number, (what, _) in enumerate(references)
        }
        place = places[references[-1][0]] + 1.0
    everything = [each for panel in (*panels.values(), *others.values(), same) for each in panel.values()]
    left = 0.1 if min((low for _, low, _ in everything), default=0.0) > 0.1 else 0.0
    right = max((high for *_, high in everything), default=1.0)
    drawn, axes = new_axes(1, len(panels), 2.9 + 3.1 * len(panels), 1.0 + 0.33 * place, sharey=True)
    for ax, (title, scores) in zip(axes[0], panels.items(), strict=True):
        band, line = others.get(title, {}), same.get(title)
        if band:
            ends = [value for value, *_ in band.values()]
            ax.axvspan(min(ends) - THIN, max(ends) + THIN, color=OTHER_COLOUR, alpha=0.22, lw=0)
        if line:
            ax.axvline(line[0], color=SAME_COLOUR, lw=1.6, ls="--", alpha=0.8)
        for model, each in scores.items():
            _draw(ax, places[model], each, MAIN, "o", f"{each[0]:.3f}")
        for number, (name, each) in enumerate(band.items()):
            _draw(
                ax,
                places[OTHERS] + STEP * (number - (len(band) - 1) / 2),
                each,
                OTHER_COLOUR,
                "s",
                f"{each[0]:.3f} {name}",
            )
        if line:
            _draw(ax, places[SAME], line, SAME_COLOUR, "D", f"{line[0]:.3f}")
        ax.axvline(chance, color=MUTED, lw=1.2, ls=":")
        ax.text(chance, 0.0, "chance", transform=ax.get_xaxis_transform(), ha="center", va="bottom", **_SMALL)
        ax.set_title(title, fontsize=13, parse_math=False)
        ax.set(xlim=(left, min(1.0, right) + 0.16), ylim=(place - 0.2, -0.6), xlabel=score)
        ax.tick_params(left=False, labelsize=11)
        ax.grid(axis="x")
    axes[0, 0].set_yticks([*places.values(), *heads.values()], [*places, *heads], fontsize=11)
    for label, height in zip(axes[0, 0].get_yticklabels(), [*places.values(), *heads.values()], strict=True):
        label.set(parse_math=False, fontweight="bold" if height in heads.values() else "normal", color=INK)
    return drawn


_SMALL = {"fontsize": 8.5, "color": MUTED, "parse_math": False}


def _draw(ax: Axes, place: float, score: Score, colour: str, marker: str, text: str) -> None:
    value, low, high = score
    ax.hlines(place, low, high, color=colour, lw=2.6, alpha=0.55)
    ax.plot(value, place, marker, color=colour, ms=8, mec="white", mew=0.7)
    behind = {"color": "white", "alpha": 0.75, "pad": 0.6, "lw": 0}
    where = max(high, value) + 0.012
    ax.text(where, place, text, va="center", fontsize=10, color=INK, parse_math=False, bbox=behind)
