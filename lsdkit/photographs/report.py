"""What the benchmark says in words: its plan, a line a score, and its tables. Values in, text out."""

from collections.abc import Iterable, Mapping, Sequence

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import describe_kind
from lsdkit.photographs.collection import MEAN
from lsdkit.photographs.protocol import OTHERS, SAME, Protocol, list_deviations, networks_of
from lsdkit.photographs.regressions import MAJORITY, NAMES
from lsdkit.photographs.scores import IMAGES, PEOPLE
from lsdkit.recipes import Member
from lsdkit.training.cost import estimate_end, measure_cost

RENDERS, SEARCHES, OPERATIONS = 40, 5, 4e10  # of one core in a second: faces drawn, photographs searched, operations
REGRESSIONS = 40.0  # seconds that the regressions of a seed take with the protocol's number of faces
REFERENCES = 0.003  # seconds of the regressions of a photograph and a collection that it is learned from


def describe_plan(protocol: Protocol, models: Sequence[str], photographs: Mapping[str, int], jobs: int) -> str:
    """What a benchmark does, and about how many minutes that takes on `jobs` cores.

    photographs: how many each collection has.
    """
    seeds, rendered = len(protocol.seeds), protocol.faces + protocol.validation + protocol.test
    members = [member for seed in protocol.seeds for member, _ in networks_of(protocol, models, seed).values()]
    work = [estimate_training(member, protocol.faces) for member in members]
    small = sum(model in NAMES for model in models)
    number, all_photographs = len(photographs), sum(photographs.values())
    counts = ", ".join(f"{name} {count:,}" for name, count in photographs.items())
    parts = {
        f"find the faces of {all_photographs:,} photographs ({counts})": all_photographs / SEARCHES / jobs,
        f"{small} regressions on photographs": REFERENCES * all_photographs * (number + 5) if small else 0.0,
        f"render {seeds} x {rendered:,} faces": seeds * rendered / RENDERS / jobs,
        f"{seeds} x {small} regressions on rendered faces": seeds * REGRESSIONS * rendered / 4800 if small else 0.0,
        f"train {len(members)} networks": estimate_end(work, jobs) if work else 0.0,
    }
    lines = [f"protocol {protocol.version}, seeds {', '.join(map(str, protocol.seeds))}; {jobs} at a time"]
    lines += [f"{seconds / 60:7.1f} min  {what}" for what, seconds in parts.items()]
    lines.append(f"{sum(parts.values()) / 60:7.1f} min  in all, by estimate; what is finished is not made again")
    return "\n".join([*lines, *(f"not the protocol: {text}" for text in list_deviations(protocol, models))])


def estimate_training(member: Member, faces: int) -> float:
    """About how many seconds one core trains a network on so many faces, or on its bag of them."""
    share = member.recipe.bag_fraction if member.bag else 1
    return member.epochs * faces * share * measure_cost(member).training / OPERATIONS


def describe_faces(counts: Mapping[str, Mapping[str, int]], lost: Mapping[str, int]) -> str:
    """How many of the photographs have a face, by expression."""
    given, shown = (sum(count[name] for count in counts.values()) for name in ("given", "found"))
    parts = ", ".join(f"{name.lower()} {each['found']}/{each['given']}" for name, each in counts.items())
    why = "".join(f"; {count} {reason.replace('_', ' ')}" for reason, count in lost.items())
    return f"a face in {shown:,} of {given:,} photographs ({shown / given:.1%}): {parts}{why}"


def describe_row(row: Mapping) -> str:
    """The scores of a model and seed, or of a reference, on one collection."""
    low, high = row["intervals"][IMAGES]["macro_f1_6"]
    whence = f"seed {row['seed']}" if "seed" in row else f"trained on {row['trained_on']}"
    after = f" ({row['seconds']:.0f} s)" if "seconds" in row else ""
    return (
        f"{row['collection']}: {row['model']}, {whence}: macro F1 {row['macro_f1_6']:.3f} [{low:.3f}, {high:.3f}] of "
        f"six, {row['macro_f1_5']:.3f} of five, {row['macro_f1_4']:.3f} of four{after}"
    )


