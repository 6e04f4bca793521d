"""Images that are not MNIST's: other sizes, more channels, another number of classes, through both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.training.modules import Images, _maps_of, build
from harness.training.native import native
from harness.training.recipe import Recipe
from harness.training.train import _NativeProgram, start, state_tensors, train_epoch
from search_spaces.network import Architecture, Task
from search_spaces.notation import parse_network
from tests.harness.training.native.networks import gradients
from tests.harness.training.native.test_native_training import in_float64

CPU = torch.device("cpu")
# Narrow and wide, below and beyond the 32 columns that the engine samples together; all channels normalised otherwise.
TASKS = [Task((3, 32, 32), 7), Task((2, 9, 40), 3), Task((3, 70, 5), 2), Task((1, 8, 8), 10)]
MEAN, DEVIATION = (0.2, 0.5, 0.4), (0.3, 0.2, 0.25)
MOVED = Recipe(batch_size=16, augmented_share=0.8, rotation_degrees=20, shift_pixels=2, scale=0.2, shear=0.2)
tasks = pytest.mark.parametrize("task", TASKS, ids=str)


def network_for(task: Task) -> Architecture:
    return parse_network(f"conv3x3(6) bn relu conv3x3(8, stride=2) bn relu gap linear({task.classes})", task)


def some_images(task: Task, count: int, seed: int = 0) -> Images:
    """Noise in which a class has a brightness of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(task.classes, (count,), generator=generator)
    pixels = torch.randint(0, 128, (count, *task.input_shape), generator=generator)
    pixels += (120 * labels / task.classes).long().view(-1, 1, 1, 1)
    channels = task.input_shape[0]
    return Images(pixels.to(torch.uint8), labels, MEAN[:channels], DEVIATION[:channels], task.classes)


def by_channel(images: Images) -> Tensor:
    """The normalised pixels, float64, channel by channel."""
    planes = [
        (images.pixels[:, channel].double() / 255 - mean) / deviation
        for channel, (mean, deviation) in enumerate(zip(images.mean, images.deviation, strict=True))
    ]
    return torch.stack(planes, 1)


@tasks
def test_gradients_and_predictions_equal_torch_s(task: Task):
    architecture, images = network_for(task), some_images(task, 21)
    torch.manual_seed(1)
    network = build(architecture, task).double()
    opened = _NativeProgram(in_float64(), architecture, Recipe(batch_size=21), images)

    loss, gradient = gradients(opened, network, images.pixels, images.labels)
    expected = functional.cross_entropy(network(by_channel(images)), images.labels)
    parts = torch.autograd.grad(expected, list(network.parameters()))

    assert loss == pytest.approx(expected.item(), rel=1e-9)
    assert torch.allclose(gradient, torch.cat([part.reshape(-1) for part in parts]), rtol=1e-8, atol=1e-8)
    fresh = some_images(task, 30, seed=2)
    said = network.eval()(by_channel(fresh)).argmax(1)
    assert opened.predict(network, state_tensors(network), fresh.pixels).tolist() == said.tolist()


@tasks
def test_both_engines_move_the_images_alike(task: Task):
    # Two steps only: before rounding has grown.
    images = some_images(task, 2 * MOVED.batch_size)
    recipe = replace(MOVED, learning_rate=0.01)
    by_torch, by_engine = (
        start(network_for(task), recipe, 5, CPU, engine, task=task) for engine in (None, native.load())
    )
    losses = [train_epoch(run, images).train_loss for run in (by_torch, by_engine)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for one, other in zip(by_torch.state, by_engine.state, strict=True):
        if one.is_floating_point():
            assert torch.allclose(one, other, rtol=1e-2, atol=2e-4)


def test_a_wide_image_turns_without_being_squeezed():
    image = torch.zeros(1, 1, 11, 31)
    image[0, 0, 5, 12:19] = 1
    # The highest draw of the angle is the whole of it; the others, in the middle, change nothing.
    quarter = torch.tensor([[1.0], [0.5], [0.5], [0.5], [0.5], [0.5], [0.0]])
    theta = _maps_of(quarter, 11, 31, Recipe(augmented_share=1.0, rotation_degrees=90))
    grid = functional.affine_grid(theta, [1, 1, 11, 31], align_corners=False)
    upright = functional.grid_sample(image, grid, align_corners=False)[0, 0]
    expected = torch.zeros(11, 31)
    expected[2:9, 15] = 1
    assert torch.allclose(upright, expected, atol=1e-4)
