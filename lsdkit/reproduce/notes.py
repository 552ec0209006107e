"""What is to be known beside the tables of `lsdkit.reproduce.tables`: notes to one of them, and to all."""

from lsdkit.data.store import describe_kind
from lsdkit.ensembles.rules import BEST_STRONG
from lsdkit.recipes import PAPER, RANDOM, RECIPES, SETTABLE
from lsdkit.reproduce.scores import RESAMPLES, Matrix

FEW_SUBJECTS = 30  # below, a bootstrap over subjects is called rough
ONE_SEED = (
    "One seed: a network behind the comparison, a voter of an ensemble included, has one seed. Where cells of the "
    "folder have several, the interval shown and judged is widened by what seeds do there; where none has, the verdict "
    "is on these trained networks, not on the method, and so are the paper's numbers."
)
LAST = (
    "The paper gives no number for the best strong members of the last ensemble: two are taken, over both mixes, as "
    "the second and third ensemble take two."
)
ARCHITECTURE = (
    "Architecture only: the appearance branch started from random weights. Such rows differ in the architecture of "
    "that branch and say nothing about pre-training."
)
CHOSEN_ELSEWHERE = "Members were chosen on the validation faces and are scored on test faces: no optimism of selection."
OPTIMISM = (
    "Optimism of selection: epochs, members and the best strong member are chosen on the faces they are scored on, "
    "as in the paper, so their scores lean upwards, most where there is most to choose from (the best of eight "
    "strong members). The intervals take the choice as given."
)
LEANING = "Best strong is the largest of eight scores: its optimism speaks against claim e and for claim g."
OTHER_FACES = (
    "These faces are not those of the LSD release: the difference to the paper compares different data, and "
    "tells neither success nor failure of a reproduction."
)


def list_own_notes(matrix: Matrix, table: str) -> tuple[str, ...]:
    """What is to be known beside one table."""
    on_test, random = matrix.split == "test", any(run.weights_source("appearance") == RANDOM for run in matrix.runs)
    choice, optimism = _describe_choice(matrix), CHOSEN_ELSEWHERE if on_test else OPTIMISM
    notes = {
        "table2": ["The paper trained no strong MobileViTv2 members; ours stand below the means, outside of them."],
        "table3": ["A cell is the mean of the scores of its five bags (not the score of their vote)."],
        "table4": [choice, LAST, optimism],
        "table5": ["The paper's numbers are for the LSD test faces; no other team's network was run here."],
        "claims": [*_describe_rule(matrix), ONE_SEED, choice, optimism, *([] if on_test else [LEANING])],
    }[table]
    if table in ("table2", "table3") and on_test:
        notes.append("The paper prints no test scores of single members.")
    if table in ("table4", "claims") and not matrix.is_release:
        notes.append("The challenge's baseline was measured on the release's faces: it cannot be compared with ours.")
    if table in ("table2", "table3", "table4") and random:
        notes.append(ARCHITECTURE)
    return tuple(notes)


def list_common_notes(matrix: Matrix) -> tuple[str, ...]:
    """What is to be known beside every table of these runs: runs, faces, intervals, comparability."""
    notes, recipe = [_describe_runs(matrix), _describe_faces(matrix)], matrix.runs[0].member.recipe
    notes += [_describe_intervals(matrix), *([] if matrix.is_release else [OTHER_FACES])]
    if recipe.features < PAPER.features:
        notes.append(f"The networks of the recipe {recipe.name} are smaller than the paper's.")
    return tuple(notes)


def _describe_runs(matrix: Matrix) -> str:
    runs, recipe, seeds = matrix.runs, matrix.runs[0].member.recipe, {"strong": set(), "weak": set()}
    for run in runs:
        seeds["weak" if run.member.bag else "strong"].add(run.member.seed)
    listed = {strength: ", ".join(map(str, sorted(own))) or "none" for strength, own in seeds.items()}
    named = RECIPES.get(recipe.name, recipe)
    changed = [name for name in SETTABLE if getattr(recipe, name) != getattr(named, name)]
    settings = "".join(f", {name} {getattr(recipe, name)}" for name in changed)
    epochs = " or ".join(map(str, sorted({run.member.epochs for run in runs})))
    text = (
        f"Runs: {len(runs)} in the folder {matrix.folder.resolve().name}, recipe {recipe.name}{settings}, "
        f"{epochs} epochs, {recipe.image_size} px; seeds of strong members {listed['strong']}, of weak "
        f"members {listed['weak']}; the emotion branch started from {runs[0].weights_source('emotion')} weights."
    )
    if matrix.left_out:
        text += f" Left out, because no table holds them: {', '.join(matrix.left_out)}."
    return text


def _describe_faces(matrix: Matrix) -> str:
    known = "subjects not known for every face, which count as independent"
    if "subjects" in matrix.units:
        known = f"{matrix.units['subjects']} subjects"
    absent = f" None shows {', '.join(matrix.absent)}, which scores 0 in every macro F1." if matrix.absent else ""
    kind = describe_kind(matrix.runs[0].kind)
    return f"Faces: {matrix.units['faces']:,} {matrix.split} faces ({kind}), {known}.{absent}"


def _describe_intervals(matrix: Matrix) -> str:
    over = "faces, and beside it over whole subjects" if "subjects" in matrix.units else "faces"
    few = matrix.units.get("subjects", FEW_SUBJECTS) < FEW_SUBJECTS
    return (
        f"Intervals: 95%, percentile bootstrap over {over} of the mean over seeds, {RESAMPLES:,} resamples, the same "
        "for every cell; seeds that differ beyond chance widen it (t of few degrees of freedom). In Tables 2 to 4 the "
        "interval of a cell with one seed holds nothing of the seed. SD over seeds has n - 1 in its divisor."
        + (" So few subjects make the intervals over them rough, and rather too narrow." if few else "")
    )


def _describe_choice(matrix: Matrix) -> str:
    strong = {seed: [run.member.seed for run in each.runs] for seed, each in matrix.chosen[BEST_STRONG.id].items()}
    words = ", ".join(f"weak {seed} with strong {own[0] if own else 'none'}" for seed, own in strong.items())
    return (
        f"Ensembles: the rules choose members by validation macro F1, seed by seed ({words}); the vote is of "
        f"{matrix.runs[0].member.recipe.vote}. Best strong is the strong member of Table 2 with the best validation "
        "macro F1, chosen the same way."
    )


def _describe_rule(matrix: Matrix) -> list[str]:
    printed = "validation numbers" + (" (of claims d and h: test numbers)" if matrix.split == "test" else "")
    return [
        "Rule: a difference holds where its whole 95% interval lies above 0, does not where it lies below 0, else it "
        "is not decided. A statement of several differences holds where all hold, does not where one does not, is not "
        "run where a cell is missing, else not decided. The intervals are paired (the same resampled "
        f"{matrix.unit} for both sides) and not corrected for the number of statements. Claim l compares the faces of "
        "both splits.",
        "Chance alone makes a statement of n differences hold at most as often as one of them (2.5%), and fail up to n "
        "times as often.",
        f"By the paper's numbers: the sign of the difference of the paper's printed {printed}, which come without any "
        "interval.",
    ]
