"""How the tables of `lsdkit.tables` are read: their numbers as text, and the notes below them."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from lsdkit import comparison
from lsdkit.experiment import kind_sentence
from lsdkit.matrix import RESAMPLES, Matrix, weights_of
from lsdkit.recipes import RECIPES

METHODS = {"mixaugment": "Mix-aug", "mixup": "Mix-up"}
BACKBONES = {"vggface2": "VGGFace2", "dino": "DINO", "mobilevitv2": "MobileViTv2"}
HEADINGS = {
    "mix": "Method",
    "appearance": "Appearance",
    "basic_aug": "Basic aug",
    "ensemble": "Ensemble",
    "team": "Team",
}
WORDS = (*HEADINGS.values(), "Claim", "Statement", "Paper's numbers", "Appearance weights", "Verdict")  # to the left
FEW_SUBJECTS = 30  # below, a bootstrap over subjects is called rough
DECIDED = ("holds", "does not")
PAPERS_OWN = ("paper", "authors")  # recipes of the paper's networks


def scores_text(numbers: pd.DataFrame) -> pd.DataFrame:
    """Tables 2 to 5 as text, from their numbers in percent."""
    rows, subjects = [], numbers["low_subjects"].notna().any()
    for _, row in numbers.iterrows():
        run = np.isfinite(row["ours"])
        text = {HEADINGS[name]: _name(name, row[name]) for name in numbers.columns if name in HEADINGS}
        if "members" in numbers:
            text["Members"] = "" if pd.isna(row["members"]) else str(row["members"])
        text["Paper"] = f"{row['paper']:.2f}" if np.isfinite(row["paper"]) else "none"
        text["Ours"] = f"{row['ours']:.2f}" if run else row["status"]
        text["Difference"] = _signed(row["difference"])
        text["SD over seeds"] = f"{row['sd']:.2f}" if np.isfinite(row["sd"]) else ""
        text["Seeds"] = row["seeds"] if run else ""
        text["95%, faces"] = _interval(row["low"], row["high"])
        if subjects:
            text["95%, subjects"] = _interval(row["low_subjects"], row["high_subjects"])
        text["Appearance weights"] = row["weights"]
        rows.append(text)
    text = pd.DataFrame(rows)
    nothing_to_run = (numbers["status"] == "reference").all()
    return text.loc[:, :"Paper"] if nothing_to_run else text


def claims_text(numbers: pd.DataFrame) -> pd.DataFrame:
    """The claims as text, from `claims.claim_table`."""
    rows = []
    words = ["paper", "paper_verdict", "seeds"]
    numbers = numbers.assign(**numbers[words].astype(object).where(numbers[words].notna(), ""))
    for _, row in numbers.iterrows():
        rows.append(
            {
                "Claim": row["claim"],
                "Statement": row["statement"],
                "Paper's numbers": row["paper"],
                "Paper's difference": _signed(row["paper_difference"]),
                "By the paper's numbers": row["paper_verdict"],
                "Ours": _signed(row["ours"]),
                "95% interval": _interval(row["low"], row["high"], "+"),
                "Verdict": _verdict(row["verdict"], row["seeds"]),
                "Seeds": row["seeds"],
            }
        )
    return pd.DataFrame(rows)


def notes(matrix: Matrix, table: str) -> tuple[str, ...]:
    """What is to be known beside one table."""
    random = (matrix.runs.apply(weights_of, axis=1, role="appearance") == "random").any()
    found = {
        "table2": ["The paper trained no strong MobileViTv2 members; ours stand below the means, outside of them."],
        "table3": ["A cell is the mean of the scores of its five bags (not the score of their vote)."],
        "table4": [_ensembles(matrix), _LAST, _optimism(matrix)],
        "table5": ["The paper's numbers are for the LSD test faces; no other team's network was run here."],
        "claims": [*_rule(matrix), _ONE_SEED, _ensembles(matrix), _optimism(matrix), *_leaning(matrix)],
    }[table]
    if table in ("table2", "table3") and matrix.split == "test":
        found.append("The paper prints no test scores of single members.")
    if table in ("table4", "claims") and not matrix.release:
        found.append("The challenge's baseline was measured on the release's faces: it cannot be compared with ours.")
    if random and table in ("table2", "table3", "table4"):
        found.append(_ARCHITECTURE)
    return tuple(found)


def common_notes(matrix: Matrix) -> tuple[str, ...]:
    """What is to be known beside every table of these runs: runs, faces, intervals, comparability."""
    found = [_runs(matrix), _faces(matrix), _intervals(matrix)]
    if not matrix.release:
        found.append(
            "These faces are not those of the LSD release: the difference to the paper compares different data, and "
            "tells neither success nor failure of a reproduction."
        )
    if matrix.recipe["name"] not in PAPERS_OWN:
        found.append(f"The networks of the recipe {matrix.recipe['name']} are smaller than the paper's.")
    return tuple(found)


_ONE_SEED = (
    "One seed: a side of the comparison was trained with one seed, and the interval holds nothing of what another seed "
    "would give: the verdict is on these trained networks, not on the method, and so are the paper's numbers. Where "
    "ensembles of several weak seeds share strong members of one, nothing of the strong seed is in their intervals."
)
_LAST = (
    "The paper gives no number for the best strong members of the last ensemble: two are taken, over both mixes, as "
    "the second and third ensemble take two."
)
_ARCHITECTURE = (
    "Architecture only: the appearance branch started from random weights. Such rows differ in the architecture of "
    "that branch and say nothing about pre-training."
)


def _runs(matrix: Matrix) -> str:
    runs, weights = matrix.runs, weights_of(matrix.runs.iloc[0], "emotion")
    seeds = {
        words: ", ".join(str(seed) for seed in sorted(set(part["seed"]))) or "none"
        for words, part in (("strong", runs[runs["bag"] == 0]), ("weak", runs[runs["bag"] > 0]))
    }
    recipe, epochs = matrix.recipe, runs["epochs"].iloc[0]
    changed = "".join(f", {name} {value}" for name, value in _changed(recipe).items())
    text = (
        f"Runs: {len(runs)} in the folder {matrix.folder.resolve().name}, recipe {recipe['name']}{changed}, "
        f"{epochs} epochs, {recipe['image_size']} px; seeds of strong members {seeds['strong']}, of weak members "
        f"{seeds['weak']}; the emotion branch started from {weights} weights."
    )
    if matrix.left_out:
        text += f" Left out, because no table holds them: {', '.join(matrix.left_out)}."
    return text


def _changed(recipe: dict) -> dict:
    """Settings that are others than those of the recipe of this name."""
    named = json.loads(json.dumps(asdict(RECIPES[recipe["name"]]))) if recipe["name"] in RECIPES else recipe
    skipped = ("weights", "appearances")  # told for each row
    return {name: value for name, value in recipe.items() if name not in skipped and value != named.get(name, value)}


def _faces(matrix: Matrix) -> str:
    known = "subjects not known for every face, which count as independent"
    if "subjects" in matrix.units:
        known = f"{matrix.units['subjects']} subjects"
    absent = f" None shows {', '.join(matrix.absent)}, which scores 0 in every macro F1." if matrix.absent else ""
    return f"Faces: {matrix.units['faces']:,} {matrix.split} faces ({kind_sentence(matrix.kind)}), {known}.{absent}"


def _intervals(matrix: Matrix) -> str:
    over = "faces, and beside it over whole subjects" if "subjects" in matrix.units else "faces"
    few = matrix.units.get("subjects", FEW_SUBJECTS) < FEW_SUBJECTS
    return (
        f"Intervals: 95%, percentile bootstrap over {over}, {RESAMPLES:,} resamples, the same for every cell; where a "
        "cell has several seeds they are resampled too. Of a cell with one seed the interval holds nothing of the "
        "seed; of two or three seeds that differ much it covers less than 95%. SD over seeds has n - 1 in its divisor."
        + (" So few subjects make the intervals over them rough, and rather too narrow." if few else "")
    )


def _ensembles(matrix: Matrix) -> str:
    found = comparison.by_seed(matrix.runs)
    strong = {seed: sorted(set(runs.loc[runs["bag"] == 0, "seed"])) for seed, runs in found.items()}
    words = [f"weak {seed} with strong {own[0] if own else 'none'}" for seed, own in strong.items()]
    return (
        "Ensembles: the rules choose members by validation macro F1, seed by seed "
        f"({', '.join(words)}); the vote is of {matrix.recipe['vote']}. Best strong is the strong member of Table 2 "
        "with the best validation macro F1, chosen the same way."
    )


def _optimism(matrix: Matrix) -> str:
    if matrix.split == "test":
        return "Members were chosen on the validation faces and are scored on test faces: no optimism of selection."
    return (
        "Optimism of selection: epochs, members and the best strong member are chosen on the faces they are scored on, "
        "as in the paper, so their scores lean upwards, most where there is most to choose from (the best of eight "
        "strong members). The intervals take the choice as given."
    )


def _leaning(matrix: Matrix) -> list[str]:
    if matrix.split == "test":
        return []
    return ["Best strong is the largest of eight scores: its optimism speaks against claim e and for claim g."]


def _rule(matrix: Matrix) -> list[str]:
    printed = "validation numbers" + (" (of claims d and h: test numbers)" if matrix.split == "test" else "")
    return [
        "Rule: a difference holds where its whole 95% interval lies above 0, does not where it lies below 0, else it "
        "is not decided. A statement of several differences holds where all hold, does not where one does not, is not "
        "run where a cell is missing, else not decided. The intervals are paired (the same resampled "
        f"{matrix.unit} for both sides) and not corrected for the number of statements.",
        "Chance alone makes a statement of n differences hold at most as often as one of them (2.5%), and fail up to n "
        "times as often.",
        f"By the paper's numbers: the sign of the difference of the paper's printed {printed}, which come without any "
        "interval.",
    ]


def _name(column: str, value: object) -> str:
    if column == "basic_aug":
        return "" if value is None or value != value else ("on" if value else "off")
    return {"mix": METHODS, "appearance": BACKBONES}.get(column, {}).get(value, str(value))


def _verdict(verdict: str, seeds: str) -> str:
    """The verdict, marked where a side of the comparison has one seed: the interval says nothing of another one."""
    return f"{verdict} (one seed)" if verdict in DECIDED and seeds.split()[:1] == ["1"] else verdict


def _signed(value: float) -> str:
    return f"{value:+.2f}" if np.isfinite(value) else ""


def _interval(low: float, high: float, sign: str = "") -> str:
    return f"[{low:{sign}.2f}, {high:{sign}.2f}]" if np.isfinite(low) else ""
