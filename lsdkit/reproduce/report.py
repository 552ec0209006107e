"""One page from a folder of runs: tables and figures in a single HTML file that needs nothing beside itself.

No scripts, no fonts, no addresses to fetch from: it opens without a network.
"""

import base64
import html
import platform
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from lsdkit import __version__
from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.machine import cores
from lsdkit.common.paths import resolve
from lsdkit.common.seeds import numpy_generator
from lsdkit.data.store import SPLITS, describe_kind
from lsdkit.ensembles import votes
from lsdkit.figures import faces, plots
from lsdkit.method import metrics
from lsdkit.training.predictions import answers_of
from lsdkit.training.runs import Run, list_runs, tabulate_runs

CURVES_SHOWN = 3  # runs whose curves are on the page: the strong ones first
RULES = (
    "The rules of the paper's Table 4 all of whose cells were run (MU is Mix-up, MA is Mix-augment), the weak members "
    "of each configuration, those with its strong member, and all members. No two lines have the same members."
)


def write_report(runs_folder: Path | str, out: Path | str | None = None, command: str = "") -> Path:
    """Write one page over the finished runs in a folder; returns its path (default RUNS/report.html).

    `command` is named on the page as what made it. Raises `FileNotFoundError` where no run is finished.
    """
    folder = Path(runs_folder)
    runs = list_runs(folder)
    if not runs:
        raise FileNotFoundError(
            f"Expected finished runs in {folder}, but found none; train with notebook 03 or `lsdkit demo`"
        )
    out = Path(out) if out else folder / "report.html"
    kinds = sorted({run.kind for run in runs})
    members, ensembles = votes.score_members(runs), votes.score_ensembles(runs)
    sections = [
        _show_best(folder, kinds, members, ensembles),
        _show_faces(runs[0]),
        _show_scores(runs, members, ensembles),
        _show_classes(runs, members),
        _show_agreement(runs),
        _show_curves(runs),
        _show_making(runs, command or f"lsdkit report {folder.name}"),
    ]
    title = f"{folder.name}: members and ensembles on {' and '.join(kinds)} faces"
    files.write_text(out, _render_page(title, sections))
    return out


def describe_landmarks(run: Run) -> str:
    """The landmark error of a run beside that of the mean landmarks, in inter-ocular distances; "" without landmarks.

    The mean landmarks are those of the faces it was trained on, given as the answer for every validation face.
    """
    own, mean = run.metrics.get("landmark_nme"), run.metrics.get("mean_shape_nme")
    return "" if own is None else f"{own:.3f}" if mean is None else f"{own:.3f} (mean landmarks {mean:.3f})"


def _show_best(folder: Path, kinds: Sequence[str], members: pd.DataFrame, ensembles: pd.DataFrame) -> str:
    best, everyone = members.loc[members["value"].idxmax()], ensembles[ensembles["members"] == len(members)]
    tiles = {
        "trained members": len(members),
        "mean macro F1 of the members": f"{members['value'].mean():.3f}",
        f"best member ({best['name']})": f"{best['value']:.3f}",
    }
    if len(everyone):
        tiles["vote of all members"] = f"{everyone['value'].item():.3f}"
    boxes = "".join(f"<div><b>{value}</b><span>{html.escape(text)}</span></div>" for text, value in tiles.items())
    kind = "; ".join(describe_kind(kind) for kind in kinds)
    return (
        f"<h1>Facial expressions: members and their ensembles</h1>\n"
        f'<p class="lead">Runs in <code>{html.escape(folder.name)}</code>, on {html.escape(kind)}. '
        "The method is that of Jeong et al., ECCV 2022 Workshops (doi 10.1007/978-3-031-25075-0_5).</p>\n"
        f'<div class="tiles">{boxes}</div>\n<p class="note">Macro F1 over six expressions on the validation faces; '
        "chance is 0.167. The scores are for these faces and for no others; a score on rendered faces is none on the "
        "LSD release and says little about photographs.</p>"
    )