def describe_interval(score: Mapping, unit: str) -> str:
    """A score of `scores.summarise_seeds` with its interval, of the unit that was drawn."""
    low, high = score["intervals"][unit]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def tabulate(value: Mapping) -> str:
    """benchmark.json as Markdown: for each collection, and for their mean, a row a model, means over the seeds."""
    seeds = ", ".join(map(str, value["protocol"]["seeds"]))
    lines = [
        f"# Benchmark, protocol {value['protocol']['version']}",
        "",
        *(f"**Not the protocol: {text}.**" for text in value["deviations"]),
        f"Trained on rendered faces alone, seeds {seeds}. *Found*: over the photographs with a face. *All*: over every "
        "photograph; one without a face is a miss. Means over the seeds; sd: over the seeds; brackets: 95% bootstrap "
        "intervals over the people of a collection, or over its photographs where they are not known, which hold "
        "nothing of the seeds. The collections are taken as they are.",
        "",
        f"![{_describe_figure(value)}](benchmark.png)",
    ]
    means = {MEAN: value["mean_over_collections"]} if len(value["photographs"]) > 1 else {}
    for name, models in (value["summary"] | means).items():
        lines += ["", f"## {name}", ""]
        if name in value["photographs"]:
            lines += [_describe_collection(value["photographs"][name]), ""]
        lines += _list_models(value, name, models)
        if name in value["photographs"]:
            lines += ["", *_list_classes(value, name), "", *_list_groups(value, name)]
    return "\n".join([*lines, *_list_references(value), *_list_tuned(value)]) + "\n"


def arrange_figure(value: Mapping) -> dict:
    """benchmark.json as the arguments of `lsdkit.figures.collections.collection_scores`; `MAJORITY` is left out."""

    def take(score: Mapping) -> tuple[float, float, float]:
        return score["mean"], *score["intervals"][_unit(score)]

    several = len(value["photographs"]) > 1
    tables = value["summary"] | ({MEAN: value["mean_over_collections"]} if several else {})
    panels = {
        name: {model: take(parts["found"]["macro_f1_6"]) for model, parts in models.items() if model != MAJORITY}
        for name, models in tables.items()
    }
    models = list(dict.fromkeys(model for panel in panels.values() for model in panel))
    kinds = [("regressions, rendered faces", [model for model in models if model in NAMES])]
    kinds.append(("networks, rendered faces", [model for model in models if model not in NAMES]))
    teacher = next((row["model"] for row in reversed(value["references"])), "")
    others, same = {}, {}
    for row in value["references"]:
        unit = PEOPLE if PEOPLE in row["intervals"] else IMAGES
        score = row["macro_f1_6"], *row["intervals"][unit]["macro_f1_6"]
        if row["model"] == teacher and row["trained_on"] in value["photographs"]:
            others.setdefault(row["collection"], {})[row["trained_on"]] = score
        elif row["model"] == teacher:
            same[row["collection"]] = score
    if several:
        means = {what: models[teacher] for what, models in value["reference_means"].items() if teacher in models}
        others |= {MEAN: {"": take(means[OTHERS]["found"]["macro_f1_6"])}} if OTHERS in means else {}
        same |= {MEAN: take(means[SAME]["found"]["macro_f1_6"])} if SAME in means else {}
    return {"panels": panels, "kinds": kinds, "others": others, "same": same, "teacher": teacher}


def _describe_figure(value: Mapping) -> str:
    """The figure in words, for those who do not see it."""
    means = value["mean_over_collections"]
    scores = ", ".join(f"{model} {parts['found']['macro_f1_6']['mean']:.3f}" for model, parts in means.items())
    return (
        "Macro F1 of six expressions over the photographs with a face: dots with 95% intervals, a panel for each of "
        f"{', '.join(value['photographs'])} and one for their mean, a row a model. A green band shows what learning "
        "from the photographs of other collections gives, a dashed orange line what learning from the collection's own "
        f"does. Means over the collections: {scores}"
    )


def _unit(score: Mapping) -> str:
    """What the intervals of a score draw in tables: people where they are known."""
    return PEOPLE if PEOPLE in score["intervals"] else IMAGES


def _describe_collection(photographs: Mapping) -> str:
    people = photographs["subjects"]["number"]
    who = f" of {people:,} people" if people else ", people not known"
    faces = describe_faces(photographs["faces_found"], photographs["without_a_face"]).capitalize()
    return f"{describe_kind(photographs['kind']).capitalize()}{who}. {faces}."


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(heads), "|" + "---|" * len(heads), *map(_row, rows)]


