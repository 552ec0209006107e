"""A member of the recipe `paper` on a CUDA device: images a second, memory, ratio to the published scripts' step.

A step is that of training, the views and the optimiser with it, of random faces that lie on the device; the branches
start from random weights. "float32" is as torch sets a GPU: convolutions in TF32; "float32 strict" is without it. The
published step is `mixaugment_step.reference_loss`: three two-branch passes. Each row is measured in a process of its
own, so that one that fails is a row and costs no other; results are written after each: gpu.json and gpu.md.
"""

import argparse
import copy
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from mixaugment_step import our_loss, reference_loss

from lsdkit.common.files import write_text
from lsdkit.common.seeds import torch_generator
from lsdkit.method.mixing import draw_lambda, draw_partner
from lsdkit.method.network import MultiTask
from lsdkit.method.views import to_float, views
from lsdkit.recipes import PAPER, SMOKE, Member
from lsdkit.training import memory
from lsdkit.training.cost import measure_cost

GIB = 2**30
ROOT = Path(__file__).parents[2]
TESTS = ("tests/test_gpu.py", "tests/openset/test_gpu.py")
WARMING = 5  # steps before the first that counts


@dataclass(frozen=True)
class Case:
    """One row: how the step is computed."""

    precision: str = "float32"  # "float32", "float32 strict", "bf16"
    step: str = "ours"  # or "published"
    memory: str = "plain"
    compiled: bool = False
    views: str = "made"  # in each step, or "ready": once for all
    appearance: str = "vggface2"

    def __str__(self):
        changed = [name for name in ("memory", "views", "appearance") if getattr(self, name) != getattr(Case, name)]
        words = [self.precision, self.step, *(f"{name} {getattr(self, name)}" for name in changed)]
        return ", ".join([*words, *["compiled"] * self.compiled])


FULL, STRICT, HALF = "float32", "float32 strict", "bf16"
CASES = (  # what matters most comes first
    *(Case(precision, step) for precision in (FULL, HALF) for step in ("ours", "published")),
    *(Case(precision, memory=how) for precision in (FULL, HALF) for how in ("recompute", "split_4")),
    *(Case(STRICT, step) for step in ("ours", "published")),
    *(Case(precision, views="ready") for precision in (FULL, HALF)),
    Case(HALF, compiled=True),
    Case(FULL, compiled=True),
    *(Case(FULL, memory=how, appearance="mobilevitv2") for how in ("plain", "recompute")),
    Case(HALF, memory="split_4", compiled=True),
    Case(FULL, memory="split_4", compiled=True),
    Case(HALF, "published", compiled=True),
    Case(HALF, memory="recompute", compiled=True),
    Case(FULL, memory="recompute", compiled=True),
)


def make_member(case, small):
    """The member of a row: at full size, or tiny."""
    recipe = replace(SMOKE, batch_size=8) if small else PAPER
    precision = "bf16" if case.precision == HALF else "float32"
    return Member(recipe=replace(recipe, precision=precision, memory=case.memory), appearance=case.appearance)


def make_faces(recipe, device):
    """uint8 faces, labels and landmarks on the device."""
    generator, size, side = torch_generator(0, "faces"), recipe.batch_size, recipe.image_size
    images = torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, recipe.classes, (size,), generator=generator)
    landmarks = 2 * torch.rand(size, 68, 2, generator=generator) - 1
    return images.to(device), labels.to(device), landmarks.to(device)


def published_loss(network, *batch, **options):
    """The published scripts' loss, in bf16 where the recipe asks for it."""
    half = options["member"].recipe.precision == "bf16"
    with torch.autocast(batch[0].device.type, torch.bfloat16, enabled=half):
        return reference_loss(network, *batch, **options)


LOSSES = {"ours": our_loss, "published": published_loss}


def compile_network(network, case, backend):
    """Have torch.compile take the two branches; or, where they are computed again, what is computed as a whole."""
    torch._dynamo.config.recompile_limit = 64  # a ResNet50's blocks share their code and differ in shape
    options = {"dynamic": False, "backend": backend}
    if case.memory == "plain":
        for branch in (network.emotion, network.appearance):
            branch.compile(**options)
    elif case.memory == "recompute":
        for block in memory.pieces(network, "recompute"):
            block.forward = torch.compile(block.forward, **options)
    else:
        for branch in (network.emotion, network.appearance):
            branch.backbone.graph.compile(**options)


def make_views(images, member, number):
    """The two views of step `number`."""
    generator = torch_generator(0, "step", number)
    faces = to_float(images, member.recipe.image_size, images.device)
    return views(faces, generator, basic=member.basic_aug, recipe=member.recipe)


