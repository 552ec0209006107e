"""A run: one training of one member, as its folder tells of it.

    result.json      the member's settings, the weights it started from, its scores, counts, versions, seed, seconds
    history.csv      one row an epoch: epoch, lr, loss and its four parts in training, val_macro_f1 and val_loss of what
                     is scored (the mean of weights, where there is one), seconds
    predictions.csv  key, split, expression and six probabilities for each validation and test face
    bag.csv          the faces trained on: row in the store and key
    landmarks.csv    where a few validation faces' landmarks were placed after each epoch (`lsdkit.training.landmarks`)
    weights.pt       the tensors of the kept epoch, with their checksum in weights.pt.sha256
    member.json      from the start: whose folder it is (`lsdkit.training.ownership`); .lock holds it while one trains

Until the end there are checkpoints as well (`lsdkit.training.checkpoints`). `result.json` is written last and holds
the checksums of the others, and its own: where it stands and they hold, the run is finished. Older results hold none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import Damaged, read_json, seal, sha256, write_json
from lsdkit.common.paths import resolve
from lsdkit.common.tables import check_csv, parse_csv
from lsdkit.data.store import Store
from lsdkit.data.viewing import View
from lsdkit.recipes import RANDOM, Member, Recipe

FORMAT = 1
RESULT, LANDMARKS, CLAIM, LOCK = "result.json", "landmarks.csv", "member.json", ".lock"
FILES = ("history.csv", "predictions.csv", "bag.csv", LANDMARKS, "weights.pt")  # that a result holds the checksums of
AGAIN = "train the run again"
PARTS = dict(  # what a result holds, each of one of these types
    **dict.fromkeys(("member", "store", "metrics", "counts"), dict),
    **dict.fromkeys(("kind", "spec_hash", "weights_sha256"), str),
    best_epoch=int,
    seconds=(int, float),
)
MORE = {
    "files": dict,
    "weights": dict,
    "notes": list,
    "device": str,
    "threads": int,
    "versions": dict,
}  # newer ones too


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run. While it is under way it has no `metrics`, nor anything else that only its end tells.

    `metrics`: val_macro_f1, val_f1 (by expression), val_balanced_accuracy, the same as test_... where test labels are
    known, and where there is an appearance branch landmark_nme and mean_shape_nme, the same of the mean landmarks.
    `counts`: trained_on, validation and test, each faces by expression. `started_from`: for each branch what became of
    its weights, see `starting.start_branches`.
    """

    folder: Path
    member: Member
    kind: str  # what the faces are, of `data.store.KINDS`
    store: str  # the store's folder, relative to the project where it lies below it
    checksums: dict[str, str]  # of the store's images and landmarks, and of its table of faces
    view: View | None = None  # what the store's faces show of an aligned crop; older results do not tell it
    started_from: dict[str, dict] = field(default_factory=dict)
    device: str = ""
    threads: int = 0
    metrics: dict = field(default_factory=dict)
    best_epoch: int = 0  # the kept one, from 1
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: float = 0.0
    spec_hash: str = ""
    weights_sha256: str = ""
    files: dict[str, str] = field(default_factory=dict)  # name -> SHA-256, of what the training left
    versions: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def finished(self) -> bool:
        return bool(self.metrics)

    @property
    def val_macro_f1(self) -> float:
        """Macro F1 in [0, 1] on the validation faces, which the epoch was chosen by."""
        return self.metrics["val_macro_f1"]

    @property
    def test_macro_f1(self) -> float:
        """Macro F1 in [0, 1] on the test faces; NaN where their labels are not known."""
        return self.metrics.get("test_macro_f1", float("nan"))

    @property
    def faces(self) -> int:
        """How many faces it was trained on."""
        return sum(self.counts["trained_on"].values())

    def weights_source(self, role: str) -> str:
        """What a branch, "emotion" or "appearance", started from: "random", a set's name, or "run NAME"."""
        names = []
        for source in (self.started_from.get(role, {}).get("source") or RANDOM).split("+"):
            name = source.partition("@")[0].rstrip("/")
            names.append(f"run {name.rpartition('/')[2]}" if "/" in name else name)
        return "+".join(names)

    def check_file(self, name: str) -> bool:
        """Whether a file is known to be what the training left; False where an older result does not tell.

        Raises `Damaged`, naming it, where it is not.
        """
        if name not in self.files:
            return False
        path = self.folder / name
        if not path.is_file():
            raise Damaged(f"Expected {path}, which {RESULT} tells of, but there is none; {AGAIN}")
        if sha256(path) != self.files[name]:
            raise Damaged(f"{path} is damaged: it is not what {RESULT} tells of; {AGAIN}")
        return True

    def check_files(self) -> None:
        """Raise `Damaged`, naming the file, where one is not what the training left."""
        for name in self.files:
            self.check_file(name)

    def read_predictions(self) -> pd.DataFrame:
        """Its predictions of the validation and test faces, see `lsdkit.training.predictions`.

        Raises `Damaged`, naming the file, where it is not what the training left, or can be none.
        """
        table = self._read_csv("predictions.csv", ("key", "split", "expression", *EXPRESSIONS), texts=3)
        values, path = table[list(EXPRESSIONS)].to_numpy(float), self.folder / "predictions.csv"
        if not len(values) or not (np.abs(values - 0.5) <= 0.5).all() or (np.abs(values.sum(1) - 1) > 0.01).any():
            raise Damaged(f"Expected faces with six probabilities of sum 1 in {path}, but got others; {AGAIN}")
        return table

    def read_history(self) -> pd.DataFrame:
        """Its history: one row an epoch."""
        return self._read_csv("history.csv", ("epoch",), may_lack=("val_loss", "val_macro_f1"))

    def read_bag(self) -> pd.DataFrame:
        """The faces that it was trained on: row in the store and key, one row a face."""
        return self._read_csv("bag.csv", ("key", "row"), texts=1)

    def read_landmarks(self) -> pd.DataFrame:
        """Its notes of landmarks, see `lsdkit.training.landmarks`; no row where it left none."""
        columns = ("key", "epoch", "point", "x", "y")
        if LANDMARKS not in self.files and not (self.folder / LANDMARKS).is_file():
            return pd.DataFrame(columns=["epoch", "key", "point", "x", "y"])
        return self._read_csv(LANDMARKS, columns, texts=1, may_lack=("x", "y"))

    def _read_csv(
        self, name: str, columns: Sequence[str], *, texts: int = 0, may_lack: Sequence[str] = ()
    ) -> pd.DataFrame:
        """A table with at least these columns, of which the first `texts` are text and all others numbers."""
        path = self.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"Expected {name} in {self.folder}, but there is none; train the run first")
        try:
            if not self.check_file(name):
                check_csv(path)
            gaps = {column: [""] for column in may_lack}
            table = parse_csv(path, dtype=dict.fromkeys(columns[:texts], str), na_values=gaps)
        except Damaged:
            raise
        except ValueError as error:
            raise Damaged(f"{error}; {AGAIN}") from error
        wrong = [column for column in columns if column not in table.columns]
        others = table.columns.difference(columns[:texts])
        wrong += [column for column in others if not is_numeric_dtype(table[column])]
        if wrong:
            raise Damaged(f"Expected a column {wrong[0]} of numbers in {path}, but got another or none; {AGAIN}")
        return table

    def open_store(self, data_dir: str | Path = "") -> Store:
        """The store that it was trained on: where its result says, or its copy in `data_dir`.

        Raises `FileNotFoundError` where there is none, `ValueError` where its pixels are others than the run's, and
        `Damaged`, naming files, where they are not what was stored.
        """
        store = self._find_store(data_dir)
        store.verify()
        return store

    def _find_store(self, data_dir: str | Path = "") -> Store:
        store = Store.open(resolve(data_dir or self.store))
        if store.manifest["checksums"]["images.npy"] != self.checksums.get("images.npy"):
            raise ValueError(
                f"Expected the faces that {self.member.name} was trained on in {store.path}, but it holds others; "
                "name the right store with DATA_DIR, or train again"
            )
        return store

    def find_view(self) -> View:
        """What its network is shown of an aligned crop.

        Where the result does not tell, the store's where it still stands, else the whole crop in colour.
        """
        if self.view is None and self.store:
            try:
                return self._find_store().view
            except (OSError, ValueError):  # gone, or another by now
                return View()
        return self.view or View()


