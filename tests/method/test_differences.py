"""Every setting in which `paper` and `authors` differ, and what it changes on one small batch: that and no more."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2 import functional as tv

from lsdkit.common.seeds import torch_generator
from lsdkit.method import views as augment
from lsdkit.method.bagging import soft_vote
from lsdkit.method.colours import draw_jitter
from lsdkit.method.losses import loss_partition
from lsdkit.method.network import AppearanceBranch, MultiTask
from lsdkit.method.objective import loss_total
from lsdkit.recipes import AUTHORS, PAPER, SMOKE, Member
from lsdkit.training import member as training
from lsdkit.training.member import MemberTask
from lsdkit.weights import published

DIFFERENCES = {  # field: (paper, authors), as in docs/deviations.md
    "weight_decay": (1e-4, 0.0),
    "lr_decay": (0.9, 0.6),
    "class_weights": ("none", "one_minus_share"),
    "basic_aug_off": ("nothing_left", "jitter_removed"),
    "draws": ("per_image", "per_batch"),
    "shared_jitter": (False, True),
    "normalisation": ("backbone", "imagenet"),
    "head_log_softmax": (True, False),
    "partition": ("mean_log", "log_mean"),
    "partition_passes": ("one", "all"),
    "affinity": ("soft", "partner"),
    "shared_statistics": (False, True),
    "dino_key": ("teacher", "student"),
    "vote": ("probabilities", "logits"),
}
STEPS = {"mixup step", "mixaugment step", "inference"}
PARTS = ("expression", "affinity", "partition", "landmarks")
EFFECTS = {  # field: every observation that it changes; a step, and inference after it, follow from what they see
    "weight_decay": STEPS,
    "lr_decay": {"rates"},
    "class_weights": {"mixup expression", "mixaugment expression", *STEPS},
    "basic_aug_off": {"emotion view, basic off", "appearance view, basic off"},
    "draws": {"emotion view", "appearance view", *STEPS},  # fewer numbers drawn: those after them are others
    "shared_jitter": {"emotion view", "appearance view", *STEPS},
    "normalisation": {
        *("input", "features", "heads", "logits"),
        *(f"{mix} {part}" for mix in ("mixup", "mixaugment") for part in PARTS),
        *STEPS,
    },
    "head_log_softmax": {"logits", "mixup expression", "mixaugment expression", *STEPS},
    "partition": {"mixup partition", "mixaugment partition", *STEPS},
    "partition_passes": {"mixaugment partition", "mixaugment step", "inference"},  # mix-up has one pass
    "affinity": {"mixup affinity", "mixaugment affinity", *STEPS},
    "shared_statistics": {"inference"},
    "dino_key": {"dino"},
    "vote": {"vote"},
}
SIZES = ("image_size", "emotion", "appearances", "weights", "features", "head_features", "shared")


def small(recipe, **changes):
    """The recipe with the sizes of `smoke`, so that a step takes milliseconds."""
    return replace(recipe, **{name: getattr(SMOKE, name) for name in SIZES}, **changes)


def test_the_recipes_differ_in_these_fields_and_no_other():
    paper, authors = asdict(PAPER), asdict(AUTHORS)
    differing = {name: (paper[name], authors[name]) for name in paper if paper[name] != authors[name]}
    assert differing.pop("name") == ("paper", "authors")
    assert differing.pop("weights") == (PAPER.weights, AUTHORS.weights)  # no setting of a step: below
    assert differing == DIFFERENCES
    assert set(EFFECTS) == set(DIFFERENCES)


def test_small_variants_keep_every_difference():
    assert asdict(small(PAPER, **{name: authors for name, (_, authors) in DIFFERENCES.items()})) == asdict(
        small(AUTHORS)
    ) | {"name": "paper"}


def build_task(recipe, mix, store) -> MemberTask:
    """The training of a member as `train_member` sets it up: network, optimiser and all."""
    task = MemberTask(Member(recipe=recipe, mix=mix), store, torch.device("cpu"))
    rare = np.flatnonzero(store.labels[task.rows] == 0)[2:]
    task.rows = np.delete(task.rows, rare)  # unbalanced, so that class weights say something
    task.start_epoch(0)
    return task


def observe(recipe, store, dino, folder) -> dict[str, torch.Tensor]:
    """What can be seen of a recipe on one batch, each with the same draws, views and weights to begin with."""
    seen = {}
    faces = first_faces(store)
    labels, landmarks = torch.from_numpy(store.labels[:48:6].copy()), torch.from_numpy(store.landmarks[:8])
    seen["emotion view"], seen["appearance view"] = augment.views(
        faces, torch_generator(0, "views"), basic=True, recipe=recipe
    )
    seen["emotion view, basic off"], seen["appearance view, basic off"] = augment.views(
        faces, torch_generator(0, "views"), basic=False, recipe=recipe
    )
    for mix in ("mixup", "mixaugment"):
        task = build_task(recipe, mix, store)
        network, weights = task.network, task.class_weights
        if mix == "mixup":
            seen["input"] = network.emotion.backbone.normalise(faces)
            seen |= network.forward_emotion(faces)._asdict()
        options = {"lam": 0.7, "partner": torch.arange(8).roll(3), "member": task.member, "class_weights": weights}
        _, parts = loss_total(network, faces, faces, labels, landmarks, **options)
        seen |= {f"{mix} {name}": value for name, value in parts.items()}
        for step in (0, 1):
            task.step(task.rows[8 * step :: 5][:8], 0, step)
        seen[f"{mix} step"] = torch.cat([p.detach().flatten() for p in network.parameters()])
    seen["inference"] = network.eval()(faces)
    seen["rates"] = torch.tensor(rates(recipe, store, folder / "rates"))
    seen["vote"] = torch.from_numpy(soft_vote([[[0.9, 0.1]], [[0.4, 0.6]], [[0.3, 0.7]]], recipe.vote))
    (part,) = published.parse(f"dino_resnet50@{dino}")
    seen["dino"] = published.tensors(part, recipe.dino_key)["conv1.weight"]
    return {name: value.detach().clone() for name, value in seen.items()}


def first_faces(store) -> torch.Tensor:
    """(8, 3, 32, 32) in [0, 1]."""
    return augment.to_float(torch.from_numpy(np.array(store.images[:8])), SMOKE.image_size)


class Caught(Exception):
    """Ends a training where a test has seen enough."""


def rates(recipe, store, folder) -> list[float]:
    """The learning rate of each of two epochs of one step; validation, which takes most of the time, is left out."""
    rows = []
    member = Member(recipe=replace(recipe, steps_per_epoch=1), mix="mixup", epochs=2)

    def note(row):
        rows.append(row)
        if len(rows) == 2:
            raise Caught

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.evaluation, "validate", lambda *_: {"val_macro_f1": 0.0})
        with pytest.raises(Caught):
            training.train_member(member, store, folder, device="cpu", progress=False, on_epoch=note)
    return [row["lr"] for row in rows]


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A full DINO checkpoint in its published form, of one tensor each."""
    path = tmp_path_factory.mktemp("dino") / "dino_resnet50_pretrain_full_checkpoint.pth"
    weights = {"student": {"module.backbone.conv1.weight": torch.zeros(2)}}
    torch.save(weights | {"teacher": {"backbone.conv1.weight": torch.ones(2)}}, path)
    return path


