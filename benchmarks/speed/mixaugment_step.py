"""Mix-augment: two emotion passes and one appearance pass, against three passes through both branches.

Same network, same views, same loss and gradients (printed in float64 first). The reference takes the formula
L_v + L_ri + L_rj at its word: a two-branch forward for each term, the landmark loss on the first. Forward and
backward of the reference make 3 + 3 branch passes, ours 2 + 1; where branches cost the same and only the first
appearance pass is differentiated, the bound is 5/3.
"""

import argparse
import copy
import platform
from functools import partial

import torch
from measuring import Line, time_in_turn
from torch.nn import functional as F

from lsdkit.common.seeds import torch_generator
from lsdkit.method.losses import loss_appearance, loss_partition
from lsdkit.method.mixing import draw_lambda, draw_partner, mixup
from lsdkit.method.network import MultiTask
from lsdkit.method.objective import loss_total
from lsdkit.method.views import to_float, views
from lsdkit.recipes import RECIPES, Member, find_recipe


def reference_loss(network, emotion, appearance, labels, landmarks, *, lam, partner, member):
    """Three two-branch forwards, every term of the formula written out."""
    batches = (mixup(emotion, lam, partner), emotion, emotion[partner])
    passes = [(network.forward_emotion(faces), network.forward_landmarks(appearance)) for faces in batches]
    (virtual, points), (first, _), (second, _) = passes
    loss = lam * F.cross_entropy(virtual.logits, labels) + (1 - lam) * F.cross_entropy(virtual.logits, labels[partner])
    loss = loss + F.cross_entropy(first.logits, labels) + F.cross_entropy(second.logits, labels[partner])
    one_hot = F.one_hot(labels, virtual.logits.shape[1]).to(points)
    loss = loss + network.affinity(first.features, one_hot) + loss_partition(first.heads, member.recipe.partition)
    return loss + loss_appearance(points, landmarks)


def our_loss(network, *batch, **options):
    """The kit's step."""
    return loss_total(network, *batch, **options)[0]


def draw_batch(recipe, generator):
    """Random faces with labels and landmarks, as both steps take them."""
    size = recipe.batch_size
    images = torch.randint(0, 256, (size, 112, 112, 3), dtype=torch.uint8, generator=generator)
    pictures = views(to_float(images, recipe.image_size), generator, basic=True, recipe=recipe)
    labels = torch.randint(0, 6, (size,), generator=generator)
    return *pictures, labels, 2 * torch.rand(size, 68, 2, generator=generator) - 1


def run_step(step, network, batch, options):
    """One forward and backward."""
    network.zero_grad(set_to_none=True)
    step(network, *batch, **options).backward()


def compare(network, batch, options):
    """Largest differences of loss and gradients between the two steps, in float64."""
    network = copy.deepcopy(network).double()
    batch = [x.double() if x.is_floating_point() else x for x in batch]
    learned = [each for each in network.parameters() if each.requires_grad]  # frozen parts have no gradient
    losses, gradients = [], []
    for step in (our_loss, reference_loss):
        losses.append(step(network, *batch, **options))
        gradients.append(torch.autograd.grad(losses[-1], learned))
    gap = max((a - b).abs().max().item() for a, b in zip(*gradients, strict=True))
    return (losses[0] - losses[1]).abs().item(), gap


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="workshop", choices=RECIPES)
    parser.add_argument("--appearance", default="vggface2", help="the paper's name of an appearance backbone")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="more than one is noisy where other processes run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    member = Member(recipe=find_recipe(arguments.recipe), appearance=arguments.appearance)
    network = MultiTask.build(member, torch_generator(0, "weights")).to(memory_format=torch.channels_last).train()
    generator = torch_generator(0, "benchmark")
    batch = draw_batch(member.recipe, generator)
    options = {
        "lam": draw_lambda(member.recipe.alpha, generator),
        "partner": draw_partner(member.recipe.batch_size, generator),
        "member": member,
    }
    loss, gradient = compare(network, batch, options)
    sides = {step: partial(run_step, step, network, batch, options) for step in (our_loss, reference_loss)}
    ours, reference = time_in_turn(sides, arguments.repeats, warming=2).values()
    machine = platform.processor() or platform.machine()
    print(f"machine: {machine}, {arguments.threads} threads, torch {torch.__version__}")
    print(f"recipe {member.recipe.name}, appearance {member.appearance}, batch {member.recipe.batch_size}")
    print(f"float64: loss differs by {loss:.1e}, gradients by at most {gradient:.1e}")
    print(f"three two-branch passes {1e3 * reference:.1f} ms, two + one {1e3 * ours:.1f} ms")
    print(Line("Mix-augment step, one thread", "the published scripts' three two-branch passes", reference / ours, 1.5))


if __name__ == "__main__":
    main()
