"""A training step from the store to the optimiser, against the same network's step on tensors that are ready.

What training adds to the network's own work: reading the store, making floats and both views, checking the loss. Both
sides are the recipe `workshop`'s two-branch network with its starts, optimiser and running mean of the weights.
"""

import lsdkit  # isort: skip: before torch, which reads how its threads wait when it is loaded

import argparse
import tempfile
from itertools import count
from pathlib import Path

import torch
from made import make_store
from measuring import Line, time_in_turn

from lsdkit.common.seeds import torch_generator
from lsdkit.method.mixing import draw_lambda, draw_partner
from lsdkit.method.objective import loss_total
from lsdkit.method.views import to_float, views
from lsdkit.recipes import RECIPES, Member
from lsdkit.training.member import MemberTask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="workshop", choices=RECIPES)
    parser.add_argument("--repeats", type=int, default=25)
    arguments = parser.parse_args()
    member = Member.of(arguments.recipe, mix="mixaugment", appearance="vggface2")
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), {"train": 192, "validation": 6}, side=112)
        task, numbers = MemberTask(member, store, torch.device("cpu")), count()
        task.start_epoch(0)
        batches = task.batches(0)
        batch = batches[0]
        generator = torch_generator(0, "benchmark")
        faces = to_float(torch.from_numpy(store.images[batch]), member.recipe.image_size)
        ready = (
            *views(faces, generator, basic=True, recipe=member.recipe),
            torch.from_numpy(store.labels[batch]),
            torch.from_numpy(store.landmarks[batch]).float(),
        )
        draws = {"lam": draw_lambda(member.recipe.alpha, generator), "partner": draw_partner(len(batch), generator)}

        def train():
            number = next(numbers)
            task.step(batches[number % (len(batches) - 1)], 0, number)  # the last may be shorter

        def step():
            task.optimiser.zero_grad(set_to_none=True)
            loss_total(task.network, *ready, **draws, member=member)[0].backward()
            task.optimiser.step()
            task.mean.update_parameters(task.network)

        seconds = time_in_turn({"training": train, "ready": step}, arguments.repeats, warming=3)
    print(f"lsdkit {lsdkit.__version__}, {torch.get_num_threads()} threads, batches of {len(batch)}")
    print(", ".join(f"{name} {len(batch) / each:.1f} images/s" for name, each in seconds.items()))
    what, reference = "end-to-end training step, store and views with it", "the same network on ready tensors"
    print(Line(what, reference, seconds["ready"] / seconds["training"], 0.92))


if __name__ == "__main__":
    main()