def measure(case, options):
    """One row: seconds of each step, memory, the last loss."""
    started, device = time.perf_counter(), torch.device(options.device)
    member = make_member(case, options.small)
    row = {"estimated_gib": measure_cost(member).memory / GIB}
    cuda = device.type == "cuda"
    if case.precision == STRICT:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    network = MultiTask.build(member, torch_generator(0, "init")).train()
    network.to(device, memory_format=torch.channels_last)
    if case.compiled:
        compile_network(network, case, options.backend)
    optimiser = torch.optim.Adam(network.parameters(), lr=member.recipe.learning_rate, weight_decay=1e-4)
    images, labels, landmarks = make_faces(member.recipe, device)
    ready = make_views(images, member, 0) if case.views == "ready" else None

    def step(number):
        draws = torch_generator(0, "mixing", number)
        chosen = {
            "lam": draw_lambda(member.recipe.alpha, draws),
            "partner": draw_partner(len(labels), draws).to(device),
            "member": member,
        }
        with memory.less_memory(network, case.memory):
            pictures = ready or make_views(images, member, number)
            loss = LOSSES[case.step](network, *pictures, labels, landmarks, **chosen)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()  # waits for the device, as training does

    losses = [step(number) for number in range(options.warming)]
    row["ready_after_seconds"] = time.perf_counter() - started
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for number in range(options.warming, options.warming + options.steps):
        begun = time.perf_counter()
        losses.append(step(number))
        seconds.append(time.perf_counter() - begun)
    row |= {"seconds": seconds, "median_seconds": statistics.median(seconds), "loss": losses[-1]}
    row["images_per_second"] = len(labels) / row["median_seconds"]
    if cuda:
        row["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
        row["reserved_gib"] = torch.cuda.max_memory_reserved() / GIB
    return row


def check(options):
    """Loss, gradients and running statistics of the other steps against the plain one, in float64."""
    device, member = torch.device(options.device), make_member(Case(), options.small)
    recipe = replace(member.recipe, batch_size=min(16, member.recipe.batch_size))
    network = MultiTask.build(member, torch_generator(0, "init")).train().double().to(device)
    images, labels, landmarks = make_faces(recipe, device)
    pictures = [view.double() for view in make_views(images, member, 0)]
    chosen = {"lam": 0.3, "partner": torch.arange(len(labels), device=device).roll(1), "member": member}
    found = {}
    for name in ("plain", "plain again", "recompute", "split_4", "published"):
        own, how = copy.deepcopy(network), name if name in ("recompute", "split_4") else "plain"
        with memory.less_memory(own, how):
            loss = LOSSES["published" if name == "published" else "ours"](
                own, *pictures, labels, landmarks.double(), **chosen
            )
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in own.parameters()])
        found[name] = loss.item(), gradient, torch.cat([b.double().flatten() for b in own.buffers()])
    loss, gradient, buffers = found.pop("plain")
    return {
        name: {
            "loss": abs(theirs[0] - loss),
            "gradient": ((theirs[1] - gradient).norm() / gradient.norm()).item(),
            "buffers": (theirs[2] - buffers).abs().max().item(),
        }
        for name, theirs in found.items()
    }


