"""What the report's notebook shows: tables, sentences and figures over runs, and how they stand on a page."""

import base64
import html
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML

from lsdkit import __version__
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import Damaged
from lsdkit.common.machine import cores
from lsdkit.common.paths import resolve
from lsdkit.common.seeds import numpy_generator
from lsdkit.data.store import SPLITS, Store
from lsdkit.ensembles import votes
from lsdkit.figures import faces, plots, style
from lsdkit.method import metrics
from lsdkit.training.predictions import answers_of
from lsdkit.training.runs import Run, tabulate_runs


def describe_landmarks(run: Run) -> str:
    """The landmark error of a run beside that of the mean landmarks, in inter-ocular distances; "" without landmarks.

    The mean landmarks are those of the faces it was trained on, given as the answer for every validation face.
    """
    own, mean = run.metrics.get("landmark_nme"), run.metrics.get("mean_shape_nme")
    return "" if own is None else f"{own:.3f}" if mean is None else f"{own:.3f} (mean landmarks {mean:.3f})"


def _read_error(run: Run, name: str) -> str:
    return f"{run.metrics[name]:.3f}" if run.metrics.get(name) is not None else ""


def score_all(runs: Sequence[Run]) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """The members' scores on the validation faces, and those of the ensembles on each labelled split; best first.

    The ensembles of every split are in the order of the first.
    """
    members = votes.score_members(runs).sort_values("value", ascending=False, kind="stable", ignore_index=True)
    tables = {split: votes.score_ensembles(runs, split) for split in votes.labelled_splits(runs)}
    order = next(iter(tables.values()))["value"].sort_values(ascending=False, kind="stable").index
    return members, {split: table.loc[order].reset_index(drop=True) for split, table in tables.items()}


