"""Painting on a CUDA device: the same pixels as on the CPU, and which device is used."""

import os
import subprocess
import sys

import numpy as np
import pytest

from lsdkit.openset import devices, gpu, release
from lsdkit.openset.occlusion import openness
from lsdkit.openset.plan import plan_release, subject_seed
from lsdkit.openset.render import render_face
from lsdkit.openset.shade import shade

SIMULATED = """
import numpy as np
from lsdkit.openset import gpu, render, shade

def both(*scene):
    there, here = gpu.shade(*scene), shade.shade(*scene)
    assert here[..., 3].max() > 0.9 and np.array_equal(here, there), "another picture"
    print("same", here.shape)
    return here

render.shade = both
gpu.try_kernel()
render.render_face("SURPRISE", seed=3, subject_seed=5, style="photographic", pixels=18)
"""


def test_the_kernel_paints_every_pixel_as_the_cpu_does():
    """In numba's simulator of CUDA: 18 pixels a side need nine blocks of threads, five of them not filled."""
    simulated = os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    openness()  # kept on disk: the simulator would take minutes
    command = [sys.executable, "-c", SIMULATED]
    found = subprocess.run(command, env=simulated, capture_output=True, text=True, timeout=120)
    assert found.stdout == "same (18, 18, 4)\n", found.stderr


@pytest.mark.parametrize(
    ("state", "chosen"), [((False, "numba finds none"), "cpu"), ((True, ""), "cuda")], ids=["no device", "a device"]
)
def test_auto_is_cuda_where_numba_can_use_it(state, chosen, monkeypatch):
    monkeypatch.setattr(devices, "try_cuda", lambda: state)
    assert devices.choose_painter("auto") == devices.choose_painter("auto", devices.FEW) == chosen
    assert devices.choose_painter("auto", devices.FEW + 1) == "cpu"  # so many share a GPU badly
    assert devices.choose_painter("cpu") == "cpu"


def test_a_device_that_numba_cannot_use_is_warned_of(monkeypatch):
    monkeypatch.setattr(devices, "try_cuda", lambda: (True, "NvvmError: too old"))
    with pytest.warns(UserWarning, match="NvvmError: too old"):
        assert devices.choose_painter("auto") == "cpu"


@pytest.mark.parametrize(
    ("missing", "trial", "expected"),
    [
        ("", None, (True, "")),
        ("numba finds none", None, (False, "numba finds none")),
        ("", ImportError("no module"), (False, "numba has no part for CUDA here (no module)")),
        ("", RuntimeError("twice 1 is 0"), (True, "numba fails on it with RuntimeError: twice 1 is 0")),
    ],
)
def test_what_is_wrong_with_cuda_is_told(missing, trial, expected, monkeypatch):
    def try_kernel():
        if trial:
            raise trial

    monkeypatch.setattr(gpu, "describe_missing", lambda: missing)
    monkeypatch.setattr(gpu, "try_kernel", try_kernel)
    assert devices.try_cuda.__wrapped__() == expected


def test_what_numba_lacks_is_named(monkeypatch):
    monkeypatch.setattr(gpu.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu.cuda, "cuda_error", lambda: None)
    assert "the compiler NVVM" in gpu.describe_missing()
    monkeypatch.setattr(gpu.cuda, "cuda_error", lambda: "CUDA_ERROR_NO_DEVICE\n  (100)")
    assert gpu.describe_missing() == "numba finds none (CUDA_ERROR_NO_DEVICE (100))"


def test_a_device_that_cannot_be_used_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "try_cuda", lambda: (False, "numba finds none"))
    with pytest.raises(ValueError, match="but numba finds none; name the device cpu"):
        release.render_release(tmp_path / "set", device="cuda")
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        release.render_release(tmp_path / "set", device="gpu")
    assert [path.name for path in tmp_path.iterdir()] == [".set.lock"]


def test_the_release_is_painted_by_the_device_that_was_named(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(devices, "try_cuda", lambda: (True, ""))
    monkeypatch.setattr(gpu, "shade", lambda *scene: used.append(1) or shade(*scene))
    options = {"fraction": 0.00001, "validation": 6, "test": 6, "pixels": 16, "jobs": 1, "progress": False}
    on_cpu = release.render_release(tmp_path / "cpu", **options, device="cpu")
    assert not used
    on_gpu = release.render_release(tmp_path / "cuda", **options, device="auto")
    names = sorted(file.relative_to(on_cpu) for file in on_cpu.rglob("*.jpg"))
    assert len(used) == len(names) == 60
    assert all((on_cpu / name).read_bytes() == (on_gpu / name).read_bytes() for name in names)


@pytest.mark.gpu
def test_pictures_of_the_gpu_are_those_of_the_cpu():
    """But for rounding: a GPU fuses products and sums."""
    rows = plan_release(fraction=0.001, validation=60, test=60, seed=0)[::10]
    for row in rows:
        drawn = {"variant": row.variant, "seed": row.seed, "subject_seed": subject_seed(0, row.subject)}
        here, there = (render_face(row.expression, **drawn, style=row.style, device=d) for d in ("cpu", "cuda"))
        apart = np.abs(here.image.astype(int) - there.image)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-4
        np.testing.assert_array_equal(here.landmarks, there.landmarks)