def describe_machine(options):
    """The card, and the versions."""
    told = {"python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda}
    if options.device != "cpu":
        card = torch.cuda.get_device_properties(options.device)
        told |= {"card": card.name, "card_gib": card.total_memory / GIB, "cudnn": torch.backends.cudnn.version()}
    return told


def apart(work, seconds):
    """What `work()` returns, done in a process of its own that has so many seconds; or {"failed": why}."""
    receiver, sender = FORK.Pipe(duplex=False)

    def send():
        try:
            sender.send(work())
        except Exception as error:
            sender.send({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})

    process = FORK.Process(target=send)
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(seconds) else {"failed": f"ran past {seconds:.0f} s"}
    except EOFError:
        process.join(5)
        found = {"failed": f"ended with exit code {process.exitcode}"}
    process.join(0 if "failed" in found else 5)
    process.kill()
    process.join()
    return found


FORK = multiprocessing.get_context("fork")  # what was imported stays imported; CUDA is begun in each process alone


def run_tests(path, seconds):
    """The last line of pytest's answer, and how long it took."""
    command = [sys.executable, "-m", "pytest", path, "-m", "gpu", "-q", "-p", "no:cacheprovider", "--tb=short"]
    begun = time.perf_counter()
    try:
        options = {"cwd": ROOT, "timeout": seconds, "capture_output": True, "text": True}
        done = subprocess.run([*command, "-o", "filterwarnings=default"], **options)
        lines = (done.stdout + done.stderr).strip().splitlines()
        row = {"rc": done.returncode, "last": lines[-1] if lines else "", "output": "\n".join(lines[-60:])}
    except subprocess.TimeoutExpired:
        row = {"rc": None, "last": f"ran past {seconds:.0f} s", "output": ""}
    return {"path": path, "seconds": time.perf_counter() - begun, **row}


def write(results, folder):
    """gpu.json, and gpu.md for reading."""
    write_text(folder / "gpu.json", json.dumps(results, indent=1) + "\n")
    write_text(folder / "gpu.md", describe(results))


def describe(results):
    """The results as Markdown."""
    machine, rows = results["machine"], results["rows"]
    published = {
        row["precision"]: row["median_seconds"]
        for row in rows
        if row["step"] == "published" and not row["compiled"] and "median_seconds" in row
    }
    lines = [
        f"{machine.get('card', machine.get('failed', 'CPU'))}, torch {machine.get('torch')}, "
        f"CUDA {machine.get('cuda')}; recipe {results['recipe']}, batch {results['batch']}, {results['side']} px, "
        f"{results['steps']} steps after {results['warming']}; medians, and quartiles of the steps",
        "",
        "| precision | step | memory | compiled | views | appearance | ms a step | quartiles | images a second "
        "| peak GiB | estimated GiB | times the published step's speed | ready after s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        words = [row["precision"], row["step"], row["memory"], "yes" if row["compiled"] else "no", row["views"]]
        cells = [*words, row["appearance"]]
        if "failed" in row:
            lines.append("| " + " | ".join([*cells, row["failed"].replace("|", "/"), *[""] * 6]) + " |")
            continue
        first, _, third = statistics.quantiles(row["seconds"], n=4)
        same = published.get(row["precision"]) if row["appearance"] == Case.appearance else None
        cells += [f"{1e3 * row['median_seconds']:.1f}", f"{1e3 * first:.1f} to {1e3 * third:.1f}"]
        cells += [f"{row['images_per_second']:.0f}", f"{row['peak_gib']:.2f}" if "peak_gib" in row else ""]
        cells += [f"{row['estimated_gib']:.2f}", f"{same / row['median_seconds']:.2f}" if same else ""]
        lines.append("| " + " | ".join([*cells, f"{row['ready_after_seconds']:.0f}"]) + " |")
    if "check" in results:
        lines += ["", "Against the plain step, in float64, batch 16:", ""]
        for name, each in results["check"].items():
            told = each if isinstance(each, str) else ", ".join(f"{key} {value:.1e}" for key, value in each.items())
            lines.append(f"- {name}: {told}")
    lines += ["", *(f"- {test['path']}: {test['last']} ({test['seconds']:.0f} s)" for test in results["tests"])]
    return "\n".join(lines) + "\n"


def main(arguments=None):
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--warming", type=int, default=WARMING)
    parser.add_argument("--minutes", type=float, default=8, help="no row starts after them, and none outlasts them")
    parser.add_argument("--small", action="store_true", help="the recipe smoke, to see that the script runs")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--no-tests", action="store_true", help="leave the gpu tests out")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes
    recipe = make_member(Case(), options.small).recipe
    results = {
        "machine": apart(partial(describe_machine, options), 60),
        "recipe": recipe.name,
        "batch": recipe.batch_size,
        "side": recipe.image_size,
        "steps": options.steps,
        "warming": options.warming,
        "tests": [],
        "rows": [],
    }
    options.out.mkdir(parents=True, exist_ok=True)

    def left():
        return end - time.monotonic()

    def tell(text):
        write(results, options.out)
        print(f"[{60 * options.minutes - left():4.0f} s] {text}", flush=True)

    def add_test(path):
        if not options.no_tests:
            results["tests"].append(run_tests(path, max(1, min(120, left()))))
            tell(f"{path}: {results['tests'][-1]['last']}")

    def add_rows(cases):
        for case in cases:
            limit = min(200 if case.compiled else 90, left())
            row = apart(partial(measure, case, options), limit) if limit > 10 else {"failed": "not run: time was up"}
            results["rows"].append(asdict(case) | row)
            told = row.get("failed") or f"{1e3 * row['median_seconds']:.1f} ms, {row.get('peak_gib', 0):.2f} GiB"
            tell(f"{case}: {told}")

    tell(results["machine"])
    add_test(TESTS[0])
    add_rows(CASES[:4])
    results["check"] = apart(partial(check, options), max(1, min(60, left())))
    tell(f"check: {results['check']}")
    add_rows(CASES[4:14])
    add_test(TESTS[1])  # long: it compiles the renderer for the CPU as well
    add_rows(CASES[14:])
    print(describe(results), flush=True)


if __name__ == "__main__":
    main()