def tell_findings(runs: Sequence[Run], members: pd.DataFrame, ensembles: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """What these scores say, {about what: sentence}: the best vote, the best member, the hardest and easiest class."""
    best, told = members.iloc[0], {}
    for split, table in ensembles.items():
        about = "Best ensemble" if split == "validation" else f"The same on the {split} faces"
        if len(table):
            told[about] = f"{table['name'].iloc[0]}. {table['why'].iloc[0]}"
    shown = votes.vote_runs(runs) if len(runs) > 1 else runs[0].read_predictions()
    by, scores = "The vote of all members" if len(runs) > 1 else "It", metrics.f1_per_class(*answers_of(shown))
    classes = pd.Series(scores, index=EXPRESSIONS).rename(str.lower)
    ends = f"{classes.idxmax()} best (F1 {classes.max():.2f}) and {classes.idxmin()} worst ({classes.min():.2f})"
    return {
        **told,
        "Best single member": f"{best['name']}, with {votes.describe_score(best)}.",
        "Classes": f"{by} recognises {ends}.",
    }


def count_tiles(members: pd.DataFrame, ensembles: pd.DataFrame) -> dict[str, str]:
    """The numbers at the head of the page, {what: number}."""
    best, everyone = members.iloc[0], ensembles[ensembles["members"] == len(members)]
    tiles = {f"vote of all {len(members)} members": f"{value:.3f}" for value in everyone["value"]}
    tiles |= {f"best member ({best['name']})": f"{best['value']:.3f}"}
    tiles |= {"mean of the members": f"{members['value'].mean():.3f}", "chance": f"{1 / len(EXPRESSIONS):.3f}"}
    return tiles


def tabulate_members(runs: Sequence[Run], members: pd.DataFrame) -> pd.DataFrame:
    """A row a member, in the order of `members`; text only. Scores are macro F1."""
    details, by_name = members.merge(tabulate_runs(runs), on="run"), {run.name: run for run in runs}
    return pd.DataFrame(
        {
            "member": details["name"],
            "strength": details["group"].str.removesuffix(" member"),
            "validation [95%]": details.apply(votes.describe_score, axis=1),
            "test": details["test_macro_f1"].map("{:.3f}".format).replace("nan", ""),
            "trained on": details["trained_on"].map("{:,} faces".format),
            "kept epoch": details["best_epoch"].astype(str) + " of " + details["epochs"].astype(str),
            "landmark error": [_read_error(by_name[name], "landmark_nme") for name in details["run"]],
            "of the mean landmarks": [_read_error(by_name[name], "mean_shape_nme") for name in details["run"]],
            "seconds": details["seconds"].map("{:.0f}".format),
        }
    )


def tabulate_ensembles(ensembles: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row an ensemble, in the order of the first split's table; text only. Scores are macro F1."""
    first = next(iter(ensembles.values()))
    columns = {"ensemble": first["name"], "members": first["members"]}
    for split, table in ensembles.items():
        columns[f"{split} [95%]"] = [votes.describe_score(row) for row in table.to_dict("records")]
    for split, table in ensembles.items():
        columns[f"its members' mean, {split}"] = table["mean_of_members"].map("{:.3f}".format)
    return pd.DataFrame(columns)


def tell_reasons(ensembles: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Why each vote is better or worse than its members, {its name: a sentence for each split}."""
    tables = {split: table.set_index("name")["why"] for split, table in ensembles.items()}
    names = next(iter(tables.values())).index
    return {name: " ".join(f"On {split} faces: {whys[name]}" for split, whys in tables.items()) for name in names}


def pick_predictions(runs: Sequence[Run], members: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The predictions of the best member and, where there are several, of the vote of all, by name; the vote last."""
    best = members.iloc[0]
    shown = {f"Best member ({best['name']})": next(run for run in runs if run.name == best["run"]).read_predictions()}
    return shown | ({f"Vote of all {len(runs)} members": votes.vote_runs(runs)} if len(runs) > 1 else {})


def draw_classes(predictions: pd.DataFrame) -> style.Figure:
    """F1 of each class on the validation faces with its interval."""
    scores = metrics.bootstrap_f1(*answers_of(predictions)).loc[list(EXPRESSIONS)]
    return plots.per_class_f1(scores["value"], scores["low"], scores["high"])


def draw_faces(store: Store) -> dict[str, style.Figure]:
    """Imbalance, sample faces with landmarks and mixed faces of a store, by caption."""
    counts = {split: store.counts(split) for split in SPLITS[:3] if store.counts(split).sum()}
    kind = "rendered faces" if store.kind == "rendered" else f"faces ({store.kind})"
    train, generator = store.rows("train"), numpy_generator(0, "report")
    classes = [train[store.labels[train] == index] for index in range(len(EXPRESSIONS))]
    rows = np.concatenate([generator.choice(own, min(2, len(own)), replace=False) for own in classes if len(own)])
    names = [style.LABELS[store.labels[row]] for row in rows]
    sheet = faces.face_sheet(store.images[rows], names, store.landmarks[rows], columns=6, size=1.5)
    # pairs of a face that stays and one that is mixed into it: sadness with fear, happiness with anger
    mixed = [int(generator.choice(own if len(own) else train)) for own in (classes[index] for index in (4, 2, 3, 0))]
    first, second, pairs = store.images[mixed[::2]] / 255.0, store.images[mixed[1::2]] / 255.0, store.labels[mixed]
    return {
        f"{kind.capitalize()} by class and split.": plots.class_counts(counts),
        f"Training faces of each class with their 68 landmarks: {kind}.": sheet,
        "Mixed faces and their soft labels: what Mix-up and Mix-augment train on.": faces.mixtures(
            first, second, pairs.reshape(2, 2), (0.7, 0.5)
        ),
    }


def open_faces(run: Run) -> tuple[Store | None, str]:
    """The store of a run, or None and what became of it."""
    try:
        return run.open_store(), ""
    except Damaged:
        raise
    except (FileNotFoundError, ValueError):
        name = resolve(run.store).name
        return None, f"The store of these runs ({name}) is no longer there, or holds other faces: none are shown."


def tell_making(runs: Sequence[Run], command: str) -> dict[str, str]:
    """How runs and page were made, {what: value}."""
    first, recipe = runs[0], runs[0].member.recipe
    recipes, seeds = sorted({run.member.recipe.name for run in runs}), sorted({run.member.seed for run in runs})
    size = f"{recipe.image_size} px, emotion backbone {recipe.emotion}, batches of {recipe.batch_size}"
    return {
        "command": command,
        "recipe": f"{', '.join(recipes)}: {size}",
        "seeds": ", ".join(map(str, seeds)),
        "store": f"{Path(first.store).name}, images {first.checksums.get('images.npy', '')[:16]}",
        "device of the training": ", ".join(sorted({f"{run.device}, {run.threads} thread(s)" for run in runs})),
        "training time": f"{sum(run.seconds for run in runs):.0f} s, summed over {len(runs)} runs",
        "versions of the training": ", ".join(f"{name} {version}" for name, version in first.versions.items()),
        "this page": f"lsdkit {__version__} on {platform.system()} {platform.machine()}, {cores()} cores",
    }


def tabulate_fingerprints(runs: Sequence[Run]) -> pd.DataFrame:
    """By what each run is known again."""
    digests = [(votes.name_run(run), run.name, run.spec_hash, run.weights_sha256[:16]) for run in runs]
    return pd.DataFrame(digests, columns=["member", "folder", "settings", "weights (SHA-256, first 16)"])


def show_tiles(tiles: Mapping[str, str]) -> HTML:
    """Numbers in boxes, each above what it is."""
    boxes = (
        f"<div><b>{html.escape(number)}</b><span>{html.escape(what)}</span></div>" for what, number in tiles.items()
    )
    return HTML(f'<div class="tiles">{"".join(boxes)}</div>')


def show_list(items: Mapping[str, str], folded: str = "") -> HTML:
    """A list of texts by what they are about; with `folded`, behind that heading until it is opened."""
    lines = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>" for name, text in items.items())
    if not items or not folded:
        return HTML(f"<ul>{lines}</ul>" if items else "")
    return HTML(f"<details><summary>{html.escape(folded)}</summary><ul>{lines}</ul></details>")


def show_note(text: str) -> HTML:
    """A remark in small letters; nothing for ""."""
    return HTML(f'<p class="note">{html.escape(text)}</p>' if text else "")


def show_table(rows: pd.DataFrame, left: int = 1) -> HTML:
    """A table of text that scrolls in itself; its first `left` columns hold words, the others numbers, to the right."""
    with pd.option_context("display.max_colwidth", None):  # else long text is cut
        return HTML(f'<div class="wide">{rows.to_html(index=False, border=0, classes=f"left{left}")}</div>')


def show_figure(drawn: style.Figure, caption: str) -> HTML:
    """A figure as a PNG in the page with its caption, which is also its description for those who cannot see it."""
    data, text = base64.b64encode(style.png(drawn, 150)).decode(), html.escape(caption)
    image = f'<img alt="{text}" width="{round(drawn.get_figwidth() * 96)}" src="data:image/png;base64,{data}">'
    return HTML(f"<figure>{image}<figcaption>{text}</figcaption></figure>")
