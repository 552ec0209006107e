"""Damaged files: thousands of them, of every kind that the kit reads, and what it says of each.

A sound file of each kind is made, mutated by a seeded draw and read as a command would read it. An answer is right
where the reader raises `ValueError`, `OSError` or `LeftOut` in words that name the file (or its folder), or where it
gives what it gives for the sound file. Three sorts are not: another exception, which ends a command in a library's
traceback; words that name no file; and an answer that differs although the kit wrote the file, with a checksum.
Files of others have none: an answer that differs there is counted apart, as what no decoder can see.

    python benchmarks/fuzz.py --inputs 3200 --seed 0
"""

import argparse
import json
import pickle
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import save_file

from lsdkit.common import files
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.landmarks import COORDINATES
from lsdkit.data import readers
from lsdkit.data.deca import read_deca
from lsdkit.data.detection import load_mean_shape
from lsdkit.data.landmark_tables import read_table
from lsdkit.data.pictures import LeftOut, open_picture
from lsdkit.data.release import CLASS_FOLDERS, FOLDER_OF_SPLIT, LIST_HEADER, TEST
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.recipes import SMOKE, Member
from lsdkit.reproduce.submission import read_list
from lsdkit.training import bundles, checkpoints
from lsdkit.training.predictions import prediction_table
from lsdkit.training.runs import Run, read_run, sum_files, write_run
from lsdkit.weights.loading import read_tensors

INPUTS = 3200  # a few change nothing and are left away


@dataclass(frozen=True)
class Kind:
    """A kind of file: which of a folder's files is mutated, how it is read, and whether it carries a checksum."""

    name: str
    file: str
    read: Callable[[Path], object]
    sealed: bool = False


def make_store(root: Path) -> None:
    rows, points = [], {}
    generator, mean = np.random.default_rng(0), load_mean_shape()
    for number, name in enumerate(EXPRESSIONS * 2):
        split = "train" if number < 6 else "validation"
        key, path = f"{split}/{name}/{number}", root / f"{number}.png"
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
        rows.append((key, split, name, f"s{number % 3}", str(path)))
        points[key] = np.stack([mean.real, mean.imag], 1) * 3
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    left_out = [{"path": "a.png", "reason": "unreadable", "detail": "an empty file"}]
    about = {"size": 16, "kind": "photographs", "source": "fuzz", "settings": {"reader": "csv"}, "left_out": left_out}
    write_store(root / "store", table, points, **about, progress=False)


def make_release(root: Path) -> None:
    keys = []
    for split in ("train", "validation"):
        for name, folder in zip(EXPRESSIONS, CLASS_FOLDERS, strict=True):
            file = root / "release" / FOLDER_OF_SPLIT[split] / folder / "0.jpg"
            file.parent.mkdir(parents=True)
            file.write_bytes(b"not opened")
            keys.append((f"{split}/{name}/0", name))
    (root / "release" / TEST).mkdir()
    for number in range(3):
        (root / "release" / TEST / f"{number}.jpg").write_bytes(b"not opened")
        keys.append((f"test/{number}", "FEAR"))
    (root / "release" / TEST / "list.csv").write_text(f"{LIST_HEADER}\n0.jpg,2\n2.jpg,2\n1.jpg,2\n")
    table = pd.DataFrame(keys, columns=["key", "expression"]).assign(subject="s1")
    table.to_csv(root / "release" / "faces.csv", index=False)


def make_tables(root: Path) -> None:
    lines = [f'{number}.jpg,"{name.lower()}",s{number % 2}' for number, name in enumerate(EXPRESSIONS)]
    (root / "own.csv").write_text("\n".join(["path,expression,subject", *lines]) + "\n")
    (root / "leave_out.csv").write_text("path,reason\n0.jpg,blurred\n3.jpg,drawn\n")
    mean = load_mean_shape()
    points = np.stack([np.stack([mean.real, mean.imag], 1) * 3 + 0.01 * number for number in range(3)])
    keys = [f"train/FEAR/{number}" for number in range(3)]
    table = pd.DataFrame(points.reshape(3, -1), columns=list(COORDINATES))
    table.insert(0, "key", keys)
    table.to_csv(root / "points.csv", index=False, float_format="%.5f")
    np.save(root / "array.npy", points)
    (root / "array.keys.txt").write_text("\n".join(keys) + "\n")
    (root / "deca" / "0").mkdir(parents=True)
    np.savetxt(root / "deca" / "0" / "0_kpt2d.txt", points[0])


