"""What the benchmark says in words: its plan, a line a score, and the table. Values in, text out."""

from collections.abc import Mapping, Sequence

from lsdkit import costs
from lsdkit.experiment import kind_sentence
from lsdkit.expressions import EXPRESSIONS
from lsdkit.protocol import NETWORKS, Protocol, deviations, networks_of

RELEASE = 277_251  # training faces of the LSD release, which `fraction` is of
RENDERS, FINDS, OPERATIONS = 40, 8, 2e10  # of one core in a second: faces drawn, photographs searched, operations
REGRESSIONS = 10.0  # seconds that the baselines of a seed take with the protocol's number of faces


def planned(protocol: Protocol, models: Sequence[str], photographs: int, jobs: int) -> str:
    """What a benchmark does, and about how many minutes that takes on `jobs` cores."""
    seeds, faces = len(protocol.seeds), round(protocol.fraction * RELEASE)
    drawn = faces + protocol.validation + protocol.test
    members = [member for seed in protocol.seeds for member in networks_of(protocol, models, seed).values()]
    seen = [m.epochs * faces * (m.recipe.bag_fraction if m.bag else 1) for m in members]
    work = [number * costs.cost(member).training / OPERATIONS for number, member in zip(seen, members, strict=True)]
    small = sum(model not in NETWORKS for model in models)
    parts = {
        f"find the faces of {photographs:,} photographs": photographs / FINDS / jobs,
        f"render {seeds} x {drawn:,} faces": seeds * drawn / RENDERS / jobs,
        f"{seeds} x {small} baselines": seeds * REGRESSIONS * drawn / 4000 if small else 0.0,
        f"train {len(members)} networks": costs.longest(work, jobs) if work else 0.0,
    }
    lines = [f"protocol {protocol.version}, seeds {', '.join(map(str, protocol.seeds))}; {jobs} at a time"]
    lines += [f"{seconds / 60:7.1f} min  {what}" for what, seconds in parts.items()]
    lines.append(f"{sum(parts.values()) / 60:7.1f} min  in all, by estimate; what is finished is not made again")
    return "\n".join([*lines, *(f"not the protocol: {text}" for text in deviations(protocol, models))])


def faces_line(counts: Mapping[str, Mapping[str, int]], lost: Mapping[str, int]) -> str:
    """How many of the photographs have a face, by expression."""
    given, found = (sum(count[name] for count in counts.values()) for name in ("given", "found"))
    parts = ", ".join(f"{name.lower()} {each['found']}/{each['given']}" for name, each in counts.items())
    why = "".join(f"; {count} {reason.replace('_', ' ')}" for reason, count in lost.items())
    return f"a face in {found:,} of {given:,} photographs ({found / given:.1%}): {parts}{why}"


def line(row: Mapping) -> str:
    """The scores of one model and seed."""
    low, high = row["intervals"]["images"]["macro_f1_6"]
    return (
        f"{row['model']}, seed {row['seed']}: macro F1 {row['macro_f1_6']:.3f} [{low:.3f}, {high:.3f}] over six, "
        f"{row['macro_f1_4']:.3f} over four, balanced accuracy {row['balanced_accuracy']:.3f} ({row['seconds']:.0f} s)"
    )


def table(value: Mapping) -> str:
    """benchmark.json as Markdown: a row a model, means over the seeds."""
    photographs, protocol = value["photographs"], value["protocol"]
    seeds = ", ".join(map(str, protocol["seeds"]))
    unit = "subjects" if photographs["subjects"]["number"] else "images"
    head = [
        f"# Benchmark, protocol {protocol['version']}",
        "",
        *(f"**Not the protocol: {text}.**" for text in value["deviations"]),
        f"Trained on rendered faces alone, seeds {seeds}; tested on: {kind_sentence(photographs['kind'])}. "
        f"{faces_line(photographs['faces_found'], photographs['without_a_face']).capitalize()}.",
        "",
        "*Found*: over the photographs with a face. *All*: over every photograph; one without a face is a miss.",
        f"Means over the seeds; brackets: 95% bootstrap intervals over {unit}, which hold nothing of the seeds; "
        "sd: over the seeds.",
        "",
        "| model | macro F1 of six, found | sd | of six, all | of four, found | of four, all "
        "| balanced accuracy, found | rendered, unseen people | seconds a seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join(head + _rows(value, unit) + ["", *_classes(value)]) + "\n"


def _rows(value: Mapping, unit: str) -> list[str]:
    lines = []
    for model, parts in value["summary"].items():
        rows = [row for row in value["results"] if row["model"] == model]
        rendered = [row["rendered_test_macro_f1"] for row in rows if row["rendered_test_macro_f1"] is not None]
        sd = parts["found"]["macro_f1_6"]["sd"]
        cells = [
            model,
            _with_interval(parts["found"]["macro_f1_6"], unit),
            "" if sd is None else f"{sd:.3f}",
            _with_interval(parts["all"]["macro_f1_6"], unit),
            _with_interval(parts["found"]["macro_f1_4"], unit),
            _with_interval(parts["all"]["macro_f1_4"], unit),
            _with_interval(parts["found"]["balanced_accuracy"], unit),
            f"{sum(rendered) / len(rendered):.3f}" if rendered else "",
            f"{sum(row['seconds'] for row in rows) / len(rows):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _classes(value: Mapping) -> list[str]:
    """F1 of each expression, mean over the seeds, over the photographs with a face."""
    counts = value["photographs"]["faces_found"]
    names = [f"{name.lower()} ({counts[name]['found']} of {counts[name]['given']})" for name in EXPRESSIONS]
    lines = [f"| F1, found | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for model in value["summary"]:
        rows = [row["f1"] for row in value["results"] if row["model"] == model]
        means = (sum(row[name] for row in rows) / len(rows) for name in EXPRESSIONS)
        lines.append(f"| {model} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return lines


def _with_interval(score: Mapping, unit: str) -> str:
    low, high = score["intervals"][unit]
    return f"{score['mean']:.3f} [{low:.3f}, {high:.3f}]"
