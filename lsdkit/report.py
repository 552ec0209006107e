"""One page from a folder of runs: tables and figures in a single HTML file that opens without a network."""

import html
import platform
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit import __version__, comparison, ensemble, faceplots, files, metrics, page, plots, results
from lsdkit.cores import cores
from lsdkit.experiment import kind_sentence, store_of
from lsdkit.expressions import EXPRESSIONS
from lsdkit.paths import resolve
from lsdkit.seeds import numpy_generator

CURVES_SHOWN = 3  # runs whose curves are on the page: the strong ones first


def write_report(runs_folder: Path | str, out: Path | str | None = None, command: str = "") -> Path:
    """Write one page over the finished runs in a folder; returns its path (default RUNS/report.html).

    `command` is named on the page as what made it. Raises `FileNotFoundError` where no run is finished.
    """
    folder = Path(runs_folder)
    runs = results.list_runs(folder)
    if runs.empty:
        raise FileNotFoundError(
            f"Expected finished runs in {folder}, but found none; train with notebook 03 or `lsdkit demo`"
        )
    out = Path(out) if out else folder / "report.html"
    found = {path: results.read_result(path) for path in runs["path"]}
    kinds = sorted(set(runs["kind"]))
    members, ensembles = comparison.score_members(runs), comparison.score_ensembles(runs)
    sections = [
        _head(folder, kinds, members, ensembles),
        _data(next(iter(found.values()))),
        _scores(runs, members, ensembles),
        _classes(runs, members),
        _agreement(runs),
        _curves(runs),
        _how(runs, found, command or f"lsdkit report {folder.name}"),
    ]
    title = f"{folder.name}: members and ensembles on {' and '.join(kinds)} faces"
    files.write_text(out, page.document(title, sections))
    return out


def _interval(row: pd.Series) -> str:
    return (
        f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" if np.isfinite(row["value"]) else "nothing to vote"
    )


def _head(folder: Path, kinds: list[str], members: pd.DataFrame, ensembles: pd.DataFrame) -> str:
    best, everyone = members.loc[members["value"].idxmax()], ensembles.loc[ensembles["name"] == "All members"]
    tiles = [(f"{len(members)}", "trained members"), (f"{members['value'].mean():.3f}", "mean macro F1 of the members")]
    tiles.append((f"{best['value']:.3f}", f"best member ({best['name']})"))
    if len(everyone):
        tiles.append((f"{everyone['value'].iloc[0]:.3f}", "vote of all members"))
    boxes = "".join(f"<div><b>{value}</b><span>{html.escape(text)}</span></div>" for value, text in tiles)
    faces = "; ".join(kind_sentence(kind) for kind in kinds)
    return (
        f"<h1>Facial expressions: members and their ensembles</h1>\n"
        f'<p class="lead">Runs in <code>{html.escape(folder.name)}</code>, on {html.escape(faces)}. '
        "The method is that of Jeong et al., ECCV 2022 Workshops (doi 10.1007/978-3-031-25075-0_5).</p>\n"
        f'<div class="tiles">{boxes}</div>\n<p class="note">Macro F1 over six expressions on the validation faces; '
        "chance is 0.167. The scores are for these faces and for no others; a score on rendered faces is none on the "
        "LSD release and says little about photographs.</p>"
    )


def _data(result: dict) -> str:
    """Imbalance, sample faces with landmarks and mixed faces, where the store of the runs is still there."""
    parts = ["<h2>The faces</h2>"]
    try:
        store = store_of(result)
    except (FileNotFoundError, ValueError):
        name = html.escape(resolve(result["store"]["path"]).name)
        gone = f"The store of these runs ({name}) is no longer there, or holds other faces: none are shown."
        return f'{parts[0]}<p class="note">{gone}</p>'
    splits = [split for split in ("train", "validation", "test") if store.counts(split).sum()]
    kind = "rendered faces" if store.kind == "rendered" else f"faces ({store.kind})"
    parts.append(
        page.figure(
            plots.class_counts({split: store.counts(split) for split in splits}),
            f"{kind.capitalize()} by class and split.",
        )
    )
    train, generator = store.rows("train"), numpy_generator(0, "report")
    classes = [train[store.labels[train] == index] for index in range(len(EXPRESSIONS))]
    rows = np.array(
        [row for found in classes if len(found) for row in generator.choice(found, min(2, len(found)), replace=False)]
    )
    names = [plots.LABELS[store.labels[row]] for row in rows]
    sheet = faceplots.face_sheet(store.images[rows], names, store.landmarks[rows], columns=6, size=1.5)
    parts.append(page.figure(sheet, f"Training faces of each class with their 68 landmarks: {kind}."))
    one, two, three, four = (
        int(generator.choice(found if len(found) else train))
        for found in (classes[4], classes[2], classes[3], classes[0])
    )
    first, second = store.images[[one, three]] / 255.0, store.images[[two, four]] / 255.0
    pairs = np.array([[store.labels[one], store.labels[two]], [store.labels[three], store.labels[four]]])
    mixed = faceplots.mixtures(first, second, pairs, (0.7, 0.5))
    parts.append(page.figure(mixed, "Mixed faces and their soft labels: what Mix-up and Mix-augment train on."))
    return "".join(parts)