def make_pictures(root: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 20, 4), dtype=np.uint8)
    colour = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    colour.save(root / "picture.jpg", exif=exif)
    Image.fromarray(pixels).save(root / "picture.png")
    colour.save(root / "picture.tif", compression="tiff_lzw")
    for ending in ("gif", "bmp", "webp"):
        colour.save(root / f"picture.{ending}")
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save(root / "deep.png")


def make_runs(root: Path) -> None:
    folder, member = root / "run", Member(recipe=SMOKE)
    folder.mkdir()
    probabilities = np.random.default_rng(2).dirichlet(np.ones(6), 12)
    labels = np.arange(12) % 6
    keys = [f"validation/{number}" for number in range(12)]
    files.write_table(folder / "predictions.csv", prediction_table(keys, ["validation"] * 12, labels, probabilities))
    history = {"epoch": [1, 2], "lr": [0.1, 0.05], "loss": [2.0, 1.5], "val_macro_f1": [0.2, 0.3], "val_loss": [2, 1]}
    files.write_table(folder / "history.csv", pd.DataFrame(history))
    files.write_table(folder / "bag.csv", pd.DataFrame({"row": range(12), "key": keys}))
    notes = pd.DataFrame({"epoch": 1, "key": keys[0], "point": range(68), "x": 0.1, "y": 0.2})
    files.write_table(folder / "landmarks.csv", notes)
    state = {"a.weight": torch.ones(20, 20), "a.bias": torch.zeros(20)}
    checkpoints.save_weights(folder, {"format": 1, "state": state})
    checkpoints.save(folder, {"identity": {"member": {}}, "progress": {"epoch": 1}, "network": state})
    score = {"val_macro_f1": 0.3, "val_f1": dict.fromkeys(EXPRESSIONS, 0.3)}
    counts = {"trained_on": dict.fromkeys(EXPRESSIONS, 2)}
    run = Run(
        folder=folder,
        member=member,
        kind="photographs",
        store="data/fuzz",
        checksums={"images.npy": "0" * 64},
        metrics=score,
        best_epoch=2,
        counts=counts,
        seconds=1.0,
        weights_sha256="0" * 64,
        files=sum_files(folder),
    )
    write_run(run)
    older = root / "older"
    shutil.copytree(folder, older)
    write_run(replace(run, folder=older, files={}))
    result = files.read_json(older / "result.json")
    del result["files"], result[files.SEAL]
    files.write_json(older / "result.json", result)


def make_weights(root: Path) -> None:
    state = {"layer.weight": torch.ones(6, 6), "layer.bias": torch.zeros(6)}
    torch.save({"state_dict": state}, root / "weights.pth")
    save_file(state, root / "weights.safetensors")
    bundles.write_bundle(
        root / "packed.safetensors",
        {"0.layer.weight": torch.ones(4, 4)},
        {
            "format": bundles.FORMAT,
            "name": "packed",
            "vote": "probabilities",
            "members": [
                {
                    "name": "one",
                    "member": Member(recipe=SMOKE).spec(),
                    "view": {"pixels": 112, "window": [0, 0, 112], "grey": False},
                    "kind": "rendered",
                    "landmarks": False,
                    "weights": {},
                }
            ],
        },
    )
    arrays = {"conv.weight": np.ones((3, 3), np.float32)}
    (root / "arrays.pkl").write_bytes(pickle.dumps(arrays, protocol=2))


def read_store(root: Path) -> object:
    store = Store.open(root / "store")
    store.verify()
    return store.manifest, store.faces.to_csv(), store.left_out.to_csv(), store.images.tobytes()


def read_whole(folder: Path) -> object:
    run = read_run(folder)
    run.check_files()
    tables = [run.read_predictions(), run.read_history(), run.read_bag(), run.read_landmarks()]
    weights = checkpoints.read_weights(folder)
    return repr(replace(run, folder=Path())), [each.to_csv() for each in tables], _digest(weights["state"])


def _digest(tensors: dict) -> str:
    return checkpoints.hash_weights({key: each for key, each in tensors.items() if isinstance(each, torch.Tensor)})


def read_weights(file: Path) -> str:
    return _digest(read_tensors(file))


def read_points(file: Path) -> object:
    return {key: each.tobytes() for key, each in read_table(file).items()}


def read_landmarks_of_deca(root: Path) -> object:
    found = read_deca(root / "deca", ["train/FEAR/0"], iscrop_false=True)
    return {key: each.tobytes() for key, each in found.points.items()}, found.implausible


