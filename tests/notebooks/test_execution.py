"""Every notebook is run by papermill on a tiny store; what counts is what it wrote."""

import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from skimage.data import astronaut

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.ensembles.beyond import MIRRORED, PLAIN
from lsdkit.ensembles.calibration import COLDEST, HOTTEST
from lsdkit.notebook.runs import IMBALANCE
from lsdkit.reading.reading import read
from lsdkit.reproduce import headless
from lsdkit.training.lines import EPOCH
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import is_finished, list_runs, read_run

pytestmark = pytest.mark.notebooks


def run(stem: str, copy: Path, environment: dict[str, str] | None = None, **parameters: object) -> str:
    """Execute a notebook with the smoke recipe; returns what went wrong, or ""."""
    job = headless.Job(stem, headless.find_notebook(stem), copy, parameters)
    error = headless.execute(job, threads=1, environment=environment)
    return error or find_wordless_pictures(copy)


def find_wordless_pictures(copy: Path) -> str:
    """Where an executed notebook shows a picture without a text in words, or "": each is HTML with an alt."""
    for number, cell in enumerate(nbformat.read(copy, as_version=4).cells):
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            images = BeautifulSoup(data.get("text/html", ""), "html.parser").find_all("img")
            if any(kind.startswith("image/") for kind in data) or not all(image.get("alt") for image in images):
                return f"cell {number} of {copy} shows a picture without a text"
    return ""


def run_twice(stem: str, copy: Path, environment: dict[str, str] | None = None, **parameters: object) -> str:
    """As `run`, and all cells once more in the same kernel, as who goes back to the first cell does."""
    notebook = papermill.iorw.load_notebook_node(str(headless.find_notebook(stem)))
    given = papermill.parameterize.parameterize_notebook(notebook, parameters)
    cells = [cell for cell in given.cells if cell.cell_type == "code"]
    given.cells = [nbformat.v4.new_code_cell(cell.source) for cell in cells * 2]
    doubled = copy.with_name(f"{copy.stem}-twice.ipynb")
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(given, doubled)
    return headless.execute(headless.Job(stem, doubled, copy), threads=1, environment=environment)


@pytest.fixture(scope="module")
def trained(tiny_store, tmp_path_factory) -> Path:
    """A folder with two runs of notebook 03: a strong one, with another recipe beside it, and a bag."""
    out = tmp_path_factory.mktemp("runs")
    for name, bag in (("strong", 0), ("weak", 1)):
        folder = out / name
        options = {"RUN_DIR": str(folder), "DATA_DIR": str(tiny_store.path), "RECIPE": "smoke", "DEVICE": "cpu"}
        varied = {"BAG": 1, "MIX": "mixup"} if bag else {"COMPARE": "small"}
        assert run("03_train", folder / "03_train.ipynb", **varied, **options) == ""
    return out


