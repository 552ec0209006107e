"""A run: one training of one member, as its folder tells of it.

    result.json      the member's settings, the weights it started from, its scores, counts, versions, seed, seconds
    history.csv      one row an epoch: epoch, lr, loss and its four parts in training, val_macro_f1 and val_loss of what
                     is scored (the mean of weights, where there is one), seconds
    predictions.csv  key, split, expression and six probabilities for each validation and test face
    bag.csv          the faces trained on: row in the store and key
    landmarks.csv    where a few validation faces' landmarks were placed after each epoch (`lsdkit.training.landmarks`)
    weights.pt       the tensors of the kept epoch, with their checksum in weights.pt.sha256
    member.json      from the start: whose folder it is (`lsdkit.training.ownership`); .lock holds it while one trains

Until the end there are checkpoints as well (`lsdkit.training.checkpoints`). `result.json` is written last: where it
stands, the run is finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from lsdkit.common.files import read_json, write_json
from lsdkit.common.paths import resolve
from lsdkit.data.store import Store
from lsdkit.data.viewing import View
from lsdkit.recipes import RANDOM, Member, Recipe

FORMAT = 1
RESULT, LANDMARKS = "result.json", "landmarks.csv"


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

    def read_predictions(self) -> pd.DataFrame:
        """Its predictions of the validation and test faces, see `lsdkit.training.predictions`."""
        return _read_csv(self.folder / "predictions.csv", dtype={"key": str, "split": str, "expression": str})

    def read_history(self) -> pd.DataFrame:
        """Its history: one row an epoch."""
        return _read_csv(self.folder / "history.csv")

    def read_bag(self) -> pd.DataFrame:
        """The faces that it was trained on: row in the store and key, one row a face."""
        return _read_csv(self.folder / "bag.csv", dtype={"row": int, "key": str})

    def read_landmarks(self) -> pd.DataFrame:
        """Its notes of landmarks, see `lsdkit.training.landmarks`; no row where it left none."""
        if not (self.folder / LANDMARKS).is_file():
            return pd.DataFrame(columns=["epoch", "key", "point", "x", "y"])
        return _read_csv(self.folder / LANDMARKS, dtype={"key": str})

    def open_store(self, data_dir: str | Path = "") -> Store:
        """The store that it was trained on: where its result says, or its copy in `data_dir`.

        Raises `FileNotFoundError` where there is none, `ValueError` where its pixels are others than the run's.
        """
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
                return self.open_store().view
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
    result = read_json(path)
    if result.get("format") != FORMAT:
        raise ValueError(f"Expected format {FORMAT} in {path}, but got {result.get('format')!r}; train the run again")
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
        **{name: result[name] for name in ("device", "threads", "versions") if name in result},
    )


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
        "store": {"path": run.store, "checksums": run.checksums} | ({"view": run.view.describe()} if run.view else {}),
        "notes": list(run.notes),
    }
    write_json(run.folder / RESULT, result)


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
    settings = {name: _frozen(value) for name, value in spec["recipe"].items()}
    try:
        return Member(**{**spec, "recipe": Recipe(**settings)})
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected the settings of this version of lsdkit in {path}, but got others: {error}; train the run again"
        ) from error


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _read_csv(path: Path, **options: object) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"Expected {path.name} in {path.parent}, but there is none; train the run first")
    return pd.read_csv(path, keep_default_na=False, na_values={"val_loss": [""], "val_macro_f1": [""]}, **options)