def list_faces(listing: readers.Listing) -> object:
    return listing.table.to_csv(), listing.left_out, {k: v.tobytes() for k, v in listing.landmarks.items()}


def read_release(root: Path) -> object:
    return list_faces(readers.read_release(root / "release"))


def read_own(root: Path) -> object:
    return list_faces(readers.read_csv(root / "own.csv", split="train"))


def leave_out(root: Path) -> object:
    return list_faces(
        readers.leave_out_listed(readers.read_csv(root / "own.csv", split="train"), root / "leave_out.csv")
    )


def read_packed(file: Path) -> object:
    bundle = bundles.load_bundle(file)
    each = [(one.name, one.member, one.view, one.kind, _digest(dict(one.tensors))) for one in bundle.members]
    return bundle.name, bundle.vote, each


def kinds() -> list[Kind]:
    pictures = ("picture.jpg", "picture.png", "picture.tif", "picture.gif", "picture.bmp", "picture.webp", "deep.png")
    weights = ("weights.pth", "weights.safetensors", "arrays.pkl")
    in_run = ("result.json", "predictions.csv", "history.csv", "bag.csv", "landmarks.csv", "weights.pt")
    in_store = ("manifest.json", "faces.csv", "left_out.csv", "images.npy", "landmarks.npy")
    return [
        *(Kind(f"store: {name}", f"store/{name}", read_store, sealed=True) for name in in_store),
        *(Kind(f"run: {name}", f"run/{name}", lambda root: read_whole(root / "run"), sealed=True) for name in in_run),
        *(Kind(f"older run: {name}", f"older/{name}", lambda root: read_whole(root / "older")) for name in in_run),
        Kind("checkpoint", "run/checkpoint.pt", lambda root: repr(checkpoints.read(root / "run/checkpoint.pt")), True),
        Kind("release: faces.csv", "release/faces.csv", read_release),
        Kind("release: list", f"release/{TEST}/list.csv", read_release),
        Kind("submission: list", f"release/{TEST}/list.csv", lambda root: read_list(root / f"release/{TEST}/list.csv")),
        Kind(
            "faces of one's own", "own.csv", lambda root: list_faces(readers.read_csv(root / "own.csv", split="train"))
        ),
        Kind("faces to leave out", "leave_out.csv", leave_out),
        Kind("landmarks: table", "points.csv", lambda root: read_points(root / "points.csv")),
        Kind("landmarks: array", "array.npy", lambda root: read_points(root / "array.npy")),
        Kind("landmarks: keys", "array.keys.txt", lambda root: read_points(root / "array.npy")),
        Kind("landmarks: DECA", "deca/0/0_kpt2d.txt", read_landmarks_of_deca),
        *(Kind(f"picture: {name}", name, lambda root, name=name: _see(root / name)) for name in pictures),
        *(
            Kind(f"weights: {name}", name, lambda root, name=name: _digest(read_tensors(root / name)))
            for name in weights
        ),
        Kind("packed model", "packed.safetensors", lambda root: read_packed(root / "packed.safetensors"), sealed=True),
    ]


def _see(file: Path) -> bytes:
    try:
        return np.asarray(open_picture(file)).tobytes()
    except LeftOut as lost:  # which the writer puts beside the file's name
        raise ValueError(f"{file}: {lost.reason} ({lost.detail})") from lost


INSTEAD = (
    b"",
    b"\0" * 700,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    b"<!DOCTYPE html><html><body>Please sign in</body></html>",
    b"null",
    b"[]",
    b"{}",
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xfe",
)
NUMBERS = (b"nan", b"inf", b"-1", b"1e400", b"", b"x", b"0", b'"', b"null", b"[]", b"99999999999999999999")


