"""An audit of a store with known faults: each is found, named, ranked, and the store stays as it is."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import FLIP
from lsdkit.data.audit import measuring
from lsdkit.data.audit.findings import SEVERITIES, describe_findings, rank_findings
from lsdkit.data.audit.report import draw_figures, write_audit
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store

SIDE = 48
PER_CLASS = {"train": 24, "validation": 21, "test": 21}


def picture(generator: np.random.Generator) -> Image.Image:
    """A smooth coloured picture: few low waves in each channel."""
    waves = np.cos(np.pi * np.outer((np.arange(SIDE) + 0.5) / SIDE, np.arange(24)))
    fall = 1 / (1 + np.add.outer(np.arange(24), np.arange(24))) ** 1.2
    shared = generator.normal(size=(24, 24)) * fall
    pixels = np.stack([waves @ (shared + 0.3 * generator.normal(size=(24, 24)) * fall) @ waves.T for _ in range(3)], -1)
    return Image.fromarray((127 + 110 * pixels / np.abs(pixels).max()).astype(np.uint8))


def face(generator: np.random.Generator) -> np.ndarray:
    """Landmarks that could be a face's: eyes above the mouth, some noise."""
    points = np.random.default_rng(5).uniform(-0.25, 0.25, (68, 2))
    points[:, 1] += 0.1
    points[36:42] += [-0.4, -0.3]
    points[42:48] += [0.4, -0.3]
    points[48:] += [0, 0.4]
    return points + generator.normal(0, 0.01, (68, 2))


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Store:
    """Six classes in three splits; copies, grey, flat, tiny, dark and misplaced ones put in at known places."""
    root, generator = tmp_path_factory.mktemp("faulty"), np.random.default_rng(0)
    images, rows, landmarks = {}, [], {}
    for split, count in PER_CLASS.items():
        for name in EXPRESSIONS:
            for number in range(count):
                key = f"{split}/{name}/{number}"
                images[key], landmarks[key] = picture(generator), face(generator)
                if split == "test":
                    images[key] = ImageEnhance.Brightness(images[key]).enhance(0.6)
                subject = f"{split[:2]}{number % 7}"
                rows.append([key, split, name, subject, f"{key.replace('/', '-')}.png"])
    exact = images["train/ANGER/0"]
    images["test/ANGER/0"] = exact
    images["test/FEAR/1"] = exact  # and another expression
    images["validation/FEAR/0"] = ImageEnhance.Brightness(images["train/FEAR/3"]).enhance(0.8)
    images["train/SADNESS/5"] = images["train/SADNESS/4"].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for number in range(22):
        images[f"train/DISGUST/{number}"] = images[f"train/DISGUST/{number}"].convert("L")
    images["train/SURPRISE/2"] = Image.new("RGB", (SIDE, SIDE), (90, 91, 95))
    for number in range(3):
        images[f"validation/HAPPINESS/{number}"] = images[f"validation/HAPPINESS/{number}"].resize((20, 20))
    landmarks["train/ANGER/7"] = landmarks["train/ANGER/7"][FLIP]
    landmarks["train/ANGER/8"] = landmarks["train/ANGER/8"] + [0, 3]
    del landmarks["train/ANGER/9"]
    for row in rows:
        if row[0] == "test/ANGER/3":
            row[3] = "tr1"
        images[row[0]].save(root / row[4])
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    lost = [{"path": f"fear/{n}.jpg", "reason": "no_face", "detail": "none"} for n in range(40)]
    lost += [{"path": "anger/x.jpg", "reason": "unreadable", "detail": "0 bytes"}]
    options = {"size": SIDE, "kind": "photographs", "source": str(root), "settings": {}, "root": root, "left_out": lost}
    return write_store(root / "store", table, landmarks, progress=False, **options)


@pytest.fixture(scope="module")
def found(faulty) -> measuring.Audit:
    return measuring.audit(faulty, progress=False)