def _scores(runs: pd.DataFrame, members: pd.DataFrame, ensembles: pd.DataFrame) -> str:
    built = ensembles.dropna(subset=["value"])
    both = pd.concat([members, built], ignore_index=True) if len(built) else members
    figure = plots.scores(both["name"], both["value"], both["low"], both["high"], both["group"])
    details = runs.set_index("run")
    rows = []
    for _, row in members.iterrows():
        run = details.loc[row["run"]]
        test = f"{run['test_macro_f1']:.3f}" if np.isfinite(run["test_macro_f1"]) else ""
        rows.append(
            (
                row["run"],
                row["name"],
                f"{run['trained_on']:,}",
                _interval(row),
                test,
                f"{run['best_epoch']}/{run['epochs']}",
                f"{run['seconds']:.0f}",
            )
        )
    heads = ("run", "member", "faces", "validation macro F1 [95%]", "test macro F1", "kept epoch", "seconds")
    text = "<h2>Members</h2>" + page.table(heads, rows, left=(0, 1))
    if len(ensembles):
        rows = []
        for _, row in ensembles.iterrows():
            mean = f"{row['mean_of_members']:.3f}" if np.isfinite(row["mean_of_members"]) else ""
            rows.append((row["name"], row["members"], _interval(row), mean, len(row["missing"]) or "none"))
        heads = ("ensemble", "members here", "validation macro F1 [95%]", "mean of its members", "cells not run")
        text += (
            "<h2>Ensembles</h2>\n<p>The five rules of the paper's Table 4, applied to the runs that exist, and the "
            "vote of all. MU is Mix-up, MA is Mix-augment. A rule some of whose cells were not run gives a smaller "
            "ensemble than the paper's.</p>" + page.table(heads, rows)
        )
        missing = [(row["name"], "; ".join(row["missing"])) for _, row in ensembles.iterrows() if row["missing"]]
        items = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(cells)}</li>" for name, cells in missing)
        text += (
            f"<details><summary>Cells that were not run</summary><ul class='note'>{items}</ul></details>"
            if missing
            else ""
        )
    return text + page.figure(
        figure,
        "Macro F1 with 95% bootstrap intervals over the validation faces; they hold nothing about the seed.",
    )


def _classes(runs: pd.DataFrame, members: pd.DataFrame) -> str:
    paths = runs.set_index("run")["path"]
    best = members.loc[members["value"].idxmax()]
    shown = [(f"Best member ({best['name']})", results.read_predictions(paths[best["run"]]))]
    if len(runs) > 1:
        shown.append(
            (f"Vote of all {len(runs)} members", ensemble.vote_runs(runs["path"].tolist(), comparison.vote_of(runs)))
        )
    parts = ["<h2>Per class</h2>"]
    for name, predictions in shown:
        labels, answers = results.labelled(predictions)
        scores = metrics.bootstrap_f1(labels, answers).loc[list(EXPRESSIONS)]
        parts.append(
            page.figure(
                plots.per_class_f1(scores["value"], scores["low"], scores["high"]),
                f"{name}: F1 of each class, 95% intervals.",
            )
        )
    parts.append(
        page.figure(plots.confusion(metrics.confusion(labels, answers)), f"{shown[-1][0]}: what is taken for what.")
    )
    return "".join(parts)


def _agreement(runs: pd.DataFrame) -> str:
    if len(runs) < 2:
        return ""
    answers = np.stack([results.labelled(results.read_predictions(path))[1] for path in runs["path"]])
    names = [comparison.short_name(run) for _, run in runs.iterrows()]
    figure = plots.agreement(metrics.agreement(answers), names)
    return "<h2>Agreement</h2>" + page.figure(
        figure, "How often two members give the same answer: the closer to 1, the less a vote can change."
    )


def _curves(runs: pd.DataFrame) -> str:
    parts = ["<h2>Training</h2>"]
    for _, run in runs.sort_values(["bag", "run"]).head(CURVES_SHOWN).iterrows():
        parts.append(
            page.figure(
                plots.training_curves(results.read_history(run["path"])), f"{comparison.short_name(run)}: {run['run']}."
            )
        )
    return "".join(parts)


def _how(runs: pd.DataFrame, found: dict[str, dict], command: str) -> str:
    first = next(iter(found.values()))
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    recipe = first["member"]["recipe"]
    devices = ", ".join(sorted({f"{result['device']}, {result['threads']} thread(s)" for result in found.values()}))
    images = first["store"]["checksums"].get("images.npy", "")
    size = f"{recipe['image_size']} px, emotion backbone {recipe['emotion']}, batches of {recipe['batch_size']}"
    lines = {
        "command": command,
        "recipe": f"{', '.join(sorted(set(runs['recipe'])))}: {size}",
        "seeds": ", ".join(map(str, sorted(set(runs["seed"])))),
        "store": f"{Path(first['store']['path']).name}, images {images[:16]}",
        "device of the training": devices,
        "machine of this page": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "versions": f"lsdkit {__version__}, {versions}",
        "training time": f"{runs['seconds'].sum():.0f} s, summed over {len(runs)} runs",
    }
    rows = list(lines.items())
    digests = [(run["run"], run["spec_hash"], run["weights_sha256"][:16]) for _, run in runs.iterrows()]
    return (
        "<h2>How this was made</h2>"
        + page.table(("what", "value"), rows, left=(0, 1))
        + "<h2>Fingerprints</h2>"
        + page.table(("run", "settings", "weights (SHA-256, first 16)"), digests)
    )