def mutate(content: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    """A change in words, and the changed bytes."""
    change = str(generator.choice(list(CHANGES)))
    return change, CHANGES[change](content, generator)


def _cut(content: bytes, generator: np.random.Generator) -> tuple[int, int]:
    ends = sorted(generator.integers(0, len(content) + 1, 2))
    return int(ends[0]), int(min(ends[1], ends[0] + 200))


def flip_bit(content, generator):
    changed = bytearray(content)
    changed[generator.integers(len(changed))] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def flip_early(content, generator):
    changed = bytearray(content)
    changed[generator.integers(min(len(changed), 120))] ^= 1 << int(generator.integers(8))
    return bytes(changed)


def zero_part(content, generator):
    start, end = _cut(content, generator)
    return content[:start] + bytes(end - start) + content[end:]


def drop_part(content, generator):
    start, end = _cut(content, generator)
    return content[:start] + content[end:]


def repeat_part(content, generator):
    start, end = _cut(content, generator)
    return content[:end] + content[start:end] + content[end:]


def change_lines(content, generator):
    lines = content.split(b"\n")
    one, other = generator.integers(0, len(lines), 2)
    lines[one], lines[other] = lines[other], lines[one]
    if generator.random() < 0.5:
        del lines[one]
    return b"\n".join(lines)


def change_cell(content, generator):
    cells = content.split(b",")
    cells[generator.integers(len(cells))] = NUMBERS[generator.integers(len(NUMBERS))]
    return b",".join(cells)


def change_json(content, generator):
    """A value of JSON, somewhere, by another or by none, and the seal made anew where there is one."""
    try:
        value = json.loads(content)
    except ValueError:
        return flip_bit(content, generator)
    place = value
    while isinstance(place, dict) and place:
        key = str(generator.choice(list(place)))
        if isinstance(place[key], dict) and place[key] and generator.random() < 0.6:
            place = place[key]
            continue
        others = [None, "text", -1, [], {}, 0.5, True]
        if generator.random() < 0.3:
            del place[key]
        else:
            place[key] = others[generator.integers(len(others))]
        break
    return json.dumps(value).encode()


CHANGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "a flipped bit": flip_bit,
    "a flipped bit in the head": flip_early,
    "cut off": lambda content, generator: content[: generator.integers(len(content))],
    "longer": lambda content, generator: content + generator.bytes(int(generator.integers(1, 40))),
    "a part zeroed": zero_part,
    "a part lost": drop_part,
    "a part twice": repeat_part,
    "lines moved": change_lines,
    "a cell changed": change_cell,
    "JSON changed": change_json,
    "semicolons": lambda content, generator: content.replace(b",", b";"),
    "commas at the end": lambda content, generator: content.replace(b"\n", b",\n"),
    "line ends": lambda content, generator: content.replace(b"\n", b"\r" if generator.random() < 0.5 else b"\r\n"),
    "byte order mark": lambda content, generator: b"\xef\xbb\xbf" + content,
    "UTF-16": lambda content, generator: content.decode("latin-1").encode("utf-16"),
    "another encoding": lambda content, generator: content.replace(b"e", b"\xe9", 1),
    "something else": lambda content, generator: INSTEAD[generator.integers(len(INSTEAD))],
}


@dataclass(frozen=True)
class Outcome:
    kind: Kind
    change: str
    sort: str  # "told", "same", "unseen", or one of `WRONG`
    said: str = ""


WRONG = ("traceback", "no file named", "accepted though changed")


def judge(kind: Kind, change: str, root: Path, sound: object) -> Outcome:
    """What the reader does with the file as it lies in `root`."""
    file = root / kind.file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = kind.read(root)
    except (ValueError, OSError) as error:
        said = str(error)
        named = any(name in said for name in (file.name, file.stem, str(file.parent)))
        return Outcome(kind, change, "told" if named else "no file named", f"{type(error).__name__}: {said}")
    except Exception as error:
        return Outcome(kind, change, "traceback", f"{type(error).__name__}: {error}")
    if answer == sound:
        return Outcome(kind, change, "same")
    return Outcome(kind, change, "accepted though changed" if kind.sealed else "unseen")


def fuzz(inputs: int, seed: int) -> list[Outcome]:
    """Judge so many inputs, as many of each kind."""
    outcomes = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for make in (make_store, make_release, make_tables, make_pictures, make_runs, make_weights):
            make(root)
        every = kinds()
        sound = {kind.name: kind.read(root) for kind in every}
        for number in range(inputs):
            kind, generator = every[number % len(every)], np.random.default_rng([seed, number])
            file = root / kind.file
            content = file.read_bytes()
            change, changed = mutate(content, generator)
            if changed == content:
                continue
            file.write_bytes(changed)
            outcomes.append(judge(kind, change, root, sound[kind.name]))
            file.write_bytes(content)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes = fuzz(options.inputs, options.seed)
    for outcome in outcomes:
        if outcome.sort in WRONG:
            print(f"{outcome.sort}: {outcome.kind.name}, {outcome.change}: {outcome.said[:300]}")
    table = pd.DataFrame([(outcome.kind.name, outcome.sort) for outcome in outcomes], columns=["file", "sort"])
    print(pd.crosstab(table["file"], table["sort"]).to_string())
    print(f"{len(outcomes)} inputs: {dict(Counter(outcome.sort for outcome in outcomes))}")


if __name__ == "__main__":
    main()