def pictures(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.png") if path.stat().st_size > 1000}


def test_01_writes_statistics(tiny_store, tmp_path):
    options = {"RUN_DIR": str(tmp_path), "DATA_DIR": str(tiny_store.path)}
    assert run_twice("01_data_statistics", tmp_path / "01.ipynb", **options) == ""
    found = json.loads((tmp_path / "statistics.json").read_text())
    assert found["kind"] == "rendered"
    assert found["counts"] == {
        s: dict.fromkeys(EXPRESSIONS, n) for s, n in (("train", 8), ("validation", 4), ("test", 2))
    }
    assert found["subjects"] == 3
    assert found["majority_macro_f1"] == pytest.approx(2 / 7 / 6)
    audited = {"drift.png", "nearest.png", "landmark_distances.png", "landmarks.png"}
    assert pictures(tmp_path) == {"classes.png", "subjects.png", "sheet.png", "shapes.png"} | audited
    report = json.loads((tmp_path / "audit.json").read_text())
    assert report["store"]["faces"] == len(tiny_store)
    severities = [item["severity"] for item in report["findings"]]
    assert found["findings"] == {name: severities.count(name) for name in ("error", "warning", "note")}
    # Two subjects of test are in train: named first, since a test score then says little of unseen people.
    assert report["findings"][0]["severity"] == "error"
    assert "2 subjects of test (12 faces) are in train too." in [item["found"] for item in report["findings"]]
    assert report["landmarks"]["missing"] == 1
    executed = (tmp_path / "01.ipynb").read_text()
    assert "application/vnd.jupyter.widget-view+json" not in executed
    assert "lsdkit-place" in executed


def test_02_writes_mixtures(tiny_store, tmp_path):
    options = {"RUN_DIR": str(tmp_path), "DATA_DIR": str(tiny_store.path), "RECIPE": "smoke"}
    assert run_twice("02_mixup_visualisation", tmp_path / "02.ipynb", **options) == ""
    found = json.loads((tmp_path / "mixtures.json").read_text())
    assert found["alpha"] == 0.1
    assert found["share_below_a_tenth"] == pytest.approx(0.81, abs=0.04)
    losses = found["losses"]
    assert losses["virtual, with the soft label"] == pytest.approx(losses["virtual, as two hard labels"], rel=1e-5)
    assert losses["real, faces i"] == pytest.approx(losses["real, faces j"], rel=1e-5)
    assert pictures(tmp_path) == {"lambda.png", "mixtures.png", "batch.png", "landmarks.png"}


def test_03_leaves_a_whole_run(trained):
    run = read_run(trained / "strong")
    assert run.member.mix == "mixaugment"
    assert run.kind == "rendered"
    assert set(run.metrics["val_f1"]) == set(EXPRESSIONS)
    assert 0 < run.val_macro_f1 <= 1
    history = run.read_history()
    assert history["epoch"].tolist() == [1, 2]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert np.isfinite(history.to_numpy()).all()
    predictions = run.read_predictions()
    assert predictions.groupby("split").size().to_dict() == {"test": 12, "validation": 24}
    np.testing.assert_allclose(probabilities_of(predictions).sum(axis=1), 1, atol=1e-6)
    assert len(pd.read_csv(trained / "weak" / "bag.csv")) == 12
    drawn = {"curves.png", "per_class_f1.png", "network.png", "attention.png", "landmarks_by_epoch.png"}
    assert pictures(trained / "strong") >= drawn
    executed = (trained / "strong" / "03_train.ipynb").read_text()
    assert executed.count("Loss, its parts and validation macro F1 by epoch") == 2  # one live figure: picture and words


def test_03_trains_another_recipe_beside_the_run(trained):
    strong = trained / "strong"
    (beside,) = list_runs(strong / "compare")
    assert beside.name == "small-mixaugment-vggface2-basic-bag0-seed0"
    assert beside.checksums == read_run(strong).checksums
    assert [run.name for run in list_runs(trained)] == ["strong", "weak"]  # it is no member of the folder
    assert "compared.png" in pictures(strong)
    said = (strong / "03_train.ipynb").read_text()
    assert all(name in said for name in ("smoke (this run)", "small (beside it)", "emotion branch from"))
    assert not (trained / "weak" / "compare").exists()
    assert "compared.png" not in pictures(trained / "weak")
    assert "Nothing is compared" in (trained / "weak" / "03_train.ipynb").read_text()


def test_03_does_not_train_twice(trained, tiny_store, tmp_path):
    strong = trained / "strong"
    weights = [strong / "weights.pt", *strong.glob("compare/*/weights.pt")]
    before = [path.stat().st_mtime_ns for path in weights]
    options = {"RUN_DIR": str(strong), "DATA_DIR": str(tiny_store.path), "RECIPE": "smoke", "DEVICE": "cpu"}
    assert run("03_train", tmp_path / "again.ipynb", COMPARE="small", **options) == ""
    assert len(before) == 2
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_03_trains_the_thesis_on_what_is_named_and_takes_it_up(tiny_store, tmp_path):
    options = {"RUN_DIR": str(tmp_path / "run"), "DATA_DIR": str(tiny_store.path), "RECIPE": "smoke", "DEVICE": "cpu"}
    given = {"APPEARANCE": "none", "EPOCHS": 1, "THESIS": True}
    assert run_twice("03_train", tmp_path / "03.ipynb", **given, **options) == ""
    pairs = list_runs(tmp_path / "run" / "thesis")
    assert sorted((run.member.appearance, run.member.seed) for run in pairs) == [
        (appearance, seed) for appearance in ("none", "vggface2") for seed in (0, 1, 2)
    ]
    said = (tmp_path / "03.ipynb").read_text()
    assert "6 of 6 trainings are to be made" in said
    assert "0 of 6 trainings are to be made" in said
    assert "No landmarks were noted" in said  # a single-task member
    assert all(f"{faces} faces 3 multi-task members" in said for faces in ("24 validation", "12 test"))
    assert "landmarks_by_epoch.png" not in pictures(tmp_path / "run")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"MIX": "cutmix"}, "'mixup', 'mixaugment'"),
        ({"COMPARE": "smal"}, "'small'"),
        ({"RECIPE": "smoke", "COMPARE": "paper"}, "vggface2_ft"),  # weights that are not there
    ],
)
def test_03_ends_at_once(tmp_path, wrong, says):
    start, nowhere = time.perf_counter(), {"LSDKIT_WEIGHTS": str(tmp_path)}
    error = run("03_train", tmp_path / "out.ipynb", nowhere, RUN_DIR=str(tmp_path / "run"), **wrong)
    assert says in error
    assert time.perf_counter() - start < 60  # a kernel and papermill start in it, and torch at most
    assert not (tmp_path / "run").exists()