def list_findings(report: dict, check: str) -> list[tuple[str, str]]:
    return [(item["severity"], item["found"]) for item in report["findings"] if item["check"] == check]


def test_copies_are_counted_by_split_and_named(found):
    copies = found.report["copies"]
    assert copies["pairs"] == {
        "exact": {"train-test": 2, "test": 1},
        "near": {"train-validation": 1},
        "mirrored": {"train": 1},
    }
    assert copies["pairs_of_two_expressions"] == {"exact": 2, "near": 0, "mirrored": 0}
    assert copies["faces_with_copy_in_train"] == {"validation": 1, "test": 2}
    assert (copies["groups"], copies["faces_in_groups"], copies["complete"]) == (3, 7, True)
    named = {(pair["first"], pair["second"]): (pair["kind"], pair["bits"]) for pair in copies["named"]}
    assert named["train/ANGER/0", "test/ANGER/0"] == ("exact", 0)
    assert named["train/FEAR/3", "validation/FEAR/0"][0] == "near"
    assert named["train/SADNESS/4", "train/SADNESS/5"][0] == "mirrored"
    nearest = copies["nearest_in_train"]["test"]
    assert nearest["looked_up"] == 126
    assert nearest["named"][0]["nearest"] == "train/ANGER/0"
    json.dumps(found.report, allow_nan=False)


def test_copies_lead_the_findings(found):
    severities = [item["severity"] for item in found.report["findings"]]
    assert severities == sorted(severities, key=SEVERITIES.index)
    first = found.report["findings"][0]
    assert first["found"].startswith("2 identical pairs of a train and a test face, such as train/ANGER/0 and test/")
    assert "take the copies out of train" in first["advice"]
    assert ("error", "2 identical pairs with two different expressions.") in list_findings(found.report, "labels")


def test_subjects(found):
    subjects = found.report["subjects"]
    assert subjects["known_share"] == 1
    assert subjects["count"] == {"train": 7, "validation": 7, "test": 8}
    (shared,) = subjects["shared"]
    assert shared == {"first": "train", "second": "test", "subjects": 1, "named": ["tr1"], "faces_in_second": 1}
    assert ("error", "1 subject of test (1 face) is in train too.") in list_findings(found.report, "subjects")
    largest = subjects["largest_of_class"]["FEAR"]
    assert (largest["faces"], largest["share"]) == (4, pytest.approx(4 / 24))
    assert largest["subject"] in ("tr0", "tr1", "tr2")


def test_grey_flat_and_tiny(found):
    images = found.report["images"]
    assert images["source_sizes_known"] == len(found.faces)
    assert images["grey"]["faces"] == 22
    assert images["grey"]["share_by_class"]["DISGUST"] == pytest.approx(22 / 66, abs=1e-4)
    assert images["flat"]["named"] == ["train/SURPRISE/2"]
    assert images["tiny"]["named"] == [f"validation/HAPPINESS/{n}" for n in range(3)]
    assert ("warning", "33% of DISGUST but 0% of ANGER are grey.") in list_findings(found.report, "grey")
    assert list_findings(found.report, "flat")[0][0] == "warning"
    assert found.faces["source_size"].value_counts().to_dict() == {48: len(found.faces) - 3, 20: 3}


def test_left_out_by_class(found):
    assert found.report["left_out"]["reasons"] == {"no_face": 40, "unreadable": 1}
    assert found.report["left_out"]["no_face_by_class"]["FEAR"]["share"] == pytest.approx(40 / 106)
    texts = list_findings(found.report, "left out")
    assert ("warning", "No face was found in 38% of FEAR but 0% of ANGER.") in texts
    assert ("note", "1 image left out as unreadable (0.2% of all).") in texts


