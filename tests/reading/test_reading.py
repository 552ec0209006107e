"""From a photograph to an answer: what the networks are shown, every kind of source, what is no face."""

import io

import numpy as np
import pytest
from PIL import Image

import lsdkit
from lsdkit import prediction
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.data import detection
from lsdkit.data.combining import view_store
from lsdkit.data.preparing import prepare_folder
from lsdkit.method.bagging import soft_vote
from lsdkit.prediction import Panel, predict
from lsdkit.reading import reading
from lsdkit.reading.reading import load_panel, read, read_many


@pytest.fixture(scope="module")
def crops(photographs, tmp_path_factory):
    """The same photographs prepared as a store, at the size of the runs' crops."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "faces" / "happiness").mkdir(parents=True)
    for file in photographs.iterdir():
        (root / "faces" / "happiness" / file.name).symlink_to(file)
    options = {"split": "test", "crop": True, "size": 40, "jobs": 1, "progress": False}
    return prepare_folder(root / "faces", root / "store", **options)


def test_a_run_answers_as_for_a_store_that_is_seen_as_it_learned(runs, model, photographs, crops, tmp_path):
    files = [photographs / f"{number}.png" for number in range(1, 5)]
    inner = view_store(crops, tmp_path / "inner", window=(0.2, 0.3, 0.6))
    assert inner.images.shape[1] == 24
    expected = {"inner": predict(runs / "inner", inner), "whole": predict(runs / "whole", crops)}
    both = soft_vote(list(expected.values()))
    for source, answers in ((runs / "inner", expected["inner"]), (runs / "whole", expected["whole"])):
        readings = list(read_many(files, model=source, jobs=1, progress=False))
        np.testing.assert_allclose([each.faces[0].probabilities for each in readings], answers, atol=1e-6)
    for source in (runs, model, [runs / "inner", runs / "whole"], Panel.load(model)):
        (face,) = read(files[1], model=source).faces
        np.testing.assert_allclose(face.probabilities, both[1], atol=1e-6)
        np.testing.assert_array_equal(face.crop, crops.images[1])
        np.testing.assert_array_equal(face.seen[0], inner.images[1])
        np.testing.assert_array_equal(face.seen[1], crops.images[1])
    assert np.abs(expected["inner"] - expected["whole"]).max() > 0.01
    assert np.ptp(expected["inner"], axis=0).max() > 1e-4
    np.testing.assert_allclose(predict(runs / "inner", crops), expected["inner"], atol=1e-6)  # whole crops: it is cut
    np.testing.assert_allclose(predict(model, crops), both, atol=1e-6)
    np.testing.assert_allclose(predict(model, np.asarray(crops.images)), both, atol=1e-6)


def test_where_a_face_is_and_what_it_shows(photograph, model):
    answer = read(photograph, model=model)
    (face,) = answer.faces
    assert (answer.size, answer.reason, answer.file) == ((512, 512), "", "")
    x, _, width, height = face.box
    assert (width, height) == pytest.approx((95, 95), abs=3)
    assert face.landmarks.shape == (68, 2)
    assert (x - 0.2 * width < face.landmarks[:, 0]).all()
    assert (face.landmarks[:, 0] < x + 1.2 * width).all()
    assert (np.abs(face.landmarks[36:48].mean(0) - [225, 102]) < 6).all()  # between the eyes
    assert face.found == "dlib"
    assert face.probabilities.sum() == pytest.approx(1)
    assert face.expression == EXPRESSIONS[face.probabilities.argmax()].lower()
    assert face.probability == face.probabilities.max()
    assert repr(answer) == f"Reading(a picture, 512 x 512, 1 face: {face.expression} {face.probability:.2f})"
    assert face.expression in repr(face)
    assert answer._repr_png_().startswith(b"\x89PNG")


def test_every_kind_of_source_gives_one_answer(photograph, model, tmp_path):
    file = tmp_path / "a b.png"
    photograph.save(file)
    rgba = np.dstack([np.asarray(photograph), np.full((512, 512), 255, np.uint8)])
    deep = np.asarray(photograph).astype(np.uint16) << 8
    sources = (file, str(file), file.read_bytes(), photograph, np.asarray(photograph), rgba, deep)
    expected = read(photograph, model=model).faces[0].probabilities
    for source in sources:
        np.testing.assert_array_equal(lsdkit.read(source, model=model).faces[0].probabilities, expected)
    assert read(str(file), model=model).file == str(file)
    with Image.open(file) as opened:
        assert read(opened, model=model).file == str(file)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown turned clockwise
    photograph.transpose(Image.Transpose.ROTATE_90).save(turned, "PNG", exif=exif)
    np.testing.assert_array_equal(read(turned.getvalue(), model=model).faces[0].probabilities, expected)


def test_what_is_no_face_and_no_picture_is_an_answer(model, tmp_path, monkeypatch):
    quick = detection.ATTEMPTS[:1]
    monkeypatch.setattr("lsdkit.reading.searching.find_faces", lambda image: detection.find_faces(image, quick))
    nothing = read(np.full((60, 80, 3), 90, np.uint8), model=model)
    assert (nothing.faces, nothing.size, nothing.reason) == ((), (80, 60), "no face found")
    assert nothing._repr_png_() is None
    assert repr(nothing) == "Reading(a picture, 80 x 60, no face found)"
    with pytest.raises(ValueError, match="Expected faces for a sheet"):
        nothing.plot()
    (tmp_path / "text.jpg").write_text("no picture")
    for source, words in (
        (tmp_path / "text.jpg", "unreadable: no image format"),
        (tmp_path / "absent.jpg", "unreadable: FileNotFoundError"),
        (tmp_path, "unreadable: a folder, not a file"),
        (b"", "unreadable: an empty file"),
    ):
        odd = read(source, model=model)
        assert (odd.faces, odd.size) == ((), (0, 0))
        assert odd.reason.startswith(words)
    monkeypatch.setattr("lsdkit.reading.searching.find_faces", lambda image: 1 / 0)  # one picture among thousands
    assert read(np.zeros((9, 9), np.uint8), model=model).reason == "not searched: ZeroDivisionError: division by zero"


def test_several_faces_the_largest_first(photograph, model):
    both = Image.new("RGB", (900, 512), "grey")
    both.paste(photograph.resize((380, 380)), (0, 0))
    both.paste(photograph, (388, 0))
    answer = read(both, model=model)
    assert [face.box[0] > 388 for face in answer.faces] == [True, False]
    assert answer.faces[0].box[2] > answer.faces[1].box[2]
    assert answer.captions == ["picture, face 1", "picture, face 2"]
    alone = read(photograph, model=model).faces[0]
    np.testing.assert_allclose(answer.faces[0].probabilities, alone.probabilities, atol=0.1)
    assert "2 faces: " in repr(answer)


def test_a_face_that_fills_a_tiny_picture_is_found(photograph, model):
    face = photograph.crop((177, 78, 272, 173)).resize((48, 48))
    answer = read(face, model=model)
    (found,) = answer.faces
    assert found.found == "dlib, upsampled"
    x, y, width, height = found.box
    assert x >= 0
    assert y >= 0
    assert x + width <= 48
    assert y + height <= 48
    assert width > 40


def test_models_that_are_not_there_or_not_one(tmp_path, model, monkeypatch):
    picture = np.zeros((9, 9), np.uint8)
    with pytest.raises(FileNotFoundError, match=r"nothing at .*open-2; name open-1, a packed model"):
        read(picture, model="open-2")
    monkeypatch.setitem(prediction.SHIPPED, "open-1", "absent.safetensors")
    with pytest.raises(FileNotFoundError, match=r"Expected the model open-1 at .*install lsdkit again"):
        read(picture)
    monkeypatch.setattr(prediction, "find_model", lambda name: model)
    with pytest.raises(ValueError, match="to be open-1, but it is 'both'"):
        Panel.load("open-1")
    monkeypatch.undo()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="finished runs"):
        read(picture, model=tmp_path / "empty")
    with pytest.raises(ValueError, match="`jobs` of at least 1"):
        read_many([picture], model=model, jobs=0)


def test_a_packed_model_is_kept_in_memory_until_its_file_changes(model, tmp_path, monkeypatch):
    file = tmp_path / "copy.safetensors"
    file.write_bytes(model.read_bytes())
    first = load_panel(file)
    assert load_panel(str(file)) is first
    assert load_panel(first) is first
    monkeypatch.chdir(tmp_path)
    assert load_panel(file.name).voters[0].file == file
    file.unlink()
    file.write_bytes(model.read_bytes())
    assert load_panel(file) is not first


def test_readings_come_while_pictures_are_still_taken(model, photograph, monkeypatch):
    monkeypatch.setattr(reading, "BATCH", 2)
    taken = []

    def pictures():
        for number in range(6):
            taken.append(number)
            yield photograph.crop((0, 0, 512, 200 + number))

    readings = read_many(pictures(), model=model, jobs=1, progress=False)
    assert [next(readings).size[1], next(readings).size[1]] == [200, 201]
    assert taken == [0, 1]
    assert [each.size[1] for each in readings] == [202, 203, 204, 205]


def test_one_picture_in_the_place_of_several_is_refused(photographs, photograph, model):
    for one in (str(photographs / "1.png"), photographs / "1.png", b"bytes", photograph):
        with pytest.raises(ValueError, match=r"Expected several pictures, but got one \(.*give a list"):
            read_many(one, model=model)
