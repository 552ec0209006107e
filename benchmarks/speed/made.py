"""What the benchmarks of speed make for themselves: a store of smooth coloured pictures, and runs never trained."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import write_table, write_text
from lsdkit.common.seeds import numpy_generator
from lsdkit.data.store import Store
from lsdkit.data.writer import write_store
from lsdkit.ensembles.rules import WEAK_APPEARANCES, strong_cells, weak_cells
from lsdkit.method.metrics import macro_f1
from lsdkit.recipes import Member
from lsdkit.training.runs import Run, sum_files, write_run

RIGHT, VARIANTS = 0.6, 1000  # share of right answers; different probabilities of each answer


def make_store(folder: Path, counts: Mapping[str, int], side: int) -> Store:
    """A store of so many smooth pictures in each split, with landmarks drawn at random."""
    generator, rows, landmarks = numpy_generator(0, "benchmark"), [], {}
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        for number in range(count):
            coarse = Image.fromarray(generator.integers(0, 256, (7, 7, 3), np.uint8))
            key = f"{split}/{number}"
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{split}-{number}.png")
            rows.append((key, split, EXPRESSIONS[number % 6], f"subject-{number % 50}", f"{split}-{number}.png"))
            landmarks[key] = generator.uniform(-0.8, 0.8, (68, 2))
    table = pd.DataFrame(rows, columns=["key", "split", "expression", "subject", "path"])
    options = {"size": None, "kind": "rendered", "source": "benchmark", "settings": {}, "root": folder}
    return write_store(folder / "store", table, landmarks, progress=False, **options)


def make_runs(folder: Path, counts: Mapping[str, int]) -> list[Run]:
    """The 38 members of Tables 2 and 3 as finished runs with answers to so many faces of each split.

    Members err independently, so that hardly two faces are answered alike: the longest that a bootstrap can take.
    """
    generator, splits = numpy_generator(0, "benchmark"), np.repeat(list(counts), list(counts.values()))
    labels = generator.integers(0, 6, len(splits))
    known = [f"{split}/{n},{split},{EXPRESSIONS[y]}," for n, (split, y) in enumerate(zip(splits, labels, strict=True))]
    spread = generator.dirichlet(np.ones(6), 6 * VARIANTS) + np.repeat(np.eye(6), VARIANTS, axis=0)
    texts = [",".join(f"{value:.9g}" for value in row / row.sum()) for row in spread]
    head = ",".join(("key", "split", "expression", *EXPRESSIONS))
    cells = strong_cells("mixaugment", "mixup")
    cells += [cell for mix in ("mixaugment", "mixup") for name in WEAK_APPEARANCES for cell in weak_cells(mix, name)]
    runs = []
    for cell in cells:
        right = generator.random(len(labels)) < RIGHT
        guess = np.where(right, labels, generator.integers(0, 6, len(labels)))
        chosen = VARIANTS * guess + generator.integers(0, VARIANTS, len(labels))
        lines = [known[face] + texts[variant] for face, variant in enumerate(chosen.tolist())]
        member = Member.of("smoke", mix=cell.mix, appearance=cell.appearance, basic_aug=cell.basic_aug, bag=cell.bag)
        place = folder / member.name
        write_text(place / "predictions.csv", "\n".join([head, *lines, ""]))
        losses = {"epoch": [1, 2], "train_loss": [2.0, 1.5], "loss": [2.0, 1.5], "val_loss": [1.9, 1.6]}
        write_table(place / "history.csv", pd.DataFrame({**losses, "val_macro_f1": [0.3, 0.5]}))
        own = splits == "validation"
        run = Run(
            folder=place,
            member=member,
            kind="rendered",
            store="nowhere",
            checksums={"images.npy": "1"},
            metrics={"val_macro_f1": macro_f1(labels[own], guess[own])},
            best_epoch=2,
            counts={"trained_on": dict.fromkeys(EXPRESSIONS, 8)},
            seconds=1.0,
            spec_hash=member.spec_hash(),
            weights_sha256="0" * 64,
            files=sum_files(place),
        )
        write_run(run)
        runs.append(run)
    return runs
