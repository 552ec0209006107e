"""DINO's loss, centre, head and schedules against naive formulas, and the crops' properties."""

import numpy as np
import pytest
import torch

from lsdkit.common.seeds import torch_generator
from lsdkit.method import backbones
from lsdkit.selfsupervision import crops, dino
from lsdkit.selfsupervision.settings import DinoSettings

VIEWS, GLOBALS, FACES, K = 5, 2, 3, 7
TEMPERATURES = {"student_temperature": 0.1, "teacher_temperature": 0.05}


@pytest.fixture
def outputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch_generator(0, "outputs")
    shapes = (VIEWS, FACES, K), (GLOBALS, FACES, K), (K,)
    student, teacher, centre = (torch.randn(s, generator=generator, dtype=torch.float64) / 5 for s in shapes)
    return student.requires_grad_(), teacher, centre


def naive_loss(student, teacher, centre) -> float:
    """Equation 3 face by face, prototype by prototype."""
    total, terms = 0.0, 0
    for face in range(FACES):
        for g in range(GLOBALS):
            target = np.exp((teacher[g, face] - centre) / 0.05)
            target /= target.sum()
            for v in range(VIEWS):
                if v == g:
                    continue
                answer = np.exp(student[v, face] / 0.1)
                answer /= answer.sum()
                for k in range(K):
                    total -= target[k] * np.log(answer[k])
                terms += 1
    return total / terms


def test_the_loss_is_the_naive_sum(outputs):
    student, teacher, centre = outputs
    loss = dino.dino_loss(student, teacher, centre, **TEMPERATURES)
    expected = naive_loss(student.detach().numpy(), teacher.numpy(), centre.numpy())
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(lambda s: dino.dino_loss(s, teacher, centre, **TEMPERATURES), student)


def test_the_centre_is_a_running_mean(outputs):
    _, teacher, centre = outputs
    expected = centre.numpy().copy()
    for k in range(K):
        expected[k] = 0.9 * expected[k] + 0.1 * np.mean(
            [teacher[g, b, k] for g in range(GLOBALS) for b in range(FACES)]
        )
    np.testing.assert_allclose(dino.move_centre(centre, teacher, 0.9), expected, atol=1e-15)


def test_loss_and_centre_agree_with_lightly(outputs):
    loss = pytest.importorskip("lightly.loss")
    student, teacher, centre = (tensor.detach() for tensor in outputs)
    theirs = loss.DINOLoss(K, teacher_temp=0.05, student_temp=0.1, center_momentum=0.9).double()
    theirs.center.copy_(centre.view_as(theirs.center))
    expected = theirs(list(teacher), list(student))
    assert dino.dino_loss(student, teacher, centre, **TEMPERATURES).item() == pytest.approx(expected.item(), abs=1e-7)
    torch.testing.assert_close(dino.move_centre(centre, teacher, 0.9), theirs.center.flatten())


def test_the_teacher_is_a_running_mean_of_parameters_alone():
    teacher, student = (torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)) for _ in range(2))
    student(torch.randn(4, 3))
    expected = 0.9 * teacher[0].weight + 0.1 * student[0].weight
    dino.move_teacher(teacher, student, 0.9)
    torch.testing.assert_close(teacher[0].weight, expected)
    assert teacher[1].running_mean.eq(0).all()


def test_the_heads_output_is_a_cosine():
    head = dino.Head(6, 8, 4, 10)
    head.prototypes.data *= 3
    out = head(torch.randn(5, 6) * 100)
    assert out.shape == (5, 10)
    assert out.abs().max() <= 1 + 1e-6


def test_crops_of_two_sizes_make_one_output():
    network = dino.Network(backbones.create("narrow"), dino.Head(96, 8, 4, 10)).eval()
    views = [torch.rand(3, 3, size, size) for size in (32, 32, 16, 16, 16)]
    out = network(views)
    assert out.shape == (5, 3, 10)
    for view, each in zip(views, out, strict=True):
        torch.testing.assert_close(network([view])[0], each, atol=1e-5, rtol=1e-4)


def test_crops_are_a_function_of_the_generator():
    settings = DinoSettings(image_size=32, local_size=16, local_crops=3)
    images = torch.randint(0, 256, (4, 40, 40, 3), dtype=torch.uint8, generator=torch_generator(0, "images"))
    made = [crops.draw_crops(images, settings, torch_generator(seed, "crops")) for seed in (0, 0, 1)]
    assert [crop.shape[1:] for crop in made[0]] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 3
    assert all(crop.min() >= 0 and crop.max() <= 1 for crop in made[0])
    assert all(map(torch.equal, made[0], made[1]))
    assert not any(map(torch.equal, made[0], made[2]))
    assert not made[0][0].equal(made[0][1])


@pytest.mark.parametrize("area", [(0.4, 1.0), (0.05, 0.4)])
def test_boxes_lie_inside_and_have_their_area(area):
    top, left, height, width = crops.draw_boxes(2000, (100, 120), area, torch_generator(0, "boxes")).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 100).all()
    assert (left + width <= 120).all()
    share = height * width / 12000
    assert share.min() > area[0] - 0.08  # a side that is longer than the image is cut
    assert share.max() < area[1] + 0.01
    assert share.mean() == pytest.approx(sum(area) / 2, abs=0.03)
    assert left.float().mean() == pytest.approx(float((120 - width).float().mean() / 2), abs=1.5)


def test_a_cut_out_is_the_part_of_the_picture():
    images = torch.randint(0, 256, (1, 3, 40, 40), dtype=torch.uint8)
    torch.testing.assert_close(crops.cut(images, torch.tensor([[3, 5, 16, 16]]), 16), images[:, :, 3:19, 5:21] / 255)


def test_blur_keeps_the_mean_and_softens():
    x = torch.rand(2, 3, 32, 32, generator=torch_generator(0, "noise"))
    soft = crops.blur_images(x, torch.tensor([1e-3, 1.5]))
    torch.testing.assert_close(soft[0], x[0])
    assert soft[1].var() < x[1].var() / 4
    assert soft[1].mean() == pytest.approx(x[1].mean().item(), abs=0.02)


def test_wrong_settings_are_refused():
    for wrong in (
        {"epochs": 0},
        {"momentum": 1.5},
        {"batch_size": 1},
        {"epochs": 2.5},
        {"learning_rate": float("nan")},
    ):
        with pytest.raises(ValueError, match=f"Expected `{next(iter(wrong))}`"):
            DinoSettings(**wrong)
    assert DinoSettings(weight_decay=0).weight_decay == 0
