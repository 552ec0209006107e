"""The recipe `paper` from beginning to end on a release that the test makes up: 2,000 pictures, no faces, no GPU.

Nothing is learned. What is tested is that the release's layout, the published weights' format and every notebook
parameter meet in one run, and that what is odd about them is told. The pictures are small files; the network sees them
at 224 pixels, with the paper's backbones.
"""

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import preparing
from lsdkit.data.release import CLASS_FOLDERS, TEST, TRAIN, VALIDATION
from lsdkit.reproduce import headless
from lsdkit.reproduce.submission import check_submission, write_submission
from lsdkit.training.predictions import probabilities_of
from lsdkit.training.runs import read_run
from tests.weightfiles import write_vggface2

pytestmark = pytest.mark.slow
SIDE, FACES = 32, 2000
VALIDATED, TESTED = 12, 8  # two a class, and the test faces: the network sees each of these
TRAINED = FACES - VALIDATED - TESTED


def picture(path, generator):
    """A JPEG of noise: large enough patches that it stays different after compression."""
    patches = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(path, "JPEG")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The LSD release's layout with what occurs in it: ANGRER, .DS_Store, an upper-case extension, a broken file."""
    root, generator = tmp_path_factory.mktemp("dry") / "LSD", np.random.default_rng(0)
    for split, count in ((TRAIN, TRAINED), (VALIDATION, VALIDATED)):
        for index, folder in enumerate(CLASS_FOLDERS):
            (root / split / folder).mkdir(parents=True)
            for number in range(count // 6 + (index < count % 6)):  # the same stems in every class, as in the release
                suffix = "JPG" if (index, number) == (2, 0) else "jpg"
                picture(root / split / folder / f"{number}.{suffix}", generator)
    (root / TRAIN / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (root / TRAIN / "ANGRER" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    broken = root / TRAIN / "HAPPINESS" / "7.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    (root / TEST).mkdir()
    order = [3, 0, 7, 1, 5, 2, 6, 4]
    for number in order:
        picture(root / TEST / f"{number}.jpg", generator)
    lines = "".join(f"{number}.jpg,-1\n" for number in order)
    (root / TEST / "list.txt").write_text(f"image,expression\n{lines}")
    return root


@pytest.fixture(scope="module")
def store(release):
    return preparing.prepare_release(release, release.parent / "store", jobs=1, progress=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file in VGGFace2's format; its tensors are random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = torchvision.models.resnet50(weights=None).state_dict()
    return write_vggface2(tmp_path_factory.mktemp("weights") / "resnet50_ft_weight.pkl", state)


@pytest.fixture(scope="module")
def run_dir(store, weights):
    folder = store.path.parent / "run"
    parameters = {
        "DATA_DIR": str(store.path),
        "RUN_DIR": str(folder),
        "RECIPE": "paper",
        "APPEARANCE": "vggface2",
        "EMOTION_WEIGHTS": f"vggface2_ft@{weights}",
        "APPEARANCE_WEIGHTS": f"vggface2_ft@{weights}",
        "SETTINGS": "batch_size=4 steps_per_epoch=2",
        "EPOCHS": 1,
        "DEVICE": "cpu",
    }
    notebook = headless.find_notebook("03_train")
    error = headless.execute(headless.Job("dry run", notebook, folder / "03_train.ipynb", parameters), threads=1)
    assert error == ""
    return folder


def test_the_store_holds_all_but_the_broken_picture(store):
    assert len(store) == FACES - 1
    assert store.kind == "synthetic"
    assert store.manifest["size"] == SIDE
    lost = pd.read_csv(store.path / "left_out.csv")
    assert lost[["path", "reason"]].to_numpy().tolist() == [[f"{TRAIN}/HAPPINESS/7.jpg", "unreadable"]]
    assert store.counts("train").tolist() == [330, 330, 330, 329, 330, 330]
    assert store.counts("validation").tolist() == [2] * 6
    assert "train/FEAR/0" in store.keys
    assert [key for key in store.keys if key.startswith("test/")] == [f"test/{n}" for n in (3, 0, 7, 1, 5, 2, 6, 4)]


def test_the_run_is_the_papers_and_says_what_it_started_from(run_dir, store):
    run = read_run(run_dir)
    recipe = run.member.recipe
    assert (recipe.name, recipe.image_size, recipe.features, recipe.heads) == ("paper", 224, 512, 4)
    assert (recipe.batch_size, recipe.steps_per_epoch, run.member.epochs) == (4, 2, 1)
    for role in ("emotion", "appearance"):
        report = run.started_from[role]
        assert report["kind"] == "published"
        assert report["file"] == "resnet50_ft_weight.pkl"
        assert report["loaded"] == 53 + 4 * 53  # convolutions; scale, shift, mean and variance of their batch norms
        assert (report["missing"], report["reshaped"]) == (0, 0) or report["missing"] == 53  # batch norm's counters
        assert report["detail"]["unexpected"] == ["fc.weight", "fc.bias"]
    assert run.started_from["emotion"]["sha256"] == run.started_from["appearance"]["sha256"]
    assert run.counts["trained_on"] == dict(zip(EXPRESSIONS, store.counts("train").tolist(), strict=True))
    assert sum(run.counts["validation"].values()) == VALIDATED
    assert run.notes == (
        "No training face has landmarks: the appearance branch learned nothing",
        "Each epoch was cut to its first 2 steps: a dry run",
    )
    history = run.read_history()
    assert np.isfinite(history[["loss", "expression", "affinity", "partition"]].to_numpy()).all()
    assert history["landmarks"].tolist() == [0]
    predictions = run.read_predictions()
    assert predictions.groupby("split").size().to_dict() == {"test": TESTED, "validation": VALIDATED}
    np.testing.assert_allclose(probabilities_of(predictions).sum(axis=1), 1, atol=1e-6)


def test_a_submission_in_the_releases_order(run_dir, release, tmp_path):
    listed = release / TEST / "list.txt"
    write_submission(run_dir, tmp_path / "answers.csv", listed=str(listed))
    answers = pd.read_csv(tmp_path / "answers.csv")
    assert answers["image"].tolist() == pd.read_csv(listed)["image"].tolist()
    predictions = read_run(run_dir).read_predictions().set_index("key")
    rows = predictions.loc[[f"test/{name.removesuffix('.jpg')}" for name in answers["image"]]]
    assert answers["expression"].tolist() == probabilities_of(rows).argmax(axis=1).tolist()
    assert check_submission(str(tmp_path / "answers.csv"), str(listed))
