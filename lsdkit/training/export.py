"""A trained member as an ONNX file: one graph that other programs run, without torch and without this kit.

The graph takes faces as a network sees them, (batch, 3, S, S) float32 RGB in [0, 1] with S the recipe's `image_size`;
what a backbone does to them (its window, its normalisation) is inside. `probabilities` and `logits` (batch, 6) are in
the order of the metadata's `expressions`; `landmarks` (batch, 68, 2) are in [-1, 1] of the picture, x right, y down.
Source of the format: https://onnx.ai/onnx/repo-docs/IR.html.
"""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsdkit import __version__
from lsdkit.common.expressions import EXPRESSIONS
from lsdkit.common.files import atomic
from lsdkit.common.paths import project_path, resolve
from lsdkit.common.seeds import torch_generator
from lsdkit.data.store import describe_kind
from lsdkit.method.network import MultiTask
from lsdkit.recipes import check_choice
from lsdkit.training import evaluation
from lsdkit.training.runs import Run, read_run

if TYPE_CHECKING:
    from onnx_ir import Model

PARTS = {"emotion": ("probabilities", "logits"), "member": ("probabilities", "logits", "landmarks")}
PACKAGES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")  # of the extra `onnx`
SUFFIX = ".onnx"
OPSET = 18  # the first whose resizing is antialiased
TOLERANCE = 1e-4  # from torch's answers, as a share of the largest where that is above 1
BATCHES = (1, 5)  # faces that are compared


def export_run(run: Run | Path | str, out: Path | str, *, part: str = "emotion", aligned: bool | None = None) -> str:
    """Write a finished run's network to the ONNX file `out`; returns what was written, in words.

    `part`: "emotion" gives probabilities and logits, "member" also the landmarks of the appearance branch. `aligned`:
    whether the faces to come are cut as our alignment cuts them; a backbone whose weights take a window of such crops
    is shown the whole picture where they are not. Without it, as the store says that the run was trained on; where that
    is gone, whole crops are taken as aligned.

    Before the file gets its name, onnxruntime reads it and its answers are compared with torch's. Raises `ValueError`
    where the extra `onnx` is not installed, for another ending than .onnx, an unknown part or landmarks that the run
    did not learn, where torch cannot convert a network, and where an answer differs by more than `TOLERANCE`;
    `FileExistsError` where `out` exists; `FileNotFoundError` for an unfinished run, `checkpoints.Damaged` for weights
    that are not what was written.
    """
    check_choice("part", part, tuple(PARTS))
    if lacking := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ValueError(f"Expected the extra onnx, but {', '.join(lacking)} is absent: pip install 'lsdkit[onnx]'")
    import onnx_ir

    out = resolve(out)
    if out.suffix != SUFFIX:
        raise ValueError(f"Expected a file that ends in {SUFFIX}, but got {out.name}")
    if out.exists():
        raise FileExistsError(f"Expected {out} to be new, but it exists; choose another --out, or move it away")
    run = run if isinstance(run, Run) else read_run(run)
    aligned = run.find_view().whole and (_is_aligned(run) if aligned is None else aligned)
    network, size = evaluation.load_network(run.folder, aligned=aligned), run.member.recipe.image_size
    if part == "member" and not network.multitask:
        raise ValueError(f"Expected a run that learned landmarks for the part 'member', but {run.folder} did not")
    answers = Answers(network, landmarks=part == "member").eval()
    model = _convert(answers, size, run)
    model.metadata_props.update(describe(run, part, aligned=aligned))
    with atomic(out) as temporary:
        onnx_ir.save(model, temporary)
        furthest = _compare(temporary, answers, size, run)
        megabytes = temporary.stat().st_size / 1e6
    return (
        f"{project_path(out)}: {run.member.name}, {megabytes:.1f} MB; faces (batch, 3, {size}, {size}), RGB in [0, 1], "
        f"to {', '.join(PARTS[part])}; at most {furthest:.1e} from torch's answers"
    )


