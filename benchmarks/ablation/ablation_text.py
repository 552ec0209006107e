"""The ablation as text: ablation.json as a table, and one of its rows as a line."""

from lsdkit.photographs.report import describe_interval

LEFT_AWAY = (
    "Colour has no row with a baseline: HOG reads luma and landmarks read no pixels, so their scores are the same. "
    "All faces are the protocol's row."
)


def describe_row(row: dict, unit: str) -> str:
    """A row in a line of text."""
    text = f"{row['name']}, {row['model']}: macro F1 {describe_interval(row['macro_f1_6'], unit)}"
    return text + (f", difference {_describe_difference(row['difference'], unit)}" if row["difference"] else "")


def tabulate(value: dict) -> str:
    """ablation.json as Markdown."""
    unit, counts, subjects = value["unit"], value["photographs"]["faces"], value["photographs"]["subjects"]
    people = f" of {subjects['number']:,} people" if subjects["number"] else ""
    each = ", ".join(f"{name.lower()} {count}" for name, count in counts.items())
    lines = [
        *(f"**Not the protocol: {text}.**" for text in value["deviations"]),
        f"Trained on rendered faces alone; scored on {sum(counts.values()):,} photographs{people} ({each}).",
        f"Means over the seeds; brackets: 95% bootstrap intervals over {unit}, paired for differences, which hold "
        f"nothing of the seeds; sd: over the seeds. {LEFT_AWAY}",
        "",
        "| row | model | seeds | macro F1 of six | sd | difference to the protocol | its sd | of four "
        "| balanced accuracy |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in value["rows"]:
        sd = row["macro_f1_6"]["sd"]
        cells = [row["what"], f"`{row['model']}`", ", ".join(map(str, row["seeds"]))]
        cells += [describe_interval(row["macro_f1_6"], unit), "" if sd is None else f"{sd:.3f}"]
        apart = row["difference"]["macro_f1_6"]["sd"] if row["difference"] else None
        cells += [
            _describe_difference(row["difference"], unit) if row["difference"] else "",
            "" if apart is None else f"{apart:.3f}",
        ]
        cells += [describe_interval(row[name], unit) for name in ("macro_f1_4", "balanced_accuracy")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(f"\nFailed: {name}: {why}" for name, why in value["failed"].items())]) + "\n"


def _describe_difference(difference: dict, unit: str) -> str:
    score = difference["macro_f1_6"]
    low, high = score["intervals"][unit]
    return f"{score['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