def _show_faces(run: Run) -> str:
    """Imbalance, sample faces with landmarks and mixed faces, where the store of the runs is still there."""
    head = "<h2>The faces</h2>"
    try:
        store = run.open_store()
    except (FileNotFoundError, ValueError):
        name = html.escape(resolve(run.store).name)
        gone = f"The store of these runs ({name}) is no longer there, or holds other faces: none are shown."
        return f'{head}<p class="note">{gone}</p>'
    counts = {split: store.counts(split) for split in SPLITS[:3] if store.counts(split).sum()}
    kind = "rendered faces" if store.kind == "rendered" else f"faces ({store.kind})"
    train, generator = store.rows("train"), numpy_generator(0, "report")
    classes = [train[store.labels[train] == index] for index in range(len(EXPRESSIONS))]
    rows = np.concatenate([generator.choice(own, min(2, len(own)), replace=False) for own in classes if len(own)])
    names = [plots.LABELS[store.labels[row]] for row in rows]
    sheet = faces.face_sheet(store.images[rows], names, store.landmarks[rows], columns=6, size=1.5)
    # pairs of a face that stays and one that is mixed into it: sadness with fear, happiness with anger
    mixed = [int(generator.choice(own if len(own) else train)) for own in (classes[index] for index in (4, 2, 3, 0))]
    first, second, pairs = store.images[mixed[::2]] / 255.0, store.images[mixed[1::2]] / 255.0, store.labels[mixed]
    blends = faces.mixtures(first, second, pairs.reshape(2, 2), (0.7, 0.5))
    figures = {
        f"{kind.capitalize()} by class and split.": plots.class_counts(counts),
        f"Training faces of each class with their 68 landmarks: {kind}.": sheet,
        "Mixed faces and their soft labels: what Mix-up and Mix-augment train on.": blends,
    }
    return head + "".join(_embed(figure, caption) for caption, figure in figures.items())


def _show_scores(runs: Sequence[Run], members: pd.DataFrame, ensembles: pd.DataFrame) -> str:
    both = pd.concat([members, ensembles], ignore_index=True) if len(ensembles) else members
    figure = plots.score_intervals(both["name"], both["value"], both["low"], both["high"], both["group"])
    details, by_name = members.merge(tabulate_runs(runs), on="run"), {run.name: run for run in runs}
    of_members = pd.DataFrame(
        {
            "run": details["run"],
            "member": details["name"],
            "faces": details["trained_on"].map("{:,}".format),
            "validation macro F1 [95%]": details.apply(votes.describe_score, axis=1),
            "test macro F1": details["test_macro_f1"].map("{:.3f}".format).replace("nan", ""),
            "kept epoch": details["best_epoch"].astype(str) + "/" + details["epochs"].astype(str),
            "landmark error": [describe_landmarks(by_name[name]) for name in details["run"]],
            "seconds": details["seconds"].map("{:.0f}".format),
        }
    )
    return (
        f"<h2>Members</h2>{_render_table(of_members, left=2)}<p class='note'>Landmark error: over the validation "
        f"faces, in distances between the outer eye corners.</p>{_show_ensembles(runs, ensembles)}"
        + _embed(figure, "Macro F1 with 95% bootstrap intervals over the validation faces; nothing about the seed.")
    )


def _show_ensembles(runs: Sequence[Run], ensembles: pd.DataFrame) -> str:
    """The votes that there are, why each is better or worse than its members, and the rules that were not built."""
    tables = {split: votes.score_ensembles(runs, split) for split in votes.labelled_splits(runs) if split == "test"}
    tables, columns = {"validation": ensembles, **tables}, {}
    for split, table in tables.items():
        columns[f"{split} macro F1 [95%]"] = [votes.describe_score(row) for row in table.to_dict("records")]
        columns[f"{split}: mean of its members"] = [f"{mean:.3f}" for mean in table["mean_of_members"]]
    shown = pd.DataFrame({"ensemble": ensembles["name"], "members": ensembles["members"], **columns})
    told = [
        (name, split, why)
        for split, table in tables.items()
        for name, why in zip(table["name"], table["why"], strict=True)
    ]
    told.sort(key=lambda each: ensembles["name"].tolist().index(each[0]))  # the splits of a vote one below the other
    items = "".join(f"<li><b>{html.escape(name)}</b>, {split}: {html.escape(why)}</li>" for name, split, why in told)
    missing = html.escape(votes.describe_missing(votes.find_missing(runs)))
    return f"<h2>Ensembles</h2>\n<p>{RULES}</p>{_render_table(shown)}<ul>{items}</ul><p class='note'>{missing}</p>"