def test_a_misspelt_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="MIXX"):
        run("03_train", tmp_path / "out.ipynb", MIXX="mixup")


def test_04_reads_a_run(trained):
    folder = trained / "strong"
    five = folder / "imbalance"
    assert run_twice("04_per_class_f1", folder / "04.ipynb", RUN_DIR=str(folder), IMBALANCE_DIR=str(five)) == ""
    found = json.loads((folder / "per_class_f1.json").read_text())
    assert list(found["scores"]) == ["macro_f1", *EXPRESSIONS]
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in found["scores"].values())
    assert found["scores"]["macro_f1"]["value"] == pytest.approx(read_run(folder).val_macro_f1)
    assert np.sum(found["confusion"]) == found["faces"] == 24
    assert len(found["hardest"]) == 12
    drawn = {"per_class_f1.png", "confusion.png", "hardest_faces.png", "imbalance.png", "reliability.png"}
    assert pictures(folder) >= drawn
    assert 0 <= found["calibration"]["ece"] <= 1
    assert COLDEST <= found["calibration"]["temperature"] <= HOTTEST
    runs = list_runs(five)
    assert set(found["imbalance"]) == set(IMBALANCE)
    recipes = [run.member.recipe for run in runs]
    assert {recipe.class_weights for recipe in recipes} == {"none", "one_minus_share", "balanced"}
    assert {recipe.sampling for recipe in recipes} == {"shuffled", "balanced"}
    macro = sorted(row["macro F1"] for row in found["imbalance"].values())
    assert macro == pytest.approx(sorted(run.val_macro_f1 for run in runs))


def test_05_compares(trained):
    assert run_twice("05_ensemble_comparison", trained / "05.ipynb", RUN_DIR=str(trained)) == ""
    found = json.loads((trained / "ensembles.json").read_text())
    assert {row["run"] for row in found["members"]} == {"strong", "weak"}
    ensembles = pd.DataFrame(found["ensembles"]).set_index("name")
    assert ensembles.loc["All members", "members"] == 2
    assert "MA Strong & MA Best Weak" not in ensembles.index
    assert found["not_built"]["MA Strong & MA Best Weak"] > 0
    assert ensembles["value"].between(0, 1).all()
    assert pictures(trained) == {f"{name}.png" for name in ("scores", "vote_by_hand", "agreement", "bags", "diversity")}
    plain = found["beyond"][PLAIN]
    assert plain["validation"] == pytest.approx(ensembles.loc["All members", "value"])
    assert plain["above"] == 0
    assert MIRRORED in found["beyond"]
    assert all(row["low"] <= row["above"] <= row["high"] for row in found["beyond"].values())
    said = (trained / "05.ipynb").read_text()
    assert "1 of 2 members saw all 48 training faces." in said
    assert "On test the plain vote reads" in said


