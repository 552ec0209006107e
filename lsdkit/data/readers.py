"""Readers: the LSD release, a folder per expression, or a CSV file become one table of faces.

Each reader lists and checks; none decodes (that is `lsdkit.data.writer.write_store`). A class *folder* whose name is no
expression ends the reading at once, because a misspelt folder would silently cost a whole class. A class *value* in a
row of a CSV file that is no expression costs that row only: it is left out as "unknown_class", named and counted.
The public data sets' own layouts are read by `lsdkit.data.datasets`.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from lsdkit.common.expressions import CLASSES, EXPRESSIONS, EXTRA, SPELLINGS, index_of, name_of, recognise
from lsdkit.common.seeds import numpy_generator
from lsdkit.common.tables import WIDE, check_csv, parse_csv
from lsdkit.common.tables import read_csv as read_table
from lsdkit.data.landmark_tables import extract_points
from lsdkit.data.pictures import SUFFIXES, explain_suffix, quote_name
from lsdkit.data.release import CLASS_FOLDERS, FOLDER_OF_SPLIT, LIST_HEADER, TEST, TRAIN, VALIDATION
from lsdkit.data.store import COLUMNS, SPLITS
from lsdkit.data.subjects import draw_people, name_subjects

NOT_FACES = {"@eadir", "__macosx", "#recycle", "@recycle", "$recycle.bin"}  # thumbnails, resources, bins; any case
SPLIT_NAMES = {"train": "train", "training": "train", "validation": "validation", "val": "validation"}
SPLIT_NAMES |= {"valid": "validation", "test": "test", "testing": "test", "extra": "extra"}
NONE = "none"  # what `names` of `read_folder` calls a folder that shows no expression


@dataclass
class Listing:
    """What a reader found.

    `table` has the columns key, split, expression ("" = unknown), subject and path (relative to `root`, or absolute);
    `left_out` holds rows path, reason, detail; `landmarks` maps keys to (68, 2) in [-1, 1] where the source carries
    them, `why_missing` to "missing: ..." where it should and does not; `random_split` says that this reader drew train
    and validation itself; `rendered` that the source says its faces are.
    """

    root: Path
    table: pd.DataFrame
    left_out: list[dict] = field(default_factory=list)
    landmarks: dict[str, np.ndarray] = field(default_factory=dict)
    why_missing: dict[str, str] = field(default_factory=dict)
    random_split: bool = False
    rendered: bool = False


def read_release(folder: str | Path) -> Listing:
    """Faces of the LSD release, or of the open set, which has its layout.

    training_set_synthetic_images/<CLASS>/*.jpg and validation_set_real_images/<CLASS>/*.jpg with all six classes
    (ANGER is spelt ANGRER there); lsd_test_data/*.jpg (may be absent) with a list file headed `image,expression`,
    whose order the test faces take. Keys are "train/ANGER/12", "validation/FEAR/3" and "test/7". A faces.csv in the
    folder supplies subjects, landmarks and test labels. Raises `FileNotFoundError` or `ValueError` where the folder
    is something else.
    """
    root = check_folder(folder)
    if missing := [name for name in (TRAIN, VALIDATION) if not (root / name).is_dir()]:
        raise FileNotFoundError(
            f"Expected the folders {TRAIN} and {VALIDATION} in {root}, but {' and '.join(missing)} is absent. Found: "
            f"{_join(path.name + '/' for path in list_folders(root))}. Another layout: `lsdkit prepare folder`"
        )
    rows, left_out = [], []
    for split in ("train", "validation"):
        place = root / FOLDER_OF_SPLIT[split]
        faces = _list_classes(root, place, split, {}, left_out)
        if absent := sorted(set(EXPRESSIONS) - {row["expression"] for row in faces}):
            wanted = ", ".join(CLASS_FOLDERS)
            raise ValueError(f"Expected images of {wanted} in {place}, but found none of {', '.join(absent)}")
        rows += faces
    if (root / TEST).is_dir():
        rows += _list_tests(root / TEST)
    listing = Listing(root, tabulate(rows), left_out)
    return _add_release_table(listing) if (root / "faces.csv").is_file() else listing


def read_folder(
    folder: str | Path,
    *,
    split: str = "",
    validation: float = 0.2,
    seed: int = 0,
    names: Mapping[str, str] = MappingProxyType({}),
    subjects: str = "",
) -> Listing:
    """Faces in a folder per expression, or in train/validation/test folders that each hold such folders.

    Neutral and contempt go to the split "extra". Without split folders, a share `validation` of each expression, drawn
    by `seed`, becomes the validation set: image by image, so that one person may land on both sides, or, where
    `subjects` tells who is on a picture, whole people (`lsdkit.data.subjects.name_subjects`, of the path in `folder`).
    `split` puts all faces in one split instead. Files beside the folders are ignored. Pictures that Pillow has no
    reader for, such as HEIC, are left out ("unreadable"). `names` says which expression a class folder stands for whose
    own name does not, such as {"1": "surprise"}; "none" leaves its images out. Raises `ValueError` for
    an empty class folder, for one whose name is no expression (with the nearest known spelling; of a number, with the
    commands that know the data sets' codes), for a name in `names` that no folder has, and for `subjects` that name
    nobody.
    """
    root, names, left_out = check_folder(folder), _check_names(names), []
    check_split(split, validation)
    splits = [path for path in list_folders(root) if path.name.lower() in SPLIT_NAMES]
    if splits and split:
        found = _join(path.name for path in splits)
        raise ValueError(f"Expected no `split` where {root} has {found}, but got {split!r}")
    places = {path: SPLIT_NAMES[path.name.lower()] for path in splits} or {root: split or "train"}
    if absent := set(names) - {path.name for place in places for path in list_folders(place)}:
        raise ValueError(f"Expected folders {_join(absent)} in {root}, as --map says, but found none of that name")
    rows = [row for path, place in places.items() for row in _list_classes(root, path, place, names, left_out)]
    listing = Listing(root, tabulate(rows), left_out)
    if subjects:
        listing.table["subject"] = name_subjects(listing.table["path"], subjects)
        if not listing.table["subject"].any():
            first = listing.table["path"].iloc[0]
            raise ValueError(f"Expected --subjects {subjects} to find people in paths such as {first!r}, but none fits")
    return listing if split or splits else split_off(listing, validation, seed)


def read_csv(file: str | Path, *, split: str = "", validation: float = 0.2, seed: int = 0) -> Listing:
    """Faces listed in a CSV file: columns path and expression, and optionally split, subject and key.

    Paths are relative to the file's folder, or absolute. An empty expression means unknown. Class codes (0, 1, ...)
    are refused, since data sets number their classes differently; a value that is no expression leaves its row out as
    "unknown_class". Without a column split, `split` and `validation` act as in `read_folder` (whole people where the
    column subject names some), and rows without an expression go to "test". Raises `ValueError` naming missing columns,
    and as `lsdkit.common.tables.read_csv` does for a file that is no CSV in UTF-8.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"Expected a CSV file with the columns path and expression, but {file} is not a file")
    check_split(split, validation)
    data = read_table(file, skipinitialspace=True)
    for name in ("path", "expression"):
        if name not in data.columns:
            near = get_close_matches(name, data.columns, 1, 0.5)
            hint = f"; rename {near[0]!r} to {name!r}" if near else ""
            raise ValueError(f"Expected a column {name!r} in {file}, but found {_join(data.columns)}{hint}")
    codes = data["expression"][data["expression"].str.fullmatch(r"\s*-?\d+(\.0)?\s*")]
    if len(codes):
        raise ValueError(
            f"Expected names of expressions in {file}, but got the code {codes.iloc[0]!r}: codes differ between data "
            f"sets. Write one of {', '.join(CLASSES)} instead"
        )
    rows, left_out = [], []
    for row in data.to_dict("records"):
        spelling = row["expression"].strip()
        name = recognise(spelling)
        if spelling and not name:
            left_out.append({"path": row["path"], "reason": "unknown_class", "detail": _suggest(spelling)})
            continue
        place = row["split"].strip().lower() if "split" in row else split or ("train" if name else "test")
        if place not in SPLIT_NAMES:
            raise ValueError(f"Expected `split` in {file} to be one of {', '.join(SPLIT_NAMES)}, but got {place!r}")
        place = "extra" if name in EXTRA else SPLIT_NAMES[place]
        key = row.get("key", "") or "/".join(filter(None, (place, name, Path(row["path"]).stem)))
        rows.append(make_row(key, place, name, row.get("subject", ""), row["path"]))
    if not rows:
        detail = f": {left_out[0]['detail']}" if left_out else ""
        raise ValueError(f"Expected faces in {file}, but none of its {len(data)} rows could be used{detail}")
    if "key" in data.columns and len({row["key"] for row in rows}) < len(rows):
        raise ValueError(f"Expected each key of {file} once, but the column 'key' repeats some")
    listing = Listing(file.parent, tabulate(rows), left_out)
    if split or "split" in data.columns:
        return listing
    return split_off(listing, validation, seed, rename="key" not in data.columns)


def check_folder(folder: str | Path) -> Path:
    folder = Path(folder)
    if not folder.is_dir():
        near = get_close_matches(folder.name, [path.name for path in list_folders(folder.parent)], 1)
        hint = f"; did you mean {folder.parent / near[0]}?" if near else ""
        raise FileNotFoundError(f"Expected a folder, but {folder} is not one{hint}")
    return folder


def list_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir() and not _is_hidden(path.name, "__"))


def list_images(folder: Path) -> list[str]:
    """Picture files at any depth, relative to the folder, in natural order (2 before 10).

    Those that Pillow cannot open are among them (`lsdkit.data.pictures.explain_suffix` tells which). Hidden ones are
    not, nor what systems keep in `NOT_FACES`. Linked folders are followed, each once; one that leads to a folder that
    is listed already, or to one that holds `folder` itself, is not. Raises `PermissionError` for a folder that may not
    be read.
    """
    folder, images, listed, waiting = str(folder), [], set(), [str(folder)]
    top = os.path.join(os.path.realpath(folder), "")
    while waiting:
        start = waiting.pop(0)
        real = os.path.realpath(start)
        if real in listed or (start != folder and top.startswith(os.path.join(real, ""))):
            continue
        links = []
        for place, folders, names in os.walk(start, onerror=_refuse_denied):
            listed.add(os.path.realpath(place))
            folders[:] = [name for name in folders if not _is_hidden(name)]
            paths = [os.path.join(place, name) for name in folders]
            links += [path for path in paths if os.path.islink(path)]
            folders[:] = [os.path.basename(path) for path in paths if os.path.realpath(path) not in listed]
            inside = "" if place == folder else Path(os.path.relpath(place, folder)).as_posix() + "/"
            images += [inside + name for name in names if name.lower().endswith(SUFFIXES) and not _is_hidden(name)]
        waiting += sorted(links)
    return sorted(images, key=_split_numbers)


def _is_hidden(name: str, *also: str) -> bool:
    return name.startswith((".", *also)) or name.lower() in NOT_FACES


def _refuse_denied(error: OSError) -> None:
    if isinstance(error, PermissionError):
        raise error


def _split_numbers(text: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]


def _check_names(names: Mapping[str, str]) -> dict[str, str]:
    """Folder -> expression, "" for "none"; `ValueError` for what is neither."""
    if wrong := [name for name in names.values() if name != NONE and not recognise(name)]:
        raise ValueError(f"Expected --map to name expressions, or {NONE!r}, but {_suggest(wrong[0])}")
    return {folder: recognise(name) for folder, name in names.items()}


def _list_classes(root: Path, folder: Path, split: str, names: Mapping[str, str], left_out: list[dict]) -> list[dict]:
    """Rows of a folder that holds a folder per expression.

    Images of folders that `names` calls "", and those that Pillow has no reader for, go to `left_out`.
    """
    rows, folders = [], list_folders(folder)
    for path in folders:
        images, name = list_images(path), names.get(path.name, recognise(path.name))
        if path.name in names and not name:
            inside = path.relative_to(root).as_posix()
            detail = f"--map says {path.name}={NONE}"
            left_out += [{"path": f"{inside}/{i}", "reason": "no_expression", "detail": detail} for i in images]
            continue
        if not name and not images:
            continue
        if not name and path.name.isdecimal():
            codes = ",".join(other.name + "=..." for other in folders if other.name.isdecimal())
            raise ValueError(
                f"Expected the folders in {folder} to be named after expressions, but got the code {path.name!r} with "
                f"{len(images)} images: codes differ between data sets. As they were handed out, `lsdkit prepare "
                f"affectnet`, `expw`, `rafdb` and `fer2013` read these four; otherwise say which expression each code "
                f"stands for: `lsdkit prepare folder {root} --map {codes}` (names such as surprise, or {NONE} to leave "
                "the images out)"
            )
        if not name:
            raise ValueError(
                f"Expected the folders in {folder} to be named after expressions, but got {path.name!r} with "
                f"{len(images)} images; {_suggest(path.name)}"
            )
        if not images:
            raise ValueError(f"Expected images in {path} ({', '.join(SUFFIXES)}), but found none; fill or remove it")
        place = "extra" if name in EXTRA else split
        inside = path.relative_to(root).as_posix()
        unread = {i: detail for i in images if (detail := explain_suffix(i))}
        left_out += [{"path": f"{inside}/{i}", "reason": "unreadable", "detail": why} for i, why in unread.items()]
        images = [i for i in images if i not in unread]
        rows += [make_row(f"{place}/{name}/{i.rpartition('.')[0]}", place, name, "", f"{inside}/{i}") for i in images]
    if not rows and left_out:
        first = "; ".join(f"{row['path']}: {row['detail']}" for row in left_out[:3])
        raise ValueError(f"Expected faces in {folder}, but none of {len(left_out)} images can be used: {first}")
    if not rows:
        names = _join(path.name for path in folder.iterdir())
        raise ValueError(f"Expected a folder per expression in {folder} ({', '.join(EXPRESSIONS)}), but found: {names}")
    return rows


def _list_tests(folder: Path) -> list[dict]:
    """Rows of the release's test folder: the list file's order and labels, then images that it does not name."""
    images, listed = list_images(folder), {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() not in SUFFIXES and _is_list(path)):
        listed = _read_list(path, images)
    rows = []
    for name in dict.fromkeys([*listed, *images]):
        label = listed.get(name, "")
        key = f"test/{Path(name).with_suffix('').as_posix()}"
        rows.append(make_row(key, "test", label, "", f"{folder.name}/{name}"))
    return rows


def _read_list(path: Path, images: list[str]) -> dict[str, str]:
    """Image -> its expression, "" = not told, of the release's list file, in its order.

    A name without an ending is that of the one image called so. Raises `ValueError`, naming the line, for an answer
    that is no expression, for a repeated name, and where the folder holds none of the listed images.
    """
    lines, listed = read_table(path, LIST_HEADER.split(",")), {}
    whole, stems = set(images), {}
    for image in images:
        stems.setdefault(image.rpartition(".")[0], []).append(image)
    for number, (name, code) in enumerate(
        zip(lines["image"].str.strip(), lines["expression"].str.strip(), strict=True), 2
    ):
        same = stems.get(name, ())
        name = same[0] if name not in whole and len(same) == 1 else name
        if not name or name in listed:
            raise ValueError(f"Expected each image of {path} once, but line {number} has {name or 'none'!r}")
        try:
            known = code not in ("", "-1")
            listed[name] = name_of(int(code) if re.fullmatch("[0-5]", code) else index_of(code)) if known else ""
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if images and not whole & set(listed):
        first = next(iter(listed), "nothing")
        raise ValueError(f"Expected {path} to list images of its folder, such as {images[0]}, but got {first}")
    return listed


def _is_list(path: Path) -> bool:
    """Whether a file begins with the line `image,expression`, whatever separates the two, in UTF-8 or UTF-16."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(128)
    text = start.decode("utf-16" if start.startswith(WIDE) else "utf-8-sig", "replace")
    return re.match(r"\s*image\s*[,;\t]\s*expression\s*[,;]*\s*[\r\n]", text + "\n") is not None


def make_row(*values: str) -> dict[str, str]:
    return dict(zip(COLUMNS, values, strict=True))


def tabulate(rows: list[dict]) -> pd.DataFrame:
    """Table with unique keys: where two files of a class share a stem, the later one's key gets "~2", "~3", ...

    Keys are text of one line (`lsdkit.data.pictures.quote_name`), paths are the files' own.
    """
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["key"] = table["key"].map(quote_name)
    repeat = table.groupby("key").cumcount()
    table["key"] = table["key"].where(repeat == 0, table["key"] + "~" + (repeat + 1).astype(str))
    return table


def _add_release_table(listing: Listing) -> Listing:
    """Take subjects, landmarks and test labels from the folder's faces.csv, matched by key."""
    file, table, text = listing.root / "faces.csv", listing.table, ["key", "expression", "subject"]
    check_csv(file)
    given = parse_csv(file, dtype=dict.fromkeys(text, str))
    if missing := set(text) - set(given.columns):
        raise ValueError(f"Expected the columns key, expression and subject in {file}, but lacks {_join(missing)}")
    if given["key"].duplicated().any():
        raise ValueError(
            f"Expected each key once in {file}, but {given['key'][given['key'].duplicated()].iloc[0]!r} repeats"
        )
    if "x0" in given.columns:
        listing.landmarks = extract_points(given[given["key"].isin(table["key"])], file)
    listing.rendered = "variant" in given.columns
    given = given[text].set_index("key").reindex(table["key"])
    if given["expression"].isna().all():
        raise ValueError(f"Expected keys such as {table['key'].iloc[0]!r} in {file}, but none matches an image")
    names = given["expression"].fillna("").str.strip().to_numpy()
    if unknown := set(names) - {"", *CLASSES}:
        raise ValueError(f"Expected `expression` in {file} to be one of {', '.join(CLASSES)}, but got {min(unknown)!r}")
    disagree = (names != "") & (table["expression"] != "").to_numpy() & (names != table["expression"].to_numpy())
    if disagree.any():
        row = table[disagree].iloc[0]
        raise ValueError(f"{file} calls {row['key']} {names[disagree][0]}, but its folder says {row['expression']}")
    table["expression"] = np.where(table["expression"] == "", names, table["expression"])
    table["subject"] = given["subject"].fillna("").to_numpy()
    return listing


def split_off(listing: Listing, validation: float, seed: int, rename: bool = True) -> Listing:
    """Move a share of each expression's training faces to the validation split, drawn by the seed.

    Where faces say who is on them, all faces of some people (`lsdkit.data.subjects.draw_people`).
    """
    table = listing.table.copy()
    train = np.flatnonzero((table["split"] == "train") & table["expression"].isin(EXPRESSIONS))
    names = table["expression"].to_numpy(dtype=object)[train]
    people = table["subject"].to_numpy(dtype=object)[train]
    if validation and (people != "").any():
        chosen = train[draw_people(names, people, validation, seed)]
    else:
        chosen = np.concatenate([_draw_share(train[names == name], name, validation, seed) for name in EXPRESSIONS])
    table.loc[chosen, "split"] = "validation"
    if rename:
        table.loc[chosen, "key"] = "validation/" + table.loc[chosen, "key"].str.removeprefix("train/")
    return Listing(listing.root, table, listing.left_out, random_split=True)


def _draw_share(rows: np.ndarray, name: str, share: float, seed: int) -> np.ndarray:
    """A share of the rows of an expression: at least one, and not all."""
    count = min(len(rows) - 1, max(1, round(share * len(rows)))) if share and len(rows) > 1 else 0
    return numpy_generator(seed, "validation", name).permutation(rows)[:count]


def leave_out_listed(listing: Listing, file: str | Path) -> Listing:
    """The listing without the faces that a CSV file lists: column path, as in a store's faces.csv, or reason as well.

    They are named in `left_out` as "listed". Faces stay in their splits, since these were drawn before. Raises
    `ValueError` for paths that are no face's, and for a file without a column path.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"Expected a CSV file with the column path, of what to leave out, but {file} is no file"
        )
    wanted = read_table(file)
    if "path" not in wanted.columns:
        raise ValueError(f"Expected a column path, as in faces.csv of a store, in {file}, but found {_join(wanted)}")
    why = dict(zip(wanted["path"], wanted.get("reason", [""] * len(wanted)), strict=True))
    names = listing.table["path"].map(quote_name)
    if unknown := set(why) - set(names) - {quote_name(row["path"]) for row in listing.left_out}:
        raise ValueError(
            f"Expected {file} to list paths of pictures such as {names.iloc[0]!r}, but {len(unknown)} are of none: "
            f"{_join(unknown)}; take these lines out, or save the list again from a store of these pictures"
        )
    listed = names.isin(why)
    details = (f"{file.name}: {why[name]}" if why[name] else file.name for name in names[listed])
    left_out = [
        {"path": path, "reason": "listed", "detail": detail}
        for path, detail in zip(listing.table["path"][listed], details, strict=True)
    ]
    if listed.all():
        raise ValueError(f"Expected {file} to leave some faces, but it lists all {len(names)}")
    return replace(listing, table=listing.table[~listed].reset_index(drop=True), left_out=listing.left_out + left_out)


def check_split(split: str, validation: float) -> None:
    if split and split not in SPLITS:
        raise ValueError(f"Expected `split` to be train, validation, test or extra, but got {split!r}")
    if not 0 <= validation < 1:
        raise ValueError(f"Expected `validation` to be a share in [0, 1), but got {validation}")


def _suggest(spelling: str) -> str:
    words = [word for name in CLASSES for word in SPELLINGS[name] if len(word) > 3]
    near = get_close_matches(spelling.strip().lower(), words, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{spelling!r} is no known expression; {hint}Known: {', '.join(CLASSES).lower()}"


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:12]) or "nothing"
