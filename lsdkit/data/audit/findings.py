"""Sentences from the measurements of an audit: how bad, what was found, what to do; the worst first.

An *error* makes a score wrong (the same face in training and test), a *warning* may mislead, a *note* is to be known.
The limits are conventions, given here by name; the numbers are in audit.json for those who prefer others.
"""

from collections import Counter
from collections.abc import Iterator

SEVERITIES = ("error", "warning", "note")
UNEVEN, FEW, DOMINANT = 3.0, 20, 0.25  # largest to smallest class; faces of a class; share of one subject in a class
SMALL, LARGE = 0.2, 0.8  # |SMD|: below the first nothing is said, from the second on it is a warning (Cohen 1988)
KS_SMALL, KS_LARGE = 0.15, 0.4  # the same for the gap of the cumulative shares
APART, LOST = 0.15, 0.1  # share by which two splits or classes may differ; share of images that may be left out
SHORTCUT = 0.06, 0.14  # share of a measure's variance that lies between classes: medium and large (Cohen 1988)
SCENE = 60  # bits: below it the nearest pairs of the photographs tried were the same person in the same scene

Findings = Iterator[tuple[str, str, str, str]]  # severity, check, what was found, what to do


def rank_findings(report: dict) -> list[dict]:
    """Findings of an audit's report, worst first: dictionaries of severity, check, found and advice."""
    checks = (_damage, _copies, _subjects, _classes, _left_out, _images, _drift, _landmarks)
    findings = [item for check in checks for item in check(report)]
    findings.sort(key=lambda item: SEVERITIES.index(item[0]))  # stable: in the order of the checks within a severity
    return [dict(zip(("severity", "check", "found", "advice"), item, strict=True)) for item in findings]


def describe_findings(report: dict) -> str:
    """The findings as lines of text, with a first line that counts them."""
    store, findings = report["store"], report["findings"]
    counts = Counter(item["severity"] for item in findings)
    heads = ", ".join(f"{_count(counts[name], name)}" for name in SEVERITIES)
    lines = [f"{store['name']}: {store['faces']:,} faces ({store['kind']}), {store['size']} px. {heads}"]
    lines += [f"{item['severity']:<7} {item['check']}: {item['found']} {item['advice']}".rstrip() for item in findings]
    return "\n".join(lines)


def _damage(report: dict) -> Findings:
    if report["damage"]:
        yield "error", "files", f"{report['damage']}.", ""


def _copies(report: dict) -> Findings:
    copies, names = report["copies"], {"exact": "identical", "near": "nearly identical", "mirrored": "mirrored"}
    if not copies["complete"]:
        yield "warning", "copies", "There are more near pairs than were kept: the counts are lower bounds.", ""
    for kind, name in names.items():
        for where, count in copies["pairs"][kind].items():
            example = next((pair for pair in copies["named"] if (pair["kind"], pair["where"]) == (kind, where)), None)
            such = f", such as {example['first']} and {example['second']}" if example else ""
            if "-" in where:
                worst = "error" if kind == "exact" and where.startswith("train-") else "warning"
                first, second = where.split("-")
                text = f"{_count(count, f'{name} pair')} of a {first} and a {second} face{such}."
                advice = f"Look at copies.png; take the copies out of {first}, or scores are too high."
                yield worst, "copies", text, advice
            else:
                text = f"{_count(count, f'{name} pair')} within {where}{such}."
                yield "note", "copies", text, "A repeated face weighs more than one."
    for kind, count in copies["pairs_of_two_expressions"].items():
        if count:
            worst = "error" if kind == "exact" else "warning"
            text = f"{_count(count, f'{names[kind]} pair')} with two different expressions."
            yield worst, "labels", text, "At most one of the two labels is right: mend them, or leave both out."
    for split, part in copies["nearest_in_train"].items():
        least, median = part["bits_least_median"]
        if copies["threshold"] < least < SCENE and report["store"]["kind"] == "photographs":
            pair = part["named"][0]
            text = f"The nearest faces of {split} and train are {least} of 256 bits apart (median {median:g})"
            text += f": {pair['row']} and {pair['nearest']}."
            advice = "May be one scene photographed twice: look at nearest.png, split by subject."
            yield "warning", "copies", text, advice


def _subjects(report: dict) -> Findings:
    subjects = report["subjects"]
    if subjects["known_share"] == 0:
        yield "note", "subjects", "No subjects are named.", "Whether a person is in two splits cannot be checked."
        return
    if subjects["known_share"] < 1:
        yield "note", "subjects", f"{1 - subjects['known_share']:.0%} of the faces name no subject.", ""
    for pair in subjects["shared"]:
        text = f"{_count(pair['subjects'], 'subject')} of {pair['second']} ({_faces(pair['faces_in_second'])}) "
        text += f"{'is' if pair['subjects'] == 1 else 'are'} in {pair['first']} too."
        worst = "error" if (pair["first"], pair["second"]) == ("train", "test") else "warning"
        advice = f"Scores on {pair['second']} say little of people who were never seen: split by subject."
        yield worst, "subjects", text, advice
    for name, top in subjects["largest_of_class"].items():
        if top["share"] > DOMINANT:
            text = f"{top['subject']} has {top['share']:.0%} of the training faces of {name} ({top['faces']:,})."
            yield "warning", "subjects", text, "The class may be learned as that person: add people, or weigh subjects."