def test_04_and_05_train_small_members_where_there_are_none(tiny_store, tmp_path):
    nowhere = {"LSDKIT_ROOT": str(tmp_path)}  # a project without runs
    options = {"DATA_DIR": str(tiny_store.path), "DEVICE": "cpu"}
    assert run("05_ensemble_comparison", tmp_path / "05.ipynb", nowhere, **options) == ""
    folder = tmp_path / "runs" / "smoke-ensemble-store"
    runs = list_runs(folder)
    assert len(runs) == 4
    assert (folder / "ensembles.json").is_file()
    assert run("04_per_class_f1", tmp_path / "04.ipynb", nowhere, **options) == ""
    best = max(runs, key=lambda run: run.val_macro_f1)
    assert (best.folder / "per_class_f1.json").is_file()
    assert f"of its runs {best.name}, the one of the best validation macro F1" in (tmp_path / "04.ipynb").read_text()
    assert len(list_runs(tmp_path / "runs/imbalance/store")) == len(IMBALANCE)
    assert len(list_runs(folder)) == 4


def test_a_named_folder_without_runs_trains_nothing(tmp_path):
    error = run("04_per_class_f1", tmp_path / "out.ipynb", {"LSDKIT_ROOT": str(tmp_path)}, RUN_DIR="runs/dmeo")
    assert "but runs/dmeo does not exist" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [(["-p", "MIXX", "mixup"], "did you mean MIX?"), (["-p", "RUN_DIR", "007"], "say -r RUN_DIR")],
)
def test_papermill_stops_at_the_first_cell(tmp_path, given, says):
    notebook, out = headless.find_notebook("03_train"), tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), "--kernel", "python3", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert says in done.stderr
    executed = [cell for cell in nbformat.read(out, as_version=4).cells if cell.get("execution_count")]
    assert executed[-1].source.startswith("from lsdkit.notebook.parameters import check_parameters")


def test_a_training_says_its_epochs_while_it_runs(tiny_store, tmp_path):
    told = []
    options = {"RUN_DIR": str(tmp_path / "run"), "DATA_DIR": str(tiny_store.path), "RECIPE": "smoke", "DEVICE": "cpu"}
    job = headless.Job("03", headless.find_notebook("03_train"), tmp_path / "03.ipynb", options)
    assert headless.execute(job, threads=1, tell=lambda line: told.append((is_finished(tmp_path / "run"), line))) == ""
    epochs = [(finished, line) for finished, line in told if line.startswith(EPOCH)]
    assert [line.partition(":")[0] for _, line in epochs] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert "left" in epochs[0][1]
    assert not epochs[0][0]  # before the run was finished
    saved = nbformat.read(tmp_path / "03.ipynb", as_version=4)
    (cell,) = [cell for cell in saved.cells if "lsdkit.train(member" in cell.source]
    text = "".join(output.get("text", "") for output in cell.outputs)
    assert all(line in text for _, line in epochs)
    assert {output.output_type for output in cell.outputs} == {"stream", "display_data"}
    (curves,) = [output for output in cell.outputs if output.output_type == "display_data"]  # one figure that grew
    assert "data:image/png" in curves.data["text/html"]
    assert "%" not in text