@pytest.fixture(scope="module")
def of_paper(tiny_store, dino, tmp_path_factory):
    return observe(small(PAPER), tiny_store, dino, tmp_path_factory.mktemp("paper"))


def test_an_observation_is_repeatable(of_paper, tiny_store, dino, tmp_path):
    again = observe(small(PAPER), tiny_store, dino, tmp_path)
    assert [name for name in of_paper if not torch.equal(again[name], of_paper[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EFFECTS)
def test_one_setting_changes_what_it_should_and_nothing_else(name, of_paper, tiny_store, dino, tmp_path):
    switched = small(PAPER, **{name: DIFFERENCES[name][1]})
    observed = observe(switched, tiny_store, dino, tmp_path)
    changed = {what for what, value in of_paper.items() if not torch.equal(observed[what], value)}
    assert changed == EFFECTS[name]


def test_how_far_and_which_way(tiny_store, dino, of_paper, tmp_path):
    """Values that follow from the definitions, where there is one."""
    authors = observe(small(AUTHORS), tiny_store, dino, tmp_path)
    assert of_paper["rates"].tolist() == pytest.approx([1e-4, 0.9e-4])
    assert authors["rates"].tolist() == pytest.approx([1e-4, 0.6e-4])
    assert (of_paper["dino"].tolist(), authors["dino"].tolist()) == ([1, 1], [0, 0])
    assert of_paper["vote"].tolist()[0] == pytest.approx([1.6 / 3, 1.4 / 3])
    odds = (0.9 * 0.4 * 0.3) / (0.1 * 0.6 * 0.7)
    assert authors["vote"].tolist()[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    faces = first_faces(tiny_store)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(authors["input"], (faces - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    bgr = 255 * faces[:, [2, 1, 0]] - torch.tensor([91.4953, 103.8827, 131.0912]).view(3, 1, 1)
    torch.testing.assert_close(of_paper["input"], bgr, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(of_paper["emotion view, basic off"], faces)
    assert (of_paper["appearance view, basic off"] - faces).abs().mean() > 0.01
    assert torch.equal(authors["appearance view, basic off"], faces)


def test_one_draw_a_batch_moves_all_faces_alike():
    face = torch.rand(1, 3, 32, 32, generator=torch_generator(0, "face")).expand(6, -1, -1, -1)
    views = {}
    for draws in ("per_image", "per_batch"):
        recipe = small(PAPER, draws=draws, basic_aug_off="jitter_removed")
        views[draws] = augment.emotion_view(face, torch_generator(3, "moves"), basic=False, recipe=recipe)
    assert all(torch.equal(view, views["per_batch"][0]) for view in views["per_batch"])
    assert not all(torch.equal(view, views["per_image"][0]) for view in views["per_image"])


def test_a_shared_draw_gives_both_views_the_same_colours(monkeypatch):
    for chance in ("FLIP", "AFFINE", "ERASE"):
        monkeypatch.setattr(augment, chance, 0)  # the emotion view keeps its place, so that colours can be compared
    faces = torch.rand(6, 3, 32, 32, generator=torch_generator(0, "faces"))
    apart = {}
    for shared in (False, True):
        recipe = small(PAPER, shared_jitter=shared)
        emotion, appearance = augment.views(faces, torch_generator(0, "jitter"), basic=True, recipe=recipe)
        apart[shared] = (emotion - appearance).abs().mean()
    assert apart[True] < 1e-5
    assert apart[False] > 0.05


# What the authors' scripts do beside `authors`: each number stands in docs/deviations.md


def test_the_heads_of_authors_start_from_affectnets_dan(tmp_path):
    named = {role: [part.published.name for part in published.parse(source)] for role, source in AUTHORS.weights}
    assert named["emotion"] == ["vggface2_ft", "dan_affectnet8"]
    assert [part.heads for part in published.parse(AUTHORS.source("emotion"))] == [False, True]
    assert {role for role, source in AUTHORS.weights if source != PAPER.source(role)} == {"emotion"}


def test_affinity_of_mix_augment_beside_the_scripts(tiny_store):
    """One term in `paper`; in `authors` three, where the scripts' overwritten variable pairs x_j with y_i."""
    faces, partner = first_faces(tiny_store), torch.arange(8).roll(3)
    labels, landmarks = torch.from_numpy(tiny_store.labels[:48:6].copy()), torch.from_numpy(tiny_store.landmarks[:8])
    network = MultiTask.build(Member(recipe=small(AUTHORS)), torch_generator(0, "weights")).train()
    ours = {}
    for affinity in ("soft", "partner"):
        member = Member(recipe=small(AUTHORS, affinity=affinity))
        options = {"lam": 0.7, "partner": partner, "member": member}
        ours[affinity] = loss_total(network, faces, faces, labels, landmarks, **options)[1]["affinity"].item()

    def term(images, y):
        features, centres = network.forward_emotion(images).features, network.affinity.centres
        distances = [((x - centres[k]) ** 2).sum() for x, k in zip(features, y, strict=True)]
        return (sum(distances) / 8 / sum(column.var() for column in centres.T)).item()

    mixed = 0.7 * faces + 0.3 * faces[partner]
    twice = 2 * term(mixed, labels[partner])
    assert ours["soft"] == pytest.approx(term(faces, labels), rel=1e-5)
    assert ours["partner"] == pytest.approx(twice + term(faces, labels), rel=1e-5)
    scripts = twice + term(faces[partner], labels)
    assert ours == pytest.approx({"soft": 1.165, "partner": 3.532}, abs=1e-3)
    assert scripts == pytest.approx(3.520, abs=1e-3)


def written_view(x, *, order, nearest, erased):
    """An emotion view of faces (B, 3, S, S) by torchvision: one move and one box for all, colours for each."""
    colours = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    jitter = draw_jitter(len(x), torch_generator(0, "colours"))
    way = tv.InterpolationMode.NEAREST if nearest else tv.InterpolationMode.BILINEAR
    box = (4, 6, 12, 10)
    views = []
    for face, factors, turns in zip(x, jitter.factors, jitter.order, strict=True):
        for step in order.split():
            if step == "move":
                options = {"angle": 15.0, "translate": [3.0, -2.0], "scale": 0.9, "shear": [0.0, 0.0]}
                face = tv.affine(face, interpolation=way, **options)
            else:
                for number in turns.tolist():
                    face = colours[number](face, factors[number].item())
        views.append(tv.erase(face, *box, torch.tensor(erased).view(3, 1, 1).expand(3, *box[2:])))
    return torch.stack(views)


IMAGENET_MEAN = (0.485, 0.456, 0.406)  # what 0 is after normalising
BLACK = (0.0, 0.0, 0.0)


def test_views_beside_the_scripts(monkeypatch):
    """Mean distance of a number of the view, in [0, 1]: order, interpolation and what is erased, and all three."""
    coarse = torch.rand(8, 3, 8, 8, generator=torch_generator(0, "faces"))
    x = nn.functional.interpolate(coarse, (32, 32), mode="bilinear", align_corners=False)
    theirs = {"order": "colour move", "nearest": True, "erased": IMAGENET_MEAN}
    ours = {"order": "move colour", "nearest": False, "erased": BLACK}
    view = written_view(x, **ours)
    still = augment.geometry(
        torch.tensor([False]), torch.tensor([15.0]).deg2rad(), torch.tensor([0.9]), torch.tensor([[3.0, -2.0]]) / 16
    )
    monkeypatch.setattr(augment, "draw_geometry", lambda *_: still)
    monkeypatch.setattr(augment, "draw_boxes", lambda *_: torch.tensor([[4, 6, 12, 10]]))
    draw = draw_jitter(len(x), torch_generator(0, "colours"))
    monkeypatch.setattr(augment, "draw_jitter", lambda *_: draw)
    kit = augment.emotion_view(x, torch_generator(0, "x"), basic=True, recipe=small(AUTHORS))
    torch.testing.assert_close(kit, view, atol=1e-4, rtol=0)
    others = {name: {**ours, name: value} for name, value in theirs.items()} | {"all": theirs}
    apart = {name: (written_view(x, **options) - view).abs().mean().item() for name, options in others.items()}
    assert apart == pytest.approx({"order": 0.046, "nearest": 0.026, "erased": 0.053, "all": 0.109}, abs=1e-3)


def test_appearance_beside_the_scripts():
    """DINO's vector is a linear layer of the average there, VGGFace2's the adapter of the average: ours is an average
    of the adapter's map, which a ReLU has left without negative numbers."""
    x = torch.rand(8, 3, 96, 96, generator=torch_generator(0, "faces"))
    torch.manual_seed(0)
    branch = AppearanceBranch(small(AUTHORS), "dino").train()
    average = branch.backbone(x).mean(dim=(2, 3))
    ours, linear = branch(x), nn.Linear(average.shape[1], SMOKE.features)(average)
    before = branch.adapter(average[:, :, None, None]).flatten(1)
    assert (ours < 0).float().mean() == 0
    assert (linear < 0).float().mean().item() == pytest.approx(0.38, abs=0.02)
    assert ((before - ours).abs().mean() / ours.mean()).item() == pytest.approx(0.99, abs=0.02)


@pytest.mark.parametrize(
    ("dtype", "ours", "scripts"),
    [(torch.float32, 19.807, 37.430), (torch.float64, 19.807, 37.430), (torch.float16, np.inf, np.inf)],
)
def test_partition_of_equal_heads_beside_the_scripts(dtype, ours, scripts):
    """log(1 + 4 / epsilon), 1e-8 here and 2.2e-16 there, both of which are 0 in float16: no recipe computes in it."""
    heads = torch.ones(4, 4, 8, dtype=dtype)
    variance = heads.var(dim=1).mean() + np.finfo(float).eps
    assert loss_partition(heads, "log_mean").item() == pytest.approx(ours, abs=1e-3)
    assert loss_partition(heads).item() == pytest.approx(ours, abs=1e-3)
    assert torch.log(1 + 4 / variance).item() == pytest.approx(scripts, abs=1e-3)