def is_finished(folder: Path | str) -> bool:
    """Whether the folder holds a finished run."""
    return (Path(folder) / RESULT).is_file()


def read_run(folder: Path | str) -> Run:
    """The finished run in a folder.

    Raises `FileNotFoundError` where there is none, and `ValueError`, naming the file, for a damaged result or one whose
    settings this version does not know.
    """
    folder = Path(folder)
    path = folder / RESULT
    if not path.is_file():
        raise FileNotFoundError(f"Expected a finished run in {folder}, but it has no {RESULT}; train it first")
    result = read_json(path, AGAIN)
    if result.get("format") != FORMAT:
        raise ValueError(f"Expected format {FORMAT} in {path}, but got {result.get('format')!r}; {AGAIN}")
    _check_result(result, path)
    same = ("kind", "metrics", "best_epoch", "counts", "seconds", "spec_hash", "weights_sha256")
    return Run(
        folder=folder,
        member=read_member(result["member"], path),
        store=result["store"]["path"],
        checksums=result["store"]["checksums"],
        view=View.read(result["store"]["view"]) if "view" in result["store"] else None,
        started_from=result.get("weights", {}),
        notes=tuple(result.get("notes", ())),
        **{name: result[name] for name in same},
        **{name: result[name] for name in ("device", "threads", "files", "versions") if name in result},
    )