class Answers(nn.Module):
    """What the file gives for faces (B, 3, S, S): probabilities (B, 6), logits (B, 6) and, if asked, points (B, 68, 2).

    Of a network that learned neutral and contempt as well, the logits of the six expressions.
    """

    def __init__(self, network: MultiTask, *, landmarks: bool):
        super().__init__()
        self.network, self.landmarks = network, landmarks

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(x)[:, : len(EXPRESSIONS)]
        points = (self.network.forward_landmarks(x),) if self.landmarks else ()
        return logits.softmax(1), logits, *points


def describe(run: Run, part: str, *, aligned: bool) -> dict[str, str]:
    """The file's metadata: whose network it is, and what it takes and gives.

    `crop` is JSON: whether faces are cut out as our alignment does, the crop's side in pixels, the window of it that is
    shown (left, top, side in its pixels), and whether that is without colour.
    """
    view, size = run.find_view(), run.member.recipe.image_size
    roles = ("emotion", "appearance") if part == "member" else ("emotion",)
    return {
        "name": run.member.name,
        "part": part,
        "faces": f"float32 RGB in [0, 1], (batch, 3, {size}, {size}), of what `crop` says, resized with antialiasing",
        "image_size": str(size),
        "crop": json.dumps({"aligned": aligned or not view.whole, **view.describe()}),
        "expressions": ",".join(EXPRESSIONS),
        **({"points": "68, x right and y down, in [-1, 1] of the picture"} if part == "member" else {}),
        "trained_on": describe_kind(run.kind),
        "weights": json.dumps({role: run.weights_source(role) for role in roles}),
        "weights_sha256": run.weights_sha256,
        "lsdkit": __version__,
    }


def _is_aligned(run: Run) -> bool:
    try:
        return run.open_store().aligned
    except (OSError, ValueError):  # gone, or another by now
        return True


def _convert(answers: Answers, size: int, run: Run) -> "Model":
    """The graph; what both branches have in common, such as a frozen trunk, is in it once."""
    from onnx_ir.passes import common

    try:
        with torch.no_grad():
            program = torch.onnx.export(
                answers,
                (_draw_faces(2, size),),
                dynamo=True,
                input_names=["faces"],
                output_names=PARTS["member" if answers.landmarks else "emotion"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = _first_line(error.__cause__ or error)
        raise ValueError(
            f"Expected a network that torch can convert to ONNX, but {run.folder}'s it cannot ({reason}); take a "
            "member with other backbones"
        ) from error
    for change in (
        common.DeduplicateInitializersPass(size_limit=2**40),
        common.CommonSubexpressionEliminationPass(),
        common.ClearMetadataAndDocStringPass(),  # paths of this machine among them
    ):
        change(program.model)
    return program.model


def _draw_faces(count: int, size: int) -> Tensor:
    """(B, 3, S, S) in [0, 1]: noise, and in every second picture smooth shades, as of skin."""
    generator = torch_generator(0, "export", count)
    x = torch.rand(count, 3, size, size, generator=generator)
    smooth = F.interpolate(torch.rand(count, 3, 4, 4, generator=generator), (size, size), mode="bilinear")
    x[::2] = smooth[::2]
    return x


@torch.no_grad()
def _compare(path: Path, answers: Answers, size: int, run: Run) -> float:
    """How far the file's answers are from torch's, at most; `ValueError` where that is more than `TOLERANCE`."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each, and none in common
        raise ValueError(
            f"Expected onnxruntime to read {run.folder}'s network, but it cannot ({_first_line(error)}); take newer "
            "packages: pip install -U 'lsdkit[onnx]'"
        ) from error
    furthest, names = 0.0, [output.name for output in session.get_outputs()]
    for count in BATCHES:
        x = _draw_faces(count, size)
        for name, theirs, ours in zip(names, session.run(None, {"faces": x.numpy()}), answers(x), strict=True):
            distance = float((torch.from_numpy(theirs) - ours).abs().max() / ours.abs().max().clamp(min=1))
            if not distance <= TOLERANCE:  # NaN neither
                raise ValueError(
                    f"Expected {name} of {run.folder} in ONNX within {TOLERANCE:g} of torch's, but they are "
                    f"{distance:.1e} apart; no file was written"
                )
            furthest = max(furthest, distance)
    return furthest


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
