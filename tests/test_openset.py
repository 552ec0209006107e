"""Faces and releases of the open set: the same for the same seed, readable, and laid out as the LSD release is."""

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lsdkit.expressions import EXPRESSIONS, RELEASE_FOLDERS
from lsdkit.faces import read_release
from lsdkit.openset import release as release_module
from lsdkit.openset import render_face, render_release
from lsdkit.openset.actions import draw_actions
from lsdkit.openset.appearance import SWITCHES
from lsdkit.openset.head import LANDMARK_VERTICES, load_head
from lsdkit.openset.plan import TRAIN_COUNTS, VALIDATION_COUNTS, plan_release, shared_out, subject_seed
from lsdkit.openset.release import read_faces
from lsdkit.openset.variants import VARIANTS, draw_variant, variant_of
from lsdkit.prepare import prepare_release
from lsdkit.seeds import numpy_generator

SMALL = {"fraction": 1e-5, "validation": 8, "test": 7, "pixels": 32, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    return render_release(tmp_path_factory.mktemp("open") / "set", jobs=1, **SMALL)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_face_depends_on_its_arguments_alone():
    first = render_face("FEAR", seed=3, subject_seed=5, pixels=48)
    assert same(first, render_face("FEAR", seed=3, subject_seed=5, pixels=48, variant=first.variant)) is not None
    render_face("ANGER", seed=9, subject_seed=1, pixels=48)
    assert same(first, render_face("FEAR", seed=3, subject_seed=5, pixels=48))
    for change in ({"seed": 4}, {"subject_seed": 6}, {"style": "photographic"}):
        assert not same(first, render_face("FEAR", **{"seed": 3, "subject_seed": 5, "pixels": 48} | change))


@pytest.mark.parametrize("style", ["training", "photographic"])
def test_landmarks_lie_in_the_picture_and_where_a_face_has_them(style):
    for seed in range(8):
        face = render_face(EXPRESSIONS[seed % 6], seed=seed, subject_seed=seed, style=style, pixels=40)
        assert face.image.shape == (40, 40, 3)
        assert face.image.dtype == np.uint8
        assert face.image.std() > 10
        points = face.landmarks
        assert points.shape == (68, 2)
        assert points.dtype == np.float32
        assert np.abs(points).max() < 1
        eye, other, mouth = points[36:42].mean(0), points[42:48].mean(0), points[48:68].mean(0)
        assert eye[0] < other[0]  # the subject's right eye is on the left
        assert max(eye[1], other[1]) < points[30, 1] < mouth[1] < points[8, 1]  # eyes, nose, mouth, chin
        assert points[[19, 24], 1].max() < max(eye[1], other[1])  # brows
        assert points[0, 0] < points[8, 0] < points[16, 0]
        anchors = (np.array([eye, other, mouth]) + 1) / 2
        assert anchors == pytest.approx(np.array([[0.31, 0.40], [0.69, 0.40], [0.50, 0.635]]), abs=0.16)


def test_the_landmarks_mirror_on_the_resting_head():
    head = load_head()
    assert len(set(LANDMARK_VERTICES.split())) == 68
    points = head.rest[head.landmarks].astype(np.float64).mean(1)
    mirrored = {tuple(point) for point in (points * [-1, 1, 1]).round(3).tolist()}
    assert mirrored == {tuple(point) for point in (points + 0.0).round(3).tolist()}


def test_every_expression_has_variants_of_known_actions():
    head = load_head()
    assert len(head.unit_names) == 52
    for expression in EXPRESSIONS:
        assert 3 <= len(VARIANTS[expression]) <= 5
        for variant in VARIANTS[expression]:
            for seed in range(5):
                actions, gaze, intensity = draw_actions(head, variant, np.random.default_rng(seed), (0.7, 1.1))
                assert 0.7 <= intensity <= 1.1
                assert actions.shape == (52,)
                assert np.isfinite(gaze).all()
                assert (actions >= 0).all()
                for side in ("Left", "Right"):
                    closed = actions[head.unit(f"eyeBlink{side}")] + 0.4 * actions[head.unit(f"eyeSquint{side}")]
                    assert closed <= 1 + 1e-6


def test_mouths_do_what_the_expressions_say():
    """Corners of the mouth rise in a smile and fall in sadness; the mouth opens in surprise; brows sink in anger."""

    def shape(expression: str, variant: str) -> tuple[float, float, float]:
        values = []
        for seed in range(6):
            p = render_face(expression, variant=variant, seed=seed, subject_seed=seed, pixels=24).landmarks
            unit = np.linalg.norm(p[36:42].mean(0) - p[42:48].mean(0))
            corners = p[51, 1] - p[[48, 54], 1].mean()
            brow = p[[37, 44], 1].mean() - p[[20, 23], 1].mean()
            values.append(np.array([corners, p[66, 1] - p[62, 1], brow]) / unit)
        return tuple(np.mean(values, 0))

    rest, smile, sad = shape("NEUTRAL", "rest"), shape("HAPPINESS", "smile"), shape("SADNESS", "frown")
    surprise, anger = shape("SURPRISE", "open"), shape("ANGER", "pressed")
    assert smile[0] > rest[0] + 0.05 > rest[0] - 0.03 > sad[0]
    assert surprise[1] > rest[1] + 0.15
    assert surprise[2] > rest[2] + 0.05
    assert anger[2] < rest[2] - 0.03


def test_wrong_names_say_what_is_right():
    with pytest.raises(ValueError, match="ANGER, DISGUST"):
        render_face("JOY", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="pressed, shouting"):
        render_face("ANGER", variant="mild", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="training, photographic"):
        render_face("ANGER", style="film", seed=0, subject_seed=0)
    with pytest.raises(ValueError, match="at least 16"):
        render_face("ANGER", seed=0, subject_seed=0, pixels=8)
    assert variant_of("FEAR", "open").name == "open"


def test_the_plan_has_the_release_counts_and_keeps_the_test_subjects_apart():
    rows = plan_release(fraction=0.01, validation=600, test=600, seed=0)
    assert (
        len({row.key for row in rows})
        == len({row.path for row in rows})
        == len({row.seed for row in rows})
        == len(rows)
    )
    by_split = {split: [row for row in rows if row.split == split] for split in ("train", "validation", "test")}
    assert [len(part) for part in by_split.values()] == [2773, 600, 600]
    counts = [sum(row.expression == name for row in by_split["train"]) for name in EXPRESSIONS]
    assert counts == [round(0.01 * count) for count in TRAIN_COUNTS]
    subjects = {split: {row.subject for row in part} for split, part in by_split.items()}
    assert subjects["validation"] <= subjects["train"]
    assert not subjects["test"] & subjects["train"]
    sad = [row.subject for row in by_split["train"] if row.expression == "SADNESS"]
    shares = sorted((sad.count(subject) for subject in set(sad)), reverse=True)
    assert shares[0] > 5 * shares[-1] > 0  # uneven, as in the paper's figure 3
    assert plan_release(fraction=0.01, validation=600, test=600, seed=1) != rows
    assert sum(shared_out(601, VALIDATION_COUNTS)) == 601


@pytest.mark.parametrize(
    "change", [{"fraction": 0.0}, {"fraction": 1.5}, {"validation": 3}, {"test": -1}, {"pixels": 4}]
)
def test_settings_out_of_range_are_refused_before_anything_is_written(tmp_path, change):
    with pytest.raises(ValueError, match=f"`{next(iter(change))}`"):
        render_release(tmp_path / "set", **SMALL | change)
    assert not list(tmp_path.iterdir())


def test_a_release_has_the_layout_and_a_readable_table(release):
    for folder, name in zip(RELEASE_FOLDERS, EXPRESSIONS, strict=True):
        assert len(list((release / "training_set_synthetic_images" / folder).glob("*.jpg"))) == 8
        assert list((release / "validation_set_real_images" / name).glob("*.jpg"))
    assert len(list((release / "lsd_test_data").glob("*.jpg"))) == 7
    assert (release / "lsd_test_data" / "list.csv").read_text().splitlines()[:2] == ["image,expression", "0.jpg,"]
    text = (release / "README.txt").read_text()
    assert "RENDERED" in text
    assert "CC0" in text
    rows = read_faces(release)
    assert len(rows) == 48 + 8 + 7
    for row in rows[::9]:
        assert np.abs([float(row[f"{axis}{n}"]) for n in range(68) for axis in "xy"]).max() < 1
    table, left_out = read_release(release)
    assert not left_out
    assert set(table["key"]) == {row["key"] for row in rows}
    assert (table["expression"] != "").all()  # test labels come from faces.csv
    assert (table["subject"] != "").all()


def test_a_row_of_the_table_renders_its_picture_again(release):
    row = next(row for row in read_faces(release) if row["key"] == "train/SURPRISE/3")
    face = render_face(
        row["expression"],
        variant=row["variant"],
        seed=int(row["seed"]),
        subject_seed=subject_seed(0, row["subject"]),
        pixels=32,
    )
    with Image.open(release / "training_set_synthetic_images" / "SURPRISE" / "3.jpg") as image:
        difference = np.abs(np.asarray(image, int) - face.image).mean()
    assert difference < 6  # what JPEG takes
    assert float(row["x30"]) == pytest.approx(face.landmarks[30, 0], abs=1e-5)
    assert float(row["intensity"]) == pytest.approx(face.intensity, abs=1e-5)
    assert [float(row[name]) for name in ("yaw", "pitch", "roll")] == pytest.approx(face.pose.tolist(), abs=1e-5)
    assert [float(row[name]) for name in ("gaze_left", "gaze_up")] == pytest.approx(face.gaze.tolist(), abs=1e-5)
    moved = next(moved for moved in read_faces(release, "actions") if moved["key"] == row["key"])
    assert [float(moved[name]) for name in load_head().unit_names] == pytest.approx(face.actions.tolist(), abs=1e-5)


def test_every_table_has_a_row_for_each_face_in_the_same_order(release):
    tables = {name: pd.read_csv(release / f"{name}.csv", dtype={"key": str}) for name in release_module.TABLES}
    assert all(table["key"].tolist() == tables["faces"]["key"].tolist() for table in tables.values())
    assert all(table.notna().all(axis=None) for table in tables.values())
    assert list(tables["actions"].columns) == ["key", *load_head().unit_names]
    faces, points = tables["faces"], list(release_module.POINTS)
    assert set(faces["style"][faces["split"] == "train"]) == {"training"}
    assert set(faces["style"][faces["split"] != "train"]) == {"photographic"}
    assert (faces[points[34:]] == tables["contour"][points[34:]]).all(axis=None)
    assert (faces[points[:34]] != tables["contour"][points[:34]]).any(axis=None)
    smiles = tables["actions"][faces["expression"] == "HAPPINESS"]["mouthSmileLeft"]
    assert smiles.mean() > tables["actions"][faces["expression"] == "SADNESS"]["mouthSmileLeft"].mean() + 0.3


def test_a_store_can_take_the_outline_instead_of_the_jaw(release, tmp_path):
    options = {"progress": False, "jobs": 1}
    store = prepare_release(release, tmp_path / "store", landmarks=f"table:{release / 'contour.csv'}", **options)
    row = next(row for row in read_faces(release, "contour") if row["key"] == store.faces["key"].iloc[0])
    wanted = np.array([float(row[name]) for name in release_module.POINTS]).reshape(68, 2)
    assert store.landmarks[0] == pytest.approx(wanted, abs=1e-5)
    assert store.kind == "rendered"


def test_the_roll_that_is_recorded_is_what_the_picture_shows():
    """On average over people the line of the eyes leans as the head does, whatever crop and camera did."""
    rolls, leans = [], []
    for seed in range(40):
        face = render_face("NEUTRAL", seed=seed, subject_seed=seed, style="photographic", pixels=16)
        across = face.landmarks[42:48].mean(0) - face.landmarks[36:42].mean(0)
        rolls.append(face.pose[2])
        leans.append(-np.degrees(np.arctan2(across[1], across[0])))
    assert np.mean(np.abs(np.subtract(rolls, leans))) < 2
    assert np.corrcoef(rolls, leans)[0, 1] > 0.75


def test_two_processes_write_the_same_bytes_as_one(release, tmp_path):
    assert digests(render_release(tmp_path / "set", jobs=2, **SMALL)) == digests(release)


def test_some_faces_in_another_order_have_the_same_pictures_and_rows(release, tmp_path):
    rows = plan_release(**{name: SMALL[name] for name in ("fraction", "validation", "test")}, seed=0)[::-9]
    release_module.render_block(tmp_path, 0, rows, SMALL["pixels"], 0)
    for row in rows:
        assert (tmp_path / row.path).read_bytes() == (release / row.path).read_bytes()
    for table in release_module.TABLES:
        lines = {line.split(",")[0]: line for line in (release / f"{table}.csv").read_text().splitlines()}
        found = (tmp_path / "blocks" / f"{table}-0.csv").read_text().splitlines()
        assert found == [lines[row.key] for row in rows]


def test_an_interrupted_release_is_resumed(release, tmp_path, monkeypatch):
    rendered = []
    original = release_module.render_block

    def failing(partial, number, *rest):
        if len(rendered) == 1:
            raise KeyboardInterrupt
        rendered.append(number)
        return original(partial, number, *rest)

    monkeypatch.setattr(release_module, "render_block", failing)
    with pytest.raises(KeyboardInterrupt):
        render_release(tmp_path / "set", jobs=1, **SMALL)
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(release_module, "render_block", lambda *args: rendered.append(args[1]) or original(*args))
    render_release(tmp_path / "set", jobs=1, **SMALL)
    assert rendered == [0, 1]
    assert digests(tmp_path / "set") == digests(release)


def test_a_complete_release_is_kept_and_another_one_is_not_overwritten(release, monkeypatch):
    monkeypatch.setattr(release_module, "render_block", None)
    assert render_release(release, jobs=1, **SMALL) == release
    with pytest.raises(FileExistsError, match="delete the folder"):
        render_release(release, jobs=1, **SMALL | {"seed": 1})


def test_expressions_differ_more_than_chance_on_the_rendered_face():
    """The same person and shot: an expression changes the picture, mostly around mouth and brows."""
    faces = [render_face(name, seed=1, subject_seed=2, pixels=48).image.astype(float) for name in EXPRESSIONS]
    gaps = [np.abs(one - other).mean() for i, one in enumerate(faces) for other in faces[i + 1 :]]
    assert min(gaps) > 1
    assert numpy_generator(0, "face").random() != numpy_generator(1, "face").random()


def test_a_varied_design_has_equal_classes_many_people_and_the_style_of_photographs():
    rows = plan_release(fraction=0.01, validation=60, test=60, seed=0, design="varied")
    train = [row for row in rows if row.split == "train"]
    counts = Counter(row.expression for row in train)
    assert set(counts.values()) == {round(0.01 * sum(TRAIN_COUNTS) / 6)}
    assert {row.style for row in rows} == {"photographic"}
    assert len({row.subject for row in train}) > 500
    assert not {row.subject for row in train} & {row.subject for row in rows if row.split == "test"}
    plain = plan_release(fraction=0.01, validation=60, test=60, seed=0)
    assert {row.split: row.style for row in plain}["train"] == "training"
    with pytest.raises(ValueError, match="release, varied"):
        plan_release(fraction=0.01, validation=60, test=60, seed=0, design="even")


def _rendered(without=(), *, seed=4, subject_seed=9, expression="HAPPINESS", variant="toothy"):
    options = {"variant": variant, "style": "photographic", "pixels": 64, "without": without}
    return render_face(expression, seed=seed, subject_seed=subject_seed, **options)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_source_of_variety_changes_the_picture(name):
    assert (_rendered().image != _rendered((name,)).image).mean() > 0.002


def test_a_source_that_is_switched_off_varies_no_more():
    assert np.abs(_rendered(("pose",)).pose[:2]).max() == 0
    assert np.abs(_rendered().pose[:2]).max() > 0
    # one shape for all people: the same landmarks within the face (hair, which is a look, moves the temples)
    same, other = (_rendered(("identity",), subject_seed=person).landmarks[17:] for person in (9, 10))
    assert np.array_equal(same, other)
    assert not np.array_equal(_rendered().landmarks, _rendered(subject_seed=10).landmarks)
    # one look and one shape: people no longer differ at all
    one, two = (_rendered(("identity", "appearance"), subject_seed=person).image for person in (9, 10))
    assert np.array_equal(one, two)
    # light, colours, lens and damage do not move a landmark; nor do creases and teeth
    for name in ("appearance", "degradation", "wrinkles", "teeth"):
        assert np.array_equal(_rendered((name,)).landmarks[17:], _rendered().landmarks[17:])
    with pytest.raises(ValueError, match="identity, appearance"):
        _rendered(("hat",))


def test_variants_are_drawn_by_their_shares():
    drawn = Counter(draw_variant("HAPPINESS", numpy_generator(n, "test")) for n in range(4000))
    total = sum(variant.share for variant in VARIANTS["HAPPINESS"])
    for variant in VARIANTS["HAPPINESS"]:
        assert drawn[variant.name] / 4000 == pytest.approx(variant.share / total, abs=0.03)


def test_processes_that_render_do_without_torch():
    code = "import sys, lsdkit.openset.release; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