def _check_result(result: Mapping, path: Path) -> None:
    """Raise `Damaged`, naming the file, where a result lacks something or holds another type."""
    given = {**dict.fromkeys(PARTS), **result}
    wrong = [name for name, kind in (PARTS | MORE).items() if name in given and not isinstance(given[name], kind)]
    if not wrong:
        scores, counts, store = result["metrics"], result["counts"], result["store"]
        sound = {
            "metrics": all(map(_is_score, scores.values())),
            "counts": all(isinstance(each, dict) and all(map(_is_number, each.values())) for each in counts.values()),
            "store": isinstance(store.get("path"), str) and isinstance(store.get("checksums"), dict),
            "weights": all(isinstance(each, dict) for each in result.get("weights", {}).values()),
        }
        wrong = [name for name, fine in sound.items() if not fine]
    if not wrong and "view" in result["store"]:
        try:
            View.read(result["store"]["view"])
        except ValueError:
            wrong = ["view"]
    if wrong:
        raise Damaged(f"Expected {wrong[0]!r} in {path}, but it is absent or cannot be what was written; {AGAIN}")


def _is_score(value: object) -> bool:
    return all(map(_is_number, value.values())) if isinstance(value, dict) else _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def write_run(run: Run) -> None:
    """Write a finished run's result.json, whole or not at all; `ValueError` for a number that JSON lacks (NaN)."""
    result = {
        "format": FORMAT,
        "name": run.member.name,
        "member": run.member.spec(),
        "spec_hash": run.spec_hash,
        "kind": run.kind,
        "metrics": run.metrics,
        "best_epoch": run.best_epoch,
        "counts": run.counts,
        "seed": run.member.seed,
        "device": run.device,
        "threads": run.threads,
        "seconds": run.seconds,
        "versions": run.versions,
        "weights": run.started_from,
        "weights_sha256": run.weights_sha256,
        "files": run.files,
        "store": {"path": run.store, "checksums": run.checksums} | ({"view": run.view.describe()} if run.view else {}),
        "notes": list(run.notes),
    }
    write_json(run.folder / RESULT, seal(result))


def sum_files(folder: Path) -> dict[str, str]:
    """The checksums of what a training left in its folder, {name: SHA-256}."""
    return {name: sha256(folder / name) for name in FILES if (folder / name).is_file()}


def list_runs(folder: Path | str) -> list[Run]:
    """The finished runs in `folder`, each in a folder of its own, by name; those that are not finished are left out."""
    return [read_run(path.parent) for path in sorted(Path(folder).glob(f"*/{RESULT}"))]


def tabulate_runs(runs: Sequence[Run]) -> pd.DataFrame:
    """Runs as a table to look at: one row a run; scores in [0, 1], `test_macro_f1` NaN where no labels are known."""
    rows = [
        {
            "run": run.name,
            "recipe": run.member.recipe.name,
            **{name: getattr(run.member, name) for name in ("mix", "appearance", "basic_aug", "bag", "seed", "epochs")},
            "trained_on": run.faces,
            **{name: getattr(run, name) for name in ("kind", "val_macro_f1", "test_macro_f1", "best_epoch", "seconds")},
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def read_member(spec: dict, path: Path) -> Member:
    """The member of `Member.spec()`, which the file `path` holds.

    Raises `ValueError`, naming the file, for settings that this version does not know.
    """
    try:
        settings = {name: _frozen(value) for name, value in spec["recipe"].items()}
        return Member(**{**spec, "recipe": Recipe(**settings)})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected the settings of this version of lsdkit in {path}, but got others: {error}; train the run again"
        ) from error


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
