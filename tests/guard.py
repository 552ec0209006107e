"""What a change of the library's shape must leave equal, bit for bit: `python tests/guard.py record|compare FILE`.

Everything is asked through commands and notebooks, whose names stay: weights of three small members, rendered faces of
each design, the tables, a plan, a submission, the keys of a result, the answers of the photograph benchmark's
regressions. The work goes to the folder beside FILE, where runs of an earlier record are read again.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
MEMBERS = {
    "strong-mixaugment": {"MIX": "mixaugment"},
    "weak-mixup": {"MIX": "mixup", "BAG": 2, "APPEARANCE": "mobilevitv2"},
    "single-task": {"APPEARANCE": "none", "SEED": 3},
}
DESIGNS = ("release", "varied")


def lsdkit(*arguments: object) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lsdkit"), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"lsdkit {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")
    return done.stdout


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def measure(work: Path, earlier: Path) -> dict[str, object]:
    found, store = {}, work / "open-smoke"
    lsdkit("prepare", "open", "--out", store, "--fraction", 0.001, "--validation", 60, "--test", 60, "--device", "cpu")
    for design in DESIGNS:
        out = work / design
        lsdkit(
            *("prepare", "open", "--out", out, "--fraction", 1e-6, "--validation", 6, "--test", 10),
            *("--design", design, "--device", "cpu"),
        )
        found[f"faces {design}"] = digest(np.load(out / "images.npy")[:64].tobytes())
    for name, parameters in MEMBERS.items():
        values = {"DATA_DIR": store, "RUN_DIR": work / "runs" / name, "RECIPE": "smoke", "DEVICE": "cpu", **parameters}
        flags = [
            f for key, value in values.items() for f in ("-p" if isinstance(value, int) else "-r", key, str(value))
        ]
        command = [
            sys.executable,
            "-m",
            "papermill",
            str(ROOT / "notebooks/03_train.ipynb"),
            str(work / f"{name}.ipynb"),
        ]
        subprocess.run([*command, *flags, "--no-progress-bar"], check=True, capture_output=True)
        result = json.loads((work / "runs" / name / "result.json").read_text())
        found[f"weights {name}"] = result["weights_sha256"]
        found[f"keys {name}"] = sorted(result)
        found[f"spec {name}"] = result["spec_hash"]
    sources = {"fake": earlier / "fake", "fake-two-seeds": earlier / "fake-two-seeds"}
    for name, folder in sources.items():
        lsdkit("tables", folder, "--out", work / f"tables-{name}")
        found[f"tables.md {name}"] = digest((work / f"tables-{name}" / "tables.md").read_bytes())
    for name, recipe, data in (("paper", "paper", ()), ("smoke", "smoke", ("--data", store))):
        text = lsdkit("sweep", "--plan", "--recipe", recipe, "--out", work / "none", *data)
        found[f"plan {name}"] = digest(text.replace(str(work), "WORK").encode())
    answers = (("all", ()), ("rule", ("--ensemble", "MA Strong & MA Best Weak", "--seed", 0)))
    for name, options in answers:
        out = work / f"submission-{name}.csv"
        lsdkit("predict", earlier / "fake-test", "--submission", "--out", out, "--data", "", *options)
        found[f"submission {name}"] = digest(out.read_bytes())
    lsdkit("predict", work / "runs", "--submission", "--data", store, "--out", work / "submission-runs.csv")
    found["submission of runs"] = digest((work / "submission-runs.csv").read_bytes())
    photographs = work / "photographs"
    if not photographs.exists():
        for path in sorted((work / "open-smoke-release" / "validation_set_real_images").glob("*/*.jpg")):
            (photographs / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, photographs / path.parent.name / path.name)
    lsdkit(
        *("benchmark", "--photographs", photographs, "--out", work / "benchmark", "--seeds", "0"),
        *("--models", "landmarks,hog,hog+landmarks", "--fraction", 0.002, "--device", "cpu"),
    )
    for model in ("landmarks", "hog", "hog+landmarks"):
        found[f"answers {model}"] = digest((work / "benchmark" / "answers" / f"{model}-seed0.csv").read_bytes())
    again = lsdkit(
        "prepare", "open", "--out", earlier / "open-smoke", "--fraction", 0.001, "--validation", 60, "--test", 60
    )
    found["an earlier store opens"] = "397 faces" in again
    return found


def main(what: str, file: Path) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    earlier, work = file.parent / "recorded", file.parent / what
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if what == "record":
        (work / "fake").mkdir()
        sys.path[:0] = [str(ROOT)]
        leave_fakes(work)
        shutil.rmtree(earlier, ignore_errors=True)
        work.rename(earlier)
        work = earlier
    found = measure(work, earlier)
    if what == "record":
        file.write_text(json.dumps(found, indent=1))
        return
    before = json.loads(file.read_text())
    for name in sorted({*before, *found}):
        print("equal" if before.get(name) == found.get(name) else "DIFFERS", name)
    raise SystemExit(before != found)


def leave_fakes(work: Path) -> None:
    """Runs that were never trained, as the tests make them, of validation faces and of an open set's test faces."""
    from tests import fake_runs

    def right(cell, seed):
        return 0.3 + 0.01 * cell[3] + 0.05 * (cell[0] == "mixup") + 0.02 * seed

    fake_runs.leave_matrix(work / "fake", right)
    fake_runs.leave_matrix(work / "fake-two-seeds", right, strong=(0,), weak=(0, 1, 2), count=180)
    lsdkit("prepare", "open", "--out", work / "open-smoke", "--fraction", 0.001, "--validation", 60, "--test", 60)
    manifest = json.loads((work / "open-smoke" / "manifest.json").read_text())
    import pandas as pd

    table = pd.read_csv(work / "open-smoke" / "faces.csv", dtype=str, keep_default_na=False)
    table = table[table["split"] == "test"]
    labels = table["expression"].map({n: i for i, n in enumerate(fake_runs.EXPRESSIONS)}).to_numpy()
    store = {"path": str(work.parent / "recorded" / "open-smoke"), "checksums": manifest["checksums"]}
    for number, cell in enumerate(fake_runs.STRONG + fake_runs.WEAK):
        stack = fake_runs.answers(labels, 0.4, number)
        fake_runs.leave_run(
            work / "fake-test", cell, 0, table["key"].tolist(), labels, stack, split="test", store=store
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