def _list_models(value: Mapping, name: str, models: Mapping) -> list[str]:
    heads = ["model", "macro F1 of six, found", "sd", "of six, all", "of five, found", "of four, found"]
    heads += ["balanced accuracy, found", "rendered, unseen people", "seconds a seed"]
    columns = [("all", "macro_f1_6"), ("found", "macro_f1_5"), ("found", "macro_f1_4"), ("found", "balanced_accuracy")]
    lines = []
    for model, parts in models.items():
        of_six = parts["found"]["macro_f1_6"]
        rows = [row for row in value["results"] if row["model"] == model]
        rendered = [row["rendered_test_macro_f1"] for row in rows if row["rendered_test_macro_f1"] is not None]
        cells = [f"`{model}`", describe_interval(of_six, _unit(of_six))]
        cells.append("" if of_six["sd"] is None else f"{of_six['sd']:.3f}")
        cells += [describe_interval(parts[part][score], _unit(parts[part][score])) for part, score in columns]
        cells.append(f"{sum(rendered) / len(rendered):.3f}" if rendered else "")
        cells.append(f"{sum(row['seconds'] for row in rows) / len(rows):.0f}")
        lines.append(cells)
    return _table(heads, lines)


def _list_classes(value: Mapping, name: str) -> list[str]:
    """F1 and recall of each expression, means over the seeds, over the photographs with a face."""
    counts, lines = value["photographs"][name]["faces_found"], []
    heads = [
        "F1 / recall, found",
        *(f"{each.lower()} ({counts[each]['found']} of {counts[each]['given']})" for each in EXPRESSIONS),
    ]
    for model in value["summary"][name]:
        rows = [row for row in value["results"] if (row["collection"], row["model"]) == (name, model)]
        means = [
            [sum(row[score][each] for row in rows) / len(rows) for score in ("f1", "recall")] for each in EXPRESSIONS
        ]
        lines.append([f"`{model}`", *(f"{f1:.3f} / {recall:.3f}" for f1, recall in means)])
    return _table(heads, lines)


def _list_groups(value: Mapping, name: str) -> list[str]:
    """Scores by group of the last regression and of the last network."""
    groups = value["groups"].get(name, {})
    last = {model in NAMES: model for model in value["summary"][name] if model != MAJORITY}
    models, lines = [last[kind] for kind in (True, False) if kind in last], []
    if not models:
        return []
    heads = ["group, found", "photographs", "expressions"]
    heads += [f"`{model}`: {what}" for model in models for what in ("macro F1", "recall less that of the others")]
    for trait, scores in groups[models[0]].items():
        for group, score in scores.items():
            cells = [
                f"{trait}: {group}",
                f"{score['photographs']:,}",
                str(len(score.get("expressions", ())) or "too few"),
            ]
            for model in models:
                own = groups[model][trait][group]
                cells += [_describe_group(own.get(key), sign) for key, sign in (("macro_f1", ""), ("difference", "+"))]
            lines.append(cells)
    return _table(heads, lines)


def _describe_group(score: Mapping | None, sign: str) -> str:
    """A group's score with its interval; a difference below 0 in all of its interval stands in bold."""
    if not score:
        return ""
    value, (low, high) = score["value"], score["interval"]
    text = f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"**{text}**" if sign and high < 0 else text


def _list_references(value: Mapping) -> list[str]:
    left_out = [f"None from {name}: {why}" for name, why in value["references_left_out"].items()]
    if not value["references"]:
        return ["", *left_out] if left_out else []
    heads = ["photographs of", "read by", "trained on", "macro F1 of six, found", "of six, all", "of five", "of four"]
    lines = []
    for row in value["references"]:
        unit = PEOPLE if PEOPLE in row["intervals"] else IMAGES
        scored = [(row, score) for score in ("macro_f1_6", "macro_f1_5", "macro_f1_4")]
        scored.insert(1, (row["all_photographs"], "macro_f1_6"))
        texts = (
            _describe_group({"value": each[score], "interval": each["intervals"][unit][score]}, "")
            for each, score in scored
        )
        lines.append([row["collection"], f"`{row['model']}`", row["trained_on"], *texts])
    several = [(what, models) for what, models in value["reference_means"].items() if len(value["photographs"]) > 1]
    for what, models in several:
        for model, parts in models.items():
            scored = [("found", "macro_f1_6"), ("all", "macro_f1_6"), ("found", "macro_f1_5"), ("found", "macro_f1_4")]
            texts = (describe_interval(parts[part][score], _unit(parts[part][score])) for part, score in scored)
            lines.append([MEAN, f"`{model}`", what, *texts])
    head = "## Reference lines: the same regressions trained on photographs"
    return ["", head, "", *_table(heads, lines), *(text for why in left_out for text in ("", why))]


def _list_tuned(value: Mapping) -> list[str]:
    rows = ((row["constant"], row["value"], row["tuned_on"]) for row in value["tuned"])
    return ["", "## Constants that were tuned", "", *_table(["constant", "value", "tuned on"], rows)]