def test_drift_has_sizes_not_only_names(found):
    drift = {(part["measure"], part["first"], part["second"]): part for part in found.report["drift"]}
    dark = drift["brightness", "train", "test"]
    assert dark["mean_second"] < 0.65 * dark["mean_first"]
    assert dark["smd"] < -1.5
    assert dark["ks"] > 0.6
    assert abs(drift["brightness", "train", "validation"]["smd"]) < 0.3
    severity, text = list_findings(found.report, "drift")[0]
    assert severity == "warning"
    assert text.startswith("train and test differ in brightness (1")
    assert "SD, gap 0.7" in text
    shares = found.report["class_share_of_variance"]
    assert shares["colour"] > 0.14 > shares["brightness"]


def test_landmarks(found, faulty):
    part = found.report["landmarks"]
    assert part["missing"] == 1
    assert part["missing_share_by_class"]["ANGER"] == pytest.approx(1 / 66, abs=1e-4)
    assert part["implausible"]["named"] == ["train/ANGER/7", "train/ANGER/8"]
    assert part["shape_distance"]["outliers"] == 1  # a shift does not change the shape
    assert part["shape_distance"]["farthest"][0]["key"] == "train/ANGER/7"
    assert np.isnan(found.faces["shape_distance"][faulty.keys.index("train/ANGER/9")])


def test_classes(found):
    assert found.report["classes"]["train"]["ratio"] == 1
    assert found.report["classes"]["train"]["evenness"] == pytest.approx(1)
    assert list_findings(found.report, "classes") == []
    balance = measuring._measure_balance(np.array([0, 1, 2, 40, 5, 0]))
    assert balance["absent"] == ["ANGER", "SURPRISE"]
    assert (balance["largest"], balance["smallest"], balance["ratio"]) == ("HAPPINESS", "DISGUST", 40)
    texts = [item["found"] for item in rank_findings({**found.report, "classes": {"train": balance}})]
    assert "train has no face of ANGER, SURPRISE." in texts
    assert "HAPPINESS has 40.0 times as many training faces as DISGUST." in texts
    assert "There is no labelled validation split." in texts


def test_files_and_figures(faulty, tmp_path):
    before = {path.name: files.sha256(path) for path in faulty.path.iterdir()}
    text = write_audit(faulty.path, tmp_path / "out", progress=False)
    assert text.splitlines()[0].startswith("store: 396 faces (photographs), 48 px. 3 errors, ")
    assert {path.name: files.sha256(path) for path in faulty.path.iterdir()} == before
    names = {"classes", "subjects", "drift", "landmark_distances", "landmarks", "copies", "nearest"}
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == names
    report = files.read_json(tmp_path / "out" / "audit.json")
    assert report["format"] == 1
    assert describe_findings(report) in text
    assert len(pd.read_csv(tmp_path / "out" / "audit_faces.csv")) == 396
    assert pd.read_csv(tmp_path / "out" / "audit_pairs.csv")["first"][0] == "train/ANGER/0"


def test_the_store_is_never_written_to(faulty):
    with pytest.raises(ValueError, match="Expected `out` outside the store"):
        write_audit(faulty.path, faulty.path / "audit")


def test_damage_is_an_error(tmp_path, faulty):
    store = Store(
        faulty.path, {**faulty.manifest, "checksums": {"faces.csv": "0"}}, faulty.faces, faulty.images, faulty.landmarks
    )
    found = measuring.audit(store, sources=False, progress=False)
    assert found.report["findings"][0]["check"] == "files"
    assert "is damaged: faces.csv" in found.report["findings"][0]["found"]
    assert "396 faces are not there" in describe_findings(found.report)


def test_a_store_of_one_unlabelled_face_without_landmarks(tmp_path):
    picture(np.random.default_rng(0)).save(tmp_path / "a.png")
    table = pd.DataFrame(
        [["test/a", "test", "", "", "a.png"]], columns=["key", "split", "expression", "subject", "path"]
    )
    options = {"size": None, "kind": "photographs", "source": "x", "settings": {}, "root": tmp_path, "progress": False}
    store = write_store(tmp_path / "store", table, {}, **options)
    found = measuring.audit(store, progress=False)
    assert draw_figures(store, found) == {}
    assert "1 face" in describe_findings(found.report)
    json.dumps(found.report, allow_nan=False)
