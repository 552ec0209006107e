"""RAF-DB (basic): `EmoLabel/list_patition_label.txt` with the aligned pictures, or folders train/1 to test/7.

Source: Li et al., "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild"
(CVPR 2017); the list's name is spelt so.
"""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from lsdkit.data.datasets.labels import DataSet, Labelled, Misread, find_first, find_pictures, number_codes, read_lines
from lsdkit.data.readers import SPLIT_NAMES, list_folders, list_images

LISTS = tuple(f"{place}EmoLabel/list_pa{r}tition_label.txt" for place in ("", "basic/") for r in ("", "r"))
PICTURES = ("Image/aligned", "basic/Image/aligned", "aligned")
FOLDERS = ("", "DATASET")  # that hold train/ and test/


def _read(data_set: DataSet, root: Path) -> Iterator[Labelled | Misread]:
    if listed := find_first(root, LISTS):
        return _read_list(root, listed)
    for place in FOLDERS:
        splits = [path for path in list_folders(root / place) if path.name.lower() in SPLIT_NAMES]
        classes = [path for split in splits for path in list_folders(split) if list_images(path)]
        if odd := [path for path in classes if path.name not in data_set.codes]:
            if len(odd) == len(classes):
                break
            wanted = ", ".join(data_set.codes)
            raise ValueError(f"Expected class folders {wanted} of {data_set.title}, but got {odd[0]}; move it away")
        if classes:
            return _read_folders(root, classes)
    raise data_set.refuse(root)


def _read_folders(root: Path, classes: Sequence[Path]) -> Iterator[Labelled]:
    for path in classes:
        folder, split = path.relative_to(root).as_posix(), SPLIT_NAMES[path.parent.name.lower()]
        for image in list_images(path):
            yield Labelled(f"folder {folder}", image, path.name, split, folder)


def _read_list(root: Path, listed: str) -> Iterator[Labelled | Misread]:
    rows = [(f"{listed}, line {number}", line.split()) for number, line in read_lines(root / listed)]
    folder = find_pictures(root, PICTURES, (_align_name(cells[0]) for _, cells in rows))
    for where, cells in rows:
        split = SPLIT_NAMES.get(posixpath.basename(cells[0]).partition("_")[0].lower(), "")
        if len(cells) != 2 or not split:
            yield Misread(where, "expected: train_NUMBER.jpg CODE, or test_NUMBER.jpg CODE")
            continue
        yield Labelled(where, _align_name(cells[0]), cells[1], split, folder)


def _align_name(name: str) -> str:
    """The name of the aligned file: train_1.jpg is listed, train_1_aligned.jpg is there."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem.removesuffix('_aligned')}_aligned{dot}{ending}"


RAFDB = DataSet(
    "RAF-DB",
    _read,
    "EmoLabel/list_patition_label.txt with Image/aligned/, or train/1 to train/7 and test/1 to test/7",
    number_codes("SURPRISE FEAR DISGUST HAPPINESS SADNESS ANGER NEUTRAL", start=1),
)