def _classes(report: dict) -> Findings:
    for split, part in report["classes"].items():
        if part["absent"]:
            worst = "error" if split == "train" else "warning"
            advice = "It cannot be learned." if split == "train" else "Macro F1 counts it as 0."
            yield worst, "classes", f"{split} has no face of {', '.join(part['absent'])}.", advice
        if part["fewest"] < FEW:
            text = f"{split} has only {_faces(part['fewest'])} of {part['smallest']}."
            advice = "Too few to learn from." if split == "train" else "Its F1 jumps with each face: give an interval."
            yield "warning", "classes", text, advice
        if split == "train" and part["ratio"] >= UNEVEN:
            text = f"{part['largest']} has {part['ratio']:.1f} times as many training faces as {part['smallest']}."
            advice = "Score by macro F1; class weights or balanced sampling may help."
            yield ("warning" if part["ratio"] >= 10 else "note"), "classes", text, advice
    if "validation" not in report["classes"]:
        yield "warning", "classes", "There is no labelled validation split.", "An epoch cannot be chosen by its score."


def _left_out(report: dict) -> Findings:
    lost = report["left_out"]
    for reason, count in lost["reasons"].items():
        share = count / (lost["images"] + report["store"]["faces"])
        text = f"{_count(count, 'image')} left out as {reason} ({share:.1%} of all)."
        yield ("warning" if share > LOST else "note"), "left out", text, "They are named in left_out.csv."
    parts = {name: part for name, part in lost["no_face_by_class"].items() if part["of"] >= FEW}
    if parts:
        low, high = (pick(parts, key=lambda name: parts[name]["share"]) for pick in (min, max))
        if parts[high]["share"] - parts[low]["share"] > APART:
            text = f"No face was found in {parts[high]['share']:.0%} of {high} but {parts[low]['share']:.0%} of {low}."
            yield "warning", "left out", text, "What is lost is not random: a score on the rest flatters that class."


def _images(report: dict) -> Findings:
    images = report["images"]
    for kind, what in (("grey", "grey"), ("flat", "of nearly one colour"), ("tiny", "enlarged from a smaller image")):
        part = images[kind]
        if not part["faces"]:
            continue
        shares = part["share_by_split"]
        by_split = ", ".join(f"{_percent(share)} of {split}" for split, share in shares.items() if share)
        text = f"{_faces(part['faces'])} {'is' if part['faces'] == 1 else 'are'} {what} ({by_split})."
        advice = {
            "grey": "Augment with grey pictures, or train on grey ones, where training and use differ.",
            "flat": "They show no face: look at those named in audit.json.",
            "tiny": "They are blurred: do not compare fine detail.",
        }[kind]
        yield ("warning" if kind == "flat" or _range(shares) > APART else "note"), kind, text, advice
        if _range(part["share_by_class"]) > APART:
            shares = part["share_by_class"]
            low, high = (pick(shares, key=shares.get) for pick in (min, max))
            text = f"{shares[high]:.0%} of {high} but {shares[low]:.0%} of {low} are {what}."
            yield "warning", kind, text, "A network can tell classes by that: even it out."
    if missing := report["store"]["faces"] - images["source_sizes_known"]:
        text = f"The source images of {_faces(missing)} are not there: their sizes are not checked."
        yield "note", "tiny", text, ""


def _drift(report: dict) -> Findings:
    pairs: dict[tuple[str, str], list[dict]] = {}
    for part in report["drift"]:
        size = abs(part["smd"])
        beyond = size > part["smd_chance"] or part["ks"] > part["ks_chance"]
        if beyond and (size >= SMALL or part["ks"] >= KS_SMALL):
            pairs.setdefault((part["first"], part["second"]), []).append(part)
    for (first, second), parts in pairs.items():
        parts.sort(key=lambda part: -abs(part["smd"]))
        each = [
            f"{_plain(part['measure'])} ({part['mean_first']:.1f}, {part['mean_second']:.1f}; "
            f"{part['smd']:+.2f} SD, gap {part['ks']:.2f})"
            for part in parts
        ]
        advice = "Scores on the two are not of one kind."
        if first == "train":
            advice = f"Augment train until it covers {second}, or expect a lower score there."
        large = any(abs(part["smd"]) >= LARGE or part["ks"] >= KS_LARGE for part in parts)
        yield "warning" if large else "note", "drift", f"{first} and {second} differ in {', '.join(each)}.", advice
    shares = {name: share for name, share in report["class_share_of_variance"].items() if share >= SHORTCUT[0]}
    if shares:
        each = ", ".join(f"{share:.0%} of {_plain(name)}" for name, share in shares.items())
        text = f"Of the variance among training faces this much lies between the classes: {each}."
        advice = "A network can tell classes by that: even it out, or augment it away."
        yield "warning" if max(shares.values()) >= SHORTCUT[1] else "note", "drift", text, advice


def _landmarks(report: dict) -> Findings:
    part, faces = report["landmarks"], report["store"]["faces"]
    if part["missing"]:
        text = f"No landmarks for {_faces(part['missing'])} of {faces:,}."
        severity = "note" if part["missing"] < faces else "warning"
        yield severity, "landmarks", text, "The landmark loss leaves them out."
    if count := part["implausible"]["faces"]:
        text = f"The landmarks of {_faces(count)} do not lie where a face's can, such as "
        text += f"{part['implausible']['named'][0]}."
        advice = "Look at landmarks.png: were they made for another crop or axis?"
        yield ("error" if count > faces / 20 else "warning"), "landmarks", text, advice
    shape = part["shape_distance"]
    if count := shape["outliers"]:
        text = f"The landmarks of {_faces(count)} lie farther than {shape['limit']:.2f} from the mean shape"
        text += f", such as {shape['farthest'][0]['key']}." if shape["farthest"] else "."
        yield "warning", "landmarks", text, "Look at landmarks.png: strong poses are fine, wrong points are not."


def _range(shares: dict[str, float]) -> float:
    return max(shares.values()) - min(shares.values()) if shares else 0.0


def _plain(measure: str) -> str:
    return measure.replace("_", " ")


def _faces(count: int) -> str:
    return _count(count, "face")


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
