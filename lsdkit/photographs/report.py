"""What the benchmark says in words: its plan, a line a score, and the table. Values in, text out."""

from collections.abc import Mapping, Sequence

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data.store import describe_kind
from lsdkit.photographs.protocol import NETWORKS, Protocol, list_deviations, networks_of
from lsdkit.recipes import Member
from lsdkit.training.cost import estimate_end, measure_cost

RENDERS, SEARCHES, OPERATIONS = 40, 8, 2e10  # of one core in a second: faces drawn, photographs searched, operations
REGRESSIONS = 10.0  # seconds that the regressions of a seed take with the protocol's number of faces


def describe_plan(protocol: Protocol, models: Sequence[str], photographs: int, jobs: int) -> str:
    """What a benchmark does, and about how many minutes that takes on `jobs` cores."""
    seeds, rendered = len(protocol.seeds), protocol.faces + protocol.validation + protocol.test
    members = [member for seed in protocol.seeds for member in networks_of(protocol, models, seed).values()]
    work = [estimate_training(member, protocol.faces) for member in members]
    small = sum(model not in NETWORKS for model in models)
    parts = {
        f"find the faces of {photographs:,} photographs": photographs / SEARCHES / jobs,
        f"render {seeds} x {rendered:,} faces": seeds * rendered / RENDERS / jobs,
        f"{seeds} x {small} baselines": seeds * REGRESSIONS * rendered / 4000 if small else 0.0,
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
    """The scores of one model and seed."""
    low, high = row["intervals"]["images"]["macro_f1_6"]
    return (
        f"{row['model']}, seed {row['seed']}: macro F1 {row['macro_f1_6']:.3f} [{low:.3f}, {high:.3f}] over six, "
        f"{row['macro_f1_4']:.3f} over four, balanced accuracy {row['balanced_accuracy']:.3f} ({row['seconds']:.0f} s)"
    )


def describe_interval(score: Mapping, unit: str) -> str:
    """A score of `scores.summarise_seeds` with its interval, of the unit that was drawn."""
    low, high = score["intervals"][unit]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"


def tabulate(value: Mapping) -> str:
    """benchmark.json as Markdown: a row a model, means over the seeds."""
    photographs, protocol = value["photographs"], value["protocol"]
    seeds = ", ".join(map(str, protocol["seeds"]))
    unit = "subjects" if photographs["subjects"]["number"] else "images"
    head = [
        f"# Benchmark, protocol {protocol['version']}",
        "",
        *(f"**Not the protocol: {text}.**" for text in value["deviations"]),
        f"Trained on rendered faces alone, seeds {seeds}; tested on: {describe_kind(photographs['kind'])}. "
        f"{describe_faces(photographs['faces_found'], photographs['without_a_face']).capitalize()}.",
        "",
        "*Found*: over the photographs with a face. *All*: over every photograph; one without a face is a miss.",
        f"Means over the seeds; brackets: 95% bootstrap intervals over {unit}, which hold nothing of the seeds; "
        "sd: over the seeds.",
        "",
        "| model | macro F1 of six, found | sd | of six, all | of four, found | of four, all "
        "| balanced accuracy, found | rendered, unseen people | seconds a seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + _list_models(value, unit) + ["", *_list_classes(value)]) + "\n"


def _list_models(value: Mapping, unit: str) -> list[str]:
    lines = []
    for model, parts in value["summary"].items():
        rows = [row for row in value["results"] if row["model"] == model]
        rendered = [row["rendered_test_macro_f1"] for row in rows if row["rendered_test_macro_f1"] is not None]
        sd = parts["found"]["macro_f1_6"]["sd"]
        columns = [(part, score) for score in ("macro_f1_6", "macro_f1_4") for part in ("found", "all")]
        columns.append(("found", "balanced_accuracy"))
        cells = [model, *(describe_interval(parts[part][score], unit) for part, score in columns)]
        cells.insert(2, "" if sd is None else f"{sd:.3f}")
        cells.append(f"{sum(rendered) / len(rendered):.3f}" if rendered else "")
        cells.append(f"{sum(row['seconds'] for row in rows) / len(rows):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _list_classes(value: Mapping) -> list[str]:
    """F1 of each expression, mean over the seeds, over the photographs with a face."""
    counts = value["photographs"]["faces_found"]
    names = [f"{name.lower()} ({counts[name]['found']} of {counts[name]['given']})" for name in EXPRESSIONS]
    lines = [f"| F1, found | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for model in value["summary"]:
        rows = [row["f1"] for row in value["results"] if row["model"] == model]
        means = (sum(row[name] for row in rows) / len(rows) for name in EXPRESSIONS)
        lines.append(f"| {model} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return lines