def test_06_trains_with_and_without_a_pretraining(tiny_store, tmp_path):
    store = str(tiny_store.path)
    options = {"DATA_DIR": store, "STORES": store, "RUN_DIR": str(tmp_path), "RECIPE": "smoke", "DEVICE": "cpu"}
    nowhere = {"LSDKIT_ROOT": str(tmp_path)}  # a project without runs
    assert run_twice("06_pretraining", tmp_path / "06.ipynb", nowhere, EPOCHS=1, **options) == ""
    found = json.loads((tmp_path / "pretraining.json").read_text())
    assert found["stores"] == {"store": "rendered"}
    assert found["classes"] == 6
    for name, source in (("without", "random"), ("with", "run")):
        for bag in (1, 2):
            one = read_run(tmp_path / name / f"bag{bag}")
            assert one.started_from["emotion"]["kind"] == source
            assert one.member.bag == bag
            assert found["scores"][name][bag - 1] == pytest.approx(one.val_macro_f1)
    report = one.started_from["emotion"]
    assert (report["rows"], report["missing"], report["unexpected"]) == ("6 of the run's 6, for 6", 0, 0)
    pretrained = read_run(tmp_path / "pretrained" / "1-store")
    assert pretrained.member.appearance == "none"
    assert pictures(tmp_path) == {"pretraining.png", "curves.png", "starts.png"}
    assert [(gain["split"], gain["unit"], gain["faces"]) for gain in found["gains"]] == [
        ("validation", "subjects", 24),
        ("test", "subjects", 12),
    ]
    difference = np.mean(found["scores"]["with"]) - np.mean(found["scores"]["without"])
    assert found["gains"][0]["value"] == pytest.approx(difference)
    starts = pd.read_csv(tmp_path / "starts.csv")
    assert starts["start"].tolist() == ["random", "ImageNet", "face recognition", "DINO"]
    assert starts["weights"].tolist() == ["random", "efficientnet_lite0", "dlib_face", "dino_open"]
    face = read_run(tmp_path / "starts" / "face-weak-seed0")
    assert face.test_macro_f1 == pytest.approx(starts["test_macro_f1"][2])
    assert "Left out: DINO from face recognition." in (tmp_path / "06.ipynb").read_text()


def test_07_follows_a_face_of_a_photograph(trained, tmp_path):
    options = {"MODEL": str(trained), "RUN_DIR": str(tmp_path), "DEVICE": "cpu"}
    Image.fromarray(np.hstack([astronaut(), astronaut()[:, ::-1]])).save(tmp_path / "two faces.jpg")
    options |= {"PATH": str(tmp_path / "two faces.jpg"), "FACE": 2}
    assert run_twice("07_read_a_photograph", tmp_path / "07.ipynb", **options) == ""
    found = json.loads((tmp_path / "reading.json").read_text())
    (_, second) = read(tmp_path / "two faces.jpg", model=trained, device="cpu").faces
    assert (found["shown"], found["reason"], found["model"]) == ("two faces.jpg", "", "all 2 runs")
    assert (found["face"], found["faces"], found["box"]) == (2, 2, list(second.box))
    assert found["probabilities"] == pytest.approx(second.probabilities.tolist(), abs=1e-6)
    assert np.mean(found["members"], axis=0) == pytest.approx(found["probabilities"], abs=1e-6)
    assert found["expression"] == second.expression
    assert np.sum(found["attention"], axis=(1, 2)) == pytest.approx(np.ones(4), abs=1e-5)
    assert set(found["landmark_error"]) == {"all", "jaw", "brows", "nose", "eyes", "mouth"}
    drawn = {"found.png", "views.png", "attention.png", "landmarks.png", "vote.png", "steps.png"}
    assert pictures(tmp_path) == drawn
    executed = (tmp_path / "07.ipynb").read_text()
    assert "application/vnd.jupyter.widget-view+json" not in executed
    assert "lsdkit-place" in executed
    assert "stderr" not in executed


def test_07_says_that_there_is_no_face_and_goes_on(trained, tmp_path):
    odd, options = tmp_path / "odd.jpg", {"MODEL": str(trained / "weak"), "RUN_DIR": str(tmp_path / "out")}
    odd.write_text("no picture")
    assert run("07_read_a_photograph", tmp_path / "07.ipynb", PATH=str(odd), DEVICE="cpu", **options) == ""
    found = json.loads((tmp_path / "out" / "reading.json").read_text())
    assert found["asked"] == str(odd)
    assert found["reason"].startswith("unreadable")
    assert (found["shown"], found["faces"]) == ("NASA's portrait of Eileen Collins", 1)
    assert found["box"] == list(read(astronaut(), model=trained / "weak", device="cpu").faces[0].box)
    assert "Nothing to follow (unreadable" in (tmp_path / "07.ipynb").read_text()
    assert pictures(tmp_path / "out") >= {"found.png", "vote.png"}