def _show_classes(runs: Sequence[Run], members: pd.DataFrame) -> str:
    best = members.loc[members["value"].idxmax()]
    own = next(run for run in runs if run.name == best["run"])
    shown = {f"Best member ({best['name']})": own.read_predictions()}
    if len(runs) > 1:
        shown[f"Vote of all {len(runs)} members"] = votes.vote_runs(runs)
    parts = ["<h2>Per class</h2>"]
    for name, predictions in shown.items():
        labels, answers = answers_of(predictions)
        scores = metrics.bootstrap_f1(labels, answers).loc[list(EXPRESSIONS)]
        figure = plots.per_class_f1(scores["value"], scores["low"], scores["high"])
        parts.append(_embed(figure, f"{name}: F1 of each class, 95% intervals."))
    confused = plots.confusion(metrics.confusion(labels, answers))
    return "".join([*parts, _embed(confused, f"{name}: what is taken for what.")])


def _show_agreement(runs: Sequence[Run]) -> str:
    if len(runs) < 2:
        return ""
    answers = np.stack([answers_of(run.read_predictions())[1] for run in runs])
    figure = plots.agreement(metrics.agreement(answers), [votes.name_run(run) for run in runs])
    caption = "How often two members give the same answer: the closer to 1, the less a vote can change."
    return f"<h2>Agreement</h2>{_embed(figure, caption)}"


def _show_curves(runs: Sequence[Run]) -> str:
    shown = sorted(runs, key=lambda run: (run.member.bag, run.name))[:CURVES_SHOWN]
    figures = [
        _embed(plots.training_curves(run.read_history()), f"{votes.name_run(run)}: {run.name}.") for run in shown
    ]
    return "".join(["<h2>Training</h2>", *figures])


def _show_making(runs: Sequence[Run], command: str) -> str:
    first, recipe = runs[0], runs[0].member.recipe
    recipes, seeds = sorted({run.member.recipe.name for run in runs}), sorted({run.member.seed for run in runs})
    size = f"{recipe.image_size} px, emotion backbone {recipe.emotion}, batches of {recipe.batch_size}"
    versions = "".join(f", {name} {version}" for name, version in first.versions.items())
    making = {
        "command": command,
        "recipe": f"{', '.join(recipes)}: {size}",
        "seeds": ", ".join(map(str, seeds)),
        "store": f"{Path(first.store).name}, images {first.checksums.get('images.npy', '')[:16]}",
        "device of the training": ", ".join(sorted({f"{run.device}, {run.threads} thread(s)" for run in runs})),
        "machine of this page": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "versions": f"lsdkit {__version__}{versions}",
        "training time": f"{sum(run.seconds for run in runs):.0f} s, summed over {len(runs)} runs",
    }
    digests = [(run.name, run.spec_hash, run.weights_sha256[:16]) for run in runs]
    lines = pd.DataFrame(making.items(), columns=["what", "value"])
    prints = pd.DataFrame(digests, columns=["run", "settings", "weights (SHA-256, first 16)"])
    return f"<h2>How this was made</h2>{_render_table(lines, left=2)}<h2>Fingerprints</h2>{_render_table(prints)}"


def _render_page(title: str, sections: Sequence[str]) -> str:
    """A whole page from HTML sections, in the style of `lsdkit/reproduce/report.css`."""
    style = resources.files("lsdkit.reproduce").joinpath("report.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )


def _embed(drawn: plots.Figure, caption: str) -> str:
    """A figure as an inline PNG with its caption, which is also its description for those who cannot see it."""
    data, text = base64.b64encode(plots.png(drawn, 150)).decode(), html.escape(caption)
    image = f'<img alt="{text}" width="{round(drawn.get_figwidth() * 96)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _render_table(rows: pd.DataFrame, left: int = 1) -> str:
    """A table of text; its first `left` columns hold words, the others numbers, to the right and never broken."""
    with pd.option_context("display.max_colwidth", None):  # else long text is cut
        return f'<div class="wide">{rows.to_html(index=False, border=0, classes=f"left{left}")}</div>'
